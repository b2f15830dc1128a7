package index

import (
	"context"
	"maps"
	"slices"

	"github.com/atoll-social/atoll/internal/store"
)

// place of comments in threads: comment_rank has a row for every comment that a
// thread shows, and for those that are gone as long as something that the thread
// shows answers them.

// threadRow is a comment as it is and as its thread has it.
type threadRow struct {
	id, root, parent        int64 // what it answers, or answered
	created, score          int64
	deleted, answered       bool
	placed                  bool
	under, rankedRoot       int64
	rankedAt, hot, rankedBy int64 // created, hot and score of the row
	// lost is a comment that is gone and of which nothing tells where it was.
	lost bool
}

// noteThreads remembers the comments whose counters change: votes move them.
func (b *batch) noteThreads(context.Context) error {
	for id := range b.talk {
		b.threads[id] = 0
	}
	return nil
}

// settleThreads gives every comment that was touched its place in its thread.
// b.threads holds them, each with the root that an answer to it names, or 0.
func (b *batch) settleThreads(ctx context.Context) error {
	for first := true; len(b.threads) > 0; first = false {
		ids := slices.Sorted(maps.Keys(b.threads))
		hints := b.threads
		b.threads = map[int64]int64{}
		rows, err := b.loadThreads(ctx, ids)
		if err != nil {
			return err
		}
		w := threadWrites{}
		for _, r := range rows {
			if r.lost && hints[r.id] != 0 {
				r.root, r.lost = hints[r.id], false
				w.marks = append(w.marks, []any{r.id, r.root})
			}
			b.placeComment(r, &w)
		}
		if err := b.storeThreads(ctx, w, first); err != nil {
			return err
		}
	}
	return nil
}

// threadWrites is what follows for comment_rank: rows that are new, rows that
// are other, rows that go, where those stood before, and the threads of lost
// comments.
type threadWrites struct {
	fresh, again, changes, marks [][]any
	drops                        []int64
}

// placeComment decides where a comment is to be, and has what it answers looked
// at again when that changes.
func (b *batch) placeComment(r threadRow, w *threadWrites) {
	wanted := r.root != 0 && (!r.deleted || r.answered)
	under := r.parent
	if under == 0 {
		under = r.root
	}
	hot := hotRank(r.score, r.created)
	if !wanted && !r.placed || wanted && r.placed && r.under == under && r.rankedRoot == r.root && r.hot == hot &&
		r.rankedBy == r.score && r.rankedAt == r.created {
		return
	}
	if !wanted {
		under = 0
		w.drops = append(w.drops, r.id)
	} else {
		row := []any{under, r.root, r.created, hot, r.score, r.id}
		if r.placed {
			w.again = append(w.again, row)
		} else {
			w.fresh = append(w.fresh, row)
		}
	}
	if r.under != under {
		b.lookAgain(r.under, 0)
		b.lookAgain(under, r.root)
	}
	if !r.placed {
		r.rankedRoot = r.root
	}
	w.changes = append(w.changes, []any{b.seq, r.id, r.rankedRoot, b.now, idOrNull(r.under), r.rankedAt, r.hot, r.rankedBy})
}

// lookAgain has a comment looked at that may be gone, and so depend on what
// answers it. root is the thread of such an answer.
func (b *batch) lookAgain(id, root int64) {
	if isComment(id) && (root != 0 || b.threads[id] == 0) {
		b.threads[id] = root
	}
}

func (b *batch) loadThreads(ctx context.Context, ids []int64) ([]threadRow, error) {
	keys := make([][]any, len(ids))
	for i, id := range ids {
		keys[i] = []any{id}
	}
	out := make([]threadRow, 0, len(ids))
	err := b.probe(ctx, "id", []string{"BIGINT"}, keys, `
		SELECT c.id, c.deleted, COALESCE(c.root_id, 0), COALESCE(c.parent_id, 0), COALESCE(c.gone_root, 0), COALESCE(c.gone_parent, 0),
		       COALESCE(c.created_at, 0), c.tid, COALESCE(t.score, 0), k.comment_id IS NOT NULL, COALESCE(k.under_id, 0),
		       COALESCE(k.root_id, 0), COALESCE(k.created_at, 0), COALESCE(k.hot, 0), COALESCE(k.score, 0),
		       c.deleted AND EXISTS (SELECT 1 FROM comment_rank o WHERE o.under_id = c.id)
		FROM wanted w CROSS JOIN comment c LEFT JOIN comment_tally t ON t.comment_id = c.id
		LEFT JOIN comment_rank k ON k.comment_id = c.id WHERE c.id = w.id`,
		func(row store.Row) error {
			var r threadRow
			var goneRoot, goneParent, tid int64
			err := row.Scan(&r.id, &r.deleted, &r.root, &r.parent, &goneRoot, &goneParent, &r.created, &tid, &r.score,
				&r.placed, &r.under, &r.rankedRoot, &r.rankedAt, &r.hot, &r.rankedBy, &r.answered)
			if r.deleted {
				r.root, r.parent, r.lost = goneRoot, goneParent, goneRoot == 0
				// It stays where it was, or goes where its key says.
				if r.created = revTime(tid); r.placed {
					r.created = r.rankedAt
				}
			}
			out = append(out, r)
			return err
		})
	return out, err
}

func (b *batch) storeThreads(ctx context.Context, w threadWrites, first bool) error {
	// What a later round of the same transaction changes again stood elsewhere
	// before the first.
	tail := `ON CONFLICT (seq, comment_id) DO NOTHING`
	if first {
		tail = ""
	}
	b.upsert(ctx, "comment_change", `seq, comment_id, root_id, changed_at, under_id, created_at, hot, score`,
		slices.Repeat([]string{"BIGINT"}, 8), w.changes, tail)
	for _, m := range w.marks {
		if _, err := b.tx.ExecContext(ctx, `UPDATE comment SET gone_root = $1 WHERE id = $2`, m[1], m[0]); err != nil {
			return err
		}
	}
	for _, id := range w.drops {
		if _, err := b.tx.ExecContext(ctx, `DELETE FROM comment_rank WHERE comment_id = $1`, id); err != nil {
			return err
		}
	}
	ranks := store.Table{Names: "under_id, root_id, created_at, hot, score, comment_id", Types: slices.Repeat([]string{"BIGINT"}, 6)}
	ranks.Rows = w.again
	b.tx.Later().Update(ctx, "comment_rank", ranks)
	ranks.Rows = w.fresh
	b.tx.Later().Insert(ctx, "comment_rank", ranks, "")
	return nil
}
