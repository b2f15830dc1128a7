package store_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- db.Run(ctx) }()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run() = %v, want nil", err)
			}
		case <-time.After(time.Minute):
			t.Error("Run did not end with its context")
		}
	})
}

func TestRunMovesTheLogIntoTheFile(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.SQLite)
	db := storetest.Open(t, cfg)
	mustExec(t, db, thing)
	mustExec(t, db, `INSERT INTO thing (id, body) VALUES ('a', $1)`, make([]byte, 1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for size := int64(0); size < 1<<20; {
		select {
		case <-deadline:
			t.Fatalf("the file has %d bytes after a minute; the log's megabyte is not in it", size)
		case <-tick.C:
			// Stat, not open: closing a file of an open database drops its locks.
			info, err := os.Stat(cfg.Path)
			if err != nil {
				t.Fatal(err)
			}
			size = info.Size()
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
}
