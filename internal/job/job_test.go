package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

var errBroken = errors.New("broken")

// TestEnqueueIsPartOfTheTransaction holds that what is rolled back leaves no
// job, and that a commit wakes the queue of this process.
func TestEnqueueIsPartOfTheTransaction(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		timing := quick()
		timing.Poll = time.Hour // only the commit can wake it
		q := newQueue(t, Config{DB: db, Timing: timing})
		got := make(chan string, 2)
		q.Register("greet", func(_ context.Context, j Job) error {
			var name string
			if err := j.Decode(&name); err != nil {
				return err
			}
			got <- name
			return nil
		})
		run(t, q)
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			if _, err := q.Enqueue(t.Context(), tx, Insert{Kind: "greet", Args: "nobody"}); err != nil {
				return err
			}
			return errBroken
		})
		if !errors.Is(err, errBroken) {
			t.Fatalf("transaction: %v", err)
		}
		id := enqueue(t, q, Insert{Kind: "greet", Args: "alice"})
		if name := <-got; name != "alice" {
			t.Errorf("the worker got %q, want alice", name)
		}
		await(t, "the job to be done", func() bool { return get(t, q, id).State == Done })
		if all, _, err := q.List(t.Context(), Query{}); err != nil || len(all) != 1 {
			t.Errorf("%d jobs (%v), want only the one committed", len(all), err)
		}
	})
}

func TestArguments(t *testing.T) {
	t.Parallel()
	q, _ := stepping(t, storetest.New(t, store.SQLite))
	big := strings.Repeat("x", maxArgs)
	cases := []struct {
		name string
		in   Insert
		ok   bool
	}{
		{"nothing", Insert{Kind: "a"}, true},
		{"a struct", Insert{Kind: "a", Args: struct{ N int }{3}}, true},
		{"JSON bytes", Insert{Kind: "a", Args: []byte(`{"n":1}`)}, true},
		{"raw JSON", Insert{Kind: "a", Args: json.RawMessage(`[1]`)}, true},
		{"bytes that are no JSON", Insert{Kind: "a", Args: []byte("x")}, false},
		{"too large", Insert{Kind: "a", Args: big}, false},
		{"not encodable", Insert{Kind: "a", Args: make(chan int)}, false},
		{"no kind", Insert{}, false},
		{"a misspelt kind", Insert{Kind: "A b"}, false},
		{"a unique key without end", Insert{Kind: "a", Unique: big}, false},
	}
	for _, c := range cases {
		_, err := q.EnqueueNow(t.Context(), c.in)
		if (err == nil) != c.ok {
			t.Errorf("%s: error %v, want ok %t", c.name, err, c.ok)
		}
	}
}

func TestUndecodableArgumentsAreDiscarded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, _ *clock) {
		q.Register("count", func(_ context.Context, j Job) error { var n int; return j.Decode(&n) })
		id := enqueue(t, q, Insert{Kind: "count", Args: "three"})
		step(t, q)
		if i := get(t, q, id); i.State != Discarded || !strings.Contains(i.Error, "arguments of job count") {
			t.Errorf("state %s, error %q; want discarded for its arguments", i.State, i.Error)
		}
	})
}

// TestUnique holds that one job per key is live, under a race, and that asking
// again while it runs lets it run again.
func TestUnique(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, _ *clock) {
		var runs atomic.Int64
		q.Register("recount", func(ctx context.Context, j Job) error {
			if runs.Add(1) == 1 {
				id, err := q.EnqueueNow(ctx, Insert{Kind: "recount", Unique: "post 1"})
				if err != nil || id != j.ID {
					return Discard(fmt.Errorf("enqueued while running: %s, %w; want %s", id, err, j.ID))
				}
			}
			return nil
		})
		ids := make(chan string, 50)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				id, err := q.EnqueueNow(t.Context(), Insert{Kind: "recount", Unique: "post 1"})
				if err != nil {
					t.Errorf("enqueue: %v", err)
				}
				ids <- id
			})
		}
		wg.Wait()
		first := <-ids
		for range 49 {
			if id := <-ids; id != first {
				t.Fatalf("ids %s and %s for one unique key", first, id)
			}
		}
		step(t, q)
		if i := get(t, q, first); i.State != Waiting || i.Attempts != 0 {
			t.Errorf("asked for while it ran: %s after %d attempts, want waiting anew", i.State, i.Attempts)
		}
		step(t, q)
		if i := get(t, q, first); i.State != Done || runs.Load() != 2 {
			t.Errorf("%s after %d runs, want done after 2; error %q", i.State, runs.Load(), i.Error)
		}
		if next := enqueue(t, q, Insert{Kind: "recount", Unique: "post 1"}); next == first {
			t.Error("a finished job still takes what is enqueued")
		}
	})
}

// TestRetries holds that failures come again with growing pauses, up to the
// limit, and are then visible, and that the operator can try once more.
func TestRetries(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, c *clock) {
		fail := true
		q.Register("post", func(context.Context, Job) error {
			if fail {
				return errBroken
			}
			return nil
		}, Attempts(3))
		id := enqueue(t, q, Insert{Kind: "post"})
		for attempt := 1; attempt <= 3; attempt++ {
			step(t, q)
			i := get(t, q, id)
			if i.Attempts != attempt || i.Error != "broken" {
				t.Fatalf("attempt %d: %d counted, error %q", attempt, i.Attempts, i.Error)
			}
			step(t, q) // is not due yet
			if again := get(t, q, id); again.Attempts != attempt {
				t.Fatalf("attempt %d is followed at once by another", attempt)
			}
			base := q.cfg.Timing.Backoff << (attempt - 1)
			if wait := i.RunAt.Sub(c.now()); attempt < 3 && (wait < base/2 || wait > 3*base/2) {
				t.Errorf("attempt %d is followed after %v, want about %v", attempt, wait, base)
			}
			c.advance(3 * base / 2)
		}
		if i := get(t, q, id); i.State != Failed || i.FinishedAt.IsZero() {
			t.Fatalf("after all attempts: %s", i.State)
		}
		if err := q.Trouble(t.Context()); err == nil {
			t.Error("a failed job troubles nobody")
		}
		fail = false
		if err := q.Retry(t.Context(), id); err != nil {
			t.Fatalf("Retry: %v", err)
		}
		step(t, q)
		if i := get(t, q, id); i.State != Done || i.Error != "" {
			t.Errorf("after the retry: %s, %q", i.State, i.Error)
		}
	})
}

// TestPark holds that being throttled is no failure.
func TestPark(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, c *clock) {
		runs := 0
		q.Register("post", func(_ context.Context, j Job) error {
			if runs++; runs <= 5 {
				return fmt.Errorf("send: %w", Park(c.now().Add(time.Minute), errBroken))
			}
			return nil
		}, Attempts(1))
		id := enqueue(t, q, Insert{Kind: "post"})
		for n := range 5 {
			step(t, q)
			if i := get(t, q, id); i.State != Parked || i.Attempts != 0 || i.RunAt != c.now().Add(time.Minute) {
				t.Fatalf("run %d: %s, %d attempts, until %v", n, i.State, i.Attempts, i.RunAt)
			}
			step(t, q)
			c.advance(time.Minute)
		}
		step(t, q)
		if i := get(t, q, id); i.State != Done || runs != 6 {
			t.Errorf("%s after %d runs, want done after 6", i.State, runs)
		}
	})
}

// TestParkedIntoThePast holds that such a job doesn't spin.
func TestParkedIntoThePast(t *testing.T) {
	t.Parallel()
	q, c := stepping(t, storetest.New(t, store.SQLite))
	for name, until := range map[string]time.Time{"the past": {}, "the far future": c.now().AddDate(90, 0, 0)} {
		v := q.judge(Job{}, Park(until, errBroken))
		if wait := v.runAt.Sub(c.now()); wait < minPark || wait > maxPark {
			t.Errorf("parked into %s: comes in %v", name, wait)
		}
	}
}

func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, _ *clock) {
		q.Register("post", func(context.Context, Job) error { panic("at the disco") }, Attempts(1))
		id := enqueue(t, q, Insert{Kind: "post"})
		step(t, q)
		if i := get(t, q, id); i.State != Failed || i.Error != "panic: at the disco" {
			t.Errorf("%s, %q", i.State, i.Error)
		}
	})
}

// TestErrorTextIsStorable holds that no error's text can keep a job running.
func TestErrorTextIsStorable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, _ *clock) {
		q.Register("post", func(context.Context, Job) error {
			return errors.New("\x00\xff" + strings.Repeat("é", maxErrorText))
		}, Attempts(1))
		id := enqueue(t, q, Insert{Kind: "post"})
		step(t, q)
		if i := get(t, q, id); i.State != Failed || !strings.HasPrefix(i.Error, "??é") {
			t.Errorf("%s, %.20q", i.State, i.Error)
		}
	})
}

// TestOrderAndLimits holds priorities, and that a kind at its limit leaves room
// to others.
func TestOrderAndLimits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, c *clock) {
		var mu sync.Mutex
		var order []string
		var now, most atomic.Int64
		note := func(_ context.Context, j Job) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, j.Kind+string(j.Args))
			return nil
		}
		gate := make(chan struct{})
		q.Register("slow", func(ctx context.Context, j Job) error {
			most.Store(max(most.Load(), now.Add(1)))
			<-gate
			now.Add(-1)
			return note(ctx, j)
		}, Limit(2))
		q.Register("fast", func(ctx context.Context, j Job) error { defer func() { gate <- struct{}{} }(); return note(ctx, j) }, Limit(1))
		for n := range 20 {
			enqueue(t, q, Insert{Kind: "slow", Args: n, Priority: High})
		}
		enqueue(t, q, Insert{Kind: "fast", Args: 1})
		c.advance(time.Second)
		var workers sync.WaitGroup
		full, err := q.round(t.Context(), t.Context(), &workers)
		if err != nil || full {
			t.Fatalf("round: full %t, %v", full, err)
		}
		gate <- struct{}{}
		workers.Wait()
		if len(order) != 3 || most.Load() > 2 {
			t.Errorf("first round did %v with %d slow ones at once, want fast1 and two slow ones", order, most.Load())
		}
		low := enqueue(t, q, Insert{Kind: "fast", Args: 2, Priority: Low})
		enqueue(t, q, Insert{Kind: "fast", Args: 3})
		c.advance(time.Second)
		jobs, _, err := q.claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.ID == low {
				t.Error("the job of low priority came first")
			}
		}
	})
}

// TestUnknownKindsAreLeft holds that a process takes only what it knows.
func TestUnknownKindsAreLeft(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, _ *clock) {
		q.Register("known", func(context.Context, Job) error { return nil })
		other := enqueue(t, q, Insert{Kind: "unknown", Priority: High})
		known := enqueue(t, q, Insert{Kind: "known"})
		step(t, q)
		if a, b := get(t, q, other).State, get(t, q, known).State; a != Waiting || b != Done {
			t.Errorf("unknown kind %s, known kind %s", a, b)
		}
	})
}

// TestOperate holds what an operator can do in each state.
func TestOperate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, c *clock) {
		q.Register("post", func(context.Context, Job) error { return nil })
		waiting := enqueue(t, q, Insert{Kind: "post", RunAt: c.now().Add(time.Hour), Unique: "a"})
		if err := q.Cancel(t.Context(), waiting); err != nil {
			t.Fatalf("Cancel: %v", err)
		}
		enqueue(t, q, Insert{Kind: "post", RunAt: c.now().Add(time.Hour), Unique: "a"})
		got := map[string]error{
			"cancel what is over":          q.Cancel(t.Context(), waiting),
			"retry beside a live one":      q.Retry(t.Context(), waiting),
			"cancel what is not there":     q.Cancel(t.Context(), "nothing"),
			"retry what is not there":      q.Retry(t.Context(), "nothing"),
			"cancel a bad id":              q.Cancel(t.Context(), "\x00"),
			"retry one that is not unique": nil,
		}
		want := map[string]error{
			"cancel what is over": ErrState, "retry beside a live one": ErrState,
			"cancel what is not there": ErrNotFound, "retry what is not there": ErrNotFound, "cancel a bad id": store.ErrBadText,
		}
		for what, err := range got {
			if !errors.Is(err, want[what]) {
				t.Errorf("%s: %v, want %v", what, err, want[what])
			}
		}
		all, more, err := q.List(t.Context(), Query{State: Waiting, Kind: "post", Limit: 1})
		if err != nil || len(all) != 1 || more {
			t.Errorf("List: %d jobs, more %t, %v; want the one that waits", len(all), more, err)
		}
		if all, more, err := q.List(t.Context(), Query{Limit: 1}); err != nil || len(all) != 1 || !more {
			t.Errorf("List all: %d jobs, more %t, %v; want one and more", len(all), more, err)
		}
	})
}

// TestPruneAndCount holds what is kept for how long, and the gauges.
func TestPruneAndCount(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *Queue, c *clock) {
		q.Register("good", func(context.Context, Job) error { return nil })
		q.Register("bad", func(context.Context, Job) error { return Discard(errBroken) })
		for range 3 {
			enqueue(t, q, Insert{Kind: "good"})
		}
		enqueue(t, q, Insert{Kind: "bad"})
		step(t, q)
		enqueue(t, q, Insert{Kind: "later"})
		c.advance(time.Hour)
		states := func() string {
			t.Helper()
			if err := q.upkeep(t.Context()); err != nil {
				t.Fatalf("upkeep: %v", err)
			}
			counts, err := q.Count(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, c := range counts {
				all = append(all, fmt.Sprintf("%d %s %s", c.Jobs, c.State, c.Kind))
			}
			return strings.Join(all, ", ")
		}
		if diff := cmp.Diff("1 discarded bad, 3 done good, 1 waiting later", states()); diff != "" {
			t.Errorf("after an hour (-want +got):\n%s", diff)
		}
		if n := metric(t, q, "oldest_seconds", "later"); n != 3600 {
			t.Errorf("the oldest waits %v s, want 3600", n)
		}
		if n := metric(t, q, "depth", "good", "done"); n != 3 {
			t.Errorf("depth of done good ones %v, want 3", n)
		}
		c.advance(keepDone)
		if diff := cmp.Diff("1 discarded bad, 1 waiting later", states()); diff != "" {
			t.Errorf("after a day (-want +got):\n%s", diff)
		}
		c.advance(keepOthers)
		if diff := cmp.Diff("1 waiting later", states()); diff != "" {
			t.Errorf("after a month (-want +got):\n%s", diff)
		}
	})
}

// TestPeriodic holds one row per kind and slot over all processes.
func TestPeriodic(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		var runs atomic.Int64
		var queues []*Queue
		for range 4 {
			q := newQueue(t, Config{DB: db, Now: c.now})
			q.Register("sweep", func(context.Context, Job) error { runs.Add(1); return nil })
			q.Periodic("sweep", time.Hour)
			queues = append(queues, q)
		}
		for want := int64(1); want <= 3; want++ {
			for range 2 {
				var wg sync.WaitGroup
				for _, q := range queues {
					wg.Go(func() { step(t, q) })
				}
				wg.Wait()
			}
			if got := runs.Load(); got != want {
				t.Fatalf("%d runs in %d slots", got, want)
			}
			c.advance(time.Hour)
		}
	})
}
