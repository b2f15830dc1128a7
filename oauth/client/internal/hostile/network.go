// Package hostile is a PDS and an authorization server for tests, written from
// the specifications: strict where they are strict, and made to misbehave one
// step at a time.
package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The hosts of the network. All are served by one listener on loopback and
// reached under these names through Client's transport.
const (
	PDS       = "https://pds1.test"
	PDS2      = "https://pds2.test" // another PDS of the same issuer
	Issuer    = "https://auth.test"
	Elsewhere = "https://pds3.test"  // a PDS of another issuer
	Issuer2   = "https://auth3.test" // that issuer; it only has a name
	Other     = "https://other.test" // a server that nobody should talk to
)

// The members.
const (
	Alice syntax.DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	Bob   syntax.DID = "did:plc:z72i7hdynmk6r22z27h6tvur"
)

// Seen is one request as it arrived.
type Seen struct {
	Host, Method, Path string
	Header             http.Header
	Form               url.Values
	At                 time.Time
}

// Network is a PDS, its authorization server, and a directory of accounts.
type Network struct {
	server *httptest.Server
	now    func() time.Time

	mu        sync.Mutex
	seen      []Seen
	overrides map[string]http.HandlerFunc // by host and path
	accounts  map[syntax.DID]string       // DID -> PDS
	nonce     int
	jtis      map[string]bool
	pushed    map[string]*request
	codes     map[string]*request
	access    map[string]*Grant
	refresh   map[string]*Grant
	used      map[string]*Grant // refresh tokens that were rotated
	statuses  map[syntax.DID]string
	rotations int
	revoked   []string
	conns     map[net.Conn]bool
	opened    int

	// Tweak changes a document or a token response before it is sent.
	Tweak struct{ Resource, Metadata, Push, Token func(map[string]any) }
	// JWKS returns the key set of a confidential client, as published.
	JWKS func() ([]byte, error)
	// NonceEvery is after how many proofs a new nonce begins; zero means never.
	// The nonce before it stays good.
	NonceEvery int
	proofs     int
	// ClockOffset is how far this network's clock is ahead.
	ClockOffset time.Duration
	// Timed makes the servers check the time of proofs and assertions before
	// the nonce, one minute either way.
	Timed bool
	// Subject is who signs in, whatever was hinted.
	Subject syntax.DID
	// Life is how long access tokens live; zero means an hour.
	Life time.Duration
	// Grace is for how long a rotated refresh token gives the same answer again;
	// afterwards, and with zero at once, it ends the session.
	Grace time.Duration
}

// Grant is what tokens stand for.
type Grant struct {
	Subject    syntax.DID
	ClientID   string
	Thumbprint string
	Scope      string
	KeyID      string // of the client

	ends   time.Time // of the newest access token
	turned time.Time // the last rotation
	answer map[string]any
}

// New starts a network whose accounts are Alice and Bob, both on PDS.
func New() *Network {
	n := NewDirect()
	n.server = httptest.NewUnstartedServer(http.HandlerFunc(n.serve))
	n.server.Config.ConnState = n.track
	n.server.Start()
	return n
}

// NewDirect makes a network that is reached by function calls: without sockets,
// for tests whose time is not real.
func NewDirect() *Network {
	return &Network{
		now:       time.Now,
		overrides: map[string]http.HandlerFunc{},
		accounts:  map[syntax.DID]string{Alice: PDS, Bob: PDS},
		jtis:      map[string]bool{},
		pushed:    map[string]*request{},
		codes:     map[string]*request{},
		access:    map[string]*Grant{},
		refresh:   map[string]*Grant{},
		used:      map[string]*Grant{},
		statuses:  map[syntax.DID]string{},
		conns:     map[net.Conn]bool{},
		Subject:   Alice,
	}
}

// Close stops the servers.
func (n *Network) Close() {
	if n.server == nil {
		return
	}
	n.server.CloseClientConnections()
	n.server.Close()
}

// track counts connections.
func (n *Network) track(conn net.Conn, state http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch state {
	case http.StateNew:
		n.conns[conn] = true
		n.opened++
	case http.StateClosed, http.StateHijacked:
		delete(n.conns, conn)
	}
}

// Connections returns how many are open and how many ever were.
func (n *Network) Connections() (open, ever int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns), n.opened
}

// Client returns an HTTP client that reaches the network by its https names and
// nothing else. It keeps cookies and follows redirects, as careless ones do.
func (n *Network) Client() *http.Client {
	if n.server == nil {
		return &http.Client{Transport: direct{n}, Timeout: time.Minute}
	}
	return ClientOf(n.Addr())
}

// Addr is the loopback address that serves all hosts, for other processes.
func (n *Network) Addr() string { return n.server.Listener.Addr().String() }

// ClientOf is Client for a network of another process.
func ClientOf(addr string) *http.Client {
	return &http.Client{Transport: mapped{addr, &http.Transport{MaxIdleConnsPerHost: 64}}, Timeout: time.Minute}
}

// direct calls the handler.
type direct struct{ n *Network }

// RoundTrip implements http.RoundTripper. A handler that aborts has closed the
// connection.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	answer, lost := httptest.NewRecorder(), true
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // http.ErrAbortHandler
		d.n.serve(answer, in)
		lost = false
	}()
	select {
	case <-done:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if lost {
		return nil, io.ErrUnexpectedEOF
	}
	resp := answer.Result()
	resp.Request = req
	return resp, nil
}

// mapped sends requests for https names to the loopback listener.
type mapped struct {
	addr string
	base *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (m mapped) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Hostname(), ".test") {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, fmt.Errorf("no route to %s", req.URL.Host)
	}
	out := req.Clone(req.Context())
	out.Host = req.URL.Host
	out.URL.Scheme, out.URL.Host = "http", m.addr
	resp, err := m.base.RoundTrip(out)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the listener's.
func (m mapped) CloseIdleConnections() { m.base.CloseIdleConnections() }

// Override replaces a handler: where is an origin and a path, as in
// PDS+"/xrpc/a.b.c". Nil restores it.
func (n *Network) Override(where string, h http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := strings.TrimPrefix(where, "https://")
	if h == nil {
		delete(n.overrides, key)
		return
	}
	n.overrides[key] = h
}

// Move changes an account's PDS; empty removes the account.
func (n *Network) Move(did syntax.DID, pds string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.accounts[did] = pds
}

// Lookup is the directory: handles are name.test, alice and bob.
func (n *Network) Lookup(_ context.Context, account syntax.AtIdentifier) (*identity.Identity, error) {
	handles := map[syntax.DID]syntax.Handle{Alice: "alice.test", Bob: "bob.test"}
	n.mu.Lock()
	defer n.mu.Unlock()
	for did, pds := range n.accounts {
		if account.String() == did.String() || account.String() == handles[did].String() {
			return &identity.Identity{DID: did, Handle: handles[did], Services: map[string]identity.ServiceEndpoint{
				"atproto_pds": {Type: "AtprotoPersonalDataServer", URL: pds},
			}}, nil
		}
	}
	return nil, identity.ErrDIDNotFound
}

// Seen returns the requests so far whose path ends with suffix.
func (n *Network) Seen(suffix string) []Seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Seen
	for _, s := range n.seen {
		if strings.HasSuffix(s.Path, suffix) {
			out = append(out, s)
		}
	}
	return out
}

// SeenAt returns how many requests a host got.
func (n *Network) SeenAt(origin string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, s := range n.seen {
		if "https://"+s.Host == origin {
			count++
		}
	}
	return count
}

// Revoked returns the tokens that were revoked.
func (n *Network) Revoked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.revoked...)
}

// LiveGrants returns how many access tokens are alive.
func (n *Network) LiveGrants() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.access)
}

func (n *Network) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	seen := Seen{Host: r.Host, Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), At: n.now()}
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
		seen.Form, _ = url.ParseQuery(string(body))
	}
	n.mu.Lock()
	n.seen = append(n.seen, seen)
	override := n.overrides[r.Host+r.URL.Path]
	offset := n.ClockOffset
	n.mu.Unlock()
	w.Header().Set("Date", n.now().Add(offset).UTC().Format(http.TimeFormat))
	if override != nil {
		override(w, r)
		return
	}
	n.Handle(w, r, seen.Form)
}

// Handle is the honest behaviour, for overrides that want it at times.
func (n *Network) Handle(w http.ResponseWriter, r *http.Request, form url.Values) {
	if form == nil {
		_ = r.ParseForm()
		form = r.PostForm
	}
	switch r.Method + " https://" + r.Host + r.URL.Path {
	case "GET " + PDS + "/.well-known/oauth-protected-resource":
		n.document(w, n.Tweak.Resource, map[string]any{"resource": PDS, "authorization_servers": []string{Issuer}})
	case "GET " + Issuer + "/.well-known/oauth-authorization-server":
		n.document(w, n.Tweak.Metadata, metadata())
	case "GET " + PDS2 + "/.well-known/oauth-protected-resource":
		n.document(w, n.Tweak.Resource, map[string]any{"resource": PDS2, "authorization_servers": []string{Issuer}})
	case "GET " + Elsewhere + "/.well-known/oauth-protected-resource":
		n.document(w, n.Tweak.Resource, map[string]any{"resource": Elsewhere, "authorization_servers": []string{Issuer2}})
	case "GET " + PDS + "/xrpc/com.atproto.sync.getRepoStatus", "GET " + PDS2 + "/xrpc/com.atproto.sync.getRepoStatus":
		n.status(w, r)
	case "POST " + Issuer + "/oauth/par":
		n.push(w, r, form)
	case "POST " + Issuer + "/oauth/token":
		n.token(w, r, form)
	case "POST " + Issuer + "/oauth/revoke":
		n.revoke(w, r, form)
	default:
		if origin := "https://" + r.Host; (origin == PDS || origin == PDS2) && strings.HasPrefix(r.URL.Path, "/xrpc/") {
			n.resource(w, r)
			return
		}
		http.NotFound(w, r)
	}
}

func (n *Network) document(w http.ResponseWriter, tweak func(map[string]any), doc map[string]any) {
	doc = maps.Clone(doc)
	if tweak != nil {
		tweak(doc)
	}
	JSON(w, http.StatusOK, doc)
}

// JSON writes an answer.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
