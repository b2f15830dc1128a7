package ingest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// tidyEvery is how often what has had its time is looked for.
	tidyEvery = time.Hour
	tidyMost  = 500
)

// Retention is how long is kept what nobody is shown. Zero fields take the
// defaults.
type Retention struct {
	// Deleted is for what accounts have written that their hosts call deleted:
	// 30 days.
	Deleted time.Duration
	// Gates is for rows that say that a record is not there any more, where
	// the repository is verified beyond that: 30 days.
	Gates time.Duration
}

func (r Retention) withDefaults() Retention {
	setDefault(&r.Deleted, 30*24*time.Hour)
	setDefault(&r.Gates, 30*24*time.Hour)
	return r
}

// tidier removes what has had its time.
type tidier struct{ in *Ingester }

// run tidies now and every so often until ctx ends.
func (t tidier) run(ctx context.Context) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		accounts, err := t.accounts(ctx)
		if err != nil && ctx.Err() == nil {
			t.in.log.WarnContext(ctx, "content of deleted accounts not removed, trying again later", "error", err)
		}
		gates, err := t.gates(ctx)
		if err != nil && ctx.Err() == nil {
			t.in.log.WarnContext(ctx, "gates not removed, trying again later", "error", err)
		}
		if accounts+gates > 0 {
			t.in.log.InfoContext(ctx, "tidied", "accounts", accounts, "gates", gates)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// accounts removes what deleted accounts have written. Where an account comes
// back its repository is fetched: its next commit does not show what was before.
func (t tidier) accounts(ctx context.Context) (removed int64, err error) {
	for {
		list, err := t.in.cfg.Index.Deleted(ctx, t.in.cfg.Retention.Deleted, tidyMost)
		if err != nil {
			return removed, err
		}
		for _, did := range list {
			err := t.in.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
				_, err := tx.ExecContext(ctx, `UPDATE ingest_repo SET data = NULL, wanted = false WHERE did = $1`, did)
				return err
			})
			if err == nil {
				err = t.in.cfg.Index.RemoveContent(ctx, did)
			}
			if err != nil {
				return removed, err
			}
			removed++
		}
		if len(list) < tidyMost {
			return removed, nil
		}
	}
}

// gates removes rows that say that a record is not there any more, where the
// repository is verified beyond them. Elsewhere nothing else tells what is late.
// It takes two rounds: one notes up to where late commits are not applied any
// more, the next removes. So no batch that has read the repository's state
// before the note is still to be written.
func (t tidier) gates(ctx context.Context) (removed int64, err error) {
	before := t.in.cfg.Now().Add(-t.in.cfg.Retention.Gates)
	var place index.GatePlace
	for {
		gates, next, more, err := t.in.cfg.Index.Gates(ctx, place, before, tidyMost)
		if err != nil || !more {
			return removed, err
		}
		place = next
		n, err := t.prune(ctx, gates)
		removed += n
		if err != nil {
			return removed, err
		}
	}
}

func (t tidier) prune(ctx context.Context, gates []index.Gate) (removed int64, err error) {
	dids := make([]syntax.DID, len(gates))
	for i, g := range gates {
		dids[i] = g.DID
	}
	slices.Sort(dids)
	repos, err := t.in.loadRepos(ctx, slices.Compact(dids))
	if err != nil {
		return 0, err
	}
	upTo := map[syntax.DID]int64{}
	var over []index.Gate
	for _, g := range gates {
		switch r := repos[g.DID]; {
		case r.data == nil || r.wanted || max(r.rev, r.base) <= g.Rev:
		case g.Rev <= r.pruned:
			over = append(over, g)
		default:
			upTo[g.DID] = max(upTo[g.DID], g.Rev)
		}
	}
	if len(over)+len(upTo) == 0 {
		return 0, nil
	}
	err = t.in.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		if err := t.in.lease.hold(ctx, tx); err != nil {
			return err
		}
		if removed, err = t.in.cfg.Index.PruneGates(ctx, tx, over); err != nil {
			return err
		}
		return t.mark(ctx, tx, upTo)
	})
	return removed, err
}

// mark notes up to where late commits of repositories are not applied any more.
func (t tidier) mark(ctx context.Context, tx *store.Tx, upTo map[syntax.DID]int64) error {
	for _, did := range slices.Sorted(maps.Keys(upTo)) { // one order of locks for everybody
		_, err := tx.ExecContext(ctx, `UPDATE ingest_repo SET pruned = $1 WHERE did = $2 AND pruned < $1`, upTo[did], did)
		if err != nil {
			return err
		}
	}
	return nil
}
