package identity_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
)

func TestDIDWebIsResolved(t *testing.T) {
	t.Parallel()
	const did = syntax.DID("did:web:alice.atoll-tests.net")
	w := newWorld(t)
	w.wellKnown("alice.atoll-tests.net", "did.json", 200, document(did, []string{"at://alice.atoll-tests.net"}, pdsOne))
	w.dnsDID("alice.atoll-tests.net", did.String())
	d := w.directory(t)
	got, err := d.LookupDID(t.Context(), did)
	if err != nil || got.Handle != aliceHandle || got.PDSEndpoint() != pdsOne {
		t.Errorf("LookupDID(%s) = %+v, %v", did, got, err)
	}
	if _, err := d.LookupDID(t.Context(), "did:web:nobody.atoll-tests.net"); !errors.Is(err, identity.ErrDIDNotFound) {
		t.Errorf("LookupDID(unknown host) = %v, want ErrDIDNotFound", err)
	}
}

// Whatever a directory answers, the reason is told apart, and nothing but a
// document about this very DID is believed.
func TestAnswersOfADirectory(t *testing.T) {
	t.Parallel()
	good := document(alice, nil, pdsOne)
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   error
	}{
		{"not found", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404) }, identity.ErrDIDNotFound},
		{"tombstone", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(410) }, identity.ErrDIDNotFound},
		{"rate limited", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(429) }, identity.ErrUnavailable},
		{"broken", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }, identity.ErrUnavailable},
		{"no content", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(204) }, identity.ErrUnavailable},
		{"a page", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "<!doctype html>") }, identity.ErrBadDocument},
		{"another account", func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, document(mallory, nil, pdsOne))
		}, identity.ErrBadDocument},
		{"endless", func(rw http.ResponseWriter, _ *http.Request) {
			for range 1_000 {
				if _, err := fmt.Fprint(rw, strings.Repeat(" ", 4096)); err != nil {
					return
				}
			}
			fmt.Fprint(rw, good)
		}, identity.ErrBadDocument},
		{"breaks off", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "100000")
			fmt.Fprint(rw, good)
		}, identity.ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.host("plc.atoll-tests.net", tt.answer)
			if _, err := w.directory(t).LookupDID(t.Context(), alice); !errors.Is(err, tt.want) {
				t.Errorf("LookupDID = %v, want %v", err, tt.want)
			}
		})
	}
}

// A DID whose handle cannot be checked is still found (S41): only the handle
// is hidden.
func TestDIDWithoutVerifiedHandle(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"no handle":       func(w *world) { w.account(alice, "", pdsOne) },
		"leads nowhere":   func(w *world) { w.account(alice, "alice.atoll-tests.net", pdsOne) },
		"reserved TLD":    func(w *world) { w.account(alice, "alice.local", pdsOne) },
		"handle.invalid":  func(w *world) { w.account(alice, "handle.invalid", pdsOne) },
		"not even a name": func(w *world) { w.account(alice, "alice/x", pdsOne) },
		"host is down": func(w *world) {
			w.account(alice, "alice.atoll-tests.net", pdsOne)
			w.host("alice.atoll-tests.net", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(503) })
		},
	}
	for name, setup := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			setup(w)
			got, err := w.directory(t).LookupDID(t.Context(), alice)
			if err != nil || got.Handle != syntax.HandleInvalid || got.PDSEndpoint() != pdsOne {
				t.Errorf("LookupDID = %+v, %v; want handle.invalid at %s", got, err, pdsOne)
			}
		})
	}
}

// With the real guard, a handle or did:web whose host has a private address is
// refused when connecting, and the person is told (S8).
func TestPrivateAddressesAreNotAsked(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string][4]byte{
		"loopback": {127, 0, 0, 1}, "private": {10, 0, 0, 1}, "link local": {169, 254, 169, 254},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.addrs[aliceHandle.String()+"."] = addr
			guard, err := egress.New(egress.Config{Resolver: w.dns})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(guard.Close)
			d := w.directory(t, func(cfg *identity.Config) {
				cfg.HTTP = guard.Client(egress.Limits{Timeout: 5 * time.Second, MaxBytes: 1 << 16})
			})
			for _, id := range []syntax.AtIdentifier{aliceHandle.AtIdentifier(), "did:web:alice.atoll-tests.net"} {
				if _, err := d.Lookup(t.Context(), id); !errors.Is(err, identity.ErrBlocked) {
					t.Errorf("Lookup(%s) = %v, want ErrBlocked", id, err)
				}
			}
			if _, err := d.LookupHandle(t.Context(), "nobody.atoll-tests.net"); !errors.Is(err, identity.ErrHandleNotFound) {
				t.Errorf("LookupHandle(no such host) = %v, want ErrHandleNotFound", err)
			}
		})
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
