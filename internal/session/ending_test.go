package session_test

import (
	"errors"
	"testing"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

// S34: whichever way a session ends, what was shown of its account is gone, its
// account asks for a new sign-in with the reason, and others are left alone.
func TestNothingIsShownHoweverASessionEnds(t *testing.T) {
	t.Parallel()
	ways := map[session.Reason]func(f *fixture, data *client.SessionData) error{
		client.ReasonRevoked: func(f *fixture, d *client.SessionData) error {
			return f.Delete(f.t.Context(), d.ID, client.ReasonRevoked)
		},
		session.ReasonOperator: func(f *fixture, d *client.SessionData) error { return f.Revoke(f.t.Context(), d.ID) },
		client.ReasonKeyWithdrawn: func(f *fixture, d *client.SessionData) error {
			_, err := f.EndPinned(f.t.Context(), d.KeyID)
			return err
		},
		session.ReasonDeleted: func(f *fixture, d *client.SessionData) error {
			return f.AccountStatus(f.t.Context(), d.DID, session.Status{Word: "deleted"})
		},
		session.ReasonUnreadable: func(f *fixture, d *client.SessionData) error {
			f.exec(`UPDATE oauth_session SET access_token = refresh_token WHERE id = $1`, d.ID)
			if _, err := f.Get(f.t.Context(), d.ID); !errors.Is(err, keyring.ErrTampered) {
				return errors.New("an altered session was read")
			}
			return nil
		},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		for why, end := range ways {
			token, data := f.signIn(keyring.Secret{}, alice)
			other := f.newSession(bob)
			other.KeyID = "key-2"
			if _, err := f.SignIn(t.Context(), session.SignIn{Session: other, Handle: "bob.example"}); err != nil {
				t.Fatal(err)
			}
			if err := end(f, data); err != nil {
				t.Errorf("%s: %v", why, err)
				continue
			}
			f.over(data.ID)
			account, ok := f.device(token).Current()
			if !ok || account.Live || account.Ended != why || account.Handle != "" {
				t.Errorf("%s: account = %+v, %v; want one that says why and shows nothing", why, account, ok)
			}
			if standing, reason := f.device(token).Standing(); standing != session.StandingSignInAgain || reason != why {
				t.Errorf("%s: standing = %s, %s", why, standing, reason)
			}
			if _, err := f.Get(t.Context(), other.ID); err != nil {
				t.Errorf("%s: another session = %v, want it live", why, err)
			}
			if n := f.count(`SELECT count(*) FROM audit WHERE session_id = $1 AND kind = 'session_ended' AND detail = $2`, data.ID, string(why)); n != 1 {
				t.Errorf("%s: %d audit rows of the ending, want 1", why, n)
			}
			if _, err := f.SignOut(t.Context(), token, alice); err != nil {
				t.Errorf("%s: signing out afterwards: %v", why, err)
			}
		}
	})
}

// A session that the operator ends is over at once; its server is told by
// whichever process runs, and the member still learns why afterwards.
func TestOperatorsRevoke(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		if err := f.another().Revoke(t.Context(), data.ID); err != nil {
			t.Fatalf("Revoke: %v", err)
		}
		f.over(data.ID)
		if err := f.Revoke(t.Context(), data.ID); !errors.Is(err, session.ErrNotLive) {
			t.Errorf("revoking twice = %v, want ErrNotLive", err)
		}
		if err := f.Revoke(t.Context(), "never-was"); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("revoking nothing = %v, want ErrNotFound", err)
		}
		s := &server{}
		pass(t, newRevoker(t, f.Manager, s), 1)
		if len(s.told) != 1 || s.told[0] != data.RefreshToken {
			t.Errorf("the server was told %d times", len(s.told))
		}
		if account, _ := f.device(token).Current(); account.Ended != session.ReasonOperator {
			t.Errorf("after the server was told, the account says %q, want why", account.Ended)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session WHERE length(access_token) + length(refresh_token) + length(dpop_key) > 0`); n != 0 {
			t.Error("tokens are left after the server was told")
		}
		if err := f.Revoke(t.Context(), data.ID); !errors.Is(err, session.ErrNotLive) {
			t.Errorf("revoking what has ended = %v, want ErrNotLive", err)
		}
	})
}
