package ingest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// TestDatabaseRestarts holds I2 and I6: PostgreSQL crashes and comes back again
// and again while the stream goes on, in the middle of transactions; nothing is
// lost, nothing counted twice, and nobody has to help.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	url, restart := storetest.Restartable(t)
	db, err := store.Open(t.Context(), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, w := newHost(t), newWorld()
	restarts := size.Size(3, 30)
	frames, left := historyIn(w, 300*restarts)
	r := start(t, db, quick(), w, h)
	for k := range restarts {
		h.emit(frames[300*k : 300*k+200]...)
		await(t, "progress", func() bool { return r.Status()[0].Cursor > int64(300*k) })
		restart()
		h.emit(frames[300*k+200 : 300*(k+1)]...)
	}
	await(t, "the end of the stream", func() bool { return r.Status()[0].Cursor == int64(len(frames)) && r.Status()[0].Trouble == "" })
	checkPrefix(t, db, frames)
	if diff := cmp.Diff(left, r.shown(t)); diff != "" {
		t.Errorf("posts after %d restarts (-model +index):\n%s", restarts, diff)
	}
	if letters, err := r.Dead(t.Context(), 10); err != nil || len(letters) > 0 {
		t.Errorf("dead letters %v, %v: an outage is no fault of the data", letters, err)
	}
	if n := len(h.connections()); n > 1 {
		t.Errorf("connected %d times: the stream has nothing to do with the database", n)
	}
}

// TestFullDisk holds that with a full disk nothing is skipped and nothing taken
// for bad data, that the trouble is told, and that it goes on by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	h, w := newHost(t), newWorld()
	db := storetest.New(t, store.SQLite)
	r := start(t, db, quick(), w, h)
	frames, left := historyIn(w, 600)
	h.emit(frames[:100]...)
	await(t, "the beginning", func() bool { return r.cursor(t, h) == 100 })
	execute(t, db, `PRAGMA max_page_count = 1`) // no more than it has
	h.emit(frames[100:]...)
	await(t, "the trouble to be told", func() bool {
		return strings.Contains(r.Status()[0].Trouble, "storage") && r.metric(t, "retries_total", "") > 3
	})
	checkPrefix(t, db, frames)
	if at := storedCursor(t, db); at == int64(len(frames)) {
		t.Error("all was written to a full disk")
	}
	execute(t, db, `PRAGMA max_page_count = 1000000`)
	await(t, "the end of the stream", func() bool { return r.cursor(t, h) == int64(len(frames)) && r.Status()[0].Trouble == "" })
	checkPrefix(t, db, frames)
	if diff := cmp.Diff(left, r.shown(t)); diff != "" {
		t.Errorf("posts (-model +index):\n%s", diff)
	}
	if letters, err := r.Dead(t.Context(), 10); err != nil || len(letters) > 0 {
		t.Errorf("dead letters %v, %v: a full disk is no fault of the data", letters, err)
	}
}
