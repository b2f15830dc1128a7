package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

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
	changes := newest(commits)
	if len(changes) == 0 {
		return Result{}, nil
	}
	b := newBatch(tx, x)
	if err := b.takeTurn(ctx, x.db.Engine()); err != nil {
		return Result{}, fmt.Errorf("take a turn at the index: %w", err)
	}
	tx.AfterCommit(x.watchers.wake)
	unresolved, err := b.loadAccounts(ctx, changes)
	if err != nil {
		return Result{}, fmt.Errorf("index accounts: %w", err)
	}
	result := Result{Unresolved: unresolved}
	for _, k := range kinds() {
		mine := b.inKeyOrder(k, changes)
		if len(mine) == 0 {
			continue
		}
		n, err := k.apply(ctx, b, mine)
		if err != nil {
			return Result{}, fmt.Errorf("index %s: %w", k.nsid, err)
		}
		result.Applied += n
		result.Stale += int64(len(mine)) - n
	}
	if err := b.settle(ctx); err != nil {
		return Result{}, err
	}
	if err := x.pruneChanges(ctx, b); err != nil {
		return Result{}, fmt.Errorf("prune changes of rank: %w", err)
	}
	tx.AfterCommit(func() { x.memory.learn(b.seq, b.lesson) })
	return result, nil
}

// newest keeps the greatest revision of each record: one statement must not
// touch a row twice, and what the gate would overwrite need not be written.
func newest(commits []Commit) map[recordName]change {
	out := make(map[recordName]change)
	for _, c := range commits {
		for _, ch := range c.changes {
			name := recordName{ch.did, ch.kind.nsid, ch.rkey}
			if have, ok := out[name]; !ok || ch.rev > have.rev {
				out[name] = ch
			}
		}
	}
	return out
}

// recordName names a record of the network.
type recordName struct {
	did        syntax.DID
	collection syntax.NSID
	rkey       syntax.RecordKey
}

// inKeyOrder picks the changes of one record type, ordered by their row's
// key, so that transactions that meet the same rows lock them in one order.
func (b *batch) inKeyOrder(k kind, changes map[recordName]change) []change {
	var out []change
	for name, ch := range changes {
		if name.collection == k.nsid {
			out = append(out, ch)
		}
	}
	slices.SortFunc(out, func(p, q change) int {
		return cmp.Or(cmp.Compare(b.accounts[p.did], b.accounts[q.did]), cmp.Compare(p.rkey, q.rkey))
	})
	return out
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
