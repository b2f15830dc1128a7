package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/test/network"
)

// official is the part of Atoll that signs people in, as a confidential client
// of the official servers, its documents published under a public name.
type official struct {
	*login.Service
	t        *testing.T
	n        *network.Network
	sessions *session.Manager
	keys     *session.Keys
	client   *client.Client
	bare     *client.Client // without a store: it asks servers only
	revoker  *session.Revoker
	cookies  session.Cookies
}

func newOfficial(t *testing.T, db *store.DB) *official {
	t.Helper()
	o := &official{t: t, n: network.Shared(t)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	line, err := keyring.Generate()
	must(err)
	ring, err := keyring.Parse(line)
	must(err)
	quiet := slog.New(slog.DiscardHandler)
	host := network.AppHost()
	origin := "https://" + host
	o.keys, err = session.NewKeys(session.KeysConfig{DB: db, Ring: ring, Logger: quiet})
	must(err)
	must(o.keys.Ensure(t.Context()))
	o.sessions, err = session.New(session.Config{DB: db, Ring: ring, Logger: quiet})
	must(err)
	attempts, err := login.NewAttempts(login.AttemptsConfig{DB: db, Ring: ring})
	must(err)
	pushes, err := login.NewPushLimit()
	must(err)
	dir, err := identity.New(identity.Config{HTTP: o.n.Client(), DNS: noDNS(), PLCURL: o.n.PLC, Dev: true})
	must(err)
	cfg := client.Config{
		ClientID: origin + "/oauth-client-metadata.json", RedirectURIs: []string{origin + "/oauth/callback"},
		Scope: login.Scope(), Name: "Atoll", URI: origin, Keys: o.keys.Set(), HTTP: o.n.Client(), Directory: dir,
		Attempts: attempts, Sessions: o.sessions, BeforePush: pushes.Wait,
	}
	o.client, err = client.New(cfg)
	must(err)
	cfg.Sessions = nil
	o.bare, err = client.New(cfg)
	must(err)
	o.cookies, err = session.NewCookies(origin, 0)
	must(err)
	o.revoker, err = session.NewRevoker(session.RevokerConfig{Manager: o.sessions, Client: o.client})
	must(err)
	o.Service, err = login.New(login.Config{Client: o.client, Attempts: attempts, Sessions: o.sessions, Directory: dir,
		Cookies: o.cookies, Origin: origin, Logger: quiet})
	must(err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth-client-metadata.json", o.client.ServeMetadata)
	mux.HandleFunc("GET /oauth/jwks.json", o.client.ServeJWKS)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	must(o.n.MapHost(t.Context(), host, strings.TrimPrefix(server.URL, "http://")))
	return o
}

// noDNS is a resolver for which no name has records: handles of the network
// answer by https.
func noDNS() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go answerNothing(there)
		return packetless{here}, nil
	}}
}

// packetless speaks DNS over a stream, which a Conn that is no PacketConn means.
type packetless struct{ net.Conn }

// answerNothing answers every DNS query with NXDOMAIN (RFC 1035, 4.1.1).
func answerNothing(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		query[2] |= 0x80                   // QR: a response
		query[3] = query[3]&0xf0 | 3       // RCODE: no such name
		copy(query[6:12], make([]byte, 6)) // no answers, authorities, additionals
		end := 12
		for query[end] != 0 {
			end += int(query[end]) + 1
		}
		answer := query[:end+5]
		if _, err := c.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)); err != nil {
			return
		}
	}
}

// goThrough plays the member's browser from start to callback.
func (o *official) goThrough(jar map[string]string, identifier string, account network.Account,
	decide func(context.Context, string, network.Account) (string, error)) (login.Outcome, error) {
	o.t.Helper()
	started, err := o.Start(o.t.Context(), login.Start{Identifier: identifier, ReturnTo: "/account", Addr: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		o.t.Fatalf("Start(%s): %v", identifier, err)
	}
	back, err := decide(o.t.Context(), started.URL, account)
	if err != nil {
		o.t.Fatalf("at the PDS: %v", err)
	}
	u, err := url.Parse(back)
	if err != nil {
		o.t.Fatal(err)
	}
	cookies := started.Cookies
	for name, value := range jar {
		cookies = append(cookies, &http.Cookie{Name: name, Value: value})
	}
	out, err := o.Callback(o.t.Context(), login.Callback{
		Query: u.Query(), Cookies: cookies, Token: keyring.NewSecret(jar[o.cookies.Name("")]), Addr: netip.MustParseAddr("127.0.0.1"),
	})
	for _, c := range out.Cookies {
		jar[c.Name] = c.Value
	}
	return out, err
}

// profile asks the member's PDS who the session's token is for.
func (o *official) profile(id string) (syntax.DID, error) {
	s, err := o.client.Session(o.t.Context(), id)
	if err != nil {
		return "", err
	}
	return o.profileWith(s)
}

func (o *official) profileWith(s *client.Session) (syntax.DID, error) {
	req, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, s.Data().PDS+"/xrpc/com.atproto.server.getSession", nil)
	if err != nil {
		return "", err
	}
	resp, err := s.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var body struct{ DID syntax.DID }
	return body.DID, json.NewDecoder(resp.Body).Decode(&body)
}

// Two accounts from both official servers on one device; each has a session of
// its own; signing one out revokes it at its server and leaves the other (S45).
func TestOfficialServersSignInAndOut(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		o := newOfficial(t, db)
		jar := map[string]string{}
		first, second := o.n.NewAccount(t, 0), o.n.NewAccount(t, 1)
		for identifier, account := range map[string]network.Account{first.Handle: first, second.DID: second} {
			out, err := o.goThrough(jar, identifier, account, o.n.SignIn)
			if err != nil || out.Result != login.SignedIn || out.DID.String() != account.DID || out.ReturnTo != "/account" {
				t.Fatalf("sign-in of %s = %+v, %v", identifier, out, err)
			}
		}
		token := keyring.NewSecret(jar[o.cookies.Name("")])
		d, _, err := o.sessions.Device(t.Context(), token)
		if err != nil || len(d.Accounts) != 2 {
			t.Fatalf("device has %d accounts (%v), want 2", len(d.Accounts), err)
		}
		inUse := map[string]*client.Session{}
		for _, a := range d.Accounts {
			if got, err := o.profile(a.SessionID); err != nil || got != a.DID {
				t.Errorf("session of %s is %s at the PDS: %v", a.DID, got, err)
			}
			data, err := o.sessions.Get(t.Context(), a.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			if inUse[a.DID.String()], err = o.bare.Resume(data); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := o.sessions.SignOut(t.Context(), token, syntax.DID(first.DID)); err != nil {
			t.Fatalf("SignOut: %v", err)
		}
		if n, err := o.revoker.Pass(t.Context()); n != 1 || err != nil {
			t.Fatalf("Pass = %d, %v; want 1", n, err)
		}
		if _, err := o.profileWith(inUse[first.DID]); !errors.Is(err, client.ErrRevoked) {
			t.Errorf("the revoked session at its PDS = %v, want ErrRevoked", err)
		}
		if got, err := o.profileWith(inUse[second.DID]); err != nil || got.String() != second.DID {
			t.Errorf("the other session at its PDS = %s, %v", got, err)
		}
	})
}

func TestOfficialServerDecline(t *testing.T) {
	t.Parallel()
	o := newOfficial(t, storetest.New(t, store.SQLite))
	account := o.n.NewAccount(t, 0)
	jar := map[string]string{}
	out, err := o.goThrough(jar, account.Handle, account, o.n.Decline)
	if err != nil || out.Result != login.Declined || out.ReturnTo != "/account" {
		t.Errorf("declining = %+v, %v", out, err)
	}
	if jar[o.cookies.Name("")] != "" {
		t.Error("declining set a device cookie")
	}
}

// S16 at a real server: named one account, signed in as another.
func TestOfficialServerAnotherAccount(t *testing.T) {
	t.Parallel()
	o := newOfficial(t, storetest.New(t, store.SQLite))
	named, other := o.n.NewAccount(t, 0), o.n.NewAccount(t, 0)
	out, err := o.goThrough(map[string]string{}, named.Handle, other, o.n.SignIn)
	if !errors.Is(err, client.ErrWrongSubject) || out.Result != login.Failed {
		t.Errorf("signing in as another account = %+v, %v; want ErrWrongSubject", out, err)
	}
	fromServer := map[string]string{}
	out, err = o.goThrough(fromServer, o.n.PDS[0].URL, other, o.n.SignIn)
	if err != nil || out.DID.String() != other.DID {
		t.Errorf("signing in from the server's address = %+v, %v", out, err)
	}
}
