package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

// server is a member's server as far as revocation goes.
type server struct {
	mu     sync.Mutex
	told   []string // refresh tokens
	err    error
	called chan struct{} // gets one per call, if not nil
}

func (s *server) Revoke(_ context.Context, d *client.SessionData) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, d.RefreshToken)
	if s.called != nil {
		s.called <- struct{}{}
	}
	return s.err
}

func newRevoker(t *testing.T, m *session.Manager, s *server) *session.Revoker {
	t.Helper()
	r, err := session.NewRevoker(session.RevokerConfig{Manager: m, Client: s})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pass(t *testing.T, r *session.Revoker, want int) {
	t.Helper()
	if n, err := r.Pass(t.Context()); n != want || err != nil {
		t.Errorf("Pass = %d, %v; want %d", n, err, want)
	}
}

// The local end is certain and comes first; the server is told with the tokens
// that were kept for it, and then nothing is left of them.
func TestServersAreToldOfEndedSessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		token, again := f.signIn(token, alice)
		s := &server{}
		pass(t, newRevoker(t, f.Manager, s), 1) // the one that was replaced
		if _, err := f.SignOut(t.Context(), token, ""); err != nil {
			t.Fatal(err)
		}
		f.over(again.ID)
		pass(t, newRevoker(t, f.another(), s), 1) // as after a crash: another process
		if diff := cmp.Diff([]string{data.RefreshToken, again.RefreshToken}, s.told); diff != "" {
			t.Errorf("tokens that were revoked (-want +got):\n%s", diff)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session`); n != 0 {
			t.Errorf("%d sessions are left, want 0", n)
		}
		if n := f.count(`SELECT count(*) FROM audit WHERE kind = 'revoked' AND did = $1`, alice); n != 2 {
			t.Errorf("%d audit rows of revocations, want 2", n)
		}
	})
}

// A server that does not answer is asked again, ever more rarely, and in the
// end given up; nobody is signed in meanwhile.
func TestUnreachableServersAreAskedAgainAndGivenUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		if _, err := f.SignOut(t.Context(), token, ""); err != nil {
			t.Fatal(err)
		}
		s := &server{err: errors.New("connection refused")}
		r := newRevoker(t, f.Manager, s)
		pass(t, r, 1)
		pass(t, r, 0) // not at once
		f.over(data.ID)
		f.dead(token, "token while the server is away")
		for range 7 {
			f.clock.advance(4 * 24 * time.Hour)
			pass(t, r, 1)
		}
		pass(t, r, 0)
		if len(s.told) != 8 {
			t.Errorf("the server was asked %d times, want 8", len(s.told))
		}
		if n := f.count(`SELECT count(*) FROM oauth_session`); n != 0 {
			t.Errorf("%d sessions are left after giving up, want 0", n)
		}
		if n := f.count(`SELECT count(*) FROM audit WHERE kind = 'revocation_abandoned'`); n != 1 {
			t.Errorf("%d audit rows of giving up, want 1", n)
		}
	})
}

func TestSeveralProcessesTellOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		for range 40 {
			token, _ := f.signIn(keyring.Secret{}, alice)
			if _, err := f.SignOut(t.Context(), token, ""); err != nil {
				t.Fatal(err)
			}
		}
		s := &server{}
		var wg sync.WaitGroup
		for range 4 {
			r := newRevoker(t, f.another(), s)
			wg.Go(func() {
				if _, err := r.Pass(t.Context()); err != nil {
					t.Errorf("Pass: %v", err)
				}
			})
		}
		wg.Wait()
		if len(s.told) != 40 {
			t.Errorf("%d revocations for 40 sessions", len(s.told))
		}
		if n := f.count(`SELECT count(*) FROM oauth_session`); n != 0 {
			t.Errorf("%d sessions are left, want 0", n)
		}
	})
}

// A row whose tokens do not open cannot be revoked, now or later.
func TestUnreadableSessionsAreGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		f.exec(`UPDATE oauth_session SET refresh_token = access_token WHERE id = $1`, data.ID)
		if _, err := f.SignOut(t.Context(), token, ""); err != nil {
			t.Fatal(err)
		}
		s := &server{}
		pass(t, newRevoker(t, f.Manager, s), 1)
		if len(s.told) != 0 || f.count(`SELECT count(*) FROM oauth_session`) != 0 {
			t.Errorf("told %d times, want the row gone without a call", len(s.told))
		}
	})
}

// A row whose master key is away is kept, however long, and revoked when the
// operator has given the key back.
func TestSessionsOfAMissingMasterKeyAreRevokedWhenItIsBack(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		if _, err := f.SignOut(t.Context(), token, ""); err != nil {
			t.Fatal(err)
		}
		right, s := f.ring, &server{}
		f.ring = newRing(t)
		without := newRevoker(t, f.another(), s)
		for range 10 {
			pass(t, without, 1)
			f.clock.advance(4 * 24 * time.Hour)
		}
		if n := f.count(`SELECT count(*) FROM audit WHERE kind = 'revocation_abandoned'`); n != 0 || len(s.told) != 0 {
			t.Fatalf("without the master key: given up %d times, told %d times; want the session kept", n, len(s.told))
		}
		f.ring = right
		pass(t, newRevoker(t, f.another(), s), 1)
		if diff := cmp.Diff([]string{data.RefreshToken}, s.told); diff != "" {
			t.Errorf("tokens that were revoked (-want +got):\n%s", diff)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session`); n != 0 {
			t.Errorf("%d sessions are left, want 0", n)
		}
	})
}

func TestRunRevokesWithoutWaitingForTheNextLook(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		s := &server{called: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- newRevoker(t, f.Manager, s).Run(ctx) }()
		token, _ := f.signIn(keyring.Secret{}, alice)
		if _, err := f.SignOut(t.Context(), token, ""); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.called: // the next look is a minute away
		case <-time.After(50 * time.Second):
			t.Error("the server was not told within 50 s")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	})
}
