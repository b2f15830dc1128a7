package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

// S40: while an account is not active nothing is done with its sessions, and
// nothing of them is lost.
func TestInactiveAccountsPause(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason session.Reason
		client error
	}{
		"deactivated":      {client.ReasonDeactivated, client.ErrDeactivated},
		"suspended":        {session.ReasonSuspended, client.ErrTakenDown},
		"takendown":        {session.ReasonTakenDown, client.ErrTakenDown},
		"something-of-new": {client.ReasonDeactivated, client.ErrDeactivated},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		for status, want := range cases {
			h := listen(t, f.Manager)
			token, data := f.signIn(keyring.Secret{}, alice)
			_, others := f.signIn(keyring.Secret{}, bob)
			for range 2 { // the network repeats itself
				f.status(false, status)
			}
			h.want(t, status, session.Event{Kind: session.EventPaused, SessionID: data.ID, DID: alice, Reason: want.reason})

			_, err := f.Get(t.Context(), data.ID)
			var paused *session.PausedError
			if !errors.As(err, &paused) || !errors.Is(err, want.client) || errors.Is(err, client.ErrNotFound) {
				t.Errorf("%s: Get = %v, want a PausedError that the client knows as %v", status, err, want.client)
			}
			if got := fault.From(err); got.Kind != fault.Forbidden || got.Code != "AccountInactive" {
				t.Errorf("%s: a person is told %v %q", status, got.Kind, got.Code)
			}
			if standing, why := f.device(token).Standing(); standing != session.StandingPaused || why != want.reason {
				t.Errorf("%s: standing = %s, %s; want paused", status, standing, why)
			}
			if _, err := f.Get(t.Context(), others.ID); err != nil {
				t.Errorf("%s: the session of somebody else = %v", status, err)
			}

			f.status(true, "")
			h.want(t, "being active again", session.Event{Kind: session.EventResumed, SessionID: data.ID, DID: alice})
			got, err := f.Get(t.Context(), data.ID)
			if err != nil {
				t.Fatalf("%s: Get after it is over: %v", status, err)
			}
			if diff := sameSession(data, got); diff != "" {
				t.Errorf("%s: the session after it is over (-want +got):\n%s", status, diff)
			}
			if err := f.Delete(t.Context(), data.ID, client.ReasonExpired); err != nil {
				t.Fatal(err)
			}
			if _, err := f.SignOut(t.Context(), token, alice); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whoever has got tokens since an account was said to be inactive has got them
// for an active one: old news does not count against them.
func TestOldNewsEndsNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		_, before := f.signIn(keyring.Secret{}, alice)
		f.clock.advance(time.Minute)
		said := f.clock.now()
		f.clock.advance(time.Minute)
		_, after := f.signIn(keyring.Secret{}, alice)
		for _, word := range []string{"deactivated", "deleted"} {
			if err := f.AccountStatus(t.Context(), alice, session.Status{Word: word, At: said}); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Get(t.Context(), before.ID); err == nil {
				t.Errorf("%s: the session of before is as it was", word)
			}
			if _, err := f.Get(t.Context(), after.ID); err != nil {
				t.Errorf("%s: the session of afterwards = %v", word, err)
			}
		}
		f.over(before.ID)
	})
}

// A refresh that was under way when its account was deactivated must not lose
// the tokens that it got: the old ones are used up.
func TestARefreshUnderWayIsKeptThroughAPause(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		f.status(false, "deactivated")
		data.RefreshToken, data.RefreshedAt = "rotated", f.clock.now().Add(time.Second)
		f.save(data)
		f.status(true, "")
		got, err := f.Get(t.Context(), data.ID)
		if err != nil || got.RefreshToken != "rotated" {
			t.Errorf("refresh token after the pause = %v, want the rotated one", err)
		}

		f.status(false, "suspended")
		if _, err := f.SignOut(t.Context(), token, alice); err != nil {
			t.Errorf("SignOut while paused = %v, want it done", err)
		}
		f.over(data.ID)
		f.status(true, "")
		f.over(data.ID)
	})
}

func TestDeletedAccountsEnd(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		one, first := f.signIn(keyring.Secret{}, alice)
		_, second := f.signIn(keyring.Secret{}, alice)
		_, others := f.signIn(keyring.Secret{}, bob)
		f.status(false, "deactivated")
		f.status(false, "deleted")
		f.over(first.ID)
		f.over(second.ID)
		account, _ := f.device(one).Current()
		if account.Live || account.Ended != session.ReasonDeleted || account.Handle != "" {
			t.Errorf("account = %+v; want one that ended as deleted, without its handle", account)
		}
		f.status(true, "")
		f.over(first.ID)
		if _, err := f.Get(t.Context(), others.ID); err != nil {
			t.Errorf("the session of somebody else = %v", err)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session WHERE did = $1 AND length(refresh_token) > 0`, alice); n != 0 {
			t.Errorf("%d sessions of the deleted account still have tokens", n)
		}
	})
}

// What a host says of itself is nothing about its accounts.
func TestStatusesOfHostsChangeNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	_, data := f.signIn(keyring.Secret{}, alice)
	for _, status := range []string{"desynchronized", "throttled"} {
		f.status(false, status)
		if _, err := f.Get(t.Context(), data.ID); err != nil {
			t.Errorf("Get after %s = %v, want the session", status, err)
		}
	}
}

// S39: a new handle changes what is shown, and nothing else.
func TestANewHandleIsShown(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		over, ended := f.signIn(keyring.Secret{}, alice)
		if err := f.Delete(t.Context(), ended.ID, client.ReasonExpired); err != nil {
			t.Fatal(err)
		}
		before := f.device(token)
		if err := f.SetHandle(t.Context(), alice, "new.example"); err != nil {
			t.Fatal(err)
		}
		after := f.device(token)
		before.Accounts[0].Handle = "new.example"
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("device after a new handle (-want +got):\n%s", diff)
		}
		if account, _ := f.device(over).Current(); account.Handle != "" {
			t.Errorf("an account whose session has ended shows %q again", account.Handle)
		}
		if _, err := f.Get(t.Context(), data.ID); err != nil {
			t.Errorf("the session after a new handle = %v", err)
		}
	})
}

func (f *fixture) status(active bool, status string) {
	f.t.Helper()
	if err := f.AccountStatus(f.t.Context(), alice, session.Status{Active: active, Word: status}); err != nil {
		f.t.Fatalf("AccountStatus(%v, %s): %v", active, status, err)
	}
}
