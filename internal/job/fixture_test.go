package job

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// clock is a clock that tests move.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.micros.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// quick is a queue that tests need not wait for.
func quick() Timing {
	return Timing{
		Poll: 5 * time.Millisecond, Lease: 10 * time.Second, Heartbeat: 100 * time.Millisecond,
		Backoff: time.Millisecond, Drain: 300 * time.Millisecond, Upkeep: 20 * time.Millisecond,
	}
}

func newQueue(t *testing.T, cfg Config) *Queue {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	q, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return q
}

// run runs a queue until the test ends or stop is called.
func run(t *testing.T, q *Queue) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func enqueue(t *testing.T, q *Queue, in Insert) string {
	t.Helper()
	id, err := q.EnqueueNow(t.Context(), in)
	if err != nil {
		t.Fatalf("enqueue %+v: %v", in, err)
	}
	return id
}

// await polls until ok, for what happens in other processes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 2 min for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func get(t *testing.T, q *Queue, id string) Info {
	t.Helper()
	i, err := q.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return i
}

// step makes one round and waits for the jobs that it started.
func step(t *testing.T, q *Queue) {
	t.Helper()
	var workers sync.WaitGroup
	if _, err := q.round(t.Context(), t.Context(), &workers); err != nil {
		t.Fatalf("round: %v", err)
	}
	workers.Wait()
}

// stepping makes a queue on a clock of its own that works only by step.
func stepping(t *testing.T, db *store.DB) (*Queue, *clock) {
	t.Helper()
	c := newClock()
	return newQueue(t, Config{DB: db, Now: c.now, Metrics: prometheus.NewRegistry()}), c
}

// each runs fn on both engines with a stepping queue.
func each(t *testing.T, fn func(t *testing.T, q *Queue, c *clock)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		q, c := stepping(t, db)
		fn(t, q, c)
	})
}

// metric is the value of the one number of this name whose labels are these,
// in the order of their names.
func metric(t *testing.T, q *Queue, name string, labels ...string) float64 {
	t.Helper()
	families, err := q.cfg.Metrics.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == "atoll_jobs_"+name && slices.Equal(values, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}
