package index

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// legacyKey is what a reference in the older form names: a key in a community.
type legacyKey struct {
	community int64
	rkey      syntax.RecordKey
}

// findLegacy finds the rows of references in the older form. New ones mean no
// post yet; settleLegacy looks.
func (b *batch) findLegacy(ctx context.Context, list []wanted) error {
	err := b.probe(ctx, "n, community_id, rkey", []string{"BIGINT", "BIGINT", "TEXT"}, wantedKeys(list, byText), `
		SELECT w.n, l.id, COALESCE(l.post_id, 0) FROM wanted w CROSS JOIN legacy_post l
		WHERE l.community_id = w.community_id AND l.rkey = w.rkey`,
		func(rows store.Row) error {
			var n int64
			var it item
			err := rows.Scan(&n, &it.alias, &it.id)
			if err == nil {
				b.items[list[n].itemKey] = it
			}
			return err
		})
	if err != nil {
		return err
	}
	var rows [][]any
	for _, w := range list {
		if b.items[w.itemKey].alias == 0 {
			id := b.ids.next()
			b.items[w.itemKey] = item{alias: id}
			b.moved[legacyKey{w.account, w.rkey}] = true
			rows = append(rows, []any{id, w.account, w.rkey})
		}
	}
	b.upsert(ctx, "legacy_post", `id, community_id, rkey`, []string{"BIGINT", "BIGINT", "TEXT"}, rows, "")
	return nil
}

// settleLegacy looks again at what references in the older form mean, where
// admission has moved, and lets votes and comments follow.
func (b *batch) settleLegacy(ctx context.Context) error {
	keys := slices.SortedFunc(maps.Keys(b.moved), compareLegacy)
	var wanted [][]any
	for i, k := range keys {
		wanted = append(wanted, []any{int64(i), k.community, k.rkey})
	}
	type alias struct {
		key     legacyKey
		id, old int64
	}
	var found []alias
	err := b.probe(ctx, "n, community_id, rkey", []string{"BIGINT", "BIGINT", "TEXT"}, wanted, `
		SELECT w.n, l.id, COALESCE(l.post_id, 0) FROM wanted w CROSS JOIN legacy_post l
		WHERE l.community_id = w.community_id AND l.rkey = w.rkey`,
		func(rows store.Row) error {
			var n int64
			var a alias
			err := rows.Scan(&n, &a.id, &a.old)
			a.key = keys[n]
			found = append(found, a)
			return err
		})
	if err != nil {
		return err
	}
	for _, a := range found {
		post, err := b.earliestAdmitted(ctx, a.key)
		if err != nil {
			return err
		}
		if post == a.old {
			continue
		}
		if err := b.retarget(ctx, a.id, a.old, post); err != nil {
			return err
		}
	}
	return nil
}

// earliestAdmitted is the post that a reference in the older form means, 0 for
// none. The order is that of the community's own repository.
func (b *batch) earliestAdmitted(ctx context.Context, k legacyKey) (int64, error) {
	var id int64
	err := b.tx.QueryRowContext(ctx, `
		SELECT p.id FROM post p JOIN admission a ON a.post_id = p.id AND a.community_id = p.community_id
		WHERE p.community_id = $1 AND p.rkey = $2 AND NOT p.deleted AND p.state IN (1, 2)
		ORDER BY a.accept_rev, a.rkey LIMIT 1`, k.community, k.rkey).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// retarget lets everything that refers through an alias refer to another post.
func (b *batch) retarget(ctx context.Context, alias, old, post int64) error {
	if _, err := b.tx.ExecContext(ctx, `UPDATE legacy_post SET post_id = $1 WHERE id = $2`, idOrNull(post), alias); err != nil {
		return err
	}
	if err := b.retargetVotes(ctx, alias, old, post); err != nil {
		return err
	}
	if err := b.noteAlias(ctx, alias); err != nil {
		return err
	}
	n, err := affected(b.tx.ExecContext(ctx, `UPDATE comment SET root_id = $1 WHERE alias_id = $2`, idOrNull(post), alias))
	b.post(old).comments -= n
	b.post(post).comments += n
	return err
}

func compareLegacy(p, q legacyKey) int {
	if p.community != q.community {
		return int(min(1, max(-1, p.community-q.community)))
	}
	if p.rkey < q.rkey {
		return -1
	}
	return 1
}

// noteAlias has the comments looked at that refer to their post through an alias.
func (b *batch) noteAlias(ctx context.Context, alias int64) error {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := b.tx.QueryContext(ctx, `SELECT id FROM comment WHERE alias_id = $1`, alias)
	if err != nil {
		return err
	}
	return each(rows, func() error {
		var id int64
		err := rows.Scan(&id)
		b.threads[id] = 0
		return err
	})
}
