package client_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
)

func TestSignInAndCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*client.Config)
		params client.StartParams
		hint   string
	}{
		"confidential, by handle":        {nil, client.StartParams{Account: "alice.test"}, "alice.test"},
		"confidential, by DID":           {nil, client.StartParams{Account: hostile.Alice.AtIdentifier()}, "alice.test"},
		"confidential, by PDS":           {nil, client.StartParams{Server: hostile.PDS}, ""},
		"confidential, by PDS and slash": {nil, client.StartParams{Server: hostile.PDS + "/"}, ""},
		"confidential, by issuer":        {nil, client.StartParams{Server: hostile.Issuer}, ""},
		"loopback, by handle":            {loopback, client.StartParams{Account: "alice.test"}, "alice.test"},
		"loopback, any port": {loopback, client.StartParams{
			Account: "alice.test", RedirectURI: "http://127.0.0.1:34567/oauth/callback"}, "alice.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := newFixture(t, c.change), context.Background()
			c.params.AppState = []byte("back to /here")
			started, err := f.Start(ctx, c.params)
			if err != nil {
				t.Fatalf("Start(%+v): %v", c.params, err)
			}
			push := f.net.Seen("/oauth/par")
			if got := push[len(push)-1].Form.Get("login_hint"); got != c.hint {
				t.Errorf("login_hint = %q, want %q", got, c.hint)
			}
			q, err := f.net.Approve(started.URL)
			if err != nil {
				t.Fatal(err)
			}
			peeked, err := f.Peek(ctx, q.Get("state"))
			if err != nil || string(peeked.AppState) != "back to /here" {
				t.Fatalf("Peek = %v, %v; want the attempt with its app state", peeked, err)
			}
			s, a, err := f.Callback(ctx, q, nil)
			if err != nil {
				t.Fatalf("Callback: %v", err)
			}
			if s.DID != hostile.Alice || s.PDS != hostile.PDS || s.Issuer != hostile.Issuer || s.ClientID != f.ID() || string(a.AppState) != "back to /here" {
				t.Errorf("session = %+v at %s, app state %q", s, s.PDS, a.AppState)
			}
			if id, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s.ID); err != nil || len(id) < 16 {
				t.Errorf("session id %q, want 128 random bits that no command line takes for an option", s.ID)
			}
			session, err := f.Session(ctx, s.ID)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := session.Do(newRequest(t, "GET", hostile.PDS+"/xrpc/com.atproto.server.getSession?a=b"))
			if err != nil {
				t.Fatalf("Do: %v", err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || !strings.Contains(string(body), hostile.Alice.String()) {
				t.Errorf("answer = %s, %v", body, err)
			}
			if resp.Request.Header.Get("Authorization") != "" || resp.Request.Header.Get("DPoP") != "" {
				t.Error("the response carries the credentials of its request")
			}
		})
	}
}

// TestEveryAttemptHasItsOwnSecrets: PAR, state, verifier, key; the URL carries
// only the opaque reference (Approve refuses more).
func TestEveryAttemptHasItsOwnSecrets(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	seen := map[string]bool{}
	for range 5 {
		started := f.start(t)
		a, err := f.Peek(context.Background(), started.State)
		if err != nil {
			t.Fatal(err)
		}
		if state, err := base64.RawURLEncoding.DecodeString(a.State); err != nil || len(state) < 16 {
			t.Errorf("state %q, want at least 128 random bits", a.State)
		}
		for _, secret := range []string{a.State, a.Verifier, a.DPoPKey.Thumbprint(), started.URL} {
			if seen[secret] {
				t.Errorf("%q was used twice", secret)
			}
			seen[secret] = true
		}
		for _, secret := range []string{a.State, a.Verifier, url.QueryEscape(a.Scope), "alice"} {
			if strings.Contains(started.URL, secret) {
				t.Errorf("the URL tells %q: %s", secret, started.URL)
			}
		}
		if got := a.ExpiresAt.Sub(a.CreatedAt); got != 30*time.Minute || !started.ExpiresAt.Equal(a.ExpiresAt) {
			t.Errorf("attempt lives %v, want 30m", got)
		}
	}
}

func TestStartRefusesWhatTheClientDoesNotDeclare(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]client.StartParams{
		"nobody":                  {},
		"account and server":      {Account: "alice.test", Server: hostile.PDS},
		"server is not a URL":     {Server: "pds1.test"},
		"server with a path":      {Server: hostile.PDS + "/xrpc"},
		"server on plain http":    {Server: "http://pds1.test"},
		"server on this machine":  {Server: "https://localhost:8443"},
		"server by loopback IP":   {Server: "https://127.0.0.1"},
		"server with credentials": {Server: "https://a:b@pds1.test"},
		"foreign redirect":        {Account: "alice.test", RedirectURI: "https://other.test/oauth/callback"},
		"redirect with a port":    {Account: "alice.test", RedirectURI: "https://app.atoll-tests.net:444/oauth/callback"},
		"scope without atproto":   {Account: "alice.test", Scope: "repo:social.coves.community.postv2"},
		"scope not declared":      {Account: "alice.test", Scope: "atproto repo:*"},
		"malformed scope":         {Account: "alice.test", Scope: "atproto repo:"},
	} {
		f := newFixture(t, nil)
		if _, err := f.Start(context.Background(), p); !errors.Is(err, client.ErrBadRequest) {
			t.Errorf("%s: Start(%+v) = %v, want ErrBadRequest", name, p, err)
		}
		if f.attempts.Len() != 0 || len(f.net.Seen("/oauth/par")) != 0 {
			t.Errorf("%s: something was pushed or stored", name)
		}
	}
}

func TestBeforePushMayStopASignIn(t *testing.T) {
	t.Parallel()
	stop := errors.New("too many for this server")
	var asked string
	f := newFixture(t, func(cfg *client.Config) {
		cfg.BeforePush = func(_ context.Context, issuer string) error { asked = issuer; return stop }
	})
	if _, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"}); !errors.Is(err, stop) || asked != hostile.Issuer {
		t.Errorf("Start = %v after asking for %q, want the hook's error and the issuer", err, asked)
	}
	if f.attempts.Len() != 0 || len(f.net.Seen("/oauth/par")) != 0 {
		t.Error("something was pushed or stored")
	}
}

func TestStateThatCannotBeSavedLeavesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk full")
	f := newFixture(t, func(cfg *client.Config) { cfg.Attempts = brokenAttempts{cfg.Attempts, broken} })
	if _, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"}); !errors.Is(err, broken) {
		t.Errorf("Start = %v, want the store's error", err)
	}
	if f.attempts.Len() != 0 {
		t.Error("an attempt was stored")
	}
}

type brokenAttempts struct {
	client.AttemptStore
	err error
}

func (b brokenAttempts) Put(context.Context, *client.Attempt) error { return b.err }

// TestAStoreThatLies answers with an attempt of another state.
func TestAStoreThatLies(t *testing.T) {
	t.Parallel()
	var other *client.Attempt
	f := newFixture(t, func(cfg *client.Config) { cfg.Attempts = lyingAttempts{cfg.Attempts, &other} })
	q := f.approved(t)
	var err error
	if other, err = f.attempts.Take(context.Background(), q.Get("state")); err != nil {
		t.Fatal(err)
	}
	q.Set("state", "another")
	if _, _, err := f.Callback(context.Background(), q, nil); !errors.Is(err, client.ErrUnknownState) {
		t.Errorf("Callback = %v, want ErrUnknownState", err)
	}
	f.nothingStored(t)
}

type lyingAttempts struct {
	client.AttemptStore
	answer **client.Attempt
}

func (l lyingAttempts) Take(context.Context, string) (*client.Attempt, error) { return *l.answer, nil }

func TestStateIsUsedUpOnSuccessAndOnError(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(url.Values){
		"success":      func(url.Values) {},
		"wrong issuer": func(q url.Values) { q.Set("iss", hostile.Other) },
		"denied":       func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") },
		"no code":      func(q url.Values) { q.Del("code") },
		"wrong code":   func(q url.Values) { q.Set("code", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := newFixture(t, nil), context.Background()
			q := f.approved(t)
			spoilt := url.Values{}
			for k, v := range q {
				spoilt[k] = append([]string(nil), v...)
			}
			spoil(spoilt)
			_, _, first := f.Callback(ctx, spoilt, nil)
			tokenCalls, sessions := len(f.net.Seen("/oauth/token")), f.sessions.Len()
			if _, _, err := f.Callback(ctx, q, nil); !errors.Is(err, client.ErrUnknownState) {
				t.Errorf("second Callback after %v = %v, want ErrUnknownState", first, err)
			}
			if len(f.net.Seen("/oauth/token")) != tokenCalls || f.sessions.Len() != sessions {
				t.Error("the second callback did something")
			}
			if _, err := f.Peek(ctx, q.Get("state")); !errors.Is(err, client.ErrUnknownState) {
				t.Errorf("Peek after use = %v, want ErrUnknownState", err)
			}
		})
	}
}

func TestConcurrentCallbacksOfOneState(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	q := f.approved(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[string]int{}
	for range 16 {
		wg.Go(func() {
			_, _, err := f.Callback(context.Background(), q, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				count["signed in"]++
			case errors.Is(err, client.ErrUnknownState):
				count["refused"]++
			default:
				t.Errorf("Callback = %v", err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"signed in": 1, "refused": 15}, count); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if f.sessions.Len() != 1 || f.net.LiveGrants() != 1 {
		t.Errorf("%d sessions and %d live tokens, want one of each", f.sessions.Len(), f.net.LiveGrants())
	}
}

// TestTwoTabs: two sign-ins of one person at once don't know of each other.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	f, ctx := newFixture(t, nil), context.Background()
	first, second, third := f.approved(t), f.approved(t), f.start(t)
	denied, err := f.net.Deny(third.URL)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, q := range []url.Values{first, second} {
		wg.Go(func() {
			if _, _, err := f.Callback(ctx, q, nil); err != nil {
				t.Errorf("Callback: %v", err)
			}
		})
	}
	wg.Go(func() {
		if _, _, err := f.Callback(ctx, denied, nil); !errors.Is(err, client.ErrDenied) {
			t.Errorf("Callback of the declined one = %v, want ErrDenied", err)
		}
	})
	wg.Wait()
	if f.sessions.Len() != 2 || f.attempts.Len() != 0 {
		t.Errorf("%d sessions and %d attempts, want 2 and 0", f.sessions.Len(), f.attempts.Len())
	}
}

func TestExpiredStateFailsWithoutASweeper(t *testing.T) {
	t.Parallel()
	var clock testClock
	clock.set(time.Now())
	f := newFixture(t, func(cfg *client.Config) { cfg.Now = clock.now })
	q := f.approved(t)
	clock.add(30 * time.Minute)
	if _, err := f.Peek(context.Background(), q.Get("state")); !errors.Is(err, client.ErrStateExpired) {
		t.Errorf("Peek after 30 minutes = %v, want ErrStateExpired", err)
	}
	_, a, err := f.Callback(context.Background(), q, nil)
	if !errors.Is(err, client.ErrStateExpired) || a == nil {
		t.Errorf("Callback after 30 minutes = %v (attempt %v), want ErrStateExpired with the attempt", err, a)
	}
	if n := len(f.net.Seen("/oauth/token")); n != 0 {
		t.Errorf("%d token requests were sent, want none", n)
	}
	f.nothingStored(t)
}

func TestDenialIsTyped(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	started, err := f.Start(context.Background(), client.StartParams{Account: "alice.test", AppState: []byte("/here")})
	if err != nil {
		t.Fatal(err)
	}
	q, err := f.net.Deny(started.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, a, err := f.Callback(context.Background(), q, nil)
	var denied *client.DeniedError
	if !errors.As(err, &denied) || !errors.Is(err, client.ErrDenied) || !errors.Is(err, oauth.AccessDenied) {
		t.Fatalf("Callback = %v, want a DeniedError", err)
	}
	if string(denied.Attempt.AppState) != "/here" || string(a.AppState) != "/here" {
		t.Errorf("app state = %q and %q, want where the member came from", denied.Attempt.AppState, a.AppState)
	}
	f.nothingStored(t)
}

// TestFailedSaveRevokes: S20.
func TestFailedSaveRevokes(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk full")
	f := newFixture(t, nil)
	var access, refresh string
	s, a, err := f.Callback(context.Background(), f.approved(t), func(_ context.Context, s *client.SessionData, _ *client.Attempt) error {
		access, refresh = s.AccessToken, s.RefreshToken
		return broken
	})
	if s != nil || a == nil || !errors.Is(err, broken) {
		t.Errorf("Callback = %v, %v; want no session, the attempt and the store's error", s, err)
	}
	if diff := cmp.Diff([]string{refresh, access}, f.net.Revoked()); diff != "" {
		t.Errorf("revoked (-want +got):\n%s", diff)
	}
	f.nothingStored(t)
}

// TestABrowserThatGoesAwayLeavesNoToken: the exchange began, the request ends.
func TestABrowserThatGoesAwayLeavesNoToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	f.net.Tweak.Token = func(map[string]any) { cancel() }
	s, _, err := f.Callback(ctx, f.approved(t), func(ctx context.Context, _ *client.SessionData, _ *client.Attempt) error { return ctx.Err() })
	if s != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Callback = %v, %v; want Canceled", s, err)
	}
	f.nothingStored(t)
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*client.Config){"confidential": nil, "loopback": loopback} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := newFixture(t, change), context.Background()
			s := f.session(t)
			if err := f.Revoke(ctx, s.Data()); err != nil {
				t.Fatalf("Revoke: %v", err)
			}
			if _, err := s.Do(newRequest(t, "GET", hostile.PDS+"/xrpc/a.b.c")); !errors.Is(err, client.ErrRevoked) {
				t.Errorf("Do after Revoke = %v, want ErrRevoked", err)
			}
			if err := f.Revoke(ctx, s.Data()); err != nil {
				t.Errorf("Revoke again = %v, want success: the server does not know the tokens", err)
			}
			data := s.Data()
			data.RevocationEndpoint = ""
			if err := f.Revoke(ctx, data); !errors.Is(err, client.ErrNotRevocable) {
				t.Errorf("Revoke without endpoint = %v, want ErrNotRevocable", err)
			}
		})
	}
}

// TestSessionsKeepTheKeyTheyBeganWith: S3.
func TestSessionsKeepTheKeyTheyBeganWith(t *testing.T) {
	t.Parallel()
	f, ctx := newFixture(t, nil), context.Background()
	old, newer := f.keys.IDs()[0], signingKey(t)
	before, pending := f.signIn(t), f.approved(t)
	if err := f.keys.Replace(newer, f.key); err != nil {
		t.Fatal(err)
	}
	during, _, err := f.Callback(ctx, pending, nil)
	if err != nil {
		t.Fatalf("Callback of an attempt that began before the new key: %v", err)
	}
	after := f.signIn(t)
	got := []string{before.KeyID, during.KeyID, after.KeyID}
	if diff := cmp.Diff([]string{old, old, newer.ID()}, got); diff != "" {
		t.Errorf("keys of sessions (-want +got):\n%s", diff)
	}
	if err := f.Revoke(ctx, before); err != nil {
		t.Errorf("Revoke with the old key, still published: %v", err)
	}
	if err := f.keys.Replace(newer); err != nil {
		t.Fatal(err)
	}
	if err := f.Revoke(ctx, during); !errors.Is(err, client.ErrKeyWithdrawn) {
		t.Errorf("Revoke with a withdrawn key = %v, want ErrKeyWithdrawn", err)
	}
}

// TestASessionIsRevokedAsTheClientItWasMadeWith: the program has become a
// confidential client since.
func TestASessionIsRevokedAsTheClientItWasMadeWith(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	cfg := confidentialConfig(t)
	loopback(&cfg)
	cfg.HTTP, cfg.Directory, cfg.Attempts, cfg.Sessions = f.net.Client(), f.net, f.attempts, f.sessions
	before, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := (&fixture{Client: before, net: f.net}).signIn(t)
	if err := f.Revoke(context.Background(), s); err != nil || f.net.LiveGrants() != 0 {
		t.Errorf("Revoke = %v with %d live tokens, want none", err, f.net.LiveGrants())
	}
}

// TestADirectoryThatHangs is bounded at the start, and at the end, where the
// browser's patience does not count any more.
func TestADirectoryThatHangs(t *testing.T) {
	t.Parallel()
	var hang atomic.Bool
	f := newFixture(t, func(cfg *client.Config) {
		cfg.Directory, cfg.Timeout = hanging{cfg.Directory, &hang}, 200*time.Millisecond
	})
	q := f.approved(t)
	hang.Store(true)
	if _, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start = %v, want DeadlineExceeded", err)
	}
	if _, _, err := f.Callback(context.Background(), q, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Callback = %v, want DeadlineExceeded", err)
	}
	f.nothingStored(t)
}

type hanging struct {
	client.Directory
	hang *atomic.Bool
}

func (h hanging) Lookup(ctx context.Context, account syntax.AtIdentifier) (*identity.Identity, error) {
	if h.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.Directory.Lookup(ctx, account)
}

// TestNothingSecretIsLoggedOrSaid: S24, over every secret of a sign-in that
// goes wrong late and a session that is refused.
func TestNothingSecretIsLoggedOrSaid(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := newFixture(t, func(cfg *client.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	f.net.ClockOffset = time.Hour // something to be logged
	s, q := f.session(t), f.approved(t)
	pending, err := f.Peek(context.Background(), q.Get("state"))
	if err != nil {
		t.Fatal(err)
	}
	var failed *client.SessionData
	f.net.Override(hostile.Issuer+"/oauth/revoke", status(500))
	_, _, callbackErr := f.Callback(context.Background(), q, func(_ context.Context, s *client.SessionData, a *client.Attempt) error {
		failed = s
		return fmt.Errorf("cannot store %v for %+v", s, a)
	})
	f.net.Override(method, status(429))
	_, callErr := s.Do(newRequest(t, "GET", method))
	_, hostErr := s.Do(newRequest(t, "GET", hostile.Other))
	text := log.String() + fmt.Sprintf("%v %+v %v %v %v", callbackErr, callbackErr, callErr, hostErr, f.Revoke(context.Background(), s.Data()))
	if !strings.Contains(log.String(), "clock differs") || !strings.Contains(log.String(), "could not be revoked") {
		t.Errorf("log lacks what should be there: %s", log.String())
	}
	for _, d := range []*client.SessionData{failed, s.Data()} {
		jwk, err := d.DPoPKey.PrivateJWK()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{d.AccessToken, d.RefreshToken, string(jwk), pending.State, pending.Verifier, q.Get("code")} {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows in %s", secret, text)
			}
		}
	}
}
