package ingest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// gatherer is a source that only gathers.
func gatherer(events int) *source {
	return &source{in: &Ingester{cfg: Config{Limits: Limits{BatchEvents: events}.withDefaults(), Now: time.Now}}}
}

// TestBatches holds what ends a batch: its size, or some time after its first
// event, but not while the one before is busy.
func TestBatches(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ready      int
		late, busy time.Duration // when another one comes, and until when the batch before is busy
		want       int
		took       time.Duration
	}{
		"full":                           {ready: 30, want: 20},
		"full while another is busy":     {ready: 30, busy: time.Second, want: 20},
		"a few":                          {ready: 3, late: 30 * time.Millisecond, want: 3, took: 25 * time.Millisecond},
		"one more in time":               {ready: 3, late: 20 * time.Millisecond, want: 4, took: 25 * time.Millisecond},
		"one more while another is busy": {ready: 3, late: 60 * time.Millisecond, busy: 70 * time.Millisecond, want: 4, took: 70 * time.Millisecond},
		"another is soon done":           {ready: 3, late: time.Hour, busy: 7 * time.Millisecond, want: 3, took: 25 * time.Millisecond},
		"nothing for long":               {late: 3 * time.Hour, want: 1, took: 3*time.Hour + 25*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				from, busy := make(chan arrival, 100), make(chan struct{})
				for range tt.ready {
					from <- arrival{}
				}
				if tt.late > 0 {
					time.AfterFunc(tt.late, func() { from <- arrival{} })
				}
				time.AfterFunc(tt.busy, func() { close(busy) })
				began := time.Now()
				s := gatherer(20)
				s.pace.Store(1)
				got := s.gather(t.Context(), from, busy)
				if took := time.Since(began); len(got) != tt.want || took != tt.took {
					t.Errorf("%d events after %v, want %d after %v", len(got), took, tt.want, tt.took)
				}
			})
		})
	}
}

// TestBatchesByTime holds that a stream that is followed gets batches that are
// committed soon, and one that is caught up with gets large ones.
func TestBatchesByTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tt := range map[string]struct {
		sent time.Time
		pace time.Duration
		want int
	}{
		"the first":           {now, 0, 5_000},
		"a quick database":    {now, time.Microsecond, 20_000},
		"a slower one":        {now, 20 * time.Microsecond, 3_500},
		"a very slow one":     {now, time.Second, leastBatch},
		"a host without time": {time.Time{}, 20 * time.Microsecond, 3_500},
		"far behind":          {now.Add(-time.Minute), 20 * time.Microsecond, 20_000},
		"far behind, slower":  {now.Add(-time.Minute), 100 * time.Microsecond, 4_000},
		"far behind and slow": {now.Add(-time.Minute), time.Second, leastBatch},
	} {
		s := gatherer(0)
		s.in.cfg.Now = func() time.Time { return now }
		s.pace.Store(int64(tt.pace))
		if got := s.most(event{time: tt.sent}); got != tt.want {
			t.Errorf("%s: %d events, want %d", name, got, tt.want)
		}
	}
}

// TestBatchesOverlap holds that events are taken while a batch is committed, of
// which none is lost, and that nothing is committed after a failure.
func TestBatchesOverlap(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	limits := quick()
	limits.BatchEvents = 1
	r, err := newRigOf(db, limits, nil, []Source{{Kind: Jetstream, URL: "http://jetstream.test"}})
	if err != nil {
		t.Fatal(err)
	}
	r.lease.off = true
	s := r.sources[0]
	s.at = place{origin: originJetstream}
	ctx, cancel := context.WithCancelCause(t.Context())
	from, ended := make(chan arrival), make(chan error, 1)
	pending := semaphore.NewWeighted(10)
	send := func(seq int64) {
		if err := pending.Acquire(t.Context(), 1); err != nil {
			t.Error(err)
		}
		from <- arrival{event: event{seq: seq}, size: 1}
	}
	held, free := make(chan struct{}), make(chan struct{})
	go func() {
		_ = db.Tx(context.Background(), func(*store.Tx) error {
			close(held)
			<-free
			return nil
		})
	}()
	<-held
	go func() { ended <- s.index(ctx, from, pending) }()
	send(1)
	send(2) // although the first one cannot be committed yet
	close(free)
	send(3)
	await(t, "all of them committed", func() bool { return r.Status()[0].Cursor == 3 })
	stop := errors.New("stop")
	cancel(stop)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if !pending.TryAcquire(10) {
		t.Error("some of what was committed still counts as pending")
	}
}
