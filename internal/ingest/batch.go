package ingest

import (
	"context"
	"hash/maphash"
	"runtime"
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
}

// batch is what is committed together: the units in the order of arrival, and
// the place after the last event, whether that was one of them or not.
type batch struct {
	units  []unit
	cursor int64
	events int
	time   time.Time // of the last event that has one
}

// index gathers arrivals into batches and commits them until there are no
// more (nil) or ctx ends.
func (s *source) index(ctx context.Context, from <-chan arrival, pending *semaphore.Weighted) error {
	for {
		arrivals := s.gather(ctx, from)
		if len(arrivals) == 0 {
			return ctx.Err()
		}
		if err := s.commit(ctx, s.prepare(ctx, arrivals)); err != nil {
			return err
		}
		for _, a := range arrivals {
			pending.Release(a.size)
		}
		s.retry.reset()
	}
}

// gather waits for an event and takes those that follow soon. It returns
// nothing when there are no more, or when ctx ends.
func (s *source) gather(ctx context.Context, from <-chan arrival) []arrival {
	var out []arrival
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for len(out) < s.in.cfg.Limits.BatchEvents {
		select {
		case a, ok := <-from:
			if !ok {
				return out
			}
			if out = append(out, a); len(out) == 1 {
				timer.Reset(s.in.cfg.Limits.BatchWait)
			}
		case <-timer.C:
			if len(out) > 0 {
				return out
			}
			timer.Reset(time.Hour)
		case <-ctx.Done():
			return nil
		}
	}
	return out
}

// prepare decodes and validates. Repositories are spread over the cores; the
// events of one stay in order.
func (s *source) prepare(ctx context.Context, arrivals []arrival) batch {
	units := make([]unit, len(arrivals))
	lanes := make([][]int, runtime.GOMAXPROCS(0))
	seed := maphash.MakeSeed()
	b := batch{events: len(arrivals)}
	for i, a := range arrivals {
		b.cursor = max(b.cursor, a.event.seq)
		if !a.event.time.IsZero() {
			b.time = a.event.time
		}
		if a.event.commit != nil || a.event.account != nil {
			lane := maphash.String(seed, string(a.event.did)) % uint64(len(lanes))
			lanes[lane] = append(lanes[lane], i)
		}
	}
	var wg sync.WaitGroup
	for _, lane := range lanes {
		wg.Go(func() {
			for _, i := range lane {
				units[i] = s.unit(ctx, arrivals[i].event)
			}
		})
	}
	wg.Wait()
	for _, u := range units {
		if u.account != nil || !u.commit.Empty() {
			b.units = append(b.units, u)
		}
	}
	return b
}

// unit turns an event into what changes the index.
func (s *source) unit(ctx context.Context, e event) unit {
	u := unit{seq: e.seq, time: e.time, did: e.did, account: e.account}
	if u.account != nil && u.account.Status != nil && s.at.origin == originPDS {
		u.account.Status.Host = s.url
	}
	if e.commit == nil {
		return u
	}
	ops, drops := e.commit.operations(s.in.decode)
	u.rev, u.ops = syntax.TID(e.commit.Rev), ops
	commit, more := s.in.cfg.Index.Prepare(e.did, u.rev, ops)
	u.commit = commit
	for _, d := range append(drops, more...) {
		s.drop(ctx, e.did.String(), d)
	}
	return u
}
