package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestListen holds that what one process says another one hears, once each and in
// order, that other channels are not heard, and that a connection that breaks is
// an error.
func TestListen(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.Postgres)
	here, there := storetest.Open(t, cfg), storetest.Open(t, cfg)
	ready, heard, done := make(chan struct{}), make(chan string, 100), make(chan error, 1)
	go func() {
		done <- here.Listen(t.Context(), "some \"news", func() { close(ready) }, func(m string) { heard <- m })
	}()
	<-ready
	for n := range 20 {
		for _, channel := range []string{"some \"news", "other_news"} {
			if err := there.Notify(t.Context(), channel, fmt.Sprint(channel, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range 20 {
		if got, want := <-heard, fmt.Sprint("some \"news", n); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	var killed bool
	err := there.Read().QueryRowContext(t.Context(), `
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`).Scan(&killed)
	if err != nil || !killed {
		t.Fatalf("break the connection: %v, %v", killed, err)
	}
	if err := <-done; err == nil {
		t.Error("a broken connection ended without an error")
	}
}

// TestListenEnds holds that listening ends with its context, without an error, on
// both engines.
func TestListenEnds(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		ready := make(chan struct{}, 1)
		go func() { done <- db.Listen(ctx, "news", func() { ready <- struct{}{} }, func(string) {}) }()
		if db.Engine() == store.Postgres {
			<-ready
		}
		if err := db.Notify(t.Context(), "news", ""); err != nil {
			t.Error(err)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("listening ended with %v", err)
		}
	})
}
