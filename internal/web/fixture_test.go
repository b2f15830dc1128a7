package web

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// testOrigin is where the site under test is.
const testOrigin = "http://127.0.0.1:8080"

// site is the pages over real stores, behind the middleware of production.
type site struct {
	*Server
	sessions *session.Manager
	index    *index.Index
	db       *store.DB
	servers  *fakeServers
	pds      *fakePDS
	hosting  *fakeHosting
	handler  http.Handler
	queries  atomic.Int64
}

// directory knows the people of the samples.
type directory struct{}

// Do is everybody's server: whom it is asked about is a community.
func (directory) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"uri":"at://` + r.URL.Query().Get("repo") + `/social.coves.community.profile/self",` +
			`"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a","value":{"hostedBy":"did:web:example.com"}}`))}, nil
}

func (directory) Lookup(_ context.Context, id syntax.AtIdentifier) (*identity.Identity, error) {
	for _, p := range []person{alice, bob, commons, reef} {
		if id.String() == p.DID || id.String() == p.Handle {
			return &identity.Identity{DID: syntax.DID(p.DID), Handle: syntax.Handle(p.Handle)}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "There is no such account.")
}

func (d directory) LookupDID(ctx context.Context, did syntax.DID) (*identity.Identity, error) {
	return d.Lookup(ctx, did.AtIdentifier())
}

func (directory) PDS(*identity.Identity) (string, error) { return "https://pds.example.com", nil }

// fakeServers stands in for members' servers: what login answers is set by the
// test, what it was asked is kept.
type fakeServers struct {
	start     func(login.Start) (login.Started, error)
	callback  func(login.Callback) (login.Outcome, error)
	upgrade   func(login.Upgrade) (login.Started, error)
	started   []login.Start
	upgraded  []login.Upgrade
	callbacks []login.Callback
}

func (f *fakeServers) Start(_ context.Context, in login.Start) (login.Started, error) {
	f.started = append(f.started, in)
	return f.start(in)
}

func (f *fakeServers) Callback(_ context.Context, in login.Callback) (login.Outcome, error) {
	f.callbacks = append(f.callbacks, in)
	return f.callback(in)
}

func (f *fakeServers) Upgrade(_ context.Context, in login.Upgrade) (login.Started, error) {
	f.upgraded = append(f.upgraded, in)
	return f.upgrade(in)
}

// noPictures has none; package media is tested by itself.
type noPictures struct{}

func (noPictures) Get(context.Context, media.Preset, syntax.DID, syntax.CID) (media.Served, error) {
	return media.Served{}, errNoPage
}

// newSite makes a site on an SQLite file of its own. change may alter the
// configuration first.
func newSite(t *testing.T, change ...func(*Config)) *site {
	t.Helper()
	s := &site{servers: &fakeServers{}}
	stored := storetest.NewConfig(t, store.SQLite)
	stored.Queried = func(string) { s.queries.Add(1) }
	db := storetest.Open(t, stored)
	now := func() time.Time { return sampleNow }
	ring := ok(keyring.Parse(ok(keyring.Generate())(t)))(t)
	s.db = db
	s.sessions = ok(session.New(session.Config{DB: db, Ring: ring, Logger: slog.New(slog.DiscardHandler), Now: now}))(t)
	s.index = ok(index.New(index.Config{DB: db, Now: now}))(t)
	s.pds = &fakePDS{records: map[pds.Place]map[string]any{}, Agent: ok(agent.New(agent.Config{
		DB: db, Directory: directory{}, HTTP: http.DefaultClient, Logger: slog.New(slog.DiscardHandler), Now: now,
		Open: func(context.Context, agent.Actor) (pds.Doer, error) { return nil, client.ErrNotFound },
	}))(t)}
	quiet := slog.New(slog.DiscardHandler)
	records := ok(record.New(record.Config{DB: db, Index: s.index, Agent: s.pds, Directory: directory{}, Logger: quiet}))(t)
	s.hosting = &fakeHosting{pds: s.pds}
	names := ok(community.NewResolver(community.ResolverConfig{Index: s.index, Directory: directory{}, HTTP: directory{}}))(t)
	cursors := ok(index.NewCursors(make([]byte, 32)))(t)
	cfg := Config{
		Sessions: s.sessions, SignIn: s.servers, Origin: testOrigin, Index: s.index, Now: now, Listening: true, Client: testClient(t),
		Posts: ok(post.New(post.Config{DB: db, Index: s.index, Agent: s.pds, Records: records, Communities: names, Logger: quiet, Now: now}))(t),
		Communities: ok(community.New(community.Config{DB: db, Index: s.index, Agent: s.pds, Records: records, Names: names,
			Hosting: s.hosting, Instance: "did:web:groups.one.test", Jobs: ok(job.New(job.Config{DB: db, Logger: quiet}))(t), Logger: quiet, Now: now}))(t),
		Names: names, Cursors: cursors, Pictures: noPictures{},
		Cookies: ok(session.NewCookies(testOrigin, 0))(t),
		Feeds:   newFeeds(t, s.index, now),
		Origins: ok(httpserver.NewOrigins(testOrigin))(t),
	}
	for _, f := range change {
		f(&cfg)
	}
	s.Server = ok(New(cfg))(t)
	mux := http.NewServeMux()
	s.Mount(mux)
	s.handler = httpserver.Chain(httpserver.Routes(mux, s.RenderFault),
		httpserver.RequestID, httpserver.SecurityHeaders(false), httpserver.MaxBodyOf(func(r *http.Request) int64 {
			return max(BodyLimit(r), 1<<20) // as the program has it
		}))
	return s
}

// ok unwraps what setting up needs.
func ok[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// testClient is a development client that signs nobody in.
func testClient(t *testing.T) *client.Client {
	t.Helper()
	return ok(client.New(client.Config{
		RedirectURIs: []string{testOrigin + "/oauth/callback"}, Scope: "atproto", HTTP: http.DefaultClient, Directory: directory{},
	}))(t)
}

// browser is somebody who looks at a site. It keeps cookies as browsers do.
type browser struct {
	t       *testing.T
	site    *site
	cookies map[string]string
}

func (s *site) browser(t *testing.T) *browser {
	return &browser{t: t, site: s, cookies: map[string]string{}}
}

// member is a browser in which who is signed in.
func (s *site) member(t *testing.T, who ...person) *browser {
	t.Helper()
	b := s.browser(t)
	for _, p := range who {
		b.signIn(p)
	}
	return b
}

// signIn makes a session for who on this browser, as login does.
func (b *browser) signIn(who person) {
	b.t.Helper()
	out := ok(b.site.sessions.SignIn(b.t.Context(), session.SignIn{
		Token:     b.token(),
		Session:   newSession(b.t, who),
		Handle:    syntax.Handle(who.Handle),
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	}))(b.t)
	b.cookies[b.site.cfg.Cookies.Name("")] = out.Token.Reveal()
}

func (b *browser) token() keyring.Secret {
	return keyring.NewSecret(b.cookies[b.site.cfg.Cookies.Name("")])
}

func newSession(t *testing.T, who person) *client.SessionData {
	t.Helper()
	return &client.SessionData{
		ID: rand.Text(), DID: syntax.DID(who.DID), Issuer: "https://pds.example.com", PDS: "https://pds.example.com",
		ClientID: "http://localhost", DPoPKey: ok(dpop.NewKey())(t), AccessToken: "access", RefreshToken: "refresh",
		Scope: "atproto repo:social.coves.community.postv2", CreatedAt: sampleNow, RefreshedAt: sampleNow,
		AccessExpiresAt: sampleNow.Add(time.Hour), RefreshExpiresAt: sampleNow.Add(24 * time.Hour),
	}
}

// get asks for a page.
func (b *browser) get(path string) *answer {
	b.t.Helper()
	return b.send(b.asking(path))
}

// asking asks for a page.
func (b *browser) asking(path string) *http.Request {
	return httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, path, http.NoBody)
}

// post sends a form from a page of the site.
func (b *browser) post(path string, fields ...string) *answer {
	b.t.Helper()
	return b.send(b.form(path, fields...))
}

// form is a request with a form; fields are names and values in turn.
func (b *browser) form(path string, fields ...string) *http.Request {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", testOrigin)
	return r
}

func (b *browser) send(r *http.Request) *answer {
	b.t.Helper()
	r.Host = strings.TrimPrefix(testOrigin, "http://")
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.site.handler.ServeHTTP(w, r)
	a := &answer{t: b.t, what: r.Method + " " + r.URL.Path, status: w.Code, header: w.Header(), body: w.Body.String()}
	for _, c := range w.Result().Cookies() {
		a.cookies = append(a.cookies, c)
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	page := w.Code < 300 || w.Code >= 400
	if page && r.Method != http.MethodHead && strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		for _, wrong := range audit(a.body) {
			b.t.Errorf("%s: %s", a.what, wrong)
		}
		a.keepsForms()
	}
	return a
}

// keepsForms checks that forms are held to this site and to origins that are
// named, but for those of signing in and of giving permissions, which lead to
// any server.
func (a *answer) keepsForms() {
	a.t.Helper()
	kept := strings.Contains(a.header.Get("Content-Security-Policy"), "form-action 'self'")
	leaves := strings.Contains(a.body, `action="/oauth/login"`) || strings.Contains(a.body, `action="/oauth/upgrade"`)
	if kept == leaves {
		a.t.Errorf("%s: form-action is in the policy: %t, on a page with a form that leads elsewhere: %t", a.what, kept, leaves)
	}
}

// answer is what a browser got.
type answer struct {
	t       *testing.T
	what    string
	status  int
	header  http.Header
	body    string
	cookies []*http.Cookie
}

// is checks the status and that the page holds each of texts.
func (a *answer) is(status int, texts ...string) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d; body:\n%s", a.what, a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Errorf("%s: no %q in:\n%s", a.what, text, a.body)
		}
	}
	return a
}

// lacks checks that the page holds none of texts.
func (a *answer) lacks(texts ...string) *answer {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			a.t.Errorf("%s: there is %q in:\n%s", a.what, text, a.body)
		}
	}
	return a
}

// leads checks for a redirect after a form.
func (a *answer) leads(to string) *answer {
	a.t.Helper()
	a.is(http.StatusSeeOther)
	if got := a.header.Get("Location"); got != to {
		a.t.Errorf("%s: leads to %q, want %q", a.what, got, to)
	}
	return a
}

func newFeeds(t *testing.T, ix *index.Index, now func() time.Time) *feed.Feeds {
	t.Helper()
	return ok(feed.New(feed.Config{Index: ix, Cursors: ok(index.NewCursors(make([]byte, 32)))(t),
		Logger: slog.New(slog.DiscardHandler), Now: now}))(t)
}
