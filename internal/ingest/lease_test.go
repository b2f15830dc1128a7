package ingest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestTakeOver holds that of several processes one ingests, and that another
// takes over within seconds when it is killed, without loss or repetition.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		w, h := newWorld(), newHost(t)
		var open atomic.Int64
		h.misbehave = func(conn *websocket.Conn, _ string) bool {
			if n := open.Add(1); n > 1 {
				t.Errorf("%d processes read the stream at once", n)
			}
			go func() {
				<-conn.CloseRead(t.Context()).Done()
				open.Add(-1)
			}()
			return false
		}
		db := storetest.Open(t, cfg)
		process := child{Store: cfg, URL: h.server.URL, Lease: 2 * time.Second} // longer than a busy machine keeps one waiting
		first := spawn(t, process)
		h.emit(w.post(1, alice, 1, "a"))
		await(t, "the first post", func() bool { return storedCursor(t, db) == 1 })
		second := spawn(t, process)
		for n := 2; n < 6; n++ {
			h.emit(w.post(int64(n), alice, n, "b"))
			await(t, "the next post", func() bool { return storedCursor(t, db) == int64(n) })
		}
		if n := len(h.connections()); n != 1 {
			t.Errorf("%d connections while the first process lives, want 1", n)
		}
		kill(t, first)
		killed := time.Now()
		h.emit(w.post(6, alice, 6, "c"))
		await(t, "the post after the take-over", func() bool { return storedCursor(t, db) == 6 })
		if took := time.Since(killed); took > 20*process.Lease {
			t.Errorf("the take-over took %v, the lease is %v", took, process.Lease)
		}
		kill(t, second)
		if got, err := titles(db); err != nil || len(got) != 6 {
			t.Errorf("posts %v, %v; want 6", got, err)
		}
	})
}

// TestFence holds that an ingester which was away for too long cannot write
// any more, whatever it believes.
func TestFence(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		away, next := command(t, db, nil), command(t, db, nil)
		if ok, err := away.lease.take(t.Context()); !ok || err != nil {
			t.Fatalf("the first does not get the lease: %v, %v", ok, err)
		}
		if ok, err := next.lease.take(t.Context()); ok || err != nil {
			t.Fatalf("the second gets it at once: %v, %v", ok, err)
		}
		next.cfg.Now = func() time.Time { return time.Now().Add(time.Minute) }
		if ok, err := next.lease.take(t.Context()); !ok || err != nil {
			t.Fatalf("the second does not get it after its end: %v, %v", ok, err)
		}
		err := away.fetch.sink.insist(t.Context(), func(*store.Tx) error { return nil })
		if !errors.Is(err, errLease) {
			t.Errorf("the first writes: %v; want it to be refused", err)
		}
		if err := next.fetch.sink.insist(t.Context(), func(*store.Tx) error { return nil }); err != nil {
			t.Errorf("the second does not write: %v", err)
		}
		away.lease.giveBack(t.Context()) // is not its own any more
		if err := next.fetch.sink.insist(t.Context(), func(*store.Tx) error { return nil }); err != nil {
			t.Errorf("the second lost its lease: %v", err)
		}
	})
}

// TestSlowKeys holds that accounts whose documents never come hold up nobody.
func TestSlowKeys(t *testing.T) {
	t.Parallel()
	w, h := newWorld(), newHost(t)
	dir := &slowDirectory{world: w}
	for n := 1; n <= 200; n++ {
		h.emit(w.post(int64(n), fmt.Sprintf("did:web:tarpit%d.example.com", n), n, "x"))
	}
	h.emit(w.post(201, alice, 201, "a"))
	r := start(t, storetest.New(t, store.SQLite), quick(), dir, h)
	began := time.Now()
	await(t, "alice's post", func() bool { return r.shown(t)[alice+"/"+key(201)] == "a" })
	if took := time.Since(began); took > 20*webWait {
		t.Errorf("alice's post took %v", took)
	}
}

// TestSlowHandles holds that the hosts of handles, which are anybody's, are not
// waited for: commits are verified and applied as they come, repositories fetched.
func TestSlowHandles(t *testing.T) {
	t.Parallel()
	w, h := newWorld(), newHost(t)
	h.serve(w)
	const accounts = 50
	for n := 1; n <= accounts; n++ {
		h.emit(w.post(int64(n), fmt.Sprintf("did:plc:tarpit%d", n), 1, "x"))
	}
	h.emit(w.post(accounts+1, alice, 1, "a"))
	r := start(t, storetest.New(t, store.SQLite), quick(), &slowHandles{w}, h)
	await(t, "the stream's end", func() bool { return r.cursor(t, h) == accounts+1 })
	if n := len(r.shown(t)); n != accounts+1 {
		t.Errorf("%d posts at the stream's end, want %d", n, accounts+1)
	}
	if n := r.metric(t, "dropped_total", ""); n != 0 {
		t.Errorf("%v events were dropped", n)
	}
	w.post(accounts+2, alice, 2, "missed")
	h.emit(w.post(accounts+3, alice, 3, "shows the gap"))
	await(t, "what was missed", func() bool { return len(r.shown(t)) == accounts+3 })
}

// TestHugeFrame holds that a frame of 30 MB is read past as a stream, counted,
// and the next is handled on the same connection.
func TestHugeFrame(t *testing.T) {
	t.Parallel()
	w, h := newWorld(), newHost(t)
	h.emit(w.post(1, alice, 1, "a"), sent{2, make([]byte, 30<<20)}, w.post(3, alice, 3, "c"))
	r := start(t, storetest.New(t, store.SQLite), quick(), w, h)
	await(t, "the post after it", func() bool { return r.shown(t)[alice+"/"+key(3)] == "c" })
	if n := r.metric(t, "dropped_total", string(reasonOversize)); n != 1 || len(h.connections()) != 1 {
		t.Errorf("%v dropped on %d connections, want 1 on 1", n, len(h.connections()))
	}
}
