package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// commit writes a batch. It returns only when that is done, or ctx has ended:
// nothing is skipped because the database is away for a while.
func (s *source) commit(ctx context.Context, b batch) error {
	// A host that repeats itself does not move the cursor back.
	if s.at.cursor != nil && (s.kind != Jetstream2 || *s.at.cursor < leastTime) {
		b.cursor = max(b.cursor, *s.at.cursor)
	}
	if !b.time.IsZero() {
		s.at.time = max(s.at.time, min(b.time.UnixMicro(), s.in.cfg.Now().UnixMicro()))
	}
	if len(b.units) == 0 && time.Since(s.saved) < s.in.cfg.Limits.CursorEvery {
		s.moved(b)
		s.unsaved = true
		return nil
	}
	err := s.persist(ctx, b.units, b.plan, &b.cursor)
	if store.IsBadData(err) {
		err = s.bisect(ctx, b.units, &b.cursor, err)
	}
	if err != nil {
		return err
	}
	s.moved(b)
	s.unsaved, s.saved = false, time.Now()
	return nil
}

// moved notes how far the source has come.
func (s *source) moved(b batch) {
	s.at.cursor = &b.cursor
	s.in.metrics.events.WithLabelValues(s.label).Add(float64(b.events))
	s.events.Add(int64(b.events))
	var behind time.Duration
	if !b.time.IsZero() {
		behind = max(0, s.in.cfg.Now().Sub(b.time))
		s.in.metrics.lag.WithLabelValues(s.label).Set(behind.Seconds())
	}
	s.status.set(func(st *Status) { st.Cursor, st.Behind, st.movedAt = b.cursor, behind, time.Now() })
}

// settle writes units and the cursor after them, if there is one.
func (s *source) settle(ctx context.Context, units []unit, cursor *int64) error {
	err := s.persist(ctx, units, s.in.plan(units), cursor)
	if err == nil || !store.IsBadData(err) {
		return err
	}
	return s.bisect(ctx, units, cursor, err)
}

// bisect writes units that the database has refused: halves are tried, in order,
// until the record at fault is alone.
func (s *source) bisect(ctx context.Context, units []unit, cursor *int64, err error) error {
	if len(units) > 1 {
		middle := len(units) / 2
		// A cursor in between may be behind the one before: sources with
		// overlap and hosts that go back. The last one will be right.
		if err := s.settle(ctx, units[:middle], nil); err != nil {
			return err
		}
		return s.settle(ctx, units[middle:], cursor)
	}
	if len(units) == 0 {
		return err // the cursor itself; cannot be, and must not be passed over
	}
	for _, u := range s.split(units[0]) {
		if err := s.single(ctx, u); err != nil {
			return err
		}
	}
	return s.persist(ctx, nil, s.in.plan(nil), cursor)
}

// single writes one record, or keeps it as a dead letter.
func (s *source) single(ctx context.Context, u unit) error {
	err := s.persist(ctx, []unit{u}, s.in.plan([]unit{u}), nil)
	if err == nil || !store.IsBadData(err) {
		return err
	}
	return s.bury(ctx, u, err)
}

// split makes one unit of each record of u.
func (s *source) split(u unit) []unit {
	type name struct{ collection, key string }
	var out []unit
	at := map[name]int{}
	for _, op := range u.ops {
		n := name{op.Collection.String(), op.RKey.String()}
		i, seen := at[n]
		if !seen {
			i = len(out)
			at[n] = i
			out = append(out, unit{seq: u.seq, time: u.time, did: u.did, rev: u.rev})
		}
		out[i].ops = append(out[i].ops, op)
	}
	for i := range out {
		out[i].commit, _ = s.in.cfg.Index.Prepare(u.did, u.rev, out[i].ops)
	}
	if u.account != nil || u.step != nil {
		out = append(out, unit{seq: u.seq, time: u.time, did: u.did, account: u.account, step: u.step})
	}
	return out
}

// persist writes units, and the cursor when one is given, in one transaction.
func (s *source) persist(ctx context.Context, units []unit, plan *index.Plan, cursor *int64) error {
	var result index.Result
	err := s.insist(ctx, func(tx *store.Tx) (err error) {
		result, err = s.write(ctx, tx, units, plan, cursor)
		return err
	})
	if err != nil {
		return err
	}
	s.count(result)
	for _, u := range units {
		if u.step != nil && u.step.want != "" {
			s.in.fetch.poke()
		}
	}
	return nil
}

// insistRead runs a query until it works or ctx ends.
func (s *source) insistRead(ctx context.Context, query func() error) error {
	return s.again(ctx, query, func(error) bool { return false })
}

// insist runs a transaction until it works, its data is refused
// (store.IsBadData), or ctx ends.
func (s *source) insist(ctx context.Context, fn func(tx *store.Tx) error) error {
	held := func(tx *store.Tx) error {
		if err := s.in.lease.hold(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	}
	return s.again(ctx, func() error { return s.in.cfg.DB.Tx(ctx, held) },
		func(err error) bool { return store.IsBadData(err) || errors.Is(err, errLease) })
}

// again runs work until it succeeds, fails for good, or ctx ends.
func (s *source) again(ctx context.Context, work func() error, final func(error) bool) error {
	again := backoff{min: s.in.cfg.Limits.BackoffMin, max: s.in.cfg.Limits.BackoffMax}
	for {
		err := work()
		switch {
		case err == nil || final(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		s.in.metrics.retries.WithLabelValues(s.label).Inc()
		s.status.set(func(st *Status) { st.Trouble = "storage: " + err.Error() })
		s.log.ErrorContext(ctx, "storage fails, trying again", "error", err)
		if !again.wait(ctx) {
			return ctx.Err()
		}
	}
}

func (s *source) count(result index.Result) {
	s.in.metrics.records.WithLabelValues("applied").Add(float64(result.Applied))
	s.in.metrics.records.WithLabelValues("stale").Add(float64(result.Stale))
	s.status.set(func(st *Status) { st.Trouble = "" })
	if result.Unresolved {
		s.in.resolve.poke()
	}
}

// plan makes the commits of units ready.
func (in *Ingester) plan(units []unit) *index.Plan {
	commits := make([]index.Commit, 0, len(units))
	for _, u := range units {
		if !u.commit.Empty() {
			commits = append(commits, u.commit)
		}
	}
	return in.cfg.Index.Plan(commits)
}

// write is one attempt, in one transaction.
func (s *source) write(ctx context.Context, tx *store.Tx, units []unit, plan *index.Plan, cursor *int64) (index.Result, error) {
	var accounts []index.AccountEvent
	var steps []step
	for _, u := range units {
		if u.step != nil {
			steps = append(steps, *u.step)
		}
		if u.account != nil {
			accounts = append(accounts, *u.account)
		}
	}
	result, err := s.in.cfg.Index.ApplyPlan(ctx, tx, plan)
	if err != nil {
		return index.Result{}, err
	}
	// After the commits: they make accounts known that events speak of.
	changed, err := s.in.cfg.Index.ApplyAccounts(ctx, tx, accounts)
	if err != nil {
		return index.Result{}, err
	}
	result.Unresolved = result.Unresolved || changed > 0
	if err := s.in.saveSteps(ctx, tx, steps); err != nil {
		return index.Result{}, err
	}
	if cursor == nil {
		return result, nil
	}
	return result, s.savePlace(ctx, tx, place{origin: s.at.origin, cursor: cursor, time: s.at.time})
}
