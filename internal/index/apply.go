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
	for i, ch := range changes {
		changes[i].account = b.accounts[ch.did]
	}
	result := Result{Unresolved: unresolved}
	mineOf := inKeyOrder(changes)
	for _, k := range allKinds {
		mine := mineOf[k]
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
	if err := b.leaveTrace(ctx, changes); err != nil {
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
func newest(commits []Commit) []change {
	out := make([]change, 0, len(commits))
	at := make(map[recordName]int, len(commits))
	for _, c := range commits {
		for _, ch := range c.changes {
			name := recordName{ch.did, ch.kind.nsid, ch.rkey}
			switch i, ok := at[name]; {
			case !ok:
				at[name] = len(out)
				out = append(out, ch)
			case ch.rev > out[i].rev:
				out[i] = ch
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

// inKeyOrder sorts changes by record type, and those of each by their row's
// key, so that transactions that meet the same rows lock them in one order.
func inKeyOrder(changes []change) map[*kind][]change {
	out := map[*kind][]change{}
	for _, ch := range changes {
		out[ch.kind] = append(out[ch.kind], ch)
	}
	for _, list := range out {
		slices.SortFunc(list, func(p, q change) int {
			return cmp.Or(cmp.Compare(p.account, q.account), cmp.Compare(p.rkey, q.rkey))
		})
	}
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
