package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// PostCollection is the record type of posts.
const PostCollection syntax.NSID = "social.coves.community.postv2"

// State is what a community decided about a post.
type State int64

// The states. Their numbers are stored.
const (
	Pending State = iota
	Accepted
	PendingReacceptance // the record changed after it was accepted
	Rejected
	Removed
)

var stateNames = [...]string{"pending", "accepted", "pending_reacceptance", "rejected", "removed"}

// String returns the state's name in views.
func (s State) String() string {
	if s >= 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", int64(s))
}

func postKind() kind {
	return kind{nsid: PostCollection, key: isTID, read: readPost, apply: applyPosts}
}

// isTID holds the rule "key": "tid" of a lexicon.
func isTID(k syntax.RecordKey) bool {
	_, err := syntax.ParseTID(string(k))
	return err == nil
}

// postValue is a post as it is stored.
type postValue struct {
	community syntax.DID
	createdAt int64 // as the record says
	record    []byte
}

func (p postValue) refs() []syntax.DID { return []syntax.DID{p.community} }

// readPost extracts what the lexicon has found well-formed.
func readPost(record map[string]any, raw []byte) (value, error) {
	community, err := syntax.ParseDID(text(record, "community"))
	if err != nil {
		return nil, fmt.Errorf("community: %w", err)
	}
	created, err := syntax.ParseDatetime(text(record, "createdAt"))
	if err != nil {
		return nil, fmt.Errorf("createdAt: %w", err)
	}
	return postValue{community: community, createdAt: created.Time().UnixMicro(), record: raw}, nil
}

func text(record map[string]any, field string) string {
	s, _ := record[field].(string)
	return s
}

// upsertPost is the gate and the write in one statement. indexed_at is never
// changed once a row exists; created_at never exceeds it. A post that names
// another community than before starts there as pending.
const upsertPost = `
ON CONFLICT (author_id, rkey) DO UPDATE SET
    rev = excluded.rev,
    deleted = excluded.deleted,
    community_id = excluded.community_id,
    cid = excluded.cid,
    created_at = CASE WHEN excluded.created_at > post.indexed_at
        THEN post.indexed_at ELSE excluded.created_at END,
    edited_at = excluded.edited_at,
    record = excluded.record,
    state = CASE
        WHEN excluded.deleted OR post.deleted THEN 0
        WHEN post.community_id <> excluded.community_id THEN 0
        WHEN post.state = 1 AND post.cid <> excluded.cid THEN 2
        ELSE post.state END
WHERE excluded.rev > post.rev`

// applyPosts writes posts in chunks. Rows whose revision is not newer than
// what is stored are left alone by the statement itself, which also holds
// between concurrent transactions.
func applyPosts(ctx context.Context, b *batch, changes []change) (int64, error) {
	var applied int64
	for part := range chunks(changes, b.rows) {
		args := make([]any, 0, 12*len(part))
		for _, ch := range part {
			args = append(args, b.postRow(ch)...)
		}
		n, err := affected(b.tx.ExecContext(ctx, `
			INSERT INTO post (id, author_id, rkey, rev, deleted, indexed_at, state,
			    community_id, cid, created_at, edited_at, record)
			VALUES `+tuples(len(part), "BIGINT", "BIGINT", "TEXT", "BIGINT", "BOOLEAN", "BIGINT", "SMALLINT",
			"BIGINT", "TEXT", "BIGINT", "BIGINT", "")+upsertPost, args...))
		if err != nil {
			return 0, err
		}
		applied += n
	}
	return applied, nil
}

// postRow is the row that a change makes where there is none yet.
func (b *batch) postRow(ch change) []any {
	row := []any{b.ids.next(), b.accounts[ch.did], ch.rkey, ch.rev, true, b.now, int64(Pending),
		nil, nil, nil, nil, nil}
	if ch.value == nil {
		return row
	}
	p := ch.value.(postValue)
	row[4] = false
	row[7], row[8] = b.accounts[p.community], ch.cid
	row[9] = min(p.createdAt, store.Micros(syntax.TID(ch.rkey).Time()), b.now)
	if ch.edited {
		row[10] = syntax.NewTIDFromInteger(uint64(ch.rev)).Time().UnixMicro()
	}
	row[11] = p.record
	return row
}
