package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

const appPassword = "abcd-canary-mnop-qrst"

// trail keeps audit rows.
type trail struct {
	mu   sync.Mutex
	rows []session.Entry
}

func (l *trail) Record(_ context.Context, e session.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, e)
	return nil
}

// lockbox is a member's server and what keeps passwords for it.
type lockbox struct {
	*server
	*Passwords
	db    *store.DB
	ring  *keyring.Ring
	trail *trail
	log   *bytes.Buffer
}

func newLockbox(t *testing.T, db *store.DB) *lockbox {
	t.Helper()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	b := &lockbox{server: newServer(t), db: db, ring: ring, trail: &trail{}, log: &bytes.Buffer{}}
	b.vault.passwords = map[string]string{string(alice): appPassword}
	b.vault.life = 2 * time.Hour
	b.Passwords = b.process(t)
	return b
}

// process is another process on the same database.
func (b *lockbox) process(t *testing.T) *Passwords {
	t.Helper()
	p, err := NewPasswords(PasswordsConfig{DB: b.db, Ring: b.ring, Directory: b.server, HTTP: &http.Client{Timeout: 5 * time.Second},
		Trail: b.trail, Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// agent acts by OAuth, which err closes, and by the passwords of p.
func (b *lockbox) agent(t *testing.T, p *Passwords, writes Way, oauthErr error) *Agent {
	t.Helper()
	a := newAgentOn(t, b.db, b.server, func(context.Context, Actor) (pds.Doer, error) {
		return signed{http.DefaultClient, "oauth"}, oauthErr
	}, nil)
	a.cfg.Passwords, a.cfg.Writes = p, writes
	return a
}

// signed sends requests with a token.
type signed struct {
	pds.Doer
	token string
}

func (s signed) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+s.token)
	return s.Doer.Do(req)
}

// TestGive holds A4: a password is kept when the member's own server takes it,
// and nothing else is; what is kept is sealed and in no log.
func TestGive(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		b := newLockbox(t, db)
		tests := []struct {
			name     string
			password string
			prepare  func(v *vault)
			code     string
			kind     fault.Kind
			ended    int
		}{
			{"wrong", "wrong-canary", nil, "WrongPassword", fault.Invalid, 0},
			{"none", "", nil, "InvalidRequest", fault.Invalid, 0},
			{"endless", strings.Repeat("x", 257), nil, "InvalidRequest", fault.Invalid, 0},
			{"the account's own", appPassword, func(v *vault) { v.scope = "com.atproto.access" }, "MainPassword", fault.Invalid, 1},
			{"another account's", appPassword, func(v *vault) { v.subject = "did:plc:mallory" }, "WrongPassword", fault.Invalid, 1},
			{"limited", appPassword, func(v *vault) {
				v.spoil = func(w http.ResponseWriter, _ string) bool { refuse(w, 429, "RateLimitExceeded", ""); return true }
			}, "", fault.Limited, 0},
			{"down", appPassword, func(v *vault) {
				v.spoil = func(w http.ResponseWriter, _ string) bool { cut(w); return true }
			}, "", fault.Unavailable, 0},
			{"HTML", appPassword, func(v *vault) {
				v.spoil = func(w http.ResponseWriter, _ string) bool { page(w); return true }
			}, "", fault.Unavailable, 0},
		}
		for _, tt := range tests {
			b.vault.scope, b.vault.subject, b.vault.spoil, b.vault.deleted = "", "", nil, 0
			if tt.prepare != nil {
				tt.prepare(&b.vault)
			}
			err := b.Give(t.Context(), alice, keyring.NewSecret(tt.password))
			if err == nil || fault.KindOf(err) != tt.kind || tt.code != "" && fault.From(err).Code != tt.code {
				t.Errorf("%s: %v, want %v %s", tt.name, err, tt.kind, tt.code)
			}
			if _, _, ended := b.vault.counts(); ended != tt.ended {
				t.Errorf("%s: %d sessions ended, want %d", tt.name, ended, tt.ended)
			}
			if _, ok, err := b.Info(t.Context(), alice); ok || err != nil {
				t.Errorf("%s: it was kept (%v)", tt.name, err)
			}
		}
		b.vault.scope, b.vault.subject, b.vault.spoil = "", "", nil
		for range 2 { // the second time replaces
			if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
				t.Fatal(err)
			}
		}
		info, ok, err := b.Info(t.Context(), alice)
		if err != nil || !ok || info.PDS != b.URL || time.Since(info.GivenAt) > time.Minute || !info.RefusedAt.IsZero() {
			t.Errorf("info %+v, %v, %v", info, ok, err)
		}
		b.sealed(t)
		if err := b.Remove(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := b.Info(t.Context(), alice); ok || b.vault.access != "" {
			t.Errorf("removed, and there: %v; session %q", ok, b.vault.access)
		}
		if err := b.Remove(t.Context(), alice); err != nil {
			t.Errorf("removing none: %v", err)
		}
		var kinds []session.Kind
		for _, e := range b.trail.rows {
			kinds = append(kinds, e.Kind)
		}
		if fmt.Sprint(kinds) != "[app_password_given app_password_given app_password_removed]" {
			t.Errorf("audit %v", kinds)
		}
		if text := b.log.String() + fmt.Sprintf("%+v", b.trail.rows); strings.Contains(text, "canary") {
			t.Errorf("a secret is in the log: %s", text)
		}
	})
}

// sealed looks for secrets in what the database keeps, and for what opens
// elsewhere.
func (b *lockbox) sealed(t *testing.T) {
	t.Helper()
	var columns [3][]byte
	if err := b.db.Read().QueryRowContext(t.Context(), `SELECT password, access_token, refresh_token FROM app_password WHERE did = $1`, alice).
		Scan(&columns[0], &columns[1], &columns[2]); err != nil {
		t.Fatal(err)
	}
	for _, value := range columns {
		if bytes.Contains(value, []byte("canary")) {
			t.Errorf("stored as it is: %q", value)
		}
		if _, err := b.ring.Open(value, keyring.Place{Table: "app_password", Column: "password", Key: "did:plc:mallory"}); err == nil {
			t.Error("a value opens in another row")
		}
	}
	seals := &SealedPasswords{DB: b.db, Ring: b.ring}
	if done, err := seals.Reseal(t.Context()); err != nil || done.Unreadable != 0 {
		t.Errorf("reseal: %+v, %v", done, err)
	}
	counts, err := seals.SealedWith(t.Context())
	if err != nil || counts[b.ring.CurrentID()] != 3 {
		t.Errorf("sealed with %v, %v", counts, err)
	}
}

// TestWays holds A3: which way is taken for a member, by the setting and by what
// is possible; and that nothing is tried twice when it may have been done.
func TestWays(t *testing.T) {
	t.Parallel()
	over := &client.AccessError{Reason: client.ErrRevoked}
	scopeless := &client.AccessError{Reason: client.ErrMissingScope}
	down := &client.ServerError{Kind: client.ErrUnreachable}
	tests := []struct {
		name    string
		writes  Way
		oauth   error
		given   bool
		refused bool // by its server
		used    Way
		kind    Kind
	}{
		{"signed in", ByOAuth, nil, true, false, ByOAuth, 0},
		{"signed out, a password", ByOAuth, over, true, false, ByAppPassword, 0},
		{"not allowed, a password", ByOAuth, scopeless, true, false, ByAppPassword, 0},
		{"not allowed, no password", ByOAuth, scopeless, false, false, ByNothing, NeedsScope},
		{"signed out, no password", ByOAuth, over, false, false, ByNothing, NeedsSignIn},
		{"signed out, a refused password", ByOAuth, over, true, true, ByNothing, NeedsSignIn},
		{"server down", ByOAuth, down, true, false, ByNothing, Unreachable},
		{"password first", ByAppPassword, nil, true, false, ByAppPassword, 0},
		{"password first, none given", ByAppPassword, nil, false, false, ByOAuth, 0},
		{"password first, refused", ByAppPassword, nil, true, true, ByOAuth, 0},
		{"relay is for statements", ByRelay, nil, true, false, ByOAuth, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newLockbox(t, storetest.New(t, store.SQLite))
			if tt.given {
				if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.refused {
				b.vault.passwords[string(alice)] = "another"
				b.vault.forget(true, true)
			}
			_, err := b.agent(t, b.Passwords, tt.writes, tt.oauth).Create(t.Context(), actor, write("a"))
			if kindOf(err) != tt.kind || (err == nil) != (tt.used != ByNothing) {
				t.Errorf("create: %v, want %v", err, tt.kind)
			}
			want := 0
			if tt.used != ByNothing {
				want = 1
			}
			if len(b.records) != want || b.writes != want {
				t.Errorf("%d records by %d writes, want %d", len(b.records), b.writes, want)
			}
			if info, _, _ := b.Info(t.Context(), alice); tt.refused == info.RefusedAt.IsZero() {
				t.Errorf("refused: %v, want %v", info.RefusedAt, tt.refused)
			}
		})
	}
}

// TestMovedPassword holds that a password is not taken along to another server.
func TestMovedPassword(t *testing.T) {
	t.Parallel()
	b := newLockbox(t, storetest.New(t, store.SQLite))
	if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
		t.Fatal(err)
	}
	a := b.agent(t, b.Passwords, ByOAuth, client.ErrNotFound)
	elsewhere := newServer(t)
	asked := 0
	elsewhere.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; refuse(w, 401, "", "") })
	a.cfg.Directory = elsewhere
	if _, err := a.Create(t.Context(), actor, write("a")); kindOf(err) != NeedsSignIn || asked != 0 {
		t.Errorf("create: %v, want a sign-in; the new server was asked %d times", err, asked)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, elsewhere.URL, nil)
	if res, err := b.bearer(alice).Do(req); !errors.Is(err, pds.ErrElsewhere) || asked != 0 {
		t.Errorf("the token was sent elsewhere: %v, %v", res, err)
	}
}

// TestRenewalsAreOne holds that of many calls with an expired token, in several
// processes, one renews the session, and all succeed.
func TestRenewalsAreOne(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		b := newLockbox(t, db)
		if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
			t.Fatal(err)
		}
		agents := []*Agent{b.agent(t, b.Passwords, ByAppPassword, client.ErrNotFound), b.agent(t, b.process(t), ByAppPassword, client.ErrNotFound)}
		b.vault.forget(true, false)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := agents[i%2].Create(t.Context(), actor, at(fmt.Sprint("r", i), "t")); err != nil {
					t.Errorf("create: %v", err)
				}
			})
		}
		wg.Wait()
		if created, refreshed, _ := b.vault.counts(); created != 1 || refreshed != 1 {
			t.Errorf("%d sessions and %d renewals, want one of each", created, refreshed)
		}
	})
}

// TestRenewalOutlivesItsRequest holds that a renewal which began is finished and
// saved although the request is gone.
func TestRenewalOutlivesItsRequest(t *testing.T) {
	t.Parallel()
	b := newLockbox(t, storetest.New(t, store.SQLite))
	if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
		t.Fatal(err)
	}
	b.vault.slow = make(chan struct{})
	old, err := b.access(t.Context(), alice, keyring.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.access(ctx, alice, old.Token); !errors.Is(err, context.Canceled) {
		t.Errorf("access: %v", err)
	}
	close(b.vault.slow)
	next, err := b.access(t.Context(), alice, old.Token)
	if err != nil || next.Token.Equal(old.Token) || next.Token.Reveal() != b.vault.access {
		t.Errorf("access afterwards: %v", err)
	}
	if row, _, err := b.read(t.Context(), alice); err != nil || !row.access.Equal(next.Token) || row.refresh.Reveal() != b.vault.refresh {
		t.Errorf("saved: %v", err)
	}
}

// TestRenewal holds what becomes of a session: renewed in time, begun anew by the
// password when the refresh token is gone, left alone by trouble of the network.
func TestRenewal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name               string
		life               time.Duration
		before             func(v *vault)
		kind               Kind
		created, refreshed int
	}{
		{"good for long", 2 * time.Hour, nil, 0, 1, 0},
		{"ends in a minute", time.Minute, nil, 0, 1, 1},
		{"does not tell", 0, nil, 0, 1, 0},
		{"refresh token gone", 2 * time.Hour, func(v *vault) { v.forget(true, true) }, 0, 2, 0},
		{"server in trouble", 2 * time.Hour, func(v *vault) {
			v.forget(true, false)
			v.spoil = func(w http.ResponseWriter, _ string) bool { refuse(w, 502, "", ""); return true }
		}, Unreachable, 1, 0},
		{"session of another account", 2 * time.Hour, func(v *vault) { v.forget(true, false); v.subject = "did:plc:mallory" }, Unreachable, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newLockbox(t, storetest.New(t, store.SQLite))
			b.vault.life = tt.life
			if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
				t.Fatal(err)
			}
			if tt.before != nil {
				tt.before(&b.vault)
			}
			a := b.agent(t, b.Passwords, ByAppPassword, client.ErrNotFound)
			if _, err := a.Create(t.Context(), actor, write("a")); kindOf(err) != tt.kind || (err == nil) != (tt.kind == 0) {
				t.Errorf("create: %v, want %v", err, tt.kind)
			}
			if created, refreshed, _ := b.vault.counts(); created != tt.created || refreshed != tt.refreshed {
				t.Errorf("%d begun and %d renewed, want %d and %d", created, refreshed, tt.created, tt.refreshed)
			}
			if strings.Contains(b.log.String(), "canary") {
				t.Errorf("a secret is in the log: %s", b.log)
			}
		})
	}
}

// TestGiveAnotherMeanwhile holds that what a member does wins over a renewal that
// is under way.
func TestGiveAnotherMeanwhile(t *testing.T) {
	t.Parallel()
	b := newLockbox(t, storetest.New(t, store.SQLite))
	if err := b.Give(t.Context(), alice, keyring.NewSecret(appPassword)); err != nil {
		t.Fatal(err)
	}
	b.vault.slow = make(chan struct{})
	old := b.vault.access
	done := make(chan error)
	go func() {
		_, err := b.renew(context.Background(), alice, keyring.NewSecret(old))
		done <- err
	}()
	for {
		if row, _, err := b.read(t.Context(), alice); err != nil || row.leaseOwner != "" {
			break
		}
	}
	if err := b.Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	close(b.vault.slow)
	<-done
	if _, ok, err := b.Info(t.Context(), alice); ok || err != nil {
		t.Errorf("a removed password came back (%v)", err)
	}
}

// TestOfficialAppPassword holds A4 with the official server.
func TestOfficialAppPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := storetest.New(t, store.SQLite)
	b := newLockbox(t, db)
	p, err := NewPasswords(PasswordsConfig{DB: db, Ring: b.ring, Directory: w.directory, HTTP: w.fetch, Trail: b.trail, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Give(t.Context(), w.did, keyring.NewSecret(w.account.Password)); fault.From(err).Code != "MainPassword" {
		t.Errorf("the account's own password: %v", err)
	}
	if err := p.Give(t.Context(), w.did, keyring.NewSecret("abcd-efgh-ijkl-mnop")); fault.From(err).Code != "WrongPassword" {
		t.Errorf("a wrong password: %v", err)
	}
	other, err := w.net.SignInWithPassword(t.Context(), w.account)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Password string }
	if err := other.Call(t.Context(), "com.atproto.server.createAppPassword", map[string]string{"name": "atoll"}, &made); err != nil {
		t.Fatal(err)
	}
	if err := p.Give(t.Context(), w.did, keyring.NewSecret(made.Password)); err != nil {
		t.Fatal(err)
	}
	a := b.agent(t, p, ByOAuth, client.ErrNotFound)
	a.cfg.Directory, a.cfg.HTTP = w.directory, w.fetch
	me := Actor{DID: w.did, SessionID: "over"}
	if done, err := a.Put(t.Context(), me, put("a", "")); err != nil || done.Rev == "" {
		t.Errorf("put: %+v, %v", done, err)
	}
	a.cfg.Relay = &RelayAccount{DID: w.did, Password: keyring.NewSecret(made.Password)}
	a.cfg.Writes = ByRelay
	if said, err := a.Say(t.Context(), Actor{DID: alice}, statement(alice)); !errors.Is(err, identity.ErrDIDNotFound) {
		t.Errorf("in the name of nobody: %+v, %v", said, err)
	}
	for range 2 {
		if said, err := a.Say(t.Context(), me, statement(w.did)); err != nil || !said.Relayed || said.URI.Authority().DID() != w.did {
			t.Errorf("relayed: %+v, %v", said, err)
		}
	}
	a.cfg.Relay, a.cfg.Writes = nil, ByOAuth
	// Taking the password back at the server ends it here, and says so.
	if err := other.Call(t.Context(), "com.atproto.server.revokeAppPassword", map[string]string{"name": "atoll"}, nil); err != nil {
		t.Fatal(err)
	}
	row, _, err := p.read(t.Context(), w.did)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.access(t.Context(), w.did, row.access)
	if info, _, _ := p.Info(t.Context(), w.did); !errors.Is(err, errPasswordRefused) || info.RefusedAt.IsZero() {
		t.Errorf("after revoking: %v, %+v", err, info)
	}
	if _, err := a.Put(t.Context(), me, put("b", "")); kindOf(err) != NeedsSignIn {
		t.Errorf("put after revoking: %v", err)
	}
}
