package login_test

import (
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestSignInEndsWhereItBegan(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		target := b.start("@Alice.Example", "/c/commons?page=2")
		if strings.Contains(target, "state") || strings.Contains(target, "alice") {
			t.Errorf("authorize URL %s says more than a reference", target)
		}
		if len(b.cookies) != 1 {
			t.Errorf("a sign-in under way set %d cookies, want its binding only", len(b.cookies))
		}
		out, err := b.comeBack(i.pds.approve(target))
		if err != nil || out.Result != login.SignedIn || out.DID != alice || out.ReturnTo != "/c/commons?page=2" {
			t.Fatalf("Callback = %+v, %v", out, err)
		}
		if len(b.bindings()) != 0 {
			t.Errorf("binding cookies left: %v", b.bindings())
		}
		d, ok, err := i.sessions.Device(t.Context(), b.token())
		if err != nil || !ok {
			t.Fatalf("Device = %v, %v", ok, err)
		}
		a, _ := d.Current()
		if a.DID != alice || a.Handle != "alice.example" || !a.Live || a.PDS != i.pds.URL {
			t.Errorf("account = %+v", a)
		}
		if n := i.count(`SELECT count(*) FROM login_attempt`); n != 0 {
			t.Errorf("%d attempts left, want none", n)
		}
	})
}

// S13: without the binding cookie nothing is sent, nothing is used up, and the
// browser that has it can still come back.
func TestCallbackNeedsTheBrowserThatStarted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		q := i.pds.approve(b.start("alice.example", "/secret-page"))
		name := b.bindings()[0]
		other := i.browser()
		i.pds.approve(other.start("bob.example", "/"))
		foreign := map[string]map[string]string{
			"no cookie":                  {},
			"empty cookie":               {name: ""},
			"another value":              {name: "1." + strings.Repeat("A", 26)},
			"the cookie of another one":  other.cookies,
			"its value under that name":  {other.bindings()[0]: b.cookies[name]},
			"that value under this name": {name: other.cookies[other.bindings()[0]]},
		}
		for what, cookies := range foreign {
			stranger := i.browser()
			stranger.cookies = cookies
			out, err := stranger.comeBack(q)
			wantFault(t, what, err, fault.Forbidden)
			if out.Result != login.Failed || out.ReturnTo != "/" || out.DID != "" || out.Identifier != "" || len(out.Cookies) != 0 {
				t.Errorf("%s: outcome %+v tells or sets something", what, out)
			}
		}
		if n := i.pds.count("/oauth/token"); n != 0 {
			t.Errorf("%d token requests, want none before the binding was seen", n)
		}
		i.nothingStored()
		if out, err := b.comeBack(q); err != nil || out.Result != login.SignedIn {
			t.Errorf("the right browser afterwards = %v, %v; want signed in", out.Result, err)
		}
	})
}

// S13: who began a sign-in and sends its callback again and again without the
// cookie writes one audit row, also from several places at once.
func TestCallbacksOfOtherBrowsersAreNotedOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		for range 3 {
			q := i.pds.approve(i.browser().start("alice.example", "/"))
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 5 {
						if _, err := i.browser().comeBack(q); fault.KindOf(err) != fault.Forbidden {
							t.Errorf("callback without the cookie = %v, want forbidden", err)
						}
					}
				})
			}
			wg.Wait()
		}
		if n := i.count(`SELECT count(*) FROM audit WHERE detail = 'other_browser' AND did = $1`, alice); n != 3 {
			t.Errorf("%d audit rows for three sign-ins, want one of each", n)
		}
	})
}

// S14: a state works once, after success and after an error, and not beyond its
// life even though nobody swept it away.
func TestStateWorksOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		held := map[string]string{}
		keep := func() {
			for name, value := range b.cookies {
				held[name] = value
			}
		}

		q := i.pds.approve(b.start("alice.example", "/"))
		keep()
		if _, err := b.comeBack(q); err != nil {
			t.Fatal(err)
		}
		asked := i.pds.count("/oauth/token")
		again := i.browser()
		again.cookies = held
		_, err := again.comeBack(q)
		wantFault(t, "repeated callback", err, fault.Invalid)
		if diff := cmp.Diff([]syntax.DID{alice}, b.accounts()); diff != "" {
			t.Errorf("after a repeated callback (-want +got):\n%s", diff)
		}

		target := b.start("bob.example", "/")
		keep()
		denied := i.pds.decline(target)
		if out, err := b.comeBack(denied); err != nil || out.Result != login.Declined {
			t.Fatalf("declining = %v, %v", out.Result, err)
		}
		_, err = again.comeBack(i.pds.approve(target))
		wantFault(t, "approving after declining", err, fault.Invalid)

		q = i.pds.approve(b.start("bob.example", "/"))
		i.clock.advance(30 * time.Minute)
		_, err = b.comeBack(q)
		f := wantFault(t, "expired callback", err, fault.Invalid)
		if !strings.Contains(f.Public, "30 minutes") {
			t.Errorf("expired callback says %q", f.Public)
		}
		if n := i.pds.count("/oauth/token"); n != asked {
			t.Errorf("%d token requests for dead states, want none", n-asked)
		}
		for name := range held {
			for _, c := range b.sent() {
				if c.Name == name && c.MaxAge > int((30*time.Minute).Seconds()) {
					t.Errorf("binding cookie lives %d s", c.MaxAge)
				}
			}
		}
	})
}

// S14 and S21: of callbacks with one state at the same instant one succeeds and
// the others harm nothing.
func TestTwoCallbacksWithOneState(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		for range 10 {
			b := i.browser()
			q := i.pds.approve(b.start("alice.example", "/"))
			cookies := b.sent()
			var won atomic.Int64
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					out, err := i.Callback(t.Context(), login.Callback{Query: q, Cookies: cookies, Addr: b.addr})
					if err == nil && out.Result == login.SignedIn {
						won.Add(1)
					} else if fault.KindOf(err) != fault.Invalid {
						t.Errorf("losing callback = %v, want an invalid fault", err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d callbacks with one state succeeded, want 1", won.Load())
			}
		}
		if n := i.count(`SELECT count(*) FROM oauth_session WHERE state = 'live'`); n != 10 {
			t.Errorf("%d sessions, want 10", n)
		}
		if n := i.pds.live(); n != 10 {
			t.Errorf("%d sessions at the server, want 10", n)
		}
	})
}

// S21: two tabs of one browser, in either order, one of them failing.
func TestTwoTabsAreIndependent(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		first, second, third := b.start("alice.example", "/1"), b.start("bob.example", "/2"), b.start("alice.example", "/3")
		out, err := b.comeBack(i.pds.approve(second))
		if err != nil || out.ReturnTo != "/2" {
			t.Fatalf("second tab = %+v, %v", out, err)
		}
		if out, err = b.comeBack(i.pds.decline(third)); err != nil || out.ReturnTo != "/3" || out.Result != login.Declined {
			t.Fatalf("third tab = %+v, %v", out, err)
		}
		if out, err = b.comeBack(i.pds.approve(first)); err != nil || out.ReturnTo != "/1" {
			t.Fatalf("first tab = %+v, %v", out, err)
		}
		if diff := cmp.Diff([]syntax.DID{bob, alice}, b.accounts()); diff != "" {
			t.Errorf("accounts (-want +got):\n%s", diff)
		}
	})
}

// Trying again is one click: with what was typed, not with what it led to.
func TestAFailedSignInHandsBackWhatWasTyped(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		for typed, want := range map[string]string{
			" @Alice.Example": "alice.example", alice.String(): alice.String(), i.pds.URL + "/": i.pds.URL,
		} {
			b := i.browser()
			q := i.pds.approve(b.start(typed, "/"))
			q.Set("code", "x")
			out, err := b.comeBack(q)
			wantFault(t, "callback with a wrong code", err, fault.Invalid)
			if out.Identifier != want {
				t.Errorf("after typing %q = %q, want %q", typed, out.Identifier, want)
			}
		}
	})
}

// S18: declining is no error.
func TestDecliningLandsWhereItBegan(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		out, err := b.comeBack(i.pds.decline(b.start("alice.example", "/c/commons")))
		if err != nil || out.Result != login.Declined || out.ReturnTo != "/c/commons" {
			t.Errorf("Callback = %+v, %v; want a neutral refusal", out, err)
		}
		if !b.token().IsZero() || len(b.bindings()) != 0 {
			t.Error("declining left cookies")
		}
		i.nothingStored()
		if n := i.count(`SELECT count(*) FROM audit WHERE kind = 'sign_in_declined' AND did = $1`, alice); n != 1 {
			t.Errorf("%d audit rows, want 1", n)
		}
	})
}

// S15–S17: what a hostile or broken server sends back is refused, each with its
// own kind; what was issued is revoked; nothing is stored.
func TestBadAnswersSignNobodyIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		server func(p *pds)
		query  func(q url.Values)
		start  string
		kind   fault.Kind
		detail string // in the audit trail; empty: none
		asked  bool   // whether the code may have been sent
	}{
		{name: "iss of another server", server: func(p *pds) { p.issuer = "https://evil.example" }, kind: fault.Forbidden, detail: "wrong_issuer"},
		{name: "no iss", query: func(q url.Values) { q.Del("iss") }, kind: fault.Forbidden, detail: "wrong_issuer"},
		{name: "no code", query: func(q url.Values) { q.Del("code") }, kind: fault.Invalid, detail: "bad_callback"},
		{name: "two codes", query: func(q url.Values) { q.Add("code", "x") }, kind: fault.Invalid, detail: "bad_callback"},
		{name: "two states", query: func(q url.Values) { q.Add("state", "x") }, kind: fault.Invalid},
		{name: "no state", query: func(q url.Values) { q.Del("state") }, kind: fault.Invalid},
		{name: "another state", query: func(q url.Values) { q.Set("state", strings.Repeat("A", 43)) }, kind: fault.Invalid},
		{name: "endless state", query: func(q url.Values) { q.Set("state", strings.Repeat("A", 1<<20)) }, kind: fault.Invalid},
		{name: "state that is no text", query: func(q url.Values) { q.Set("state", "\x00\xff") }, kind: fault.Invalid},
		{name: "made-up code", query: func(q url.Values) { q.Set("code", "x") }, kind: fault.Invalid, detail: "invalid_grant", asked: true},
		{name: "server error in the callback", query: func(q url.Values) { q.Del("code"); q.Set("error", "server_error") }, kind: fault.Unavailable, detail: "server_error"},
		{name: "unknown error in the callback", query: func(q url.Values) { q.Del("code"); q.Set("error", "<script>") }, kind: fault.Unavailable, detail: "server_refused"},
		{name: "tokens of somebody else", server: func(p *pds) { p.subject = bob.String() }, kind: fault.Forbidden, detail: "wrong_subject", asked: true},
		{name: "subject at another server", server: func(p *pds) { p.subject = "did:plc:mallory" }, start: "server", kind: fault.Forbidden, detail: "wrong_subject", asked: true},
		{name: "subject that is no DID", server: func(p *pds) { p.subject = "alice" }, kind: fault.Unavailable, detail: "token_response", asked: true},
		{name: "bearer tokens", server: func(p *pds) { p.tokenType = "Bearer" }, kind: fault.Unavailable, detail: "token_type", asked: true},
		{name: "no atproto in the scope", server: func(p *pds) { p.scope = "transition:generic" }, kind: fault.Unavailable, detail: "no_atproto", asked: true},
		{name: "HTML instead of tokens", server: func(p *pds) { p.fail["/oauth/token"] = "html" }, kind: fault.Unavailable, detail: "not_oauth", asked: true},
		{name: "500 instead of tokens", server: func(p *pds) { p.fail["/oauth/token"] = "500" }, kind: fault.Unavailable, detail: "unreachable", asked: true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			i := newInstance(t, storetest.New(t, store.SQLite))
			i.dir.add("did:plc:mallory", "mallory.example", newPDS(t).URL)
			b := i.browser()
			identifier := "alice.example"
			if tc.start == "server" {
				identifier = i.pds.URL
			}
			target := b.start(identifier, "/back")
			if tc.server != nil {
				tc.server(i.pds)
			}
			q := i.pds.approve(target)
			if tc.query != nil {
				tc.query(q)
			}
			out, err := b.comeBack(q)
			wantFault(t, tc.name, err, tc.kind)
			if out.Result != login.Failed || !b.token().IsZero() {
				t.Errorf("outcome %+v after an error", out)
			}
			i.nothingStored()
			if asked := i.pds.count("/oauth/token") > 0; asked != tc.asked {
				t.Errorf("code sent: %v, want %v", asked, tc.asked)
			}
			if n := i.pds.live(); n != 0 {
				t.Errorf("%d sessions live on at the server, want all revoked", n)
			}
			wantRows := 0
			if tc.detail != "" {
				wantRows = 1
			}
			if n := i.count(`SELECT count(*) FROM audit WHERE kind = $1 AND detail = $2`, string(session.KindSignInRefused), tc.detail); n != wantRows {
				t.Errorf("%d audit rows with detail %q, want %d", n, tc.detail, wantRows)
			}
			if tc.detail != "" && out.ReturnTo != "/back" {
				t.Errorf("return to %q, want where it began", out.ReturnTo)
			}
		})
	}
}

// S16: a sign-in that began with a server learns who it is from the tokens.
func TestSignInFromAServer(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		i.pds.subject = bob.String()
		b := i.browser()
		out, err := b.comeBack(i.pds.approve(b.start(i.pds.URL+"/", "/")))
		if err != nil || out.DID != bob {
			t.Fatalf("Callback = %+v, %v", out, err)
		}
		if diff := cmp.Diff([]syntax.DID{bob}, b.accounts()); diff != "" {
			t.Errorf("accounts (-want +got):\n%s", diff)
		}
	})
}

// S17: less than was asked for is stored as what it is.
func TestPartialGrantIsStoredAsGranted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		i.pds.scope = "atproto"
		b := i.browser()
		b.signIn("alice.example")
		d, _, err := i.sessions.Device(t.Context(), b.token())
		i.must(err)
		if diff := cmp.Diff([]string{"atproto"}, d.Accounts[0].Scopes); diff != "" {
			t.Errorf("scopes (-want +got):\n%s", diff)
		}
	})
}

// S20: what cannot be saved is undone at the server, and can be tried again.
func TestUnsavedSessionsAreRevoked(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		q := i.pds.approve(b.start("alice.example", "/back"))
		i.exec(`ALTER TABLE audit RENAME TO audit_gone`) // the last write of a sign-in fails
		out, err := b.comeBack(q)
		f := wantFault(t, "callback that cannot be saved", err, fault.Unavailable)
		if !strings.Contains(f.Public, "try again") || out.ReturnTo != "/back" || out.DID != alice {
			t.Errorf("outcome %+v, %q: does not help to try again", out, f.Public)
		}
		i.nothingStored()
		if n := i.pds.live(); n != 0 {
			t.Errorf("%d sessions live on at the server, want all revoked", n)
		}
		i.exec(`ALTER TABLE audit_gone RENAME TO audit`)
		b.signIn("alice.example")
	})
}

// S20: an attempt that cannot be saved leaves neither cookie nor row.
func TestUnsavedAttemptsLeaveNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		i.exec(`ALTER TABLE login_attempt RENAME TO login_attempt_gone`)
		started, err := i.Start(t.Context(), login.Start{Identifier: "alice.example"})
		wantFault(t, "start that cannot be saved", err, fault.Internal)
		if len(started.Cookies) != 0 || started.URL != "" {
			t.Errorf("Start = %+v, want nothing", started)
		}
		if n := i.count(`SELECT count(*) FROM login_attempt_gone`); n != 0 {
			t.Errorf("%d attempts, want none", n)
		}
	})
}

// S19: a device cookie that was planted before never becomes authenticated.
func TestPlantedCookieStaysDead(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		planted := strings.Repeat("A", 43)
		b.cookies[i.cookies.Name("")] = planted
		b.signIn("alice.example")
		if b.token().Reveal() == planted {
			t.Error("the planted value became the device's token")
		}
		thief := i.browser()
		thief.cookies[i.cookies.Name("")] = planted
		if got := thief.accounts(); len(got) != 0 {
			t.Errorf("the planted value opens %v", got)
		}
	})
}
