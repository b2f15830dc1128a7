package ingest

import (
	"context"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// TestFollow holds I1 for a PDS: all that it has, then what comes, and after a
// restart what came meanwhile; nothing is asked for twice.
func TestFollow(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		h := newHost(t)
		h.emit(w.post(1, alice, 1, "before"))
		first := start(t, db, quick(), nil, h)
		await(t, "the post from before", func() bool { return first.cursor(t, h) == 1 })
		h.emit(w.post(2, alice, 2, "live"))
		await(t, "the live post", func() bool { return first.cursor(t, h) == 2 })
		first.stop()
		h.emit(w.post(3, bob, 3, "meanwhile"))
		second := start(t, db, quick(), nil, h)
		await(t, "the post of the meantime", func() bool { return second.cursor(t, h) == 3 })
		want := map[string]string{alice + "/" + key(1): "before", alice + "/" + key(2): "live", bob + "/" + key(3): "meanwhile"}
		if diff := cmp.Diff(want, second.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"0", "2"}, h.connections()); diff != "" {
			t.Errorf("cursors asked for (-want +got):\n%s", diff)
		}
	})
}

// TestRelayStartsLive holds that the past of the whole network is not asked for.
func TestRelayStartsLive(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		h := newHost(t)
		h.relay = true
		h.emit(w.post(1, alice, 1, "past"))
		r := start(t, db, quick(), nil, h)
		await(t, "the connection", func() bool { return len(h.connections()) == 1 && r.Status()[0].Connected })
		h.emit(w.post(2, alice, 2, "live"))
		await(t, "the live post", func() bool { return r.cursor(t, h) == 2 })
		if diff := cmp.Diff(map[string]string{alice + "/" + key(2): "live"}, r.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{""}, h.connections()); diff != "" {
			t.Errorf("cursors asked for (-want +got):\n%s", diff)
		}
	})
}

// TestHostThatIsDownIsNoRelay holds that only an answer decides what a host is.
func TestHostThatIsDownIsNoRelay(t *testing.T) {
	t.Parallel()
	w := newWorld()
	h := newHost(t)
	h.emit(w.post(1, alice, 1, "past"))
	real := h.server.Config.Handler
	// What reverse proxies say while the server behind them restarts.
	fails := make(chan int, 6)
	for range 2 {
		fails <- http.StatusBadGateway
		fails <- http.StatusNotFound // to describeServer
		fails <- http.StatusNotFound // and to listRepos
	}
	h.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case status := <-fails:
			http.Error(w, "<html>not now", status)
		default:
			real.ServeHTTP(w, r)
		}
	})
	r := start(t, storetest.New(t, store.SQLite), quick(), nil, h)
	await(t, "the past of the PDS", func() bool { return len(r.shown(t)) == 1 })
}

// TestOverlap holds that two sources with the same events change nothing.
func TestOverlap(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		pds, relay := newHost(t), newHost(t)
		want := map[string]string{}
		for n := 1; n <= 50; n++ {
			f := w.post(int64(n), alice, n, fmt.Sprint(n))
			pds.emit(f)
			relay.emit(f)
			want[alice+"/"+key(n)] = fmt.Sprint(n)
		}
		r := start(t, db, quick(), nil, pds, relay)
		await(t, "both ends", func() bool { return r.cursor(t, pds) == 50 && r.cursor(t, relay) == 50 })
		if diff := cmp.Diff(want, r.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		if n := r.metric(t, "records_total", "applied"); n != 50 {
			t.Errorf("%v records applied, want 50", n)
		}
	})
}

// TestHostileStream holds I5 and I6: garbage, text, a frame over the limit and
// repetitions are passed over on the same connection.
func TestHostileStream(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		h := newHost(t)
		h.misbehave = func(conn *websocket.Conn, _ string) bool {
			_ = conn.Write(t.Context(), websocket.MessageText, []byte("hello"))
			return false
		}
		first := w.post(1, alice, 1, "first")
		huge := w.commit(3, alice, rev(3), recordOp{action: "create", path: postPath(key(3)),
			record: postRecord(commons, strings.Repeat("x", 300<<10))})
		nul := w.commit(4, alice, rev(4), recordOp{action: "create", path: postPath(key(4)), record: postRecord(commons, "a\x00b")})
		badText := w.commit(5, alice, rev(5), recordOp{action: "create", path: postPath(key(5)),
			raw: mustCBOR(map[string]any{"$type": "social.coves.community.postv2", "x": string([]byte{0xff})})})
		again := w.post(6, alice, 6, "second")
		h.emit(first, sent{2, []byte("garbage")}, huge, nul, badText,
			infoFrame("OutdatedCursor"), again, again, first)
		h.emit(w.post(7, alice, 7, "last"))
		r := start(t, db, quick(), nil, h)
		await(t, "the last post", func() bool { return r.cursor(t, h) == 7 })
		want := map[string]string{alice + "/" + key(1): "first", alice + "/" + key(6): "second", alice + "/" + key(7): "last"}
		if diff := cmp.Diff(want, r.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		if n := len(h.connections()); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
		for reason, count := range map[index.Reason]float64{reasonFrame: 2, reasonOversize: 1, index.ReasonText: 2} {
			if got := r.metric(t, "dropped_total", string(reason)); got != count {
				t.Errorf("%v dropped for %s, want %v", got, reason, count)
			}
		}
		if n := r.metric(t, "gaps_total", ""); n != 1 {
			t.Errorf("%v gaps, want 1", n)
		}
	})
}

// TestBrokenConnections holds I6: however a connection ends, the next goes on
// from the cursor.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		breaks func(ctx context.Context, conn *websocket.Conn)
	}{
		{"closed at once", func(context.Context, *websocket.Conn) {}},
		{"closed politely", func(_ context.Context, conn *websocket.Conn) { _ = conn.Close(websocket.StatusGoingAway, "") }},
		{"cut inside a frame", func(ctx context.Context, conn *websocket.Conn) {
			half, err := conn.Writer(ctx, websocket.MessageBinary)
			if err == nil {
				_, _ = half.Write(newWorld().post(2, alice, 2, "half").bytes[:100])
			}
		}},
		{"too slow, says the host", func(ctx context.Context, conn *websocket.Conn) {
			_ = conn.Write(ctx, websocket.MessageBinary, errorFrame("ConsumerTooSlow"))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			h := newHost(t)
			var times atomic.Int64
			h.misbehave = func(conn *websocket.Conn, _ string) bool {
				if times.Add(1) > 3 {
					return false
				}
				tt.breaks(t.Context(), conn)
				return true
			}
			h.emit(w.post(1, alice, 1, "a"), w.post(2, alice, 2, "b"))
			r := start(t, storetest.New(t, store.SQLite), quick(), nil, h)
			await(t, "both posts", func() bool { return len(r.shown(t)) == 2 })
			if n := r.metric(t, "reconnects_total", ""); n != 3 {
				t.Errorf("%v connections ended, want 3", n)
			}
		})
	}
}

// TestFutureCursor holds that a host which was rebuilt is read from its start.
func TestFutureCursor(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		old := newHost(t)
		old.emit(w.post(900, alice, 1, "old"))
		r := start(t, db, quick(), nil, old)
		await(t, "the old cursor", func() bool { return r.cursor(t, old) == 900 })
		old.do(func() {
			old.frames = []sent{w.post(1, alice, 2, "new")}
			old.misbehave = func(conn *websocket.Conn, cursor string) bool {
				if cursor == "0" {
					return false
				}
				_ = conn.Write(t.Context(), websocket.MessageBinary, errorFrame("FutureCursor"))
				return true
			}
		})
		old.server.CloseClientConnections()
		r.stop()
		again := start(t, db, quick(), nil, old)
		await(t, "the new cursor", func() bool { return again.cursor(t, old) == 1 })
		if got := again.shown(t); len(got) != 2 {
			t.Errorf("posts %v, want both", got)
		}
	})
}

// TestStalls holds that a host which goes away without a word is noticed, by
// ping or by silence.
func TestStalls(t *testing.T) {
	t.Parallel()
	deaf := quick()
	deaf.Ping, deaf.Pong = 10*time.Millisecond, 30*time.Millisecond
	silent := quick()
	silent.Silence = 30 * time.Millisecond
	for name, limits := range map[string]Limits{"no pong": deaf, "silence": silent} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			h := newHost(t)
			release := make(chan struct{})
			t.Cleanup(func() { close(release) })
			h.misbehave = func(_ *websocket.Conn, _ string) bool {
				if len(h.connections()) > 1 {
					return false
				}
				<-release // reads nothing, so it answers no ping either
				return true
			}
			h.emit(w.post(1, alice, 1, "a"))
			r := start(t, storetest.New(t, store.SQLite), limits, nil, h)
			await(t, "the post, on another connection", func() bool { return len(r.shown(t)) == 1 })
		})
	}
}

// TestStatusOfPDS holds S40's beginning: a PDS hides and shows its own
// accounts at once.
func TestStatusOfPDS(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		h := newHost(t)
		r := start(t, db, quick(), nil, h)
		h.emit(w.post(1, alice, 1, "a"), accountFrame(2, alice, false, "deactivated"))
		await(t, "nothing to be shown", func() bool { return r.cursor(t, h) == 2 && len(r.shown(t)) == 0 })
		h.emit(accountFrame(3, alice, true, ""))
		await(t, "the post to be back", func() bool { return len(r.shown(t)) == 1 })
	})
}

// TestDeadLetter holds I5: one record that the database refuses is found,
// kept with its error, and everything around it goes on, in order.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		execute(t, db, `CREATE UNIQUE INDEX poison ON post (cid)`) // the same record twice is refused
		h := newHost(t)
		twin := postRecord(commons, "twin")
		create := func(n int, record map[string]any) recordOp {
			return recordOp{action: "create", path: postPath(key(n)), record: record}
		}
		h.emit(w.post(1, alice, 1, "a"),
			w.commit(2, alice, rev(2), create(2, twin)),
			w.post(3, bob, 3, "b"),
			w.commit(4, alice, rev(4), create(4, postRecord(commons, "c")), create(5, twin), create(6, postRecord(commons, "d"))),
			w.post(5, alice, 7, "e"))
		slow := quick()
		slow.BatchWait = 200 * time.Millisecond // all in one batch
		r := start(t, db, slow, nil, h)
		await(t, "the last event", func() bool { return r.cursor(t, h) == 5 })
		want := map[string]string{alice + "/" + key(1): "a", alice + "/" + key(2): "twin", bob + "/" + key(3): "b",
			alice + "/" + key(4): "c", alice + "/" + key(6): "d", alice + "/" + key(7): "e"}
		if diff := cmp.Diff(want, r.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		var did, rkey, reason, payload string
		err := db.Read().QueryRowContext(t.Context(), `SELECT did, rkey, error, payload FROM ingest_dead`).Scan(&did, &rkey, &reason, &payload)
		if err != nil || did != alice || rkey != key(5) || !strings.Contains(strings.ToLower(reason), "unique") || !strings.Contains(payload, "twin") {
			t.Errorf("dead letter of %s/%s: %q, %s, %v", did, rkey, reason, payload, err)
		}
		if n := r.metric(t, "dead_letters_total", ""); n != 1 {
			t.Errorf("%v dead letters counted, want 1", n)
		}
	})
}

func execute(t *testing.T, db *store.DB, statement string) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStorageAway holds that nothing is skipped while the database cannot be
// written, and that the trouble is told.
func TestStorageAway(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld()
		h := newHost(t)
		r := start(t, db, quick(), nil, h)
		await(t, "the connection", func() bool { return r.Status()[0].Connected })
		execute(t, db, `ALTER TABLE post RENAME TO post_away`)
		h.emit(w.post(1, alice, 1, "a"), w.post(2, alice, 2, "b"))
		await(t, "retries", func() bool {
			return r.metric(t, "retries_total", "") > 2 && strings.Contains(r.Status()[0].Trouble, "storage")
		})
		if at := r.cursor(t, h); at > 0 {
			t.Errorf("cursor went to %d without the rows", at)
		}
		execute(t, db, `ALTER TABLE post_away RENAME TO post`)
		await(t, "both posts", func() bool { return len(r.shown(t)) == 2 && r.Status()[0].Trouble == "" })
	})
}

// TestStop holds I6: stopping is clean in every phase, and leaves no goroutine.
func TestStop(t *testing.T) {
	w := newWorld()
	h := newHost(t)
	var filler []sent
	for n := 1; n <= 2000; n++ {
		filler = append(filler, w.post(int64(n), fmt.Sprintf("did:plc:filler%d", n%40), n, "x"))
	}
	h.emit(filler...)
	gone := newHost(t)
	gone.server.Close() // always reconnecting
	stuck := newHost(t)
	stuck.misbehave = func(conn *websocket.Conn, _ string) bool {
		<-conn.CloseRead(context.Background()).Done() // says nothing
		return true
	}
	for n := range size.Size(2, 10) {
		db := storetest.New(t, store.SQLite)
		r := start(t, db, quick(), nil, h, gone, stuck)
		await(t, "the beginning", func() bool { return len(r.shown(t)) > n*50 })
		r.stop()
	}
	await(t, "goroutines to end", func() bool {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		return !strings.Contains(stacks.String(), "ingest.(*source)") && !strings.Contains(stacks.String(), "ingest.(*socket)")
	})
}

// TestCursorIsSavedOnStop holds that events of no concern are not read again.
func TestCursorIsSavedOnStop(t *testing.T) {
	t.Parallel()
	w := newWorld()
	limits := quick()
	limits.CursorEvery = time.Hour
	h := newHost(t)
	like := func(seq int64) sent {
		return w.commit(seq, alice, rev(int(seq)), recordOp{action: "create", path: "app.bsky.feed.like/" + key(1),
			record: map[string]any{"$type": "app.bsky.feed.like"}})
	}
	h.emit(like(1))
	r := start(t, storetest.New(t, store.SQLite), limits, nil, h)
	await(t, "the first", func() bool { return r.Status()[0].Cursor == 1 })
	h.emit(like(2))
	await(t, "the second", func() bool { return r.Status()[0].Cursor == 2 })
	r.stop()
	if at := r.cursor(t, h); at != 2 {
		t.Errorf("cursor %d was saved, want 2", at)
	}
}

func TestNewRefusesMistakes(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	bad := []Source{{Kind: "firehose", URL: "https://a.example.com"}, {Kind: Repos, URL: "a.example.com"},
		{Kind: Repos, URL: "https://b.example.com/path"}, {Kind: Repos, URL: "https://c.example.com"},
		{Kind: Repos, URL: "wss://C.example.com/"}}
	_, err := newRigOf(db, quick(), nil, bad)
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("got %v, want four mistakes", err)
	}
}
