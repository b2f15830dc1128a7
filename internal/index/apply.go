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

// Plan is commits made ready to be applied, as far as that goes before their
// turn. It may be applied again when that has failed.
type Plan struct {
	changes []change
	// loud are the accounts that the changes name; see loadAccounts.
	loud map[syntax.DID]bool
	// known has the rows of those that are remembered, unknown lists the
	// others; due tells that one of the known is still to be resolved.
	known   map[syntax.DID]int64
	unknown []syntax.DID
	due     bool
	// ordered are the changes in the order of keys, nil where that takes rows
	// of accounts that are not known.
	ordered map[*kind][]change
}

// Plan makes commits ready for Apply. It needs no storage and is safe for
// concurrent use.
func (x *Index) Plan(commits []Commit) *Plan {
	p := &Plan{changes: newest(commits)}
	p.loud = loud(p.changes)
	p.known, p.unknown, p.due = x.memory.recall(p.loud)
	slices.Sort(p.unknown) // one order of locks for everybody
	if len(p.unknown) == 0 {
		p.ordered = inKeyOrder(p.changes, p.known)
	}
	return p
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
	ordered := p.ordered
	if ordered == nil {
		ordered = inKeyOrder(p.changes, b.accounts)
	}
	for _, k := range allKinds {
		mine := ordered[k]
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
func inKeyOrder(changes []change, accounts map[syntax.DID]int64) map[*kind][]change {
	out := map[*kind][]change{}
	for _, ch := range changes {
		ch.account = accounts[ch.did]
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
