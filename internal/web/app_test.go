package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
)

// fakeApps stands in for sign-ins of apps.
type fakeApps struct {
	request  login.AppRequest
	err      error
	approve  error
	codes    []string
	opened   []login.OpenApp
	mobile   []login.AppRedirect
	declined int
}

func (f *fakeApps) OpenApp(_ context.Context, in login.OpenApp) (login.Started, error) {
	f.opened = append(f.opened, in)
	return login.Started{URL: pdsPage, Cookies: []*http.Cookie{{Name: "atoll-8080-login-x", Value: "v", HttpOnly: true}}}, f.err
}

func (f *fakeApps) AppRequest(context.Context, string, []*http.Cookie) (login.AppRequest, error) {
	return f.request, f.err
}

func (f *fakeApps) ApproveApp(_ context.Context, _, code string, _ []*http.Cookie) error {
	f.codes = append(f.codes, code)
	return f.approve
}

func (f *fakeApps) DeclineApp(context.Context, string, []*http.Cookie) error {
	f.declined++
	return nil
}

func (f *fakeApps) AppOnThisMachine(context.Context, string, []*http.Cookie) (string, error) {
	return "http://127.0.0.1:40123/?login_id=x&proof=p", f.err
}

func (f *fakeApps) StartAppRedirect(_ context.Context, in login.AppRedirect) (login.Started, error) {
	f.mobile = append(f.mobile, in)
	return login.Started{URL: pdsPage}, f.err
}

func sampleRequest() login.AppRequest {
	return login.AppRequest{ID: "LOGIN", Name: `Reader <b>"1"</b>`, CodeWanted: true, Origin: "198.51.100.0/24", Asked: sampleNow.Add(-2 * time.Minute),
		DID: syntax.DID(alice.DID), Handle: syntax.Handle(alice.Handle), TriesLeft: 5, LoopbackPort: 40123}
}

func newAppSite(t *testing.T) (*site, *fakeApps) {
	t.Helper()
	f := &fakeApps{request: sampleRequest()}
	return newSite(t, func(cfg *Config) {
		cfg.Apps, cfg.InstanceKeys = f, func() []byte { return []byte(`{"keys":[{"kid":"k"}]}`) }
	}), f
}

// N4: the page shows the app as unverified, from where and when, and wants the code.
func TestTheApprovalPageShowsWhoAsks(t *testing.T) {
	t.Parallel()
	s, f := newAppSite(t)
	b := s.browser(t)
	a := b.get("/app/LOGIN/approve").is(200, "unverified", "Reader &lt;b&gt;", "198.51.100.0/24", "2 minutes ago", "@alice.one.test", `name="code"`,
		`action="/app/LOGIN/here"`, `action="/app/LOGIN/decline"`).lacks("<b>")
	if a.header.Get("Cache-Control") != "no-store" || len(a.cookies) != 0 {
		t.Errorf("Cache-Control %q, cookies %v; want no-store and none", a.header.Get("Cache-Control"), a.cookies)
	}
	if got := a.header.Get("Content-Security-Policy"); !strings.HasSuffix(got, "; form-action 'self' http://127.0.0.1:40123") || strings.Count(got, "form-action") != 1 {
		t.Errorf("policy %q, want forms to lead here and to the app's address only", got)
	}
	f.request.LoopbackPort, f.request.Origin = 0, ""
	b.get("/app/LOGIN/approve").is(200, "not known").lacks("/here")
}

func TestOpeningAnAppLeadsToTheServer(t *testing.T) {
	t.Parallel()
	s, f := newAppSite(t)
	b := s.browser(t)
	if a := b.get("/app/LOGIN").leads(pdsPage); len(a.cookies) != 1 {
		t.Errorf("cookies %v, want the binding", a.cookies)
	}
	head := b.form("/app/LOGIN")
	head.Method = http.MethodHead
	if b.send(head).is(405); len(f.opened) != 1 || f.opened[0].ID != "LOGIN" {
		t.Errorf("opened %+v, want it once: HEAD begins nothing", f.opened)
	}
	f.err = &login.EndedError{State: login.StateExpired}
	b.get("/app/LOGIN").leads("/app/LOGIN/approve")
	f.err = fault.New(fault.NotFound, "There is no such sign-in of an app.")
	b.get("/app/LOGIN").is(404, "There is no such sign-in")
}

func TestTypingTheCode(t *testing.T) {
	t.Parallel()
	s, f := newAppSite(t)
	b := s.browser(t)
	b.post("/app/LOGIN/approve", "code", "BCDF-GHJK").leads("/app/LOGIN/approve")
	f.approve = &login.WrongCodeError{TriesLeft: 3}
	b.post("/app/LOGIN/approve", "code", "WRONG").is(400, `id="code-wrong"`, "three times more", "unverified").lacks("WRONG")
	f.approve = &login.WrongCodeError{TriesLeft: 1}
	b.post("/app/LOGIN/approve", "code", "WRONG").is(400, "once more")
	f.approve = &login.EndedError{State: login.StateWrongCode}
	b.post("/app/LOGIN/approve", "code", "WRONG").leads("/app/LOGIN/approve")
	f.approve = fault.New(fault.Forbidden, "This sign-in of an app belongs to another browser.")
	b.post("/app/LOGIN/approve", "code", "WRONG").is(403, "another browser")
	b.post("/app/LOGIN/here").leads("http://127.0.0.1:40123/?login_id=x&proof=p")
	b.post("/app/LOGIN/decline").leads("/app/LOGIN/approve")
	if f.declined != 1 || f.codes[0] != "BCDF-GHJK" {
		t.Errorf("declined %d times, codes %v", f.declined, f.codes)
	}
	for _, path := range []string{"/app/LOGIN/approve", "/app/LOGIN/here", "/app/LOGIN/decline"} {
		r := b.form(path, "code", "BCDF-GHJK")
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		b.send(r).is(403)
	}
	if f.declined != 1 || len(f.codes) != 5 {
		t.Error("a form of another site did something")
	}
}

func TestTheEndsOfAnAppSignInAreShown(t *testing.T) {
	t.Parallel()
	s, f := newAppSite(t)
	b := s.browser(t)
	seen := map[string]bool{}
	for state, ending := range appEndings {
		f.request = login.AppRequest{ID: "LOGIN", State: state}
		b.get("/app/LOGIN/approve").is(200, ending.Heading, ending.What)
		seen[ending.What] = true
	}
	f.request = login.AppRequest{ID: "LOGIN", Approved: true, State: login.StateDelivered}
	b.get("/app/LOGIN/approve").is(200, "The app is signed in")
	if len(seen) != 5 {
		t.Errorf("%d ends are told apart, want 5", len(seen))
	}
}

func TestComingBackForAnApp(t *testing.T) {
	t.Parallel()
	s, _ := newAppSite(t)
	b := s.browser(t)
	out, err := login.Outcome{App: "LOGIN", ReturnTo: "/app/LOGIN/approve", Result: login.SignedIn}, error(nil)
	s.servers.callback = func(login.Callback) (login.Outcome, error) { return out, err }
	b.get("/oauth/callback?state=s").leads("/app/LOGIN/approve")
	out.Result = login.Declined
	b.get("/oauth/callback?state=s").leads("/app/LOGIN/approve")
	out.ReturnTo = "social.coves:/callback?error=access_denied"
	b.get("/oauth/callback?state=s").leads(out.ReturnTo)
	err = fault.New(fault.Conflict, "This sign-in of an app was finished in another window.")
	b.get("/oauth/callback?state=s").is(409, "another window").lacks(`name="handle"`)
}

func TestMobileClientsBeginWithTheirAddress(t *testing.T) {
	t.Parallel()
	s, f := newAppSite(t)
	b := s.browser(t)
	b.get("/oauth/mobile/login?handle=alice.one.test&redirect_uri=social.coves:/callback").leads(pdsPage)
	if len(f.mobile) != 1 || f.mobile[0].Identifier != "alice.one.test" || f.mobile[0].RedirectURI != "social.coves:/callback" || !f.mobile[0].Addr.IsValid() {
		t.Errorf("started %+v", f.mobile)
	}
	f.err = fault.New(fault.Invalid, "This redirect_uri is not allowed.")
	b.get("/oauth/mobile/login?handle=alice.one.test&redirect_uri=https://evil.example").is(400, "not allowed")
	newSite(t).browser(t).get("/oauth/mobile/login").is(404)
}

func TestInstanceKeysArePublished(t *testing.T) {
	t.Parallel()
	s, _ := newAppSite(t)
	if a := s.browser(t).get("/.well-known/jwks.json").is(200); a.body != `{"keys":[{"kid":"k"}]}` || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("published %s", a.body)
	}
}
