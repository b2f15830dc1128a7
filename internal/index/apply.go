package index

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/atoll-social/atoll/internal/store"
)

// Result tells what Apply did.
type Result struct {
	// Applied counts the records that changed; Stale counts those that the
	// gate held back, because the same or a later revision was there.
	Applied, Stale int64
	// Unresolved tells that accounts were met whose handle and PDS are not
	// known; see Unresolved.
	Unresolved bool
}

// Apply writes commits in the caller's transaction. It is the one way into
// the index, for streams and for what a member just wrote. Commits may come
// in any order and any number of times: per record the greatest revision
// wins, deletes included. It does not matter whether commits are applied
// together or one by one. Those who apply take turns, from the call to the end
// of their transaction.
func (x *Index) Apply(ctx context.Context, tx *store.Tx, commits []Commit) (Result, error) {
	return x.ApplyPlan(ctx, tx, x.Plan(commits))
}

// ApplyPlan is Apply for what was made ready before.
func (x *Index) ApplyPlan(ctx context.Context, tx *store.Tx, p *Plan) (Result, error) {
	if len(p.changes) == 0 {
		return Result{}, nil
	}
	b := newBatch(tx, x)
	if err := b.takeTurn(ctx, x.db.Engine()); err != nil {
		return Result{}, fmt.Errorf("take a turn at the index: %w", err)
	}
	tx.AfterCommit(x.watchers.wake)
	b.posts = make(map[int64]*postDelta, len(p.changes))
	unresolved, err := b.loadAccounts(ctx, p)
	if err != nil {
		return Result{}, fmt.Errorf("index accounts: %w", err)
	}
	b.foreseen = b.current && p.era == b.era
	result, err := b.applyChanges(ctx, p)
	if err != nil {
		return Result{}, err
	}
	result.Unresolved = unresolved
	if err := b.settle(ctx); err != nil {
		return Result{}, err
	}
	b.leaveTrace(ctx, p.changes)
	if err := x.pruneChanges(ctx, b); err != nil {
		return Result{}, fmt.Errorf("prune changes of rank: %w", err)
	}
	tx.AfterCommit(func() { x.memory.learn(b.seq, b.lesson) })
	return result, nil
}

// applyChanges writes the changes, one record type after the other.
func (b *batch) applyChanges(ctx context.Context, p *Plan) (result Result, err error) {
	for i := range p.changes {
		p.changes[i].account = b.accounts.rows[p.changes[i].who]
	}
	err = p.byKind(func(k *kind, mine []change) error {
		n, err := k.apply(ctx, b, mine)
		if err != nil {
			return fmt.Errorf("index %s: %w", k.nsid, err)
		}
		result.Applied += n
		result.Stale += int64(len(mine)) - n
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	return result, nil
}

// tuples writes the VALUES list for rows of the given column types. An empty
// type leaves the parameter bare: bytes must not be cast (see style.md).
func tuples(rows int, types ...string) string {
	var sql strings.Builder
	n := 0
	for r := range rows {
		if r > 0 {
			sql.WriteString(", ")
		}
		for c, typ := range types {
			n++
			sql.WriteString([]string{", ", "("}[b2i(c == 0)])
			if typ == "" {
				sql.WriteString("$" + strconv.Itoa(n))
				continue
			}
			sql.WriteString("CAST($" + strconv.Itoa(n) + " AS " + typ + ")")
		}
		sql.WriteString(")")
	}
	return sql.String()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
