package index

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// The record types by which a community decides about posts.
const (
	AcceptanceCollection syntax.NSID = "social.coves.community.acceptance"
	RemovalCollection    syntax.NSID = "social.coves.community.removal"
)

func acceptanceKind() kind {
	return kind{nsid: AcceptanceCollection, key: isAdmissionKey, read: readAcceptance, slim: true,
		apply: func(ctx context.Context, b *batch, changes []change) (int64, error) {
			return b.applyAdmission(ctx, changes, "accept")
		}}
}

func removalKind() kind {
	return kind{nsid: RemovalCollection, key: isAdmissionKey, read: readRemoval, slim: true,
		apply: func(ctx context.Context, b *batch, changes []change) (int64, error) {
			return b.applyAdmission(ctx, changes, "remove")
		}}
}

// decision is an acceptance or a removal as it is stored.
type decision struct {
	post         target
	cid          syntax.CID // the version of the post that it speaks of
	at           int64      // as the record says
	code, reason string     // of a removal
}

func (d decision) refs() refs { return refs{d.post.did} }

func readAcceptance(in input) (value, error) {
	post, cid, err := strongRef(in.record, "subject")
	if err != nil {
		return nil, err
	}
	if post.kind != toPost {
		return nil, flawed(ReasonReference, "the subject is no post")
	}
	if in.rkey != admissionKey(recordURI(post.did, PostCollection, post.rkey)) {
		return nil, flawed(ReasonKey, "the key does not follow from the subject")
	}
	at, err := moment(in.record, "createdAt")
	return decision{post: post, cid: cid, at: at}, err
}

func readRemoval(in input) (value, error) {
	v, err := readAcceptance(in)
	if err != nil {
		return nil, err
	}
	d := v.(decision)
	d.code, d.reason = text(in.record, "code"), text(in.record, "reason")
	return d, nil
}

// applyAdmission writes acceptances or removals. what is the prefix of their
// columns.
func (b *batch) applyAdmission(ctx context.Context, changes []change, what string) (int64, error) {
	var posts []wanted
	for i := range changes {
		if d, ok := changes[i].value.(decision); ok {
			posts = append(posts, b.wants(&changes[i], 0, d.post))
		}
	}
	if err := b.resolve(ctx, posts); err != nil {
		return 0, err
	}
	have, err := b.loadAdmission(ctx, changes, what)
	if err != nil {
		return 0, err
	}
	var rows [][]any
	for i, ch := range changes {
		old := have[i]
		if ch.rev <= old.rev {
			continue
		}
		row := []any{ch.account, ch.rkey, idOrNull(old.post), int64(0), ch.rev, nil, nil, nil, nil}
		post := old.post
		if d, ok := ch.value.(decision); ok {
			post = b.items[b.wants(&ch, 0, d.post).itemKey].id
			row[2], row[5], row[6], row[7], row[8] = post, d.cid, min(d.at, b.now), orNull(d.code), orNull(d.reason)
		}
		b.touched[post] = true
		rows = append(rows, row)
	}
	delete(b.touched, 0)
	b.storeAdmission(ctx, rows, what)
	return int64(len(rows)), nil
}

// storeAdmission writes one half of each row. A row that is new has a gate at
// zero for the other half.
func (b *batch) storeAdmission(ctx context.Context, rows [][]any, what string) {
	set := `post_id = excluded.post_id, ` + what + `_rev = excluded.` + what + `_rev, ` +
		what + `_cid = excluded.` + what + `_cid, ` + what + `_at = excluded.` + what + `_at`
	if what == "remove" {
		set += `, remove_code = excluded.remove_code, remove_reason = excluded.remove_reason`
	}
	other := map[string]string{"accept": "remove", "remove": "accept"}[what]
	b.upsert(ctx, "admission", `community_id, rkey, post_id, `+other+`_rev, `+what+`_rev, `+
		what+`_cid, `+what+`_at, remove_code, remove_reason`,
		[]string{"BIGINT", "TEXT", "BIGINT", "BIGINT", "BIGINT", "TEXT", "BIGINT", "TEXT", "TEXT"}, rows,
		`ON CONFLICT (community_id, rkey) DO UPDATE SET `+set)
}

type admissionRow struct{ post, rev int64 }

func (b *batch) loadAdmission(ctx context.Context, changes []change, what string) (map[int]admissionRow, error) {
	keys := make([][]any, len(changes))
	for i, ch := range changes {
		keys[i] = []any{int64(i), ch.account, ch.rkey}
	}
	have := map[int]admissionRow{}
	err := b.probe(ctx, "n, community_id, rkey", []string{"BIGINT", "BIGINT", "TEXT"}, keys, `
		SELECT w.n, COALESCE(m.post_id, 0), m.`+what+`_rev
		FROM wanted w CROSS JOIN admission m WHERE m.community_id = w.community_id AND m.rkey = w.rkey`,
		func(rows store.Row) error {
			var n int
			var r admissionRow
			err := rows.Scan(&n, &r.post, &r.rev)
			have[n] = r
			return err
		})
	return have, err
}

// standing is all that decides about a post's state.
type standing struct {
	id, rev, community, created int64
	rkey                        syntax.RecordKey
	deleted, due                bool
	state                       State
	cid, acceptCID, removeCID   syntax.CID
	acceptRev, removeRev        int64
}

// judge is the state that follows. It looks only at the records that there
// are, and of an acceptance and a removal at the later revision of the
// community's repository: so it is the same in whatever order they came. At the
// same revision the removal counts, as the more careful of the two.
func (s standing) judge() State {
	accepted, removed := s.acceptCID != "", s.removeCID != ""
	switch {
	case s.deleted:
		return Pending
	case removed && (!accepted || s.removeRev >= s.acceptRev):
		return Removed
	case !accepted:
		return Pending
	case s.acceptCID != s.cid:
		return PendingReacceptance
	}
	return Accepted
}

// settleAdmission gives every post that was touched its state and its place in
// lists, and asks for accepted posts that are not here.
func (b *batch) settleAdmission(ctx context.Context) error {
	var all []standing
	var keys [][]any
	for _, id := range slices.Sorted(maps.Keys(b.touched)) {
		keys = append(keys, []any{id})
	}
	err := b.probe(ctx, "id", []string{"BIGINT"}, keys, `
		SELECT p.id, p.rev, COALESCE(p.community_id, 0), COALESCE(p.created_at, 0), p.rkey, p.deleted,
		       p.fetch_due IS NOT NULL, p.state, COALESCE(p.cid, ''), COALESCE(m.accept_cid, ''), COALESCE(m.remove_cid, ''),
		       COALESCE(m.accept_rev, 0), COALESCE(m.remove_rev, 0)
		FROM wanted w CROSS JOIN post p LEFT JOIN admission m ON m.post_id = p.id AND m.community_id = p.community_id
		WHERE p.id = w.id`,
		func(rows store.Row) error {
			var s standing
			err := rows.Scan(&s.id, &s.rev, &s.community, &s.created, &s.rkey, &s.deleted,
				&s.due, &s.state, &s.cid, &s.acceptCID, &s.removeCID, &s.acceptRev, &s.removeRev)
			all = append(all, s)
			return err
		})
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := b.settlePost(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) settlePost(ctx context.Context, s standing) error {
	if s.rev == 0 {
		return b.want(ctx, s)
	}
	is := s.judge()
	d := b.post(s.id)
	d.placed, d.place = true, place{state: is}
	if !s.deleted {
		b.moved[legacyKey{s.community, s.rkey}] = true
		d.place.createdAt = s.created
		if is < Rejected {
			d.place.community = s.community
		}
	}
	if is == s.state {
		return nil
	}
	_, err := b.tx.ExecContext(ctx, `UPDATE post SET state = $1 WHERE id = $2`, int64(is), s.id)
	return err
}

// want asks for a post that some community has accepted but nobody has shown
// us, and stops asking when no community does any more.
func (b *batch) want(ctx context.Context, s standing) error {
	_, err := b.tx.ExecContext(ctx, `
		UPDATE post SET fetch_due = CASE
		    WHEN NOT EXISTS (SELECT 1 FROM admission m WHERE m.post_id = post.id AND m.accept_cid IS NOT NULL) THEN NULL
		    WHEN fetch_due IS NULL THEN CAST($1 AS BIGINT)
		    ELSE fetch_due END
		WHERE id = $2`, b.now, s.id)
	return err
}

// Wanted is a post that a community has accepted and that is not here: it is
// to be fetched from its author's PDS and applied.
type Wanted struct {
	Author syntax.DID
	RKey   syntax.RecordKey
	// Attempts counts the failures so far.
	Attempts int
}

// WantedPosts lists posts that are due to be fetched, the longest due first, at
// most limit. They are remembered, so a restart loses none; applying the post,
// or its deletion, settles it.
func (x *Index) WantedPosts(ctx context.Context, limit int) ([]Wanted, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT a.did, p.rkey, p.fetch_attempts FROM post p JOIN account a ON a.id = p.author_id
		WHERE p.fetch_due IS NOT NULL AND p.fetch_due <= $1 ORDER BY p.fetch_due, p.id LIMIT $2`, store.Micros(x.now()), limit)
	if err != nil {
		return nil, fmt.Errorf("list wanted posts: %w", err)
	}
	var out []Wanted
	err = each(rows, func() error {
		var w Wanted
		err := rows.Scan(&w.Author, &w.RKey, &w.Attempts)
		out = append(out, w)
		return err
	})
	return out, err
}

// PostponePost puts off a post that could not be fetched. With no wait it is
// not asked for any more, until a community accepts it again.
func (x *Index) PostponePost(ctx context.Context, w Wanted, wait time.Duration) error {
	var due any
	if wait > 0 {
		due = store.Micros(x.now().Add(wait))
	}
	return x.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE post SET fetch_due = CAST($1 AS BIGINT), fetch_attempts = fetch_attempts + 1
			WHERE fetch_due IS NOT NULL AND rkey = $2 AND author_id = (SELECT id FROM account WHERE did = $3)`,
			due, w.RKey, w.Author)
		return err
	})
}
