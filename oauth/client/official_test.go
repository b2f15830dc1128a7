package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/memstore"
	"github.com/atoll-social/atoll/test/network"
)

const postCollection = "social.coves.community.postv2"

// official is a client in front of the official servers.
type official struct {
	*client.Client
	net      *network.Network
	sessions *memstore.Sessions
}

// newOfficial makes a client whose documents, if it is confidential, are really
// served and fetched.
func newOfficial(t *testing.T, change func(*client.Config)) *official {
	t.Helper()
	n := network.Shared(t)
	o := &official{net: n, sessions: memstore.NewSessions()}
	host := network.AppHost()
	keys, err := client.NewKeySet(signingKey(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{
		ClientID:     "https://" + host + "/oauth-client-metadata.json",
		RedirectURIs: []string{"https://" + host + "/oauth/callback"},
		Scope:        postScope,
		Name:         "Atoll test",
		Keys:         keys,
		HTTP:         &http.Client{Transport: n.Transport(), Timeout: 30 * time.Second},
		Directory: &identity.BaseDirectory{
			PLCURL: n.PLC, HTTPClient: *n.Client(), SkipDNSDomainSuffixes: []string{".atoll-tests.net", ".test"},
		},
		Attempts: memstore.NewAttempts(100, nil), Sessions: o.sessions,
	}
	if change != nil {
		change(&cfg)
	}
	if o.Client, err = client.New(cfg); err != nil {
		t.Fatal(err)
	}
	if !o.IsLoopback() {
		o.publish(t, host)
	}
	return o
}

// publish serves the client's documents under its public name.
func (o *official) publish(t *testing.T, host string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth-client-metadata.json", o.ServeMetadata)
	mux.HandleFunc("GET /oauth/jwks.json", o.ServeJWKS)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	if err := o.net.MapHost(t.Context(), host, server.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
}

// signIn plays the member at the consent page and ends the sign-in.
func (o *official) signIn(t *testing.T, p client.StartParams, who network.Account) *client.Session {
	t.Helper()
	started, err := o.Start(t.Context(), p)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	data, _, err := o.Callback(t.Context(), o.decided(t, started, who, o.net.SignIn), nil)
	if err != nil {
		t.Fatalf("Callback: %v", err)
	}
	if data.DID.String() != who.DID || data.PDS != o.net.PDS[who.PDS].URL {
		t.Fatalf("signed in as %s at %s, want %s at %s", data.DID, data.PDS, who.DID, o.net.PDS[who.PDS].URL)
	}
	s, err := o.Session(t.Context(), data.ID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (o *official) decided(t *testing.T, started *client.Started, who network.Account,
	decide func(context.Context, string, network.Account) (string, error),
) url.Values {
	t.Helper()
	back, err := decide(t.Context(), started.URL, who)
	if err != nil {
		t.Fatalf("consent page: %v", err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// create writes a record and returns its URI.
func create(t *testing.T, s *client.Session, collection string) (string, error) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"repo": s.DID(), "collection": collection, "record": map[string]any{
		"$type": collection, "title": "from a test", "createdAt": syntax.DatetimeNow().String(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Data().PDS+"/xrpc/com.atproto.repo.createRecord", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var out struct{ URI string }
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(text, &out) != nil {
		t.Fatalf("createRecord: %d %s (%v)", resp.StatusCode, text, err)
	}
	return out.URI, nil
}

// TestOfficialServers: both kinds of client, on both PDSes, from sign-in to
// revocation.
func TestOfficialServers(t *testing.T) {
	t.Parallel()
	for kind, change := range map[string]func(*client.Config){"confidential": nil, "loopback": loopback} {
		for pds := range 2 {
			t.Run(fmt.Sprint(kind, " PDS ", pds), func(t *testing.T) {
				t.Parallel()
				o := newOfficial(t, change)
				who := o.net.NewAccount(t, pds)
				handle, err := syntax.ParseAtIdentifier(who.Handle)
				if err != nil {
					t.Fatal(err)
				}
				s := o.signIn(t, client.StartParams{Account: handle}, who)
				uri, err := create(t, s, postCollection)
				if err != nil || !strings.HasPrefix(uri, "at://"+who.DID+"/"+postCollection+"/") {
					t.Fatalf("createRecord = %q, %v", uri, err)
				}
				_, err = create(t, s, "social.coves.feed.vote")
				var access *client.AccessError
				if !errors.Is(err, client.ErrMissingScope) || !errors.As(err, &access) || access.Missing.String() != "repo:social.coves.feed.vote?action=create" {
					t.Errorf("writing without scope = %v, want ErrMissingScope with the exact scope", err)
				}
				if d := s.Data(); time.Until(d.AccessExpiresAt) < 30*time.Minute || d.RefreshToken == "" || !d.Scopes().Contains(mustScopes(t, postScope)) {
					t.Errorf("session ends at %v with scope %q, want about an hour, a refresh token and what was asked", d.AccessExpiresAt, d.Scope)
				}
				if err := o.Revoke(t.Context(), s.Data()); err != nil {
					t.Fatalf("Revoke: %v", err)
				}
				if _, err := create(t, s, postCollection); !errors.Is(err, client.ErrRevoked) || !errors.Is(err, client.ErrEnded) {
					t.Errorf("createRecord after Revoke = %v, want an end as revoked", err)
				}
				if why, _ := o.sessions.Ended(s.Data().ID); why != client.ReasonRevoked {
					t.Errorf("ended as %q, want revoked", why)
				}
			})
		}
	}
}

func mustScopes(t *testing.T, text string) oauth.Scopes {
	t.Helper()
	s, err := oauth.ParseScopes(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOfficialServerAsTheStart(t *testing.T) {
	t.Parallel()
	o := newOfficial(t, loopback)
	who := o.net.NewAccount(t, 1)
	s := o.signIn(t, client.StartParams{Server: o.net.PDS[1].URL}, who)
	if _, err := create(t, s, postCollection); err != nil {
		t.Errorf("createRecord: %v", err)
	}
}

func TestOfficialServerMemberDeclines(t *testing.T) {
	t.Parallel()
	o := newOfficial(t, loopback)
	who := o.net.NewAccount(t, 0)
	started, err := o.Start(t.Context(), client.StartParams{Account: syntax.AtIdentifier(who.DID), AppState: []byte("/here")})
	if err != nil {
		t.Fatal(err)
	}
	_, a, err := o.Callback(t.Context(), o.decided(t, started, who, o.net.Decline), nil)
	if !errors.Is(err, client.ErrDenied) || string(a.AppState) != "/here" || o.sessions.Len() != 0 {
		t.Errorf("Callback = %v with %d sessions, want ErrDenied and none", err, o.sessions.Len())
	}
}

// TestOfficialServersAndAWrongClock: S35 with a clock of our own that is off.
func TestOfficialServersAndAWrongClock(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{5 * time.Minute, -5 * time.Minute, time.Hour, -time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			o := newOfficial(t, func(cfg *client.Config) { cfg.Now = func() time.Time { return time.Now().Add(off) } })
			who := o.net.NewAccount(t, 0)
			s := o.signIn(t, client.StartParams{Account: syntax.AtIdentifier(who.DID)}, who)
			if _, err := create(t, s, postCollection); err != nil {
				t.Errorf("createRecord with a clock that is %v off: %v", off, err)
			}
			before := s.Data()
			if d, err := o.Refresh(t.Context(), before.ID); err != nil || d.RefreshToken == before.RefreshToken {
				t.Errorf("Refresh with a clock that is %v off: %v", off, err)
			}
			if _, err := create(t, s, postCollection); err != nil {
				t.Errorf("createRecord with the tokens of before the refresh: %v", err)
			}
			if got := o.ClockSkew(s.Data().PDS); (got + off).Abs() > 10*time.Second {
				t.Errorf("reported skew = %v, want about %v", got, -off)
			}
		})
	}
}

// TestOfficialServerRefusals: another key, another PDS, a deactivated account.
func TestOfficialServerRefusals(t *testing.T) {
	t.Parallel()
	o := newOfficial(t, loopback)
	who := o.net.NewAccount(t, 0)
	s := o.signIn(t, client.StartParams{Account: syntax.AtIdentifier(who.DID)}, who)

	other := s.Data()
	other.DPoPKey = testKey(t)
	wrongKey, err := o.Resume(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create(t, wrongKey, postCollection); !errors.Is(err, client.ErrProofRefused) {
		t.Errorf("with another proof key = %v, want ErrProofRefused", err)
	}

	other = s.Data()
	other.PDS = o.net.PDS[1].URL
	wrongHost, err := o.Resume(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create(t, wrongHost, postCollection); !errors.Is(err, client.ErrWrongHost) { // it cannot verify the signature; looking again tells why
		t.Errorf("at another PDS = %v, want ErrWrongHost", err)
	}

	member, err := o.net.SignInWithPassword(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Call(t.Context(), "com.atproto.server.deactivateAccount", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := create(t, s, postCollection); !errors.Is(err, client.ErrDeactivated) {
		t.Errorf("after deactivation = %v, want ErrDeactivated", err)
	}
}
