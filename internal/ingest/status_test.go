package ingest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestLag holds when a source counts as behind: while old events come, not
// when the last event was old and there are no more.
func TestLag(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tt := range map[string]struct {
		s    Status
		want time.Duration
	}{
		"nothing came yet":        {Status{}, 0},
		"live":                    {Status{Behind: time.Second, movedAt: now}, time.Second},
		"catching up":             {Status{Behind: time.Hour, movedAt: now.Add(-time.Second)}, time.Hour},
		"caught up":               {Status{Behind: time.Hour, movedAt: now.Add(-time.Minute)}, 0},
		"another process follows": {Status{Behind: time.Hour, movedAt: now, Standby: true}, 0},
	} {
		if got := tt.s.lag(now); got != tt.want {
			t.Errorf("%s: %v behind, want %v", name, got, tt.want)
		}
	}
}

// TestHealth holds O4's part: lag and dead letters are named.
func TestHealth(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHost(t)
		r, err := newRig(db, quick(), nil, h)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.HasDead(t.Context()); err != nil {
			t.Errorf("dead letters at the beginning: %v", err)
		}
		if err := r.Lagging(t.Context()); err != nil {
			t.Errorf("behind at the beginning: %v", err)
		}
		r.sources[0].status.set(func(s *Status) { s.Behind, s.movedAt = time.Hour, time.Now() })
		if err := r.Lagging(t.Context()); err == nil {
			t.Error("a source that is an hour behind is not named")
		}
		execute(t, db, `INSERT INTO ingest_dead (id, source, seq, did, collection, rkey, rev, error, payload, failed_at, attempts)
			VALUES (1, 's', 1, 'did:plc:a', '', '', '', '', '', 0, 1)`)
		if err := r.HasDead(t.Context()); err == nil {
			t.Error("a dead letter is not named")
		}
		r.run(t)
		await(t, "the count of dead letters", func() bool { return r.metric(t, "dead_letters", "") == 1 })
	})
}

// TestCounts holds that commands see what the ingester has passed over and how
// fast it reads, added up over restarts.
func TestCounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, w := newHost(t), newWorld()
		h.emit(w.post(1, alice, 1, "a"), sent{2, []byte("garbage")}, w.post(3, alice, 3, "b"))
		for n := range 2 {
			r := start(t, db, quick(), nil, h)
			await(t, "the stream's end", func() bool { return r.cursor(t, h) == int64(3+3*n) })
			r.stop()
			h.emit(sent{5, []byte("garbage")}, sent{5, []byte("garbage")}, w.post(6, alice, 6, "c"))
		}
		o, err := command(t, db, nil).Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []DropCount{{Reason: reasonFrame, Count: 3}}
		if diff := cmp.Diff(want, o.Drops, cmpopts.IgnoreFields(DropCount{}, "Last")); diff != "" {
			t.Errorf("passed over (-want +got):\n%s", diff)
		}
		s := o.Sources[0]
		if s.PerMinute == 0 || s.CountedAt.IsZero() || !s.Timed || s.Behind > time.Minute || s.Cursor != 6 {
			t.Errorf("source %+v, want a rate and how far it is behind", s)
		}
	})
}
