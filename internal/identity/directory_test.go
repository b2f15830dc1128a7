package identity_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
)

const (
	alice   = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	mallory = syntax.DID("did:plc:mmmmmmmmmmmmmmmmmmmmmmmm")

	aliceHandle = syntax.Handle("alice.atoll-tests.net")
	pdsOne      = "https://pds1.atoll-tests.net"
	pdsTwo      = "https://pds2.atoll-tests.net"
)

func TestHandleIsVerifiedInBothDirections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(alice, aliceHandle.String(), pdsOne)
	w.dnsDID(aliceHandle.String(), alice.String())
	d := w.directory(t)

	for _, id := range []string{"alice.atoll-tests.net", "Alice.Atoll-Tests.NET", alice.String()} {
		got, err := d.Lookup(t.Context(), syntax.AtIdentifier(id))
		if err != nil {
			t.Fatalf("Lookup(%s): %v", id, err)
		}
		if got.DID != alice || got.Handle != aliceHandle {
			t.Errorf("Lookup(%s) = %s, %s; want %s, %s", id, got.DID, got.Handle, alice, aliceHandle)
		}
		if pds, err := d.PDS(got); err != nil || pds != pdsOne {
			t.Errorf("PDS of %s = %q, %v; want %q", id, pds, err, pdsOne)
		}
		if _, err := got.PublicKey(); err != nil {
			t.Errorf("PublicKey of %s: %v", id, err)
		}
	}
}

// The document is the direction that fails here: mallory's name server points
// at alice, whose document never heard of the name (S7).
func TestHandleThatTheDocumentDoesNotNameIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, doc string
		want      identity.MismatchError
		says      string
	}{
		{"other handle", document(alice, []string{"at://" + aliceHandle.String()}, pdsOne),
			identity.MismatchError{Direction: identity.DIDToHandle, Handle: "evil.atoll-tests.net", DID: alice, Found: aliceHandle.String()},
			"that account says that its handle is alice.atoll-tests.net"},
		{"no handle", document(alice, nil, pdsOne),
			identity.MismatchError{Direction: identity.DIDToHandle, Handle: "evil.atoll-tests.net", DID: alice},
			"names no handle of its own"},
		{"only second in the list", document(alice, []string{"at://alice.atoll-tests.net", "at://evil.atoll-tests.net"}, pdsOne),
			identity.MismatchError{Direction: identity.DIDToHandle, Handle: "evil.atoll-tests.net", DID: alice, Found: aliceHandle.String()},
			"that account says that its handle is alice.atoll-tests.net"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.document(alice, tt.doc)
			w.dnsDID("evil.atoll-tests.net", alice.String())
			_, err := w.directory(t).LookupHandle(t.Context(), "evil.atoll-tests.net")
			var got *identity.MismatchError
			if !errors.As(err, &got) || !errors.Is(err, sdk.ErrHandleMismatch) {
				t.Fatalf("LookupHandle = %v, want a *MismatchError", err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("mismatch (-want +got):\n%s", diff)
			}
			if f := identity.Fault(err); f.Kind != fault.Invalid || !strings.Contains(f.Public, tt.says) {
				t.Errorf("Fault = %v %q, want invalid with %q", f.Kind, f.Public, tt.says)
			}
		})
	}
}

// A handle that another account took over shows as invalid for the account
// that had it, and leads to the new one (S39).
func TestHandleTakenOverDoesNotReachTheOldAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(alice, aliceHandle.String(), pdsOne)
	w.account(mallory, aliceHandle.String(), pdsTwo)
	w.dnsDID(aliceHandle.String(), mallory.String())
	d := w.directory(t)

	old, err := d.LookupDID(t.Context(), alice)
	if err != nil || old.Handle != syntax.HandleInvalid {
		t.Errorf("LookupDID(old account) = %v, %v; want handle.invalid", old, err)
	}
	now, err := d.LookupHandle(t.Context(), aliceHandle)
	if err != nil || now.DID != mallory {
		t.Errorf("LookupHandle = %v, %v; want %s", now, err, mallory)
	}
	err = d.VerifyHandle(t.Context(), alice, aliceHandle)
	var mismatch *identity.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Direction != identity.HandleToDID || mismatch.Found != mallory.String() {
		t.Errorf("VerifyHandle = %v, want a mismatch from handle to DID that names %s", err, mallory)
	}
	if f := identity.Fault(err); !strings.Contains(f.Public, "that handle leads to another account") {
		t.Errorf("Fault = %q, want it to name the direction", f.Public)
	}
}

func TestHandleResolution(t *testing.T) {
	t.Parallel()
	const handle = "alice.atoll-tests.net"
	tests := []struct {
		name  string
		setup func(w *world)
		want  syntax.DID
		err   error
	}{
		{"dns", func(w *world) { w.dnsDID(handle, alice.String()) }, alice, nil},
		{"https", func(w *world) { w.wellKnown(handle, "atproto-did", 200, alice.String()) }, alice, nil},
		{"https with white space and another 2xx", func(w *world) {
			w.wellKnown(handle, "atproto-did", 203, "\n "+alice.String()+" \r\n")
		}, alice, nil},
		{"both disagree: dns counts", func(w *world) {
			w.dnsDID(handle, alice.String())
			w.wellKnown(handle, "atproto-did", 200, mallory.String())
		}, alice, nil},
		{"foreign TXT records are ignored", func(w *world) {
			w.dnsAnswer(handle, answer{records: []string{"v=spf1 -all", "did=nonsense", "did=" + alice.String(), "DID=" + mallory.String()}})
		}, alice, nil},
		{"the same record twice", func(w *world) { w.dnsDID(handle, alice.String(), alice.String()) }, alice, nil},
		{"records that disagree, https would answer", func(w *world) {
			w.dnsDID(handle, alice.String(), mallory.String())
			w.wellKnown(handle, "atproto-did", 200, alice.String())
		}, "", identity.ErrAmbiguous},
		{"TXT without a DID, https answers", func(w *world) {
			w.dnsAnswer(handle, answer{records: []string{"v=spf1 -all"}})
			w.wellKnown(handle, "atproto-did", 200, alice.String())
		}, alice, nil},
		{"name server fails, https answers", func(w *world) {
			w.dnsAnswer(handle, answer{code: dnsmessage.RCodeServerFailure})
			w.wellKnown(handle, "atproto-did", 200, alice.String())
		}, alice, nil},
		{"name server fails, https has none", func(w *world) {
			w.dnsAnswer(handle, answer{code: dnsmessage.RCodeServerFailure})
			w.wellKnown(handle, "other", 200, "")
		}, "", identity.ErrUnavailable},
		{"nowhere", func(*world) {}, "", identity.ErrHandleNotFound},
		{"https 404", func(w *world) { w.wellKnown(handle, "other", 200, "") }, "", identity.ErrHandleNotFound},
		{"https answers a page", func(w *world) {
			w.wellKnown(handle, "atproto-did", 200, "<!doctype html><title>hi</title>")
		}, "", identity.ErrHandleNotFound},
		{"https answers a long page", func(w *world) {
			w.wellKnown(handle, "atproto-did", 200, strings.Repeat("<p>", 10_000))
		}, "", identity.ErrHandleNotFound},
		{"https answers 500", func(w *world) { w.wellKnown(handle, "atproto-did", 500, alice.String()) }, "", identity.ErrUnavailable},
		{"https breaks off", func(w *world) {
			w.host(handle, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, "", identity.ErrUnavailable},
		{"leads to an unknown DID", func(w *world) { w.dnsDID(handle, mallory.String()) }, "", identity.ErrDIDNotFound},
		{"leads to another kind of DID", func(w *world) { w.dnsDID(handle, "did:key:z6Mk") }, "", identity.ErrUnsupportedDID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.account(alice, handle, pdsOne)
			tt.setup(w)
			got, err := w.directory(t).LookupHandle(t.Context(), handle)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("LookupHandle error = %v, want %v", err, tt.err)
			}
			if err == nil && got.DID != tt.want {
				t.Errorf("LookupHandle = %s, want %s", got.DID, tt.want)
			}
		})
	}
}

// A name that is too long for DNS with _atproto. in front is asked over https.
func TestVeryLongHandleIsAskedOverHTTPS(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 60)
	handle := strings.Join([]string{label, label, label, strings.Repeat("b", 55), "atoll", "net"}, ".")
	w := newWorld(t)
	w.account(alice, handle, pdsOne)
	w.wellKnown(handle, "atproto-did", 200, alice.String())
	if got, err := w.directory(t).LookupHandle(t.Context(), syntax.Handle(handle)); err != nil || got.DID != alice {
		t.Errorf("LookupHandle(%d characters) = %v, %v; want %s", len(handle), got, err, alice)
	}
}

func TestReservedTLDsAreExplainedWithoutAsking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.directory(t)
	for _, tld := range []string{"local", "localhost", "internal", "arpa", "onion", "example", "invalid", "alt", "test"} {
		host := "alice." + tld
		_, err := d.LookupHandle(t.Context(), syntax.Handle(strings.ToUpper(host)))
		if !errors.Is(err, identity.ErrReservedTLD) || !errors.Is(err, sdk.ErrHandleReservedTLD) {
			t.Errorf("LookupHandle(%s) = %v, want ErrReservedTLD", host, err)
			continue
		}
		if f := identity.Fault(err); f.Kind != fault.Invalid || !strings.HasPrefix(f.Public, host+" cannot belong to an account: ."+tld+" ") {
			t.Errorf("Fault(%s) = %v %q, want an explanation", host, f.Kind, f.Public)
		}
		if n := w.requests("TXT _atproto." + host + "."); n != 0 {
			t.Errorf("%d DNS questions about %s, want none", n, host)
		}
	}
	if _, err := d.LookupDID(t.Context(), "did:web:pds.internal"); !errors.Is(err, identity.ErrReservedTLD) {
		t.Errorf("LookupDID(did:web:pds.internal) = %v, want ErrReservedTLD", err)
	}
}

func TestReservedTLDNamesTheSetting(t *testing.T) {
	t.Parallel()
	err := identity.CheckSetting("hosting.handle_domain", "members.local", false)
	want := "members.local cannot belong to an account: .local only exists on one home or office network. " +
		"The name comes from this server's setting hosting.handle_domain."
	if err == nil || err.Error() != want {
		t.Errorf("CheckSetting = %v, want %q", err, want)
	}
	if err := identity.CheckSetting("hosting.handle_domain", "one.test", true); err != nil {
		t.Errorf("CheckSetting(.test in development) = %v", err)
	}
}

func TestDevelopmentHandlesAreAskedAtTheirServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.host("localhost", func(rw http.ResponseWriter, r *http.Request) {
		if r.Host != "alice.one.test" || r.URL.Path != "/.well-known/atproto-did" {
			http.NotFound(rw, r)
			return
		}
		fmt.Fprint(rw, alice)
	})
	w.account(alice, "alice.one.test", "http://localhost:2583")
	d := w.directory(t, func(cfg *identity.Config) {
		cfg.Dev = true
		cfg.DevHandles = map[string]string{".one.test": "http://localhost:2583"}
	})
	got, err := d.LookupHandle(t.Context(), "alice.one.test")
	if err != nil {
		t.Fatalf("LookupHandle: %v", err)
	}
	if pds, err := d.PDS(got); err != nil || pds != "http://localhost:2583" {
		t.Errorf("PDS = %q, %v", pds, err)
	}
	if _, err := d.LookupHandle(t.Context(), "bob.one.test"); !errors.Is(err, identity.ErrHandleNotFound) {
		t.Errorf("LookupHandle(bob) = %v, want ErrHandleNotFound", err)
	}
	if n := w.requests("TXT _atproto.alice.one.test."); n != 0 {
		t.Errorf("DNS was asked %d times about a local handle", n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	client := &http.Client{}
	tests := map[string]identity.Config{
		"no client":            {},
		"plain http PLC":       {HTTP: client, PLCURL: "http://localhost:2582"},
		"PLC with a path":      {HTTP: client, PLCURL: "https://plc.atoll-tests.net/x"},
		"plain http handles":   {HTTP: client, DevHandles: map[string]string{".one.test": "http://localhost:2583"}},
		"http beyond loopback": {HTTP: client, Dev: true, DevHandles: map[string]string{".one.test": "http://pds.atoll-tests.net"}},
	}
	for name, cfg := range tests {
		if _, err := identity.New(cfg); err == nil {
			t.Errorf("New(%s) succeeded", name)
		}
	}
	if _, err := identity.New(identity.Config{HTTP: client, Dev: true, PLCURL: "http://localhost:2582"}); err != nil {
		t.Errorf("New(local PLC with Dev) = %v", err)
	}
}

// The pages of a person and of an operator say different things for each.
func TestFaultsHaveKindsAndSentences(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		kind fault.Kind
		says string
	}{
		{&identity.Error{Subject: "a.b.net", Reason: identity.ErrHandleNotFound}, fault.NotFound, "There is no account with the handle a.b.net."},
		{&identity.Error{Subject: "did:plc:x", Reason: identity.ErrDIDNotFound}, fault.NotFound, "There is no account did:plc:x"},
		{&identity.Error{Subject: "a.b.net", Reason: identity.ErrAmbiguous}, fault.Invalid, "_atproto.a.b.net"},
		{&identity.Error{Subject: "did:x:y", Reason: identity.ErrUnsupportedDID}, fault.Invalid, "did:plc:"},
		{&identity.Error{Subject: "did:plc:x", Reason: identity.ErrBadDocument}, fault.Invalid, "damaged"},
		{&identity.Error{Subject: "did:plc:x", Reason: identity.ErrNoPDS}, fault.Invalid, "which server"},
		{&identity.Error{Subject: "a.b.net", Reason: identity.ErrBlocked}, fault.Invalid, "private network"},
		{&identity.Error{Subject: "a.b.net", Reason: identity.ErrUnavailable, Cause: errors.New("secret detail")}, fault.Unavailable, "try again"},
		{&identity.InputError{Sentence: "No."}, fault.Invalid, "No."},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), fault.Unavailable, "too long"},
		{errors.New("secret detail"), fault.Internal, "Something went wrong"},
	}
	for _, tt := range tests {
		got := identity.Fault(fmt.Errorf("sign in: %w", tt.err))
		if got.Kind != tt.kind || !strings.Contains(got.Public, tt.says) || strings.Contains(got.Public, "secret") {
			t.Errorf("Fault(%v) = %v %q, want %v with %q", tt.err, got.Kind, got.Public, tt.kind, tt.says)
		}
		if !errors.Is(got, tt.err) {
			t.Errorf("Fault(%v) lost its cause", tt.err)
		}
	}
	if identity.Fault(nil) != nil {
		t.Error("Fault(nil) is not nil")
	}
}

// S38: a member who moved is found at the new PDS after resolving again.
func TestMoveIsSeenWhenFreshOrPurgedOrOld(t *testing.T) {
	t.Parallel()
	again := map[string]func(w *world, d *identity.Directory) (*sdk.Identity, error){
		"fresh": func(_ *world, d *identity.Directory) (*sdk.Identity, error) {
			return d.LookupFresh(t.Context(), alice.AtIdentifier(), 30*time.Second)
		},
		"purged by DID": func(_ *world, d *identity.Directory) (*sdk.Identity, error) {
			if err := d.Purge(t.Context(), alice.AtIdentifier()); err != nil {
				return nil, err
			}
			return d.LookupDID(t.Context(), alice)
		},
		"purged by handle": func(_ *world, d *identity.Directory) (*sdk.Identity, error) {
			if err := d.Purge(t.Context(), aliceHandle.AtIdentifier()); err != nil {
				return nil, err
			}
			return d.LookupDID(t.Context(), alice)
		},
		"ten minutes later": func(w *world, d *identity.Directory) (*sdk.Identity, error) {
			w.pass(9 * time.Minute)
			return d.LookupDID(t.Context(), alice)
		},
	}
	for name, look := range again {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.account(alice, aliceHandle.String(), pdsOne)
			w.dnsDID(aliceHandle.String(), alice.String())
			d := w.directory(t)
			before, err := d.LookupHandle(t.Context(), aliceHandle)
			if err != nil {
				t.Fatalf("LookupHandle: %v", err)
			}
			w.account(alice, aliceHandle.String(), pdsTwo)
			w.pass(time.Minute)
			if cached, err := d.LookupDID(t.Context(), alice); err != nil || cached.PDSEndpoint() != pdsOne {
				t.Fatalf("LookupDID after a minute = %v, %v; want the cached answer", cached, err)
			}
			got, err := look(w, d)
			if err != nil || got.PDSEndpoint() != pdsTwo || before.PDSEndpoint() != pdsOne {
				t.Errorf("looked up again: %v, %v; want %s", got, err, pdsTwo)
			}
		})
	}
}

func TestFailuresAreForgottenSooner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(alice, aliceHandle.String(), pdsOne)
	d := w.directory(t)
	if _, err := d.LookupHandle(t.Context(), aliceHandle); !errors.Is(err, identity.ErrHandleNotFound) {
		t.Fatalf("LookupHandle = %v, want ErrHandleNotFound", err)
	}
	w.dnsDID(aliceHandle.String(), alice.String())
	if _, err := d.LookupHandle(t.Context(), aliceHandle); !errors.Is(err, identity.ErrHandleNotFound) {
		t.Errorf("LookupHandle at once = %v, want the cached failure", err)
	}
	w.pass(61 * time.Second)
	if _, err := d.LookupHandle(t.Context(), aliceHandle); err != nil {
		t.Errorf("LookupHandle after a minute = %v", err)
	}

	w.host("plc.atoll-tests.net", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	w.pass(11 * time.Minute)
	if _, err := d.LookupDID(t.Context(), alice); !errors.Is(err, identity.ErrUnavailable) {
		t.Errorf("LookupDID with the directory down = %v, want ErrUnavailable", err)
	}
	w.wellKnown("plc.atoll-tests.net", "x", 404, "")
	w.pass(6 * time.Second)
	if _, err := d.LookupDID(t.Context(), alice); !errors.Is(err, identity.ErrDIDNotFound) {
		t.Errorf("LookupDID six seconds later = %v, want a new answer", err)
	}
}

func TestReturnedIdentitiesAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(alice, aliceHandle.String(), pdsOne)
	w.dnsDID(aliceHandle.String(), alice.String())
	d := w.directory(t)
	first, err := d.LookupDID(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	first.AlsoKnownAs[0], first.Handle = "at://evil.atoll-tests.net", "evil.atoll-tests.net"
	delete(first.Services, "atproto_pds")
	second, err := d.LookupDID(t.Context(), alice)
	if err != nil || second.Handle != aliceHandle || second.PDSEndpoint() != pdsOne {
		t.Errorf("second look-up = %+v, %v; the first caller's changes show", second, err)
	}
}

func TestManyCallersShareOneLookup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(alice, aliceHandle.String(), pdsOne)
	w.dnsDID(aliceHandle.String(), alice.String())
	d := w.directory(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := d.LookupHandle(t.Context(), aliceHandle); err != nil {
				t.Errorf("LookupHandle: %v", err)
			}
		})
	}
	wg.Wait()
	if n := w.requests(plcURL + "/" + alice.String()); n != 1 {
		t.Errorf("the directory was asked %d times, want once", n)
	}
}

// TestRemembers: what is said to be remembered is answered without asking anybody,
// and what is not has to be asked for.
func TestRemembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(alice, aliceHandle.String(), pdsOne)
	w.dnsDID(aliceHandle.String(), alice.String())
	w.document(mallory, document(mallory, nil, pdsTwo))
	d := w.directory(t)
	gone := syntax.DID("did:plc:nobodyaaaaaaaaaaaaaaaaaa")
	for _, did := range []syntax.DID{alice, mallory, gone} {
		if d.Remembers(did) {
			t.Errorf("%s is remembered before anybody asked", did)
		}
		_, first := d.LookupDID(t.Context(), did)
		if !d.Remembers(did) {
			t.Errorf("%s is not remembered after a look-up (%v)", did, first)
		}
	}
	w.pass(2 * time.Minute) // a bad answer is forgotten sooner
	for did, want := range map[syntax.DID]bool{alice: true, mallory: true, gone: false} {
		if got := d.Remembers(did); got != want {
			t.Errorf("two minutes later %s is remembered: %t, want %t", did, got, want)
		}
	}
	if err := d.Purge(t.Context(), aliceHandle.AtIdentifier()); err != nil || d.Remembers(alice) {
		t.Errorf("after forgetting the handle: %v, still remembered", err)
	}
}
