package agent

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// homes says which server an account is at: those called dead are at another.
type homes struct{ living, dead string }

func (homes) LookupDID(_ context.Context, did syntax.DID) (*sdk.Identity, error) {
	return &sdk.Identity{DID: did}, nil
}

func (h homes) PDS(ident *sdk.Identity) (string, error) {
	if strings.HasPrefix(ident.DID.Identifier(), "dead") {
		return h.dead, nil
	}
	return h.living, nil
}

// TestADeadServerSlowsNobody holds A7 for what the agent does: a server that
// accepts connections and never answers holds up its own members, few at a time
// and not for long, and nobody else's.
func TestADeadServerSlowsNobody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tried atomic.Int64
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
			tried.Add(1)
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	guard, err := egress.New(egress.Config{Dev: true, PerHost: egress.HostLimits{Failures: 3, InFlight: 4, Wait: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	calls := guard.Client(egress.Limits{Timeout: 500 * time.Millisecond, MaxBytes: 1 << 20})
	patient := guard.Client(egress.Limits{Timeout: time.Minute, MaxBytes: 1 << 20}) // the living one may be as busy as the machine
	open := func(_ context.Context, a Actor) (pds.Doer, error) {
		if a.DID == actor.DID {
			return patient, nil
		}
		return calls, nil
	}
	a, err := New(Config{DB: storetest.New(t, store.SQLite), Directory: homes{s.URL, "http://" + l.Addr().String()}, HTTP: calls, Open: open, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if _, err := a.Create(context.Background(), Actor{DID: "did:plc:dead", SessionID: "s"}, write("a")); kindOf(err) != Unreachable {
				t.Errorf("at the dead server: %v, want unreachable", err)
			}
		})
	}
	for i := range 20 {
		if _, err := a.Create(t.Context(), actor, at("k"+string(rune('a'+i)), "t")); err != nil {
			t.Errorf("at the living one: %v", err)
		}
	}
	wg.Wait()
	before, began := tried.Load(), time.Now()
	for range 20 {
		if _, err := a.Create(t.Context(), Actor{DID: "did:plc:dead", SessionID: "s"}, write("a")); kindOf(err) != Unreachable {
			t.Errorf("afterwards: %v", err)
		}
	}
	if more := tried.Load() - before; more > 1 || time.Since(began) > 20*calls.Timeout {
		t.Errorf("a server that is left alone was tried %d times in %v", more, time.Since(began))
	}
}
