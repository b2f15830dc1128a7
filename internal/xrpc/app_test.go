package xrpc

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// apps is the app sessions of an API.
func (a *api) apps() *session.Apps { return a.cfg.Apps }

// newAppAPI is an API that knows apps.
func newAppAPI(t *testing.T) *api {
	t.Helper()
	ring := must(keyring.Parse(must(keyring.Generate())(t)))(t)
	a := newAPI(t)
	quiet := slog.New(slog.DiscardHandler)
	keys := must(session.NewTokenKeys(session.KeysConfig{DB: a.db, Ring: ring, Logger: quiet}))(t)
	if err := keys.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.cfg.Apps = must(session.NewApps(session.AppsConfig{Manager: a.cfg.Sessions, Keys: keys, Issuer: origin}))(t)
	mux := http.NewServeMux()
	a.Mount(mux)
	a.handler = mux
	return a
}

// app signs alice in for an app whose secret a browser carries.
func (a *api) app(id string) keyring.Secret {
	a.t.Helper()
	now := time.Now()
	data := &client.SessionData{
		ID: rand.Text(), DID: alice, Issuer: "https://pds.example.com", PDS: "https://pds.example.com",
		ClientID: "http://localhost", DPoPKey: must(dpop.NewKey())(a.t), AccessToken: "access", RefreshToken: "refresh",
		Scope: "atproto", CreatedAt: now, RefreshedAt: now, AccessExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(time.Hour),
	}
	err := a.apps().SignIn(a.t.Context(), session.AppSignIn{ID: id, Session: data, Handle: "alice.example.com", Name: "Reader", CollectBy: time.Now().Add(time.Hour)})
	if err != nil {
		a.t.Fatal(err)
	}
	return must(a.apps().HandOut(a.t.Context(), id, time.Now().Add(time.Minute)))(a.t)
}

func (a *api) ask(verb, path, bearer, body string) (int, map[string]string) {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), verb, path, strings.NewReader(body))
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	var out map[string]string
	_ = json.Unmarshal(w.Body.Bytes(), &out)
	for _, c := range w.Result().Cookies() {
		a.t.Errorf("%s %s with a token sets the cookie %s", verb, path, c.Name)
	}
	return w.Code, out
}

// The token opens /api/me and the methods, as its own member and with its own
// OAuth session; each sealed token works once; the end is the end (N5, N6).
func TestAppTokensOpenTheAPI(t *testing.T) {
	t.Parallel()
	a := newAppAPI(t)
	body := func(token string) string {
		return `{"did":"` + string(alice) + `","session_id":"APP","sealed_token":"` + token + `"}`
	}
	first := a.app("APP")
	for _, wrong := range []string{`{}`, `[]`, strings.Replace(body(first.Reveal()), "APP", "OTHER", 1), strings.Replace(body(first.Reveal()), string(alice), string(bob), 1)} {
		if status, out := a.ask("POST", "/oauth/refresh", "", wrong); status != 400 && status != 401 || out["access_token"] != "" {
			t.Errorf("refresh with %s: %d", wrong, status)
		}
	}
	status, out := a.ask("POST", "/oauth/refresh", "", body(first.Reveal()))
	token := out["access_token"]
	if status != 200 || token == "" || out["sealed_token"] == "" || out["sealed_token"] == first.Reveal() {
		t.Fatalf("refresh: %d %v", status, out)
	}
	if status, out := a.ask("GET", "/api/me", token, ""); status != 200 || out["did"] != string(alice) || out["handle"] != "alice.example.com" {
		t.Errorf("/api/me: %d %v", status, out)
	}
	if status, out := a.ask("POST", "/xrpc/social.coves.community.post.create", token, `{"community":"commons.example.com","title":"t","content":"c"}`); status != 200 {
		t.Errorf("post.create: %d %v", status, out)
	}
	caller := must(a.apps().Authenticate(t.Context(), token))(t)
	if len(a.desk.actors) != 1 || a.desk.actors[0].DID != alice || a.desk.actors[0].SessionID != caller.Account.SessionID {
		t.Errorf("written as %+v, want alice by the app's own session", a.desk.actors)
	}
	if status, _ := a.ask("GET", "/xrpc/social.coves.feed.getDiscover", token, ""); status != 200 {
		t.Errorf("getDiscover: %d", status)
	}
	if err := a.apps().Revoke(t.Context(), alice, "APP"); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"GET", "/api/me"}, {"GET", "/xrpc/social.coves.feed.getDiscover"}, {"POST", "/xrpc/social.coves.community.post.create"}} {
		if status, out := a.ask(c[0], c[1], token, `{}`); status != 401 || out["error"] != "AuthRequired" {
			t.Errorf("%s after the revocation: %d %v, want 401 AuthRequired", c[1], status, out)
		}
	}
}

// S46 for apps: "sign in again" is told from "never heard of".
func TestAppWhoseMemberMustSignInAgain(t *testing.T) {
	t.Parallel()
	a := newAppAPI(t)
	grant := must(a.apps().Refresh(t.Context(), a.app("APP")))(t)
	caller := must(a.apps().Authenticate(t.Context(), grant.Access.Reveal()))(t)
	if err := a.cfg.Sessions.Delete(t.Context(), caller.Account.SessionID, client.ReasonRevoked); err != nil {
		t.Fatal(err)
	}
	if status, out := a.ask("GET", "/api/me", grant.Access.Reveal(), ""); status != 401 || out["error"] != "SignInAgain" {
		t.Errorf("/api/me: %d %v, want 401 SignInAgain", status, out)
	}
}
