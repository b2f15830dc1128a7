package ingest

import (
	"cmp"
	"context"
	"hash/maphash"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/sync/semaphore"

	"github.com/atoll-social/atoll/internal/index"
)

// unit is an event that changes the index.
type unit struct {
	seq     int64
	time    time.Time
	did     syntax.DID
	rev     syntax.TID
	ops     []index.Op // of commit, for a dead letter
	commit  index.Commit
	account *index.AccountEvent
	step    *step
}

// empty reports that nothing is to be written.
func (u unit) empty() bool { return u.account == nil && u.step == nil && u.commit.Empty() }

// batch is what is committed together: the units in the order of arrival, and
// the place after the last event, whether that was one of them or not.
type batch struct {
	units  []unit
	plan   *index.Plan // of their commits
	cursor int64
	events int
	time   time.Time // of the last event that has one
}

// index gathers arrivals into batches and commits them until there are no
// more (nil) or ctx ends. While one is committed, the next is made ready.
func (s *source) index(ctx context.Context, from <-chan arrival, pending *semaphore.Weighted) error {
	last := &committing{done: make(chan struct{})}
	close(last.done)
	for {
		arrivals := s.gather(ctx, from, last.done)
		if len(arrivals) == 0 {
			return cmp.Or(last.wait(), ctx.Err())
		}
		if signed(arrivals) {
			<-last.done // what is known of repositories is in it
		}
		b, err := s.prepare(ctx, arrivals)
		if err = cmp.Or(last.wait(), err); err != nil {
			return err
		}
		last = s.begin(ctx, b, arrivals, pending)
	}
}

// committing is a batch on its way into the database.
type committing struct {
	done chan struct{}
	err  error
}

func (c *committing) wait() error {
	<-c.done
	return c.err
}

// begin commits a batch while the caller goes on.
func (s *source) begin(ctx context.Context, b batch, arrivals []arrival, pending *semaphore.Weighted) *committing {
	c := &committing{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		began := time.Now()
		if c.err = s.commit(ctx, b); c.err != nil {
			return
		}
		s.pace.Store(int64(time.Since(began)) / int64(len(arrivals)))
		for _, a := range arrivals {
			pending.Release(a.size)
		}
		s.retry.reset()
	}()
	return c
}

// signed tells that some of what arrived is verified by what came before it.
func signed(arrivals []arrival) bool {
	return slices.ContainsFunc(arrivals, func(a arrival) bool { return a.event.commit != nil || a.event.sync != nil })
}

// gather waits for an event and takes those that follow soon, and as long as
// the batch before is busy. It returns nothing when there are no more, or when
// ctx ends.
func (s *source) gather(ctx context.Context, from <-chan arrival, busy <-chan struct{}) []arrival {
	var out []arrival
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	soon := true
	for most := 1; len(out) < most; {
		if len(out) > 0 {
			out = atHand(out, from, min(most, len(out)+readAhead))
		}
		if len(out) == most {
			break
		}
		select {
		case a, ok := <-from:
			if !ok {
				return out
			}
			if out = append(out, a); len(out) == 1 {
				timer.Reset(s.in.cfg.Limits.BatchWait)
				most, soon = s.most(a.event), true
			}
		case <-timer.C:
			soon = false
		case <-busy:
			busy = nil
		case <-ctx.Done():
			return nil
		}
		if len(out) > 0 && !soon && busy == nil {
			return out
		}
	}
	return out
}

// atHand adds arrivals that need not be waited for, up to most in all.
func atHand(out []arrival, from <-chan arrival, most int) []arrival {
	for len(out) < most {
		select {
		case a, ok := <-from:
			if !ok {
				return out // whoever waits is told so, too
			}
			out = append(out, a)
		default:
			return out
		}
	}
	return out
}

const (
	// farBehind is from when on a stream is caught up with rather than followed.
	farBehind = time.Second
	// leastBatch is worth a transaction of its own however slow the database is.
	leastBatch = 100
)

// most is how many events are committed together with a first one: what the
// database takes CommitFor for, so that those who wait for it, and the events
// that come next, do not wait for long. A stream that is far behind gets what takes
// CatchUpFor, which is quicker in all.
func (s *source) most(first event) int {
	limits, pace := s.in.cfg.Limits, s.pace.Load()
	if pace <= 0 { // the first: nobody knows yet
		return max(1, limits.BatchEvents/4)
	}
	while := limits.CommitFor
	if !first.time.IsZero() && s.in.cfg.Now().Sub(first.time) > farBehind {
		while = limits.CatchUpFor
	}
	return min(limits.BatchEvents, max(leastBatch, int(int64(while)/pace)))
}

// prepare decodes, verifies and validates. Repositories are spread over the
// cores; the events of one stay in order.
func (s *source) prepare(ctx context.Context, arrivals []arrival) (batch, error) {
	repos, err := s.repos(ctx, arrivals)
	if err != nil {
		return batch{}, err
	}
	units := make([]unit, len(arrivals))
	lanes := make([][]int, runtime.GOMAXPROCS(0))
	seed := maphash.MakeSeed()
	b := batch{events: len(arrivals)}
	for i, a := range arrivals {
		b.cursor = max(b.cursor, a.event.seq)
		if !a.event.time.IsZero() {
			b.time = a.event.time
		}
		if a.event.concerns() {
			lane := maphash.String(seed, string(a.event.did)) % uint64(len(lanes))
			lanes[lane] = append(lanes[lane], i)
		}
	}
	var wg sync.WaitGroup
	for _, lane := range lanes {
		wg.Go(func() {
			for _, i := range lane {
				e := arrivals[i].event
				units[i] = s.unit(ctx, e, repos[e.did])
			}
		})
	}
	wg.Wait()
	b.units = make([]unit, 0, len(units))
	for _, u := range units {
		if !u.empty() {
			b.units = append(b.units, u)
		}
	}
	b.plan = s.in.plan(b.units)
	return b, ctx.Err() // which may have kept a key from us
}

// repos reads what is known of the repositories in a batch, and gets the keys
// that will be needed.
func (s *source) repos(ctx context.Context, arrivals []arrival) (map[syntax.DID]*repo, error) {
	set := map[syntax.DID]bool{} // whether a key is needed
	var flat []syntax.DID
	for _, a := range arrivals {
		switch e := a.event; {
		case e.commit != nil:
			set[e.did] = set[e.did] || e.commit.concerns()
		case e.sync != nil:
			set[e.did] = set[e.did] || false
		case e.flat != nil:
			flat = append(flat, e.did)
		case e.account != nil && e.account.Status == nil:
			s.in.keys.doubt(e.did)
		}
	}
	dids := slices.AppendSeq(flat, maps.Keys(set))
	var repos map[syntax.DID]*repo
	err := s.insistRead(ctx, func() (err error) {
		repos, err = s.in.loadRepos(ctx, dids)
		return err
	})
	if err != nil {
		return nil, err
	}
	for did := range set {
		r := repos[did]
		// Nobody waits again for an account whose key was never had.
		if needed := (set[did] || r.known) && (r.rev > 0 || !r.wanted); !needed {
			delete(set, did)
		}
	}
	for did, key := range s.in.keys.prefetch(ctx, set) {
		repos[did].key = key
	}
	return repos, nil
}

// unit turns an event into what changes the index.
func (s *source) unit(ctx context.Context, e event, r *repo) unit {
	u := unit{seq: e.seq, time: e.time, did: e.did, account: e.account}
	if u.account != nil {
		if u.account.Status != nil && s.at.origin == originPDS {
			u.account.Status.Host = s.url
		}
		return u
	}
	if e.flat != nil {
		s.flat(ctx, &u, e.flat, r)
		return u
	}
	var v verdict
	if e.commit != nil {
		v = s.in.judge(ctx, e.did, r, e.commit)
	} else {
		v = s.in.judgeSync(ctx, e.did, r, e.sync)
	}
	if v.drop != nil {
		s.drop(ctx, e.did.String(), *v.drop)
	}
	if u.step = v.step; v.step != nil {
		r.take(*v.step)
	}
	if !v.apply {
		return u
	}
	ops, drops := e.commit.operations(s.in.decode)
	s.apply(ctx, &u, syntax.TID(e.commit.Rev), ops, drops)
	return u
}

// flat fills in an operation that nobody signed. What a whole repository has
// told since is not read again.
func (s *source) flat(ctx context.Context, u *unit, c *flatCommit, r *repo) {
	a := c.prepare(s.in, u.did)
	if a.failed != nil {
		s.drop(ctx, u.did.String(), *a.failed.drop())
		return
	}
	if a.rev <= r.base {
		return
	}
	if a.rev <= r.pruned {
		u.step = r.tooLate(u.did).step
		return
	}
	if a.drop != nil {
		s.drop(ctx, u.did.String(), *a.drop)
		return
	}
	u.rev, u.ops, u.commit = syntax.TID(c.Rev), a.ops, a.commit
	for _, d := range a.drops {
		s.drop(ctx, u.did.String(), d)
	}
}

// apply fills in operations.
func (s *source) apply(ctx context.Context, u *unit, rev syntax.TID, ops []index.Op, drops []index.Drop) {
	commit, more := s.in.cfg.Index.Prepare(u.did, rev, ops)
	u.rev, u.ops, u.commit = rev, ops, commit
	for _, d := range append(drops, more...) {
		s.drop(ctx, u.did.String(), d)
	}
}
