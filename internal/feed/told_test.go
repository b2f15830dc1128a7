package feed

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// eventually waits for something that other goroutines do.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 2 min: %s", what)
		}
	}
}

// run follows the index as the program does, until stop.
func (p *process) run(ctx context.Context) {
	go func() { _ = p.index.Run(ctx, slog.New(slog.DiscardHandler)) }()
	go func() { _ = p.feeds.Run(ctx) }()
}

// TestToldByOthers holds that processes on PostgreSQL tell each other of changes,
// so that they need not ask all the time; that they ask again when the connection
// breaks on which they are told, and stop when there is another one.
func TestToldByOthers(t *testing.T) {
	t.Parallel()
	cfg, c := storetest.NewConfig(t, store.Postgres), newClock()
	var count counter
	counted := cfg
	counted.Queried = count.queried
	here, there := newProcess(t, cfg, c, false), newProcess(t, counted, c, false)
	for _, p := range []*process{here, there} {
		p.run(t.Context())
	}
	told := func() bool { return there.index.Patience() == time.Second }
	eventually(t, "they hear each other", told)
	m := newModel(t, here, c, "n", 12)
	woken := there.index.Watch(t.Context())
	write := func() {
		t.Helper()
		m.post(time.Minute)
		seq, err := here.index.Seq(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		there.await(t, "there", seq)
	}
	for range 3 {
		write()
		<-woken
	}
	began := time.Now()
	polls := count.during(t, func() error { time.Sleep(1200 * time.Millisecond); return nil })
	if silence := time.Since(began); polls > 2+2*int(silence/time.Second) {
		t.Errorf("%d queries in %v of silence, want one or two a second", polls, silence)
	}
	_, err := here.db.Read().ExecContext(t.Context(), `
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the break is noticed", func() bool { return !told() })
	write() // found by asking
	eventually(t, "they hear each other again", told)
	for {
		select {
		case <-woken: // of the break
			continue
		default:
		}
		break
	}
	write()
	<-woken
}

// TestLoadingBesideReaders holds, under the race detector, that lists belong to
// whoever reads a page as soon as they are there.
func TestLoadingBesideReaders(t *testing.T) {
	t.Parallel()
	cfg, c := storetest.NewConfig(t, store.SQLite), newClock()
	writer := newProcess(t, cfg, c, false)
	m := newModel(t, writer, c, "r", 15)
	for range 10 {
		m.post(time.Minute)
	}
	for range 20 {
		p := newProcess(t, cfg, c, false)
		p.feeds.lists.Store(nil) // as before the start
		p.feeds.late = time.Nanosecond
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.feeds.Run(ctx) }()
		for !p.feeds.Loaded() {
			runtime.Gosched()
		}
		m.post(time.Minute)
		uris(t, p.feeds, Query{Listing: All, Sort: Newest, Limit: 50})
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// TestLate holds that pages that are asked for beside each other need not ask the
// database each, and that they show at once what their own process has written all
// the same, in lists, in what is kept of posts and of the reader; and what others
// wrote when the time is over.
func TestLate(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		var count counter
		counted := cfg
		counted.Queried = count.queried
		c := newClock()
		here, there := newProcess(t, counted, c, false), newProcess(t, cfg, c, false)
		here.feeds.late = time.Hour
		m := newModel(t, here, c, "l", 13)
		for range 20 {
			m.post(time.Minute)
		}
		q := Query{Listing: All, Sort: Newest, Viewer: m.reader(), Limit: 50}
		m.subscribe(0, 5)
		uris(t, here.feeds, q)
		if n := count.during(t, func() error { uris(t, here.feeds, q); return nil }); n != 0 {
			t.Errorf("a page right after the same page took %d queries", n)
		}
		for range 60 {
			m.stir()
			if diff := cmp.Diff(m.expect(q), m.only(uris(t, here.feeds, q))); diff != "" {
				t.Fatalf("after a change of its own (-want +got):\n%s", diff)
			}
		}
		m.p = there
		m.post(time.Minute)
		here.feeds.late = time.Nanosecond
		if diff := cmp.Diff(m.expect(q), m.only(uris(t, here.feeds, q))); diff != "" {
			t.Errorf("after a change by another process (-want +got):\n%s", diff)
		}
	})
}
