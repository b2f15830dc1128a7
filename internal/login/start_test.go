package login_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// S6, S7 and the bad input of the sign-in form: a sentence that says what to
// do, no cookie, nothing stored.
func TestStartExplainsWhatIsWrong(t *testing.T) {
	t.Parallel()
	down := newPDS(t)
	down.Close()
	tests := []struct {
		name, identifier string
		server           func(i *instance)
		kind             fault.Kind
		says             string
	}{
		{name: "nothing", identifier: " ", kind: fault.Invalid},
		{name: "oversized", identifier: strings.Repeat("a", 1<<20), kind: fault.Invalid},
		{name: "not UTF-8", identifier: "\xff\xfe.example", kind: fault.Invalid},
		{name: "control characters", identifier: "alice\x00\x1b.example", kind: fault.Invalid},
		{name: "not a name", identifier: "alice@example@x y", kind: fault.Invalid},
		{name: "impossible TLD", identifier: "alice.local", kind: fault.Invalid, says: ".local",
			server: func(i *instance) {
				i.dir.errs["alice.local"] = &identity.TLDError{Host: "alice.local", TLD: "local"}
			}},
		{name: "unknown handle", identifier: "nobody.example", kind: fault.NotFound, says: "nobody.example",
			server: func(i *instance) {
				i.dir.errs["nobody.example"] = &identity.Error{Subject: "nobody.example", Reason: identity.ErrHandleNotFound}
			}},
		{name: "handle that points elsewhere", identifier: "alice.example", kind: fault.Invalid, says: "another account",
			server: func(i *instance) {
				i.dir.errs["alice.example"] = &identity.MismatchError{Direction: identity.HandleToDID, Handle: "alice.example", DID: alice, Found: bob.String()}
			}},
		{name: "account without a server", identifier: "alice.example", kind: fault.Invalid, says: "which server",
			server: func(i *instance) { i.dir.add(alice, "alice.example", "") }},
		{name: "server that is down", identifier: "alice.example", kind: fault.Unavailable, says: "does not answer",
			server: func(i *instance) { i.dir.add(alice, "alice.example", down.URL) }},
		{name: "HTML instead of metadata", identifier: "alice.example", kind: fault.Unavailable, says: "does not answer as",
			server: func(i *instance) { i.pds.fail["/.well-known/oauth-protected-resource"] = "html" }},
		{name: "HTML instead of the pushed request's answer", identifier: "alice.example", kind: fault.Unavailable, says: "does not answer as",
			server: func(i *instance) { i.pds.fail["/oauth/par"] = "html" }},
		{name: "server in trouble", identifier: "alice.example", kind: fault.Unavailable, says: "does not answer right now",
			server: func(i *instance) { i.pds.fail["/oauth/par"] = "500" }},
		{name: "server that wants a pause", identifier: "alice.example", kind: fault.Unavailable, says: "pause",
			server: func(i *instance) { i.pds.fail["/oauth/par"] = "429" }},
		{name: "plain http server", identifier: "http://pds.example", kind: fault.Invalid},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			i := newInstance(t, storetest.New(t, store.SQLite))
			if tc.server != nil {
				tc.server(i)
			}
			started, err := i.Start(t.Context(), login.Start{Identifier: tc.identifier})
			f := wantFault(t, "Start", err, tc.kind)
			if !strings.Contains(f.Public, tc.says) || !strings.ContainsAny(f.Public, ".!") {
				t.Errorf("Start says %q, want %q in it", f.Public, tc.says)
			}
			if tc.name == "server that wants a pause" && (f.RetryAfter < time.Minute || f.RetryAfter > 3*time.Minute) {
				t.Errorf("retry after %v, want the server's two minutes", f.RetryAfter)
			}
			if started.URL != "" || len(started.Cookies) != 0 {
				t.Errorf("Start = %+v with an error", started)
			}
			if n := i.count(`SELECT count(*) FROM login_attempt`) + i.count(`SELECT count(*) FROM audit`); n != 0 {
				t.Errorf("%d rows stored, want none", n)
			}
		})
	}
}

// S12 as it is used: what comes back out of the database is a local path.
func TestReturnAddressIsLocalAfterTheRoundTrip(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	for raw, want := range map[string]string{
		"//evil.example": "/", "/\\evil.example": "/", origin + "/account": "/account", "/x?y=\xff": "/", "/c/ü": "/c/%C3%BC",
	} {
		b := i.browser()
		out, err := b.comeBack(i.pds.approve(b.start("alice.example", raw)))
		if err != nil || out.ReturnTo != want {
			t.Errorf("return to %q = %q, %v; want %q", raw, out.ReturnTo, err, want)
		}
	}
}

// S11: one address is limited, its neighbours are not, and neither is the
// person whose name is typed.
func TestStartingIsLimitedPerAddress(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	s := i.service(httpserver.LimiterConfig{Every: time.Hour, Burst: 3}, &bytes.Buffer{})
	start := func(addr string) error {
		_, err := s.Start(t.Context(), login.Start{Identifier: "alice.example", Addr: netip.MustParseAddr(addr)})
		return err
	}
	for range 3 {
		if err := start("203.0.113.77"); err != nil {
			t.Fatalf("Start: %v", err)
		}
	}
	pushed := i.pds.count("/oauth/par")
	f := wantFault(t, "fourth start", start("203.0.113.77"), fault.Limited)
	if f.RetryAfter <= 0 {
		t.Error("the refusal does not say when to try again")
	}
	if n := i.pds.count("/oauth/par"); n != pushed {
		t.Error("a refused start reached the server")
	}
	if err := start("203.0.113.78"); err != nil {
		t.Errorf("Start from another address for the same person = %v", err)
	}
	for host := range 3 * 16 {
		addr := fmt.Sprintf("198.51.100.%d", host)
		if err := start(addr); err != nil {
			t.Fatalf("Start from %s: %v", addr, err)
		}
	}
	wantFault(t, "49th start of one network", start("198.51.100.200"), fault.Limited)
}

func TestCallbacksAreLimitedPerAddress(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	s := i.service(httpserver.LimiterConfig{Every: time.Hour, Burst: 1}, &bytes.Buffer{})
	in := login.Callback{Addr: netip.MustParseAddr("203.0.113.77")}
	_, err := s.Callback(t.Context(), in)
	wantFault(t, "empty callback", err, fault.Invalid)
	_, err = s.Callback(t.Context(), in)
	wantFault(t, "second callback", err, fault.Limited)
}

// S11: pushed requests wait for their server's turn, and servers do not wait
// for each other.
func TestPushesAreLimitedPerServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := login.NewPushLimit()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for n := range 50 {
			if err := p.Wait(t.Context(), "https://busy.example"); err != nil || time.Since(began) != 0 {
				t.Fatalf("push %d waited %v: %v", n, time.Since(began), err)
			}
		}
		if err := p.Wait(t.Context(), "https://busy.example"); err != nil || time.Since(began) == 0 {
			t.Errorf("one push too many waited %v (%v), want its turn", time.Since(began), err)
		}
		before := time.Now()
		if err := p.Wait(t.Context(), "https://other.example"); err != nil || time.Since(before) != 0 {
			t.Errorf("another server waited %v: %v", time.Since(before), err)
		}
		refused := make(chan error, 200)
		for range cap(refused) {
			go func() { refused <- p.Wait(t.Context(), "https://busy.example") }()
		}
		limited := 0
		for range cap(refused) {
			if err := <-refused; err != nil {
				if f := fault.From(err); f.Kind != fault.Limited || f.RetryAfter <= 0 {
					t.Errorf("refusal = %v", err)
				}
				limited++
			}
		}
		if limited == 0 || limited == cap(refused) {
			t.Errorf("%d of %d pushes at once were refused, want some", limited, cap(refused))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for {
			if err := p.Wait(ctx, "https://gone.example"); err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Wait with a dead context = %v", err)
				}
				break
			}
		}
	})
}

// One browser holds eight bindings at most: the oldest go.
func TestABrowserHoldsEightBindings(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	b := i.browser()
	var targets []string
	for range 12 {
		targets = append(targets, b.start("alice.example", "/"))
		i.clock.advance(time.Second)
	}
	if n := len(b.bindings()); n != 8 {
		t.Fatalf("browser holds %d bindings, want 8", n)
	}
	for n, target := range targets[:4] {
		_, err := b.comeBack(i.pds.approve(target))
		wantFault(t, fmt.Sprintf("sign-in %d", n), err, fault.Forbidden)
	}
	for n, target := range targets[4:] {
		if out, err := b.comeBack(i.pds.approve(target)); err != nil || out.Result != login.SignedIn {
			t.Errorf("sign-in %d = %v, %v; want signed in", n+4, out.Result, err)
		}
	}
	// Cookies that somebody made up are cleared away like any others.
	for n := range 20 {
		b.cookies[i.cookies.Name("login-")+strings.Repeat("x", n)] = "99999999999.y"
	}
	b.start("alice.example", "/")
	if n := len(b.bindings()); n != 8 {
		t.Errorf("browser holds %d bindings, want 8", n)
	}
}

func TestBindingCookieLivesAsLongAsTheAttempt(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	started, err := i.Start(t.Context(), login.Start{Identifier: "alice.example"})
	if err != nil || len(started.Cookies) != 1 {
		t.Fatalf("Start = %+v, %v", started, err)
	}
	c := started.Cookies[0]
	if c.MaxAge != 30*60 || !c.HttpOnly || c.Path != "/" || c.SameSite != 2 || !strings.HasPrefix(c.Name, "atoll-8080-login-") {
		t.Errorf("binding cookie = %v", c)
	}
	if n := i.count(`SELECT count(*) FROM login_attempt WHERE expires_at - created_at = 1800000000`); n != 1 {
		t.Error("the attempt does not live 30 minutes")
	}
}
