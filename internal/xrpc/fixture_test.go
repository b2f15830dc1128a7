package xrpc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

const (
	origin  = "https://app.example.com"
	alice   = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	bob     = syntax.DID("did:plc:bobaaaaaaaaaaaaaaaaaaaaa")
	commons = syntax.DID("did:plc:commonsaaaaaaaaaaaaaaaaa")
)

// api is the API over real stores, behind the middleware of production.
type api struct {
	*Server
	t       *testing.T
	db      *store.DB
	index   *index.Index
	handler http.Handler
	desk    *desk
}

// people is the directory.
type people struct{}

func (people) Lookup(_ context.Context, id syntax.AtIdentifier) (*sdk.Identity, error) {
	switch id.String() {
	case "commons.example.com", string(commons):
		return &sdk.Identity{DID: commons, Handle: "commons.example.com"}, nil
	case string(alice):
		return &sdk.Identity{DID: alice, Handle: "alice.example.com"}, nil
	}
	return nil, &identity.Error{Subject: id.String(), Reason: identity.ErrHandleNotFound}
}

func (p people) LookupDID(ctx context.Context, did syntax.DID) (*sdk.Identity, error) {
	return p.Lookup(ctx, did.AtIdentifier())
}

func (people) PDS(*sdk.Identity) (string, error) { return "https://pds.example.com", nil }

// must unwraps what setting up needs.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newAPI(t *testing.T, change ...func(*Config)) *api {
	t.Helper()
	db := storetest.New(t, store.SQLite)
	quiet := slog.New(slog.DiscardHandler)
	a := &api{t: t, db: db, index: must(index.New(index.Config{DB: db}))(t)}
	a.desk = &desk{records: map[pds.Place]map[string]any{}, Agent: must(agent.New(agent.Config{DB: db, Directory: people{}, HTTP: http.DefaultClient, Logger: quiet,
		Open: agent.OAuth(nil)}))(t)}
	records := must(record.New(record.Config{DB: db, Index: a.index, Agent: a.desk, Directory: people{}, Logger: quiet}))(t)
	names := must(community.NewResolver(community.ResolverConfig{Index: a.index, Directory: people{}, HTTP: people{}}))(t)
	ring := must(keyring.Parse(must(keyring.Generate())(t)))(t)
	cfg := Config{
		Sessions: must(session.New(session.Config{DB: db, Ring: ring, Logger: quiet}))(t),
		Cookies:  must(session.NewCookies(origin, 0))(t),
		Origins:  must(httpserver.NewOrigins(origin))(t),
		Index:    a.index,
		Cursors:  must(index.NewCursors(make([]byte, 32)))(t),
		Communities: must(community.New(community.Config{DB: db, Index: a.index, Agent: a.desk, Records: records, Names: names, Logger: quiet,
			Instance: "did:web:app.example.com", Hosting: &hosting{desk: a.desk}, Jobs: must(job.New(job.Config{DB: db, Logger: quiet}))(t)}))(t),
		Posts: must(post.New(post.Config{DB: db, Index: a.index, Agent: a.desk, Records: records, Communities: names, Logger: quiet}))(t),
		Names: names, Origin: origin,
		Feeds: must(feed.New(feed.Config{Index: a.index, Cursors: must(index.NewCursors(make([]byte, 32)))(t), Logger: quiet}))(t),
	}
	cfg.Aggregators = newAggregators(t, db, a.index, cfg.Sessions)
	for _, f := range change {
		f(&cfg)
	}
	a.Server = must(New(cfg))(t)
	mux := http.NewServeMux()
	a.Mount(mux)
	a.handler = httpserver.Chain(httpserver.Routes(mux, a.RenderFault),
		httpserver.RequestID, httpserver.SecurityHeaders(true), httpserver.MaxBodyOf(BodyLimit))
	return a
}

// signIn makes a session on a device and returns its cookie.
func (a *api) signIn(token string, who syntax.DID) string {
	a.t.Helper()
	now := time.Now()
	out := must(a.cfg.Sessions.SignIn(a.t.Context(), session.SignIn{
		Token: keyring.NewSecret(token), Handle: "alice.example.com",
		Session: &client.SessionData{
			ID: rand.Text(), DID: who, Issuer: "https://pds.example.com", PDS: "https://pds.example.com",
			ClientID: "http://localhost", DPoPKey: must(dpop.NewKey())(a.t), AccessToken: "access", RefreshToken: "refresh",
			Scope: "atproto", CreatedAt: now, RefreshedAt: now, AccessExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(time.Hour),
		},
	}))(a.t)
	return out.Token.Reveal()
}

// call is a request to be; headers are names and values in turn.
type call struct {
	verb, path, body string
	cookie           string
	headers          []string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	Error  string `json:"error"`
	Words  string `json:"message"`
}

func (a *api) do(c call) answer {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), c.verb, origin+c.path, strings.NewReader(c.body))
	if c.verb == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(c.headers); i += 2 {
		r.Header.Set(c.headers[i], c.headers[i+1])
	}
	if c.cookie != "" {
		r.AddCookie(&http.Cookie{Name: a.cfg.Cookies.Name(""), Value: c.cookie})
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	out := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
	if kind := w.Header().Get("Content-Type"); w.Body.Len() > 0 && kind != "application/json" {
		a.t.Errorf("%s %s answers with %s", c.verb, c.path, kind)
	}
	if w.Code >= 400 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Error == "" || out.Words == "" {
			a.t.Errorf("%s %s: status %d with %q, want error and message", c.verb, c.path, w.Code, out.body)
		}
	}
	path, _, _ := strings.Cut(c.path, "?")
	if method, ok := strings.CutPrefix(path, Prefix); ok && w.Code == http.StatusOK && c.verb != http.MethodHead {
		a.fits(syntax.NSID(method), out)
	}
	return out
}

// jwt is a token that somebody else signed.
func jwt(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"ES256","typ":"at+jwt"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

var errBug = errors.New("secret detail of a bug")
