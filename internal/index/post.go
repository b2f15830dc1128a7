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

// postValue is a post as it is stored.
type postValue struct {
	community syntax.DID
	createdAt int64 // as the record says
	record    []byte
}

func (p postValue) refs() refs { return refs{p.community} }

// readPost extracts what the lexicon has found well-formed.
func readPost(in input) (value, error) {
	community, err := syntax.ParseDID(text(in.record, "community"))
	if err != nil {
		return nil, fmt.Errorf("community: %w", err)
	}
	created, err := moment(in.record, "createdAt")
	if err != nil {
		return nil, err
	}
	return postValue{community: community, createdAt: created, record: in.raw}, checkFacets(in.record, "content", "facets")
}

func text(record map[string]any, field string) string {
	s, _ := record[field].(string)
	return s
}

// moment reads a time, in microseconds.
func moment(record map[string]any, field string) (int64, error) {
	t, err := syntax.ParseDatetime(text(record, field))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", field, err)
	}
	return t.Time().UnixMicro(), nil
}

// postRow is a post's row as it was.
type postRow struct {
	id, rev, indexed, community int64
	deleted                     bool
}

// postColumns are the columns that a record decides; the others follow from
// admission and from the wish to fetch the post.
const postColumns = `id, author_id, rkey, rev, deleted, indexed_at, state, community_id, cid, created_at, edited_at, record`

// applyPosts writes posts. Their state is settled when the acceptances of the
// same batch are in.
func applyPosts(ctx context.Context, b *batch, changes []change) (int64, error) {
	have, err := b.loadPosts(ctx, changes)
	if err != nil {
		return 0, err
	}
	var rows toWrite
	var applied int64
	for i, ch := range changes {
		old, there := have[i]
		if ch.rev <= old.rev {
			continue
		}
		if !there {
			old.id, old.deleted = b.ids.next(), true
		}
		applied++
		rows.add(b.postRow(old, ch), there)
		b.meet(itemKey{toPost, ch.account, ch.tid}, old.id)
		author := ch.account
		b.person(author, func(t *accountTally) { t.posts += int64(b2i(ch.value != nil) - b2i(!old.deleted)) })
		b.touched[old.id] = true
		b.moved[legacyKey{old.community, ch.rkey}] = true
	}
	delete(b.moved, legacyKey{})
	b.write(ctx, "post", postColumns,
		[]string{"BIGINT", "BIGINT", "TEXT", "BIGINT", "BOOLEAN", "BIGINT", "SMALLINT", "BIGINT", "TEXT", "BIGINT", "BIGINT", "BYTEA"}, rows, `
		ON CONFLICT (author_id, rkey) DO UPDATE SET rev = excluded.rev, deleted = excluded.deleted,
		    indexed_at = excluded.indexed_at, community_id = excluded.community_id, cid = excluded.cid,
		    created_at = excluded.created_at, edited_at = excluded.edited_at, record = excluded.record,
		    fetch_due = NULL`)
	return applied, nil
}

// loadPosts reads the rows that changes are about, by their place in changes.
func (b *batch) loadPosts(ctx context.Context, changes []change) (map[int]postRow, error) {
	keys := make([][]any, len(changes))
	for i, ch := range changes {
		keys[i] = []any{int64(i), ch.account, ch.rkey}
	}
	have := make(map[int]postRow, len(changes))
	err := b.probe(ctx, "n, author_id, rkey", []string{"BIGINT", "BIGINT", "TEXT"}, keys, `
		SELECT w.n, p.id, p.rev, p.indexed_at, COALESCE(p.community_id, 0), p.deleted
		FROM wanted w CROSS JOIN post p WHERE p.author_id = w.author_id AND p.rkey = w.rkey`,
		func(rows store.Row) error {
			var n int
			var r postRow
			err := rows.Scan(&n, &r.id, &r.rev, &r.indexed, &r.community, &r.deleted)
			have[n] = r
			return err
		})
	return have, err
}

// postRow is the row that a change leaves. When it was first indexed never
// changes, and created_at never exceeds that.
func (b *batch) postRow(old postRow, ch change) []any {
	indexed := old.indexed
	if old.rev == 0 {
		indexed = b.now
	}
	row := []any{old.id, ch.account, ch.rkey, ch.rev, ch.value == nil, indexed, int64(Pending), nil, nil, nil, nil, nil}
	if p, ok := ch.value.(postValue); ok {
		row[7], row[8], row[11] = b.accounts.rows[ch.named[0]], ch.cid, p.record
		row[9], row[10] = clampCreated(p.createdAt, ch.rkey, indexed), ch.editedAt()
	}
	return row
}
