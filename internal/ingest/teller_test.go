package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestTeller holds S40: what streams say of accounts reaches subscribers,
// although no record names the account, and although one of them fails at first.
func TestTeller(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHost(t)
		h.relay = true
		dir := &directory{pds: "http://127.0.0.1:1", handles: map[syntax.DID]syntax.Handle{alice: "alice.example.com"}}
		r := start(t, db, quick(), dir, h)
		var mu sync.Mutex
		last, fails := "", 0
		heard := func(_ context.Context, c index.AccountChange) error {
			mu.Lock()
			defer mu.Unlock()
			last = fmt.Sprintf("%s %v %s %s", c.DID, c.Active, c.Status, c.Handle)
			return nil
		}
		stubborn := func(context.Context, index.AccountChange) error {
			mu.Lock()
			defer mu.Unlock()
			if fails++; fails == 1 {
				return errors.New("not now")
			}
			return nil
		}
		teller, err := NewTeller(TellerConfig{Index: r.index, Subscribers: []Subscriber{stubborn, heard},
			Logger: slog.New(slog.NewTextHandler(r.log, nil)), Every: 5 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- teller.Run(ctx) }()
		is := func(want string) func() bool {
			return func() bool { mu.Lock(); defer mu.Unlock(); return last == want }
		}
		if err := r.index.Meet(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		await(t, "the connection", func() bool { return r.Status()[0].Connected && len(h.connections()) == 1 })
		await(t, "the identity", is(alice+" true  alice.example.com"))
		h.emit(accountFrame(1, alice, false, "deactivated"))
		await(t, "the status", is(alice+" false deactivated alice.example.com"))
		h.emit(accountFrame(2, alice, true, ""))
		await(t, "the return", is(alice+" true  alice.example.com"))
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
