package job

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// TestNoJobIsDoneTwice holds that many workers of several queues, each with
// connections of its own, do every job exactly once.
func TestNoJobIsDoneTwice(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		count := size.Size(300, 5000)
		done := make([]atomic.Int64, count)
		var left sync.WaitGroup
		left.Add(count)
		var queues []*Queue
		for range 4 {
			q := newQueue(t, Config{DB: storetest.Open(t, cfg), Timing: quick()})
			q.Register("count", func(_ context.Context, j Job) error {
				var n int
				if err := j.Decode(&n); err != nil {
					return err
				}
				if done[n].Add(1) == 1 {
					left.Done()
				}
				return nil
			})
			queues = append(queues, q)
		}
		for n := range count {
			enqueue(t, queues[0], Insert{Kind: "count", Args: n})
		}
		var stops []func()
		for _, q := range queues {
			stops = append(stops, run(t, q))
		}
		left.Wait()
		for _, stop := range stops {
			stop()
		}
		for n := range done {
			if runs := done[n].Load(); runs != 1 {
				t.Errorf("job %d ran %d times", n, runs)
			}
		}
	})
}

// TestLostLease holds that who lost the lease finishes nothing, neither by
// returning nor in a transaction of its own, and that the successor does.
func TestLostLease(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		first, c := stepping(t, db)
		second := newQueue(t, Config{DB: db, Now: c.now})
		for _, q := range []*Queue{first, second} {
			q.Register("post", func(context.Context, Job) error { return nil })
		}
		id := enqueue(t, first, Insert{Kind: "post"})
		old := claimOne(t, first)
		c.advance(time.Minute)
		if err := second.rescue(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := claimOne(t, second)
		if fresh.ID != id || fresh.Attempt != 2 {
			t.Fatalf("the second got %s, attempt %d", fresh.ID, fresh.Attempt)
		}
		for what, do := range map[string]func(tx *store.Tx) error{
			"Hold":     func(tx *store.Tx) error { return old.Hold(t.Context(), tx) },
			"Complete": func(tx *store.Tx) error { return old.Complete(t.Context(), tx) },
			"settle":   func(tx *store.Tx) error { return first.settle(t.Context(), tx, old, verdict{state: Failed}) },
		} {
			if err := db.Tx(t.Context(), do); !errors.Is(err, ErrLost) {
				t.Errorf("%s by the loser: %v, want ErrLost", what, err)
			}
		}
		if i := get(t, first, id); i.State != Running || i.Owner != second.owner {
			t.Fatalf("after the loser's end: %s by %s", i.State, i.Owner)
		}
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			return errors.Join(fresh.Hold(t.Context(), tx), fresh.Complete(t.Context(), tx))
		})
		if i := get(t, first, id); err != nil || i.State != Done {
			t.Errorf("after the successor's end: %s, %v", i.State, err)
		}
		if n := metric(t, second, "expired_leases_total", "post"); n != 1 {
			t.Errorf("%v expired leases counted, want 1", n)
		}
	})
}

func claimOne(t *testing.T, q *Queue) Job {
	t.Helper()
	jobs, _, err := q.claim(t.Context())
	if err != nil || len(jobs) != 1 {
		t.Fatalf("claim: %d jobs, %v", len(jobs), err)
	}
	return jobs[0]
}

// TestKillersRunOutOfAttempts holds that a job whose process always dies fails
// in the end instead of killing for ever.
func TestKillersRunOutOfAttempts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, c *clock) {
		q.Register("post", func(context.Context, Job) error { return nil }, Attempts(2))
		id := enqueue(t, q, Insert{Kind: "post"})
		for range 2 {
			claimOne(t, q)
			c.advance(time.Minute)
			if err := q.rescue(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if i := get(t, q, id); i.State != Failed || i.FinishedAt.IsZero() || i.Error == "" {
			t.Errorf("%s, %q", i.State, i.Error)
		}
	})
}

// TestHeartbeat holds that a job may last longer than its lease, and that a
// worker whose job is cancelled is stopped by the next heartbeat.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		q := newQueue(t, Config{DB: db, Timing: quick()})
		started, cause := make(chan struct{}), make(chan error, 1)
		q.Register("long", func(ctx context.Context, _ Job) error {
			close(started)
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return ctx.Err()
		})
		run(t, q)
		id := enqueue(t, q, Insert{Kind: "long"})
		<-started
		before := get(t, q, id).LeaseUntil
		await(t, "the lease to be extended twice", func() bool {
			return get(t, q, id).LeaseUntil.Sub(before) >= 2*q.cfg.Timing.Heartbeat-50*time.Millisecond
		})
		if err := q.Cancel(t.Context(), id); err != nil {
			t.Fatalf("Cancel: %v", err)
		}
		if err := <-cause; !errors.Is(err, ErrLost) {
			t.Errorf("the worker was stopped by %v, want ErrLost", err)
		}
		await(t, "the worker to be gone", func() bool { return len(q.held()) == 0 })
		if i := get(t, q, id); i.State != Cancelled {
			t.Errorf("after the worker's end: %s, want cancelled", i.State)
		}
	})
}

// TestCompleteInTheWorkersTransaction holds that effect and end are one.
func TestCompleteInTheWorkersTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, _ *clock) {
		var next string
		q.Register("post", func(ctx context.Context, j Job) error {
			err := q.cfg.DB.Tx(ctx, func(tx *store.Tx) (err error) {
				if next, err = q.Enqueue(ctx, tx, Insert{Kind: "other"}); err != nil {
					return err
				}
				return j.Complete(ctx, tx)
			})
			return errors.Join(err, errBroken) // too late
		})
		id := enqueue(t, q, Insert{Kind: "post"})
		step(t, q)
		if i := get(t, q, id); i.State != Done || get(t, q, next).State != Waiting {
			t.Errorf("%s, %q; want done", i.State, i.Error)
		}
	})
}

// TestDrain holds that a stop lets running jobs end, gives back what takes too
// long, and starts nothing more.
func TestDrain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		timing := quick()
		timing.Drain = 3 * time.Second // in which a busy machine, too, notes the end of a job
		q := newQueue(t, Config{DB: db, Timing: timing})
		started, stopping := make(chan struct{}, 2), make(chan struct{})
		q.Register("short", func(context.Context, Job) error { started <- struct{}{}; <-stopping; return nil })
		q.Register("endless", func(ctx context.Context, _ Job) error { started <- struct{}{}; <-ctx.Done(); return ctx.Err() })
		stop := run(t, q)
		short, endless := enqueue(t, q, Insert{Kind: "short"}), enqueue(t, q, Insert{Kind: "endless"})
		<-started
		<-started
		go func() { time.Sleep(q.cfg.Timing.Drain / 10); close(stopping) }()
		stop()
		late := enqueue(t, q, Insert{Kind: "short"})
		if i := get(t, q, short); i.State != Done {
			t.Errorf("the short job is %s, want done", i.State)
		}
		if i := get(t, q, endless); i.State != Waiting || i.Attempts != 0 || i.Owner != "" {
			t.Errorf("the endless job is %s after %d attempts, want waiting and free", i.State, i.Attempts)
		}
		if i := get(t, q, late); i.State != Waiting {
			t.Errorf("what came after the stop is %s", i.State)
		}
	})
}

// TestDeafWorker holds that a worker which doesn't listen cannot stop the stop.
func TestDeafWorker(t *testing.T) {
	t.Parallel()
	q := newQueue(t, Config{DB: storetest.New(t, store.SQLite), Timing: quick()})
	started, never := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	q.Register("deaf", func(context.Context, Job) error { close(started); <-never; defer close(ended); return nil })
	stop := run(t, q)
	id := enqueue(t, q, Insert{Kind: "deaf"})
	<-started
	stop()
	if i := get(t, q, id); i.State != Running || i.LeaseUntil.IsZero() {
		t.Errorf("%s with a lease until %v; want it to run out by itself", i.State, i.LeaseUntil)
	}
	close(never)
	<-ended
	await(t, "its end", func() bool { return len(q.held()) == 0 })
}
