package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
	"github.com/atoll-social/atoll/oauth/client/memstore"
)

const (
	clientID    = "https://app.atoll-tests.net/oauth-client-metadata.json"
	callbackURL = "https://app.atoll-tests.net/oauth/callback"
	loopbackURL = "http://127.0.0.1:8080/oauth/callback"
	postScope   = "atproto repo:social.coves.community.postv2"
)

// fixture is a client, its stores and the network around it.
type fixture struct {
	*client.Client
	net      *hostile.Network
	attempts *memstore.Attempts
	sessions *memstore.Sessions
	keys     *client.KeySet
	key      *client.SigningKey // the set's first
	cfg      client.Config
}

// newFixture makes a confidential client; change may make it another one.
func newFixture(t testing.TB, change func(*client.Config)) *fixture {
	t.Helper()
	return fixtureOn(t, hostile.New(), change)
}

// bubble runs fn with a fixture in time that is not real, on a network without
// sockets. At the end nothing may be left running.
func bubble(t *testing.T, change func(*client.Config), fn func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, fixtureOn(t, hostile.NewDirect(), change)) })
}

func fixtureOn(t testing.TB, net *hostile.Network, change func(*client.Config)) *fixture {
	t.Helper()
	f := &fixture{net: net, attempts: memstore.NewAttempts(1000, nil), sessions: memstore.NewSessions()}
	t.Cleanup(f.net.Close)
	f.key = signingKey(t)
	var err error
	if f.keys, err = client.NewKeySet(f.key); err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{
		ClientID: clientID, RedirectURIs: []string{callbackURL}, Scope: postScope, Keys: f.keys,
		HTTP: f.net.Client(), Directory: f.net, Attempts: f.attempts, Sessions: f.sessions, Timeout: 5 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	if f.Client, err = client.New(cfg); err != nil {
		t.Fatal(err)
	}
	f.cfg = cfg
	f.net.JWKS = f.JWKS
	t.Cleanup(cfg.HTTP.CloseIdleConnections)
	return f
}

// another is a client as a second process would have it: the same store, keys
// and network, and nothing else in common.
func (f *fixture) another(t testing.TB, change func(*client.Config)) *client.Client {
	t.Helper()
	cfg := f.cfg
	if change != nil {
		change(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// call uses a session once.
func call(ctx context.Context, c *client.Client, id string) error {
	s, err := c.Session(ctx, id)
	if err != nil {
		return err
	}
	return use(ctx, s)
}

func use(ctx context.Context, s *client.Session) error {
	body := fmt.Sprintf(`{"repo":%q,"collection":"social.coves.community.postv2","record":{"$type":"social.coves.community.postv2"}}`, s.DID())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Data().PDS+"/xrpc/com.atproto.repo.createRecord", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answer %d: %s", resp.StatusCode, text)
	}
	return err
}

// row reads a session as it is stored.
func (f *fixture) row(t testing.TB, id string) *client.SessionData {
	t.Helper()
	d, err := f.sessions.Get(context.Background(), id)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return d
}

// edit changes a row behind everybody's back.
func (f *fixture) edit(t testing.TB, id string, change func(*client.SessionData)) {
	t.Helper()
	d := f.row(t, id)
	change(d)
	if err := f.sessions.Save(context.Background(), d); err != nil {
		t.Fatal(err)
	}
}

// expire moves the end of the access token back.
func (f *fixture) expire(t testing.TB, id string) {
	t.Helper()
	f.edit(t, id, func(d *client.SessionData) { d.AccessExpiresAt = time.Now().Add(-time.Minute) })
}

// loopback turns the fixture's client into a public one.
func loopback(cfg *client.Config) {
	cfg.ClientID, cfg.Keys, cfg.RedirectURIs = "", nil, []string{loopbackURL}
}

func signingKey(t testing.TB) *client.SigningKey {
	t.Helper()
	k, err := client.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// start begins a sign-in of Alice.
func (f *fixture) start(t testing.TB) *client.Started {
	t.Helper()
	started, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"})
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	return started
}

// approved begins a sign-in of Alice and lets her agree.
func (f *fixture) approved(t testing.TB) url.Values {
	t.Helper()
	q, err := f.net.Approve(f.start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// signIn signs Alice in.
func (f *fixture) signIn(t testing.TB) *client.SessionData {
	t.Helper()
	s, _, err := f.Callback(context.Background(), f.approved(t), nil)
	if err != nil {
		t.Fatalf("Callback: %v", err)
	}
	return s
}

// session signs Alice in and opens her session.
func (f *fixture) session(t testing.TB) *client.Session {
	t.Helper()
	s, err := f.Session(context.Background(), f.signIn(t).ID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nothingStored checks that a refused sign-in left no session and no live token.
func (f *fixture) nothingStored(t testing.TB) {
	t.Helper()
	if n := f.sessions.Len(); n != 0 {
		t.Errorf("%d sessions are stored, want none", n)
	}
	if n := f.net.LiveGrants(); n != 0 {
		t.Errorf("%d tokens are alive at the server, want none", n)
	}
}

func newRequest(t testing.TB, method, target string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// countingStore counts what a session store is asked for.
type countingStore struct {
	client.SessionStore
	gets, saves atomic.Int64
}

func (c *countingStore) Get(ctx context.Context, id string) (*client.SessionData, error) {
	c.gets.Add(1)
	return c.SessionStore.Get(ctx, id)
}

func (c *countingStore) Save(ctx context.Context, d *client.SessionData) error {
	c.saves.Add(1)
	return c.SessionStore.Save(ctx, d)
}
