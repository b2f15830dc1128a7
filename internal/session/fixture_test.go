package session_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

const (
	alice = syntax.DID("did:plc:alice")
	bob   = syntax.DID("did:plc:bob")
)

// clock is a clock that tests move.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.micros.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// fixture is a Manager on a database of its own.
type fixture struct {
	*session.Manager
	t     *testing.T
	db    *store.DB
	ring  *keyring.Ring
	clock *clock
}

func newFixture(t *testing.T, db *store.DB) *fixture {
	t.Helper()
	f := &fixture{t: t, db: db, ring: newRing(t), clock: newClock()}
	f.Manager = f.another()
	return f
}

// another is a Manager as a second process would have it.
func (f *fixture) another() *session.Manager {
	f.t.Helper()
	m, err := session.New(session.Config{DB: f.db, Ring: f.ring, Logger: slog.New(slog.DiscardHandler), Now: f.clock.now})
	if err != nil {
		f.t.Fatalf("New: %v", err)
	}
	return m
}

func newRing(t *testing.T) *keyring.Ring {
	t.Helper()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// newSession is what the OAuth client hands over after a sign-in.
func (f *fixture) newSession(did syntax.DID) *client.SessionData {
	f.t.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		f.t.Fatal(err)
	}
	now := f.clock.now()
	return &client.SessionData{
		ID: rand.Text(), DID: did, Issuer: "https://pds.example", PDS: "https://pds.example",
		ClientID: "https://atoll.example.org/oauth-client-metadata.json", KeyID: "key-1", DPoPKey: key,
		AccessToken: "secret-access-" + rand.Text(), RefreshToken: "secret-refresh-" + rand.Text(),
		Scope: "atproto repo:social.coves.community.postv2", TokenEndpoint: "https://pds.example/oauth/token",
		RevocationEndpoint: "https://pds.example/oauth/revoke",
		CreatedAt:          now, UsedAt: now, RefreshedAt: now, AccessExpiresAt: now.Add(time.Hour),
	}
}

// signIn signs did in on the device that holds token and returns the new token
// and the session.
func (f *fixture) signIn(token keyring.Secret, did syntax.DID) (keyring.Secret, *client.SessionData) {
	f.t.Helper()
	data := f.newSession(did)
	out, err := f.SignIn(f.t.Context(), session.SignIn{
		Token: token, Session: data, Handle: syntax.Handle(strings.TrimPrefix(did.String(), "did:plc:") + ".example"),
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/142.0", Addr: netip.MustParseAddr("203.0.113.77"),
	})
	if err != nil {
		f.t.Fatalf("SignIn(%s): %v", did, err)
	}
	return out.Token, data
}

// device looks token up and fails the test when it is dead.
func (f *fixture) device(token keyring.Secret) session.Device {
	f.t.Helper()
	d, ok, err := f.Device(f.t.Context(), token)
	if err != nil || !ok {
		f.t.Fatalf("Device = %v, %v; want a live device", ok, err)
	}
	return d
}

// dead fails the test when token still opens something.
func (f *fixture) dead(token keyring.Secret, what string) {
	f.t.Helper()
	if d, ok, err := f.Device(f.t.Context(), token); ok || err != nil || len(d.Accounts) != 0 {
		f.t.Errorf("Device(%s) = %d accounts, %v, %v; want nobody", what, len(d.Accounts), ok, err)
	}
}

// count is the first column of a query.
func (f *fixture) count(query string, args ...any) int {
	f.t.Helper()
	var n int
	if err := f.db.Read().QueryRowContext(f.t.Context(), query, args...).Scan(&n); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// exec changes the database behind the Manager's back.
func (f *fixture) exec(query string, args ...any) {
	f.t.Helper()
	err := f.db.Tx(f.t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(f.t.Context(), query, args...)
		return err
	})
	if err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
}

// dump returns every value of every row of our tables as text.
func (f *fixture) dump() string {
	f.t.Helper()
	var b strings.Builder
	for _, table := range []string{"device", "device_account", "oauth_session", "signing_key", "audit"} {
		dumpTable(f.t, f.db, table, &b)
	}
	return b.String()
}

func dumpTable(t *testing.T, db *store.DB, table string, b *strings.Builder) {
	t.Helper()
	rows, err := db.Read().QueryContext(context.Background(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([][]byte, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			b.WriteString(table + "." + columns[i] + "=")
			b.Write(v)
			b.WriteByte('\n')
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
