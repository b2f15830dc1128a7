package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
)

const pdsPage = "https://pds.example.com/oauth/authorize?client_id=x&request_uri=y"

// leadingOn makes members' servers answer as they should.
func (s *site) leadingOn() *site {
	s.servers.start = func(login.Start) (login.Started, error) {
		return login.Started{URL: pdsPage, Cookies: []*http.Cookie{s.cfg.Cookies.Make("login-x", "1.secret", time.Hour)}}, nil
	}
	return s
}

func TestSignInFormLeadsToTheMembersServer(t *testing.T) {
	t.Parallel()
	s := newSite(t).leadingOn()
	b := s.browser(t)
	b.get("/sign-in?return_to=%2Fdiscover%3Fcursor%3Dx&handle=alice.one.test").is(200, `<label for="handle">Handle, DID or server</label>`,
		`name="return_to" value="/discover?cursor=x"`, `value="alice.one.test"`)
	a := b.post("/oauth/login", "handle", " @alice.one.test", "return_to", "/discover?cursor=x").leads(pdsPage)
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("redirect to the server: Cache-Control %q, want no-store", got)
	}
	if len(a.cookies) != 1 || !a.cookies[0].HttpOnly || a.cookies[0].Name != "atoll-8080-login-x" {
		t.Errorf("cookies = %v, want the binding of the attempt", a.cookies)
	}
	b.get("/oauth/login?handle=bob.two.test&redirect=/account").leads(pdsPage)
	b.get("/oauth/login?redirect=/account").leads("/sign-in?return_to=%2Faccount")
	var asked [][2]string
	for _, in := range s.servers.started {
		asked = append(asked, [2]string{in.Identifier, in.ReturnTo})
		if !in.Addr.IsValid() {
			t.Errorf("start without the address that limits are kept by: %+v", in)
		}
	}
	if diff := cmp.Diff([][2]string{{" @alice.one.test", "/discover?cursor=x"}, {"bob.two.test", "/account"}}, asked); diff != "" {
		t.Errorf("starts differ (-want +got):\n%s", diff)
	}
	if len(s.servers.started[1].Cookies) != 1 {
		t.Errorf("the second start was shown %d cookies, want the binding of the first", len(s.servers.started[1].Cookies))
	}
}

// S12, at the edge: what a link or a form brings is never followed elsewhere.
func TestReturnAddressesStayHere(t *testing.T) {
	t.Parallel()
	s := newSite(t).leadingOn()
	b := s.browser(t)
	for _, to := range []string{"//evil.example", `/\evil.example`, "https://evil.example/", testOrigin + "//evil.example", "/.//evil.example",
		"javascript:alert(1)", "/oauth/login?handle=x", strings.Repeat("/x", 3000)} {
		b.post("/oauth/login", "handle", "alice.one.test", "return_to", to).leads(pdsPage)
		r := b.form("/sign-in", "x", "y")
		r.Method, r.URL.RawQuery = http.MethodGet, "return_to="+to
		b.send(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/sign-in?"+strings.ReplaceAll("return_to="+to, " ", "%20"), nil)).
			is(200).lacks("evil.example", `name="return_to" value="javascript`)
	}
	for _, in := range s.servers.started {
		if in.ReturnTo != "/" {
			t.Errorf("start with return address %q, want /", in.ReturnTo)
		}
	}
}

func TestSignInMistakesStandBesideTheField(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		err    error
		status int
		beside bool
	}{
		{"mistyped", fault.New(fault.Invalid, "This is not a handle <b>."), 400, true},
		{"unknown", fault.New(fault.NotFound, "There is no account with that handle."), 404, true},
		{"down", fault.New(fault.Unavailable, "pds.example.com does not answer."), 503, false},
		{"limited", fault.New(fault.Limited, "Too many tries.").After(90 * time.Second), 429, false},
		{"refused", fault.New(fault.Forbidden, "That is refused."), 403, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.servers.start = func(login.Start) (login.Started, error) { return login.Started{}, tt.err }
			a := s.browser(t).post("/oauth/login", "handle", "what <I> typed", "return_to", "/discover").
				is(tt.status, `value="what &lt;I&gt; typed"`, `name="return_to" value="/discover"`)
			if got := strings.Contains(a.body, `id="handle-wrong"`); got != tt.beside {
				t.Errorf("message beside the field: %v, want %v", got, tt.beside)
			}
			if got := a.header.Get("Retry-After"); (got == "90") != (tt.status == 429) {
				t.Errorf("Retry-After %q with status %d", got, tt.status)
			}
			if len(a.cookies) != 0 {
				t.Errorf("a failed start sets cookies: %v", a.cookies)
			}
		})
	}
}

func TestInnerTroubleStaysPrivate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret := errors.New("dial tcp 10.0.0.7:5432: password of user atoll")
	s.servers.start = func(login.Start) (login.Started, error) { return login.Started{}, secret }
	s.servers.callback = func(login.Callback) (login.Outcome, error) { return login.Outcome{}, secret }
	b := s.browser(t)
	b.post("/oauth/login", "handle", "alice.one.test").is(500, "Something went wrong here", "request <span").lacks("10.0.0.7")
	b.get("/oauth/callback?state=x").is(500).lacks("10.0.0.7")
}

func TestComingBackSignedIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	s.servers.callback = func(in login.Callback) (login.Outcome, error) {
		b.signIn(alice) // as login does it
		return login.Outcome{Result: login.SignedIn, DID: syntax.DID(alice.DID), ReturnTo: "/discover?cursor=x",
			Cookies: []*http.Cookie{s.cfg.Cookies.Make("login-x", "", 0), s.cfg.Cookies.DeviceCookie(b.token())}}, nil
	}
	a := b.get("/oauth/callback?state=s&code=c&iss=i").leads("/discover?cursor=x")
	if len(a.cookies) != 2 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("callback sets %d cookies with Cache-Control %q, want 2 and no-store", len(a.cookies), a.header.Get("Cache-Control"))
	}
	b.get("/").is(200, `Your account: </span>@alice`)
	if got := s.servers.callbacks[0].Query.Get("code"); got != "c" {
		t.Errorf("callback got code %q, want c", got)
	}
}

// S18: a member who declines is back where they were, with a neutral message
// and no error status, signed in or not.
func TestComingBackAfterDeclining(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var to string
	s.servers.callback = func(login.Callback) (login.Outcome, error) {
		return login.Outcome{Result: login.Declined, ReturnTo: to}, nil
	}
	for path, lands := range map[string]string{
		"/": "/?notice=declined", "/discover": "/discover?notice=declined", "/discover?a=b": "/discover?a=b&notice=declined", "/posts/new": "/posts/new?notice=declined",
	} {
		to = path
		b := s.browser(t)
		b.get("/oauth/callback?error=access_denied&state=s").leads(lands)
		b.get(lands).is(200, declinedNotice, `role="status"`).lacks(`role="alert"`, "return_to=%2Fdiscover%3Fnotice")
	}
	b := s.browser(t)
	b.get("/account?notice=declined").leads("/sign-in?notice=declined&return_to=%2Faccount")
	b.get("/sign-in?notice=declined&return_to=%2Faccount").is(200, declinedNotice)
	b.get("/?notice=%3Cscript%3E").is(200).lacks("notice", "<script>")
}

func TestComingBackWithAnErrorOffersAnotherTry(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.servers.callback = func(login.Callback) (login.Outcome, error) {
		return login.Outcome{DID: syntax.DID(alice.DID), Identifier: "alice.one.test", ReturnTo: "/discover",
				Cookies: []*http.Cookie{s.cfg.Cookies.Make("login-x", "", 0)}},
			fault.New(fault.Forbidden, "The answer came from another server. Please start again.")
	}
	b := s.browser(t)
	b.cookies["atoll-8080-login-x"] = "1.secret"
	a := b.get("/oauth/callback?state=s&code=c").is(403, "The answer came from another server", `value="alice.one.test"`, `name="return_to" value="/discover"`)
	if a.header.Get("Cache-Control") != "no-store" || len(b.cookies) != 0 {
		t.Errorf("after a failed callback: Cache-Control %q, cookies %v; want no-store and none", a.header.Get("Cache-Control"), b.cookies)
	}
	head := httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/oauth/callback?state=s&code=c", nil)
	if b.send(head); len(s.servers.callbacks) != 1 {
		t.Error("HEAD used the callback up")
	}
	b.post("/oauth/callback", "state", "s").is(405)
}

// Another site's page can make a browser ask for these addresses. Only who opens
// them begins or ends a sign-in; nothing else reaches login and its limits.
func TestSignInsAreVisitsOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t).leadingOn()
	s.servers.callback = func(login.Callback) (login.Outcome, error) {
		return login.Outcome{Result: login.SignedIn, ReturnTo: "/"}, nil
	}
	b := s.browser(t)
	visit := func(path, header, value string) *answer {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set(header, value)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		return b.send(r)
	}
	for _, path := range []string{"/oauth/login?handle=alice.one.test", "/oauth/callback?state=s&code=c"} {
		for _, dest := range []string{"image", "iframe", "frame", "embed", "script", "style", "empty", "audio", "nonsense"} {
			if a := visit(path, "Sec-Fetch-Dest", dest).is(403, "as a page of its own"); len(a.cookies) != 0 {
				t.Errorf("%s for %s sets cookies: %v", path, dest, a.cookies)
			}
		}
		visit(path, "Sec-Purpose", "prefetch").is(403)
		visit(path, "Sec-Purpose", "prefetch;prerender").is(403)
	}
	if len(s.servers.started)+len(s.servers.callbacks) != 0 {
		t.Errorf("login was asked: %v, %v", s.servers.started, s.servers.callbacks)
	}
	visit("/oauth/login?handle=alice.one.test", "Sec-Fetch-Dest", "document").leads(pdsPage)
	visit("/oauth/callback?state=s&code=c", "Sec-Fetch-Dest", "document").leads("/")
}

func TestSignInFormsThatAreBroken(t *testing.T) {
	t.Parallel()
	s := newSite(t).leadingOn()
	b := s.browser(t)
	b.post("/oauth/login", "handle", "alice\x00.one.test").is(400)
	b.post("/oauth/login", "handle", "\xff\xfe").is(400)
	b.post("/oauth/login", "handle", strings.Repeat("a", smallForm)).is(413)
	r := b.form("/oauth/login", "handle", "alice.one.test")
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	b.send(r).is(403)
	if len(s.servers.started) != 0 {
		t.Errorf("broken forms began %d sign-ins", len(s.servers.started))
	}
	b.get("/oauth/login?handle=%00%ff").leads(pdsPage) // login judges what was typed
	b.get("/sign-in?handle=%00%ff&return_to=%ff").is(200, `name="handle" type="text" value=""`)
}
