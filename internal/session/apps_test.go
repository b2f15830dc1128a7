package session_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/test/size"
)

const issuer = "https://atoll.example.org"

// apps is what a process has that serves applications.
func (f *fixture) apps() (*session.Apps, *session.TokenKeys) {
	f.t.Helper()
	keys, err := session.NewTokenKeys(session.KeysConfig{DB: f.db, Ring: f.ring, Logger: slog.New(slog.DiscardHandler), Now: f.clock.now})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := keys.Ensure(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	apps, err := session.NewApps(session.AppsConfig{Manager: f.another(), Keys: keys, Issuer: issuer})
	if err != nil {
		f.t.Fatal(err)
	}
	return apps, keys
}

// appSignIn stores a session of did that is not collected.
func (f *fixture) appSignIn(apps *session.Apps, did syntax.DID) (id string, data *client.SessionData) {
	f.t.Helper()
	id, data = session.NewAppID(), f.newSession(did)
	err := apps.SignIn(f.t.Context(), session.AppSignIn{ID: id, Session: data, Handle: "alice.example", Name: "Reader",
		Origin: "203.0.113.0/24", CollectBy: f.clock.now().Add(30 * time.Minute)})
	if err != nil {
		f.t.Fatal(err)
	}
	return id, data
}

func (f *fixture) appGrant(apps *session.Apps, did syntax.DID) session.AppGrant {
	f.t.Helper()
	id, _ := f.appSignIn(apps, did)
	grant, err := apps.Collect(f.t.Context(), id, session.NewAppSecret())
	if err != nil {
		f.t.Fatal(err)
	}
	return grant
}

func over(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, session.ErrAppOver) {
		t.Errorf("%s = %v, want ErrAppOver", what, err)
	}
}

// N3, N5: every waiter of one secret gets the same session, until it is used.
func TestAnAppSessionIsCollectedOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, _ := f.apps()
		id, data := f.appSignIn(apps, alice)
		if _, err := apps.Refresh(t.Context(), keyring.NewSecret("")); err == nil {
			t.Error("an empty secret refreshes")
		}
		first := session.DeriveAppSecret(keyring.NewSecret("held"), []byte("salt"))
		var grants []session.AppGrant
		for range 3 {
			grant, err := apps.Collect(t.Context(), id, first)
			if err != nil {
				t.Fatal(err)
			}
			grants = append(grants, grant)
			f.clock.advance(time.Second)
		}
		for _, g := range grants {
			if g.Refresh.Reveal() != grants[0].Refresh.Reveal() || g.SessionID != id || g.DID != alice || g.Handle != "alice.example" {
				t.Errorf("collected %+v, want the same each time", g)
			}
			caller, err := apps.Authenticate(t.Context(), g.Access.Reveal())
			if err != nil || caller.Account.SessionID != data.ID || caller.SessionID != id || caller.Account.DID != alice || !caller.Account.Live {
				t.Errorf("Authenticate = %+v, %v; want the app's own session", caller, err)
			}
		}
		_, err := apps.Collect(t.Context(), id, session.NewAppSecret())
		over(t, "Collect with another secret", err)
		if _, err := apps.Refresh(t.Context(), grants[0].Refresh); err != nil {
			t.Fatal(err)
		}
		_, err = apps.Collect(t.Context(), id, first)
		over(t, "Collect after the secret was used", err)
	})
}

// N5: the secret rotates; a lost answer can be had again; reuse ends the session
// here, and its OAuth session with it.
func TestAppSecretsRotateAndReuseEndsTheSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, _ := f.apps()
		first := f.appGrant(apps, alice)
		second, err := apps.Refresh(t.Context(), first.Refresh)
		if err != nil || second.Refresh.Reveal() == first.Refresh.Reveal() || second.Access.Reveal() == first.Access.Reveal() {
			t.Fatalf("Refresh = %+v, %v; want new secrets", second, err)
		}
		f.clock.advance(29 * time.Second)
		lost, err := apps.Refresh(t.Context(), first.Refresh)
		if err != nil || lost.Refresh.Reveal() != second.Refresh.Reveal() {
			t.Fatalf("the lost answer again = %v; want the same secret", err)
		}
		third, err := apps.Refresh(t.Context(), second.Refresh)
		if err != nil {
			t.Fatal(err)
		}
		f.clock.advance(31 * time.Second)
		if _, err := apps.Refresh(t.Context(), second.Refresh); err == nil {
			t.Fatal("a used secret works after the grace")
		}
		_, err = apps.Refresh(t.Context(), third.Refresh)
		over(t, "Refresh after reuse", err)
		_, err = apps.Authenticate(t.Context(), third.Access.Reveal())
		over(t, "Authenticate after reuse", err)
		if n := f.count(`SELECT count(*) FROM oauth_session WHERE state = 'revoking' AND ended_reason = 'app_replayed'`); n != 1 {
			t.Errorf("%d OAuth sessions are being revoked, want 1", n)
		}
		trail, err := f.Trail(t.Context(), alice, 10)
		if err != nil || len(trail) == 0 || trail[0].Kind != session.KindAppReplayed {
			t.Errorf("audit trail %+v, %v; want app_replayed last", trail, err)
		}
	})
}

// Guessing ends nobody's session: only a secret that was once genuine does.
func TestForeignAppSecretsEndNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, _ := f.apps()
		grant := f.appGrant(apps, alice)
		for n := range size.Size(50, 2000) {
			_, err := apps.Refresh(t.Context(), session.NewAppSecret().Text())
			over(t, fmt.Sprintf("guess %d", n), err)
		}
		if _, err := apps.Refresh(t.Context(), grant.Refresh); err != nil {
			t.Errorf("the genuine secret after guesses: %v", err)
		}
	})
}

// Refreshes of one secret at once, over two processes, all get the same answer.
func TestConcurrentAppRefreshesAgree(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		one, _ := f.apps()
		two, _ := f.apps()
		grant := f.appGrant(one, alice)
		got := make([]string, size.Size(8, 50))
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				g, err := []*session.Apps{one, two}[i%2].Refresh(t.Context(), grant.Refresh)
				if err != nil {
					t.Errorf("refresh %d: %v", i, err)
				}
				got[i] = g.Refresh.Reveal()
			})
		}
		wg.Wait()
		for _, g := range got {
			if g != got[0] {
				t.Fatalf("refreshes at once gave %d different secrets, want one", len(got))
			}
		}
	})
}

// A secret that went through a browser is good once and until it runs out.
func TestAHandedOutSecretIsGoodOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, _ := f.apps()
		late, _ := f.appSignIn(apps, bob)
		secret, err := apps.HandOut(t.Context(), late, f.clock.now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		f.clock.advance(time.Minute)
		_, err = apps.Refresh(t.Context(), secret)
		over(t, "Refresh after a minute", err)

		id, _ := f.appSignIn(apps, alice)
		if secret, err = apps.HandOut(t.Context(), id, f.clock.now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		next, err := apps.Refresh(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		_, err = apps.Refresh(t.Context(), secret)
		over(t, "the same again", err)
		_, err = apps.Refresh(t.Context(), next.Refresh)
		over(t, "the session after its first secret came twice", err)
	})
}

// N6: a revoked session is refused by every process at once; others stay, and
// nobody ends somebody else's.
func TestRevokedAppSessionsAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		here, _ := f.apps()
		there, _ := f.apps()
		gone, stays, others := f.appGrant(here, alice), f.appGrant(here, alice), f.appGrant(here, bob)
		if err := here.Revoke(t.Context(), alice, others.SessionID); !errors.Is(err, session.ErrNoApp) {
			t.Errorf("Revoke of another member's session = %v, want ErrNoApp", err)
		}
		if err := here.Revoke(t.Context(), alice, gone.SessionID); err != nil {
			t.Fatal(err)
		}
		_, err := there.Authenticate(t.Context(), gone.Access.Reveal())
		over(t, "the revoked token elsewhere", err)
		_, err = there.Refresh(t.Context(), gone.Refresh)
		over(t, "the revoked secret elsewhere", err)
		for _, g := range []session.AppGrant{stays, others} {
			if _, err := there.Authenticate(t.Context(), g.Access.Reveal()); err != nil {
				t.Errorf("another session after the revocation: %v", err)
			}
		}
		all, err := there.List(t.Context(), alice)
		if err != nil || len(all) != 1 || all[0].ID != stays.SessionID || all[0].Name != "Reader" || all[0].Origin != "203.0.113.0/24" {
			t.Errorf("List = %+v, %v; want the one that stays", all, err)
		}
	})
}

// N5: a token and a secret are good only while the OAuth session lives, and
// "sign in again" is told apart.
func TestAppSessionsEndWithTheirOAuthSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, _ := f.apps()
		grant := f.appGrant(apps, alice)
		caller, err := apps.Authenticate(t.Context(), grant.Access.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Delete(t.Context(), caller.Account.SessionID, client.ReasonRevoked); err != nil {
			t.Fatal(err)
		}
		var again *session.SignInAgainError
		if _, err := apps.Authenticate(t.Context(), grant.Access.Reveal()); !errors.As(err, &again) {
			t.Errorf("Authenticate = %v, want SignInAgainError", err)
		}
		if _, err := apps.Refresh(t.Context(), grant.Refresh); !errors.As(err, &again) {
			t.Errorf("Refresh = %v, want SignInAgainError", err)
		}
		if n := f.count(`SELECT count(*) FROM app_session WHERE handle <> ''`); n != 0 {
			t.Error("the handle of an ended session is kept (S34)")
		}
	})
}

// N6, S23: signing out everywhere ends the apps of that member, also those that
// are about to be collected, and nobody else's.
func TestSigningOutEverywhereEndsApps(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, _ := f.apps()
		hers, his := f.appGrant(apps, alice), f.appGrant(apps, bob)
		waiting, _ := f.appSignIn(apps, alice)
		token, _ := f.signIn(keyring.Secret{}, alice)
		if _, err := f.SignOut(t.Context(), token, alice); err != nil {
			t.Fatal(err)
		}
		if _, err := apps.Authenticate(t.Context(), hers.Access.Reveal()); err != nil {
			t.Errorf("the app after signing out of one browser = %v, want it signed in", err)
		}
		token, _ = f.signIn(keyring.Secret{}, alice)
		if _, err := f.SignOutEverywhere(t.Context(), token, alice); err != nil {
			t.Fatal(err)
		}
		var again *session.SignInAgainError
		if _, err := apps.Authenticate(t.Context(), hers.Access.Reveal()); !errors.As(err, &again) || again.Reason != session.ReasonSignedOut {
			t.Errorf("Authenticate afterwards = %v, want SignInAgainError", err)
		}
		if _, err := apps.Refresh(t.Context(), hers.Refresh); !errors.As(err, &again) {
			t.Errorf("Refresh afterwards = %v, want SignInAgainError", err)
		}
		if grant, err := apps.Collect(t.Context(), waiting, session.NewAppSecret()); !errors.As(err, &again) {
			t.Errorf("Collect afterwards = %v, %v, want SignInAgainError", grant.SessionID, err)
		}
		if left, err := apps.List(t.Context(), alice); err != nil || len(left) != 0 {
			t.Errorf("her apps afterwards: %v, %v; want none", left, err)
		}
		if _, err := apps.Authenticate(t.Context(), his.Access.Reveal()); err != nil {
			t.Errorf("the app of somebody else = %v", err)
		}
	})
}

// S43: what nobody collects or renews goes, and its OAuth session with it.
func TestAppSessionsAreSwept(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		apps, _ := f.apps()
		f.appSignIn(apps, alice)
		grant := f.appGrant(apps, bob)
		if n, err := apps.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("Sweep = %d, %v; want nothing to go", n, err)
		}
		f.clock.advance(31 * time.Minute)
		if n, err := apps.Sweep(t.Context()); n != 1 || err != nil {
			t.Errorf("Sweep after 31 minutes = %d, %v; want the one not collected", n, err)
		}
		f.clock.advance(session.AppLife - 40*time.Minute)
		if _, err := apps.Refresh(t.Context(), grant.Refresh); err != nil {
			t.Fatal(err)
		}
		f.clock.advance(session.AppLife - time.Minute)
		if n, err := apps.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("Sweep of a renewed session = %d, %v; want nothing", n, err)
		}
		f.clock.advance(time.Minute)
		if n, err := apps.Sweep(t.Context()); n != 1 || err != nil {
			t.Errorf("Sweep at its end = %d, %v; want it to go", n, err)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session WHERE state = 'live'`); n != 0 {
			t.Errorf("%d live OAuth sessions are left, want none", n)
		}
	})
}
