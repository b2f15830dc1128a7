package login_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

const origin = "http://127.0.0.1:8080"

// clock is a clock that tests move.
type clock struct{ micros atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// instance is the part of Atoll that signs people in, as a loopback client of
// one PDS that knows alice and bob.
type instance struct {
	*login.Service
	t        *testing.T
	db       *store.DB
	ring     *keyring.Ring
	clock    *clock
	pds      *pds
	line     *line
	dir      *directory
	attempts *login.Attempts
	sessions *session.Manager
	client   *client.Client
	cookies  session.Cookies
}

func newInstance(t *testing.T, db *store.DB) *instance {
	t.Helper()
	i := &instance{t: t, db: db, clock: &clock{}, pds: newPDS(t),
		dir: &directory{accounts: map[syntax.AtIdentifier]*sdk.Identity{}, errs: map[syntax.AtIdentifier]error{}}}
	i.line = &line{pds: i.pds}
	i.dir.line = i.line
	i.clock.micros.Store(time.Now().UnixMicro())
	for did, handle := range map[syntax.DID]syntax.Handle{alice: "alice.example", bob: "bob.example"} {
		i.dir.add(did, handle, i.pds.URL)
		i.pds.members[handle.String()] = did
	}
	line, err := keyring.Generate()
	i.must(err)
	i.ring, err = keyring.Parse(line)
	i.must(err)
	i.cookies, err = session.NewCookies(origin, 0)
	i.must(err)
	i.sessions, err = session.New(session.Config{DB: db, Ring: i.ring, Logger: slog.New(slog.DiscardHandler), Now: i.clock.now})
	i.must(err)
	i.serve(0)
	return i
}

// serve makes the instance one that keeps so many sign-ins under way; 0 means
// the default.
func (i *instance) serve(pending int) {
	i.t.Helper()
	var err error
	i.attempts, err = login.NewAttempts(login.AttemptsConfig{DB: i.db, Ring: i.ring, Now: i.clock.now, MaxPending: pending})
	i.must(err)
	i.client, err = client.New(client.Config{
		RedirectURIs: []string{origin + "/oauth/callback"}, Scope: login.Scope(), HTTP: &http.Client{Transport: i.line},
		Directory: i.dir, Attempts: i.attempts, Sessions: i.sessions, AllowLoopback: true, Now: i.clock.now,
	})
	i.must(err)
	i.Service = i.service(httpserver.LimiterConfig{Every: time.Microsecond, Burst: 1000}, io.Discard)
}

// service is a Service with this limit, which logs to w.
func (i *instance) service(limit httpserver.LimiterConfig, w io.Writer) *login.Service {
	i.t.Helper()
	s, err := login.New(login.Config{
		Client: i.client, Attempts: i.attempts, Sessions: i.sessions, Directory: i.dir, Cookies: i.cookies,
		Origin: origin, Limit: limit, Logger: slog.New(slog.NewTextHandler(w, nil)), Now: i.clock.now,
	})
	i.must(err)
	return s
}

func (i *instance) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

// count is the first column of a query.
func (i *instance) count(query string, args ...any) int {
	i.t.Helper()
	var n int
	i.must(i.db.Read().QueryRowContext(i.t.Context(), query, args...).Scan(&n))
	return n
}

// exec changes the database behind everybody's back.
func (i *instance) exec(query string, args ...any) {
	i.t.Helper()
	i.must(i.db.Tx(i.t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(i.t.Context(), query, args...)
		return err
	}))
}

// nothingStored fails the test when a device, an account or a session exists.
func (i *instance) nothingStored() {
	i.t.Helper()
	for _, table := range []string{"device", "device_account", "oauth_session"} {
		if n := i.count(`SELECT count(*) FROM ` + table); n != 0 {
			i.t.Errorf("%d rows in %s, want none", n, table)
		}
	}
}

// browser keeps cookies by name, as browsers do for one host.
type browser struct {
	i       *instance
	addr    netip.Addr
	cookies map[string]string
}

func (i *instance) browser() *browser {
	return &browser{i: i, addr: netip.MustParseAddr("203.0.113.77"), cookies: map[string]string{}}
}

func (b *browser) sent() []*http.Cookie {
	var all []*http.Cookie
	for name, value := range b.cookies {
		all = append(all, &http.Cookie{Name: name, Value: value})
	}
	return all
}

func (b *browser) set(cookies []*http.Cookie) {
	for _, c := range cookies {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
}

// bindings are the names of the binding cookies that it holds.
func (b *browser) bindings() []string {
	var names []string
	for name := range b.cookies {
		if strings.HasPrefix(name, b.i.cookies.Name("login-")) {
			names = append(names, name)
		}
	}
	return names
}

func (b *browser) token() keyring.Secret { return keyring.NewSecret(b.cookies[b.i.cookies.Name("")]) }

// start begins a sign-in and returns the server's address to go to.
func (b *browser) start(identifier, returnTo string) string {
	b.i.t.Helper()
	started, err := b.i.Start(b.i.t.Context(), login.Start{Identifier: identifier, ReturnTo: returnTo, Addr: b.addr, Cookies: b.sent()})
	if err != nil {
		b.i.t.Fatalf("Start(%s): %v", identifier, err)
	}
	b.set(started.Cookies)
	return started.URL
}

// comeBack calls the callback.
func (b *browser) comeBack(q url.Values) (login.Outcome, error) {
	out, err := b.i.Callback(b.i.t.Context(), login.Callback{
		Query: q, Cookies: b.sent(), Token: b.token(), Addr: b.addr, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/142.0",
	})
	b.set(out.Cookies)
	return out, err
}

// signIn goes the whole way.
func (b *browser) signIn(identifier string) login.Outcome {
	b.i.t.Helper()
	out, err := b.comeBack(b.i.pds.approve(b.start(identifier, "/account")))
	if err != nil || out.Result != login.SignedIn {
		b.i.t.Fatalf("sign-in of %s = %v, %v", identifier, out.Result, err)
	}
	return out
}

// accounts are the DIDs on the browser's device, in order.
func (b *browser) accounts() []syntax.DID {
	b.i.t.Helper()
	d, _, err := b.i.sessions.Device(b.i.t.Context(), b.token())
	b.i.must(err)
	var all []syntax.DID
	for _, a := range d.Accounts {
		all = append(all, a.DID)
	}
	return all
}

// wantFault checks the kind of an error and that it has a sentence.
func wantFault(t *testing.T, what string, err error, kind fault.Kind) *fault.Error {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded, want a fault", what)
		return fault.New(kind, "")
	}
	f := fault.From(err)
	if f.Kind != kind || !strings.HasSuffix(f.Public, ".") {
		t.Errorf("%s = %v %q (%v), want kind %v and a sentence", what, f.Kind, f.Public, err, kind)
	}
	return f
}
