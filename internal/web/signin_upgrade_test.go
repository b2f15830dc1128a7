package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/oauth/client"
)

// refusing is a session that may not do what is asked.
type refusing struct{ err error }

func (r refusing) Do(*http.Request) (*http.Response, error) { return nil, r.err }

// lacking is what writing a post comes to without the permission for it.
func lacking(t *testing.T, s *site) error {
	t.Helper()
	a := ok(agent.New(agent.Config{
		DB: s.db, Directory: directory{}, HTTP: http.DefaultClient, Logger: slog.New(slog.DiscardHandler),
		Open: func(context.Context, agent.Actor) (pds.Doer, error) {
			return refusing{&client.AccessError{Reason: client.ErrMissingScope, Status: http.StatusForbidden}}, nil
		},
	}))(t)
	_, err := a.Create(t.Context(), agent.Actor{DID: syntax.DID(alice.DID), SessionID: "s"}, agent.Write{
		Collection: "social.coves.community.postv2", RKey: "3kaaaaaaaaa2a", Record: map[string]any{"$type": "social.coves.community.postv2"},
	})
	var kind *agent.Error
	if !errors.As(err, &kind) || kind.Kind != agent.NeedsScope {
		t.Fatalf("writing without the permission = %v", err)
	}
	return err
}

// S36: a write that lacks a permission offers to give it, beside what was typed,
// and the member comes back.
func TestAMissingPermissionIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.servers.upgrade = func(login.Upgrade) (login.Started, error) {
		return login.Started{URL: pdsPage, Cookies: []*http.Cookie{s.cfg.Cookies.Make("login-x", "1.secret", 60)}}, nil
	}
	s.pds.refuse = lacking(t, s)
	b := s.member(t, alice)
	const scope = "repo:social.coves.community.postv2?action=create"
	b.post("/posts", "acting", alice.DID, "key", "form-1", "community", commons.DID, "title", "T", "content", "Kept text").
		is(403, "Kept text", `action="/oauth/upgrade" target="_blank"`, `name="scope" value="`+scope+`"`,
			"Write posts in your repository", `name="return_to" value="/discover"`).lacks("Sign in again")
	a := b.post("/oauth/upgrade", "acting", alice.DID, "scope", scope, "return_to", "/discover").leads(pdsPage)
	if len(a.cookies) != 1 {
		t.Errorf("%d cookies set, want the binding", len(a.cookies))
	}
	got := s.servers.upgraded[0]
	if got.DID.String() != alice.DID || got.SessionID == "" || got.Scope != scope || got.ReturnTo != "/discover" {
		t.Errorf("asked login for %+v", got)
	}
}

// Any page's trouble offers it, and leads back to the page that the form was on.
func TestThePageOfAMissingPermission(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	for referer, back := range map[string]string{
		testOrigin + "/discover?cursor=x": "/discover?cursor=x", "https://evil.example/": "/", testOrigin + "//evil.example": "/", "": "/",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/votes", nil)
		r.Header.Set("Referer", referer)
		for name, value := range b.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		w := httptest.NewRecorder()
		s.RenderFault(w, r, lacking(t, s))
		a := &answer{t: t, what: "POST /votes", status: w.Code, header: w.Header(), body: w.Body.String()}
		a.is(403, "One more permission", `action="/oauth/upgrade"`, `name="return_to" value="`+back+`"`).lacks("evil.example", "target=")
		a.keepsForms()
	}
}

// S25 holds for giving permissions, too.
func TestGivingPermissionsRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.servers.upgrade = func(login.Upgrade) (login.Started, error) {
		return login.Started{}, fault.New(fault.Invalid, "That is no permission that this site asks for.")
	}
	s.browser(t).post("/oauth/upgrade", "acting", alice.DID, "scope", "x").is(401)
	b := s.member(t, alice, bob) // bob is active
	b.post("/oauth/upgrade", "scope", "x").is(409, "Go on as @bob.two.test")
	b.post("/oauth/upgrade", "acting", alice.DID, "scope", "x", "return_to", "/discover").
		is(409, "Go on as @alice.one.test", `name="return_to" value="/discover"`)
	if len(s.servers.upgraded) != 0 {
		t.Fatalf("login was asked: %+v", s.servers.upgraded)
	}
	b.post("/oauth/upgrade", "acting", bob.DID, "scope", "repo:a.b.c").is(400, "no permission that this site asks for")
	foreign := b.form("/oauth/upgrade", "acting", bob.DID, "scope", "x")
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	foreign.Header.Set("Origin", "https://evil.example")
	b.send(foreign).is(403)
	b.get("/oauth/upgrade").is(405)
}

func TestComingBackWithoutMorePermissions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.servers.callback = func(login.Callback) (login.Outcome, error) {
		return login.Outcome{Result: login.Declined, Upgrade: true, ReturnTo: "/discover?cursor=x"}, nil
	}
	b := s.member(t, alice)
	b.get("/oauth/callback?error=access_denied&state=s").leads("/discover?cursor=x&notice=kept")
	b.get("/discover?notice=kept").is(200, keptNotice, `role="status"`).lacks(declinedNotice)
	b.get("/account?notice=kept").is(200, keptNotice)
}
