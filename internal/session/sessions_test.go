package session_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// sameSession compares everything, keys by their thumbprints.
func sameSession(want, got *client.SessionData) string {
	plain := func(d *client.SessionData) map[string]any {
		return map[string]any{
			"key": d.DPoPKey.Thumbprint(), "access": d.AccessToken, "refresh": d.RefreshToken, "id": d.ID, "did": d.DID,
			"issuer": d.Issuer, "pds": d.PDS, "client": d.ClientID, "keyid": d.KeyID, "scope": d.Scope,
			"token": d.TokenEndpoint, "revocation": d.RevocationEndpoint, "version": d.Version, "owner": d.LeaseOwner,
			"until": d.LeaseUntil, "sent": d.SentUntil, "created": d.CreatedAt, "used": d.UsedAt,
			"refreshed": d.RefreshedAt, "accessends": d.AccessExpiresAt, "refreshends": d.RefreshExpiresAt,
		}
	}
	return cmp.Diff(plain(want), plain(got))
}

func TestSessionsComeBackWhole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		data := f.newSession(alice)
		data.LeaseOwner, data.LeaseUntil, data.SentUntil = "process-1", f.clock.now().Add(45*time.Second), f.clock.now().Add(20*time.Second)
		data.RefreshExpiresAt = f.clock.now().Add(90 * 24 * time.Hour)
		if err := f.Save(t.Context(), data); err != nil {
			t.Fatalf("Save: %v", err)
		}
		got, err := f.another().Get(t.Context(), data.ID)
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		if diff := sameSession(data, got); diff != "" {
			t.Errorf("session read back (-want +got):\n%s", diff)
		}

		key, err := dpop.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		got.AccessToken, got.RefreshToken, got.DPoPKey, got.Scope = "a2", "", key, "atproto"
		got.LeaseOwner, got.LeaseUntil, got.SentUntil, got.AccessExpiresAt = "", time.Time{}, time.Time{}, time.Time{}
		got.PDS, got.KeyID, got.RefreshedAt = "https://elsewhere.example", "key-2", f.clock.now().Add(time.Hour)
		if err := f.Save(t.Context(), got); err != nil {
			t.Fatalf("Save again: %v", err)
		}
		again, err := f.Get(t.Context(), data.ID)
		if err != nil {
			t.Fatalf("Get again: %v", err)
		}
		if diff := sameSession(got, again); diff != "" || again.Version != 2 {
			t.Errorf("session read back, version %d (-want +got):\n%s", again.Version, diff)
		}
	})
}

// Of many saves of one version exactly one is written; the others learn that
// they are late, and so do saves of sessions that are over.
func TestSaveComparesTheVersion(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				mine := data.Clone()
				mine.AccessToken = "token-" + string(rune('a'+i))
				switch err := f.Save(t.Context(), mine); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, client.ErrConflict):
					t.Errorf("Save = %v, want ErrConflict", err)
				case mine.Version != 1:
					t.Errorf("a refused save moved the version to %d", mine.Version)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d saves of one version succeeded, want 1", won.Load())
		}

		if err := f.Save(t.Context(), &client.SessionData{ID: data.ID, DID: alice, DPoPKey: data.DPoPKey}); !errors.Is(err, client.ErrConflict) {
			t.Errorf("adding a session whose id is taken = %v, want ErrConflict", err)
		}
		if _, err := f.SignOut(t.Context(), token, alice); err != nil {
			t.Fatal(err)
		}
		late := data.Clone()
		late.Version = 3 // what signing out made of it, as a holder of the lease might guess
		if err := f.Save(t.Context(), late); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("saving a session that was signed out = %v, want ErrNotFound", err)
		}
		f.over(data.ID)
	})
}

// S42: what is secret is sealed, and opens only in its own row and column.
func TestSecretsAreSealedAndBoundToTheirRow(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		_, one := f.signIn(keyring.Secret{}, alice)
		_, two := f.signIn(keyring.Secret{}, bob)
		jwk, err := one.DPoPKey.PrivateJWK()
		if err != nil {
			t.Fatal(err)
		}
		private := strings.SplitN(strings.SplitN(string(jwk), `"d":"`, 2)[1], `"`, 2)[0]
		dump := f.dump()
		for what, secret := range map[string]string{"access token": one.AccessToken, "refresh token": one.RefreshToken, "proof key": private} {
			if strings.Contains(dump, secret) {
				t.Errorf("the database holds the %s in the clear", what)
			}
		}
		for _, column := range []string{"dpop_key", "access_token", "refresh_token"} {
			f.exec(`UPDATE oauth_session SET `+column+` = (SELECT `+column+` FROM oauth_session WHERE id = $1) WHERE id = $2`, one.ID, two.ID)
			if _, err := f.Get(t.Context(), two.ID); !errors.Is(err, keyring.ErrTampered) {
				t.Errorf("Get with %s of another row = %v, want ErrTampered", column, err)
			}
			_, two = f.signIn(keyring.Secret{}, bob)
		}
		f.exec(`UPDATE oauth_session SET access_token = refresh_token WHERE id = $1`, two.ID)
		if _, err := f.Get(t.Context(), two.ID); !errors.Is(err, keyring.ErrTampered) {
			t.Errorf("Get with the refresh token in the other column = %v, want ErrTampered", err)
		}
		f.exec(`UPDATE oauth_session SET id = 'moved' WHERE id = $1`, one.ID)
		if _, err := f.Get(t.Context(), "moved"); !errors.Is(err, keyring.ErrTampered) {
			t.Errorf("Get of a row under another id = %v, want ErrTampered", err)
		}
	})
}

// A session that ended by itself leaves no token, no handle, and an account
// that asks to sign in again.
func TestDeleteLeavesAnAccountThatAsksAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		if err := f.Delete(t.Context(), data.ID, client.ReasonRevoked); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		if err := f.Delete(t.Context(), data.ID, client.ReasonExpired); err != nil {
			t.Errorf("Delete twice: %v, want no error", err)
		}
		if err := f.Delete(t.Context(), "never-was", client.ReasonExpired); err != nil {
			t.Errorf("Delete of nothing: %v, want no error", err)
		}
		f.over(data.ID)
		account, ok := f.device(token).Current()
		if !ok || account.Live || account.Ended != client.ReasonRevoked || account.Handle != "" {
			t.Errorf("account = %+v, %v; want one that ended as revoked, without handle", account, ok)
		}
		_, err := f.device(token).Acting(alice)
		var again *session.SignInAgainError
		if !errors.As(err, &again) {
			t.Errorf("Acting = %v, want SignInAgainError", err)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session WHERE id = $1 AND length(access_token) + length(refresh_token) + length(dpop_key) = 0`, data.ID); n != 1 {
			t.Error("sealed secrets of an ended session are still there")
		}
		if _, err := f.SignOut(t.Context(), token, alice); err != nil {
			t.Fatalf("SignOut of an ended account: %v", err)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session`); n != 0 {
			t.Errorf("%d sessions are left, want 0: there is nobody to tell", n)
		}

		app := f.newSession(bob)
		if err := f.Save(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		if err := f.Delete(t.Context(), app.ID, client.ReasonExpired); err != nil {
			t.Fatal(err)
		}
		if n := f.count(`SELECT count(*) FROM oauth_session`); n != 0 {
			t.Errorf("%d sessions are left, want 0: no device waits for it", n)
		}
	})
}

// S44: every change leaves a row, and none of them a secret.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		step := func() { f.clock.advance(time.Second) }
		token, first := f.signIn(keyring.Secret{}, alice)
		step()
		if err := f.Delete(t.Context(), first.ID, client.ReasonReplayed); err != nil {
			t.Fatal(err)
		}
		step()
		token, _ = f.signIn(token, alice)
		step()
		token, err := f.SignOut(t.Context(), token, alice)
		if err != nil {
			t.Fatal(err)
		}
		step()
		token, _ = f.signIn(token, alice)
		step()
		if err := f.EndDevice(t.Context(), alice, f.device(token).ID); err != nil {
			t.Fatal(err)
		}
		step()
		token, _ = f.signIn(keyring.Secret{}, alice)
		step()
		if _, err := f.SignOutEverywhere(t.Context(), token, alice); err != nil {
			t.Fatal(err)
		}
		step()
		if err := f.Record(t.Context(), session.Entry{Kind: session.KindSignInRefused, DID: alice, Detail: strings.Repeat("ü", 300)}); err != nil {
			t.Fatal(err)
		}
		trail, err := f.Trail(t.Context(), alice, 100)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(trail)
		var kinds []session.Kind
		for _, e := range trail {
			kinds = append(kinds, e.Kind)
		}
		want := []session.Kind{session.KindSignIn, session.KindSessionEnded, session.KindSignIn, session.KindSignOut,
			session.KindSignIn, session.KindDeviceEnded, session.KindSignIn, session.KindEverywhere, session.KindSignInRefused}
		if diff := cmp.Diff(want, kinds); diff != "" {
			t.Errorf("audit kinds (-want +got):\n%s", diff)
		}
		if e := trail[0]; e.SessionID != first.ID || e.Origin != "203.0.113.0/24" || e.Detail != first.Issuer || e.DeviceID == "" {
			t.Errorf("audit row of the sign-in = %+v", e)
		}
		if e := trail[1]; e.Detail != string(client.ReasonReplayed) {
			t.Errorf("audit row of the ending = %+v, want its reason", e)
		}
		var audit strings.Builder
		dumpTable(t, f.db, "audit", &audit)
		for what, secret := range map[string]string{"cookie": token.Reveal(), "access token": first.AccessToken, "address": "203.0.113.77", "user agent": "Mozilla"} {
			if strings.Contains(audit.String(), secret) {
				t.Errorf("the audit trail holds the %s", what)
			}
		}
	})
}
