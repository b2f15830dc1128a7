package session_test

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

func dids(d session.Device) []syntax.DID {
	var all []syntax.DID
	for _, a := range d.Accounts {
		all = append(all, a.DID)
	}
	return all
}

func TestSignInIsSeenByTheNextLookUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		d := f.device(token)
		want := session.Device{
			ID: d.ID, Active: alice, CreatedAt: f.clock.now(), UsedAt: f.clock.now(),
			ExpiresAt: f.clock.now().Add(session.DefaultDeviceLife),
			Accounts: []session.Account{{
				DID: alice, Handle: "alice.example", SessionID: data.ID, Live: true, PDS: "https://pds.example",
				Scopes: []string{"atproto", "repo:social.coves.community.postv2"}, SignedInAt: f.clock.now(),
			}},
		}
		if diff := cmp.Diff(want, d); diff != "" {
			t.Errorf("device after sign-in (-want +got):\n%s", diff)
		}
		if data.Version != 1 {
			t.Errorf("session version after sign-in = %d, want 1", data.Version)
		}
	})
}

// S19: a value that was known before never becomes authenticated, whether it is
// made up, belongs to a visitor, or to a device.
func TestSignInNeverKeepsAKnownToken(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		planted := keyring.NewSecret(base64.RawURLEncoding.EncodeToString(make([]byte, 32)))
		first, _ := f.signIn(planted, alice)
		if first.Equal(planted) {
			t.Fatal("the planted value became the device's token")
		}
		f.dead(planted, "planted value")
		second, _ := f.signIn(first, alice)
		if second.Equal(first) {
			t.Error("signing in again kept the token")
		}
		f.dead(first, "token before the second sign-in")
		f.device(second)
	})
}

// S22: the database never holds a value that opens a device.
func TestTokensAreStoredHashed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, _ := f.signIn(keyring.Secret{}, alice)
		raw, err := base64.RawURLEncoding.DecodeString(token.Reveal())
		if err != nil || len(raw) != 32 {
			t.Fatalf("token is %d bytes of base64url (%v), want 32", len(raw), err)
		}
		if dump := f.dump(); strings.Contains(dump, token.Reveal()) || strings.Contains(dump, string(raw)) {
			t.Error("the database holds the cookie's value")
		}
	})
}

func TestDeviceIsNobodyForWrongValues(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, _ := f.signIn(keyring.Secret{}, alice)
		value := token.Reveal()
		for _, wrong := range []string{
			"", "x", value[:42], value + "A", strings.ToUpper(value), strings.Repeat("A", 43),
			strings.Repeat("x", 1<<20), "' OR 1=1 --", "\x00", "\xff\xfe",
		} {
			f.dead(keyring.NewSecret(wrong), "wrong value")
		}
		f.device(token)
	})
}

// S22: the expiry slides with use, in at most one write an hour.
func TestExpirySlidesAtMostHourly(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		first := f.device(token)

		f.clock.advance(59 * time.Minute)
		if d := f.device(token); d.Renewed || !d.ExpiresAt.Equal(first.ExpiresAt) {
			t.Errorf("after 59 minutes: renewed %v, expires %v; want nothing written", d.Renewed, d.ExpiresAt)
		}
		f.clock.advance(time.Minute)
		want := f.clock.now().Add(session.DefaultDeviceLife)
		if d := f.device(token); !d.Renewed || !d.ExpiresAt.Equal(want) {
			t.Errorf("after an hour: renewed %v, expires %v; want true, %v", d.Renewed, d.ExpiresAt, want)
		}
		if d := f.device(token); d.Renewed || !d.ExpiresAt.Equal(want) || !d.UsedAt.Equal(f.clock.now()) {
			t.Errorf("directly afterwards: renewed %v, expires %v, used %v; want what was written", d.Renewed, d.ExpiresAt, d.UsedAt)
		}
		got, err := f.Get(t.Context(), data.ID)
		if err != nil || !got.UsedAt.Equal(f.clock.now()) {
			t.Errorf("session used at %v (%v), want it to move with the device", got.UsedAt, err)
		}
		f.clock.advance(session.DefaultDeviceLife)
		f.dead(token, "token of a device that expired")
		if _, err := f.SignOut(t.Context(), token, ""); !errors.Is(err, session.ErrSignedOut) {
			t.Errorf("SignOut on an expired device = %v, want ErrSignedOut", err)
		}
		fresh, _ := f.signIn(token, bob)
		if diff := cmp.Diff([]syntax.DID{bob}, dids(f.device(fresh))); diff != "" {
			t.Errorf("an expired device was joined (-want +got):\n%s", diff)
		}
	})
}

// S23: several accounts on one device, switching, ending one.
func TestSeveralAccountsOnOneDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, aliceSession := f.signIn(keyring.Secret{}, alice)
		f.clock.advance(time.Second)
		old := token
		token, bobSession := f.signIn(token, bob)
		f.dead(old, "token before bob came")
		d := f.device(token)
		if diff := cmp.Diff([]syntax.DID{alice, bob}, dids(d)); diff != "" {
			t.Fatalf("accounts (-want +got):\n%s", diff)
		}
		if d.Active != bob {
			t.Errorf("active = %s, want who signed in last", d.Active)
		}
		if err := f.Switch(t.Context(), token, alice); err != nil {
			t.Fatalf("Switch: %v", err)
		}
		if got := f.device(token).Active; got != alice {
			t.Errorf("active after switch = %s, want alice", got)
		}
		if err := f.Switch(t.Context(), token, "did:plc:carol"); !errors.Is(err, session.ErrNotHere) {
			t.Errorf("Switch to somebody else = %v, want ErrNotHere", err)
		}
		if err := f.Switch(t.Context(), old, alice); !errors.Is(err, session.ErrSignedOut) {
			t.Errorf("Switch with a dead token = %v, want ErrSignedOut", err)
		}
		next, err := f.SignOut(t.Context(), token, alice)
		if err != nil || next.IsZero() {
			t.Fatalf("SignOut(alice) = %v; want a new token for bob", err)
		}
		f.dead(token, "token before alice left")
		d = f.device(next)
		if diff := cmp.Diff([]syntax.DID{bob}, dids(d)); diff != "" || d.Active != bob {
			t.Errorf("after alice left: active %s, accounts (-want +got):\n%s", d.Active, diff)
		}
		f.over(aliceSession.ID)
		f.live(bobSession.ID)
	})
}

func (f *fixture) over(id string) {
	f.t.Helper()
	if _, err := f.Get(f.t.Context(), id); !errors.Is(err, client.ErrNotFound) {
		f.t.Errorf("Get(session that is over) = %v, want ErrNotFound", err)
	}
}

func (f *fixture) live(id string) {
	f.t.Helper()
	if _, err := f.Get(f.t.Context(), id); err != nil {
		f.t.Errorf("Get(live session) = %v", err)
	}
}

// S23: what was copied before signing out is dead, also after signing in again.
func TestCopiedCookieStaysDeadAfterSigningInAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, _ := f.signIn(keyring.Secret{}, alice)
		token, _ = f.signIn(token, bob)
		copied := token
		next, err := f.SignOut(t.Context(), token, "")
		if err != nil || !next.IsZero() {
			t.Fatalf("SignOut(everybody) = token %v, %v; want no token", !next.IsZero(), err)
		}
		f.dead(copied, "copied token after sign-out")
		if n := f.count(`SELECT count(*) FROM device`); n != 0 {
			t.Errorf("%d devices are left, want none", n)
		}
		fresh, _ := f.signIn(next, alice)
		f.dead(copied, "copied token after signing in again")

		// The thief presents the copy while signing in with an account of their
		// own: it must not open the door to alice.
		thief, _ := f.signIn(copied, bob)
		if diff := cmp.Diff([]syntax.DID{bob}, dids(f.device(thief))); diff != "" {
			t.Errorf("accounts of the thief (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]syntax.DID{alice}, dids(f.device(fresh))); diff != "" {
			t.Errorf("accounts of alice's device (-want +got):\n%s", diff)
		}
	})
}

// S23 and S45: the list of devices, ending another one, ending all.
func TestDevicesAreListedAndEnded(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		here, hereSession := f.signIn(keyring.Secret{}, alice)
		f.clock.advance(time.Second)
		there, thereSession := f.signIn(keyring.Secret{}, alice)
		there, bobSession := f.signIn(there, bob)

		listed, err := f.Devices(t.Context(), alice)
		if err != nil || len(listed) != 2 {
			t.Fatalf("Devices = %d, %v; want 2", len(listed), err)
		}
		want := session.Listed{ID: f.device(there).ID, Name: "Firefox on Linux", Origin: "203.0.113.0/24",
			SignedInAt: f.clock.now(), UsedAt: f.clock.now(), Live: true}
		if diff := cmp.Diff(want, listed[0]); diff != "" {
			t.Errorf("device used last (-want +got):\n%s", diff)
		}

		if err := f.EndDevice(t.Context(), "did:plc:carol", f.device(there).ID); !errors.Is(err, session.ErrNotHere) {
			t.Errorf("EndDevice by a stranger = %v, want ErrNotHere", err)
		}
		if err := f.EndDevice(t.Context(), alice, f.device(there).ID); err != nil {
			t.Fatalf("EndDevice: %v", err)
		}
		d := f.device(there)
		if diff := cmp.Diff([]syntax.DID{bob}, dids(d)); diff != "" || d.Active != bob {
			t.Errorf("ended device: active %s, accounts (-want +got):\n%s", d.Active, diff)
		}
		f.over(thereSession.ID)
		f.live(hereSession.ID)
		f.live(bobSession.ID)
		if err := f.EndDevice(t.Context(), bob, d.ID); err != nil {
			t.Fatalf("EndDevice of the last account: %v", err)
		}
		f.dead(there, "token of a device whose last account was ended")
		f.device(here)
	})
}

func TestSignOutEverywhereLeavesOtherAccounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		here, _ := f.signIn(keyring.Secret{}, alice)
		here, bobHere := f.signIn(here, bob)
		there, _ := f.signIn(keyring.Secret{}, alice)
		shared, _ := f.signIn(keyring.Secret{}, bob)
		shared, _ = f.signIn(shared, alice)
		app := f.newSession(alice) // a session without a device
		if err := f.Save(t.Context(), app); err != nil {
			t.Fatal(err)
		}

		if _, err := f.SignOutEverywhere(t.Context(), there, bob); !errors.Is(err, session.ErrNotHere) {
			t.Errorf("SignOutEverywhere for somebody who isn't here = %v, want ErrNotHere", err)
		}
		next, err := f.SignOutEverywhere(t.Context(), here, alice)
		if err != nil {
			t.Fatalf("SignOutEverywhere: %v", err)
		}
		f.dead(here, "token before signing out everywhere")
		f.dead(there, "token of alice's other device")
		f.over(app.ID)
		f.live(bobHere.ID)
		for what, token := range map[string]keyring.Secret{"here": next, "shared": shared} {
			d := f.device(token)
			if diff := cmp.Diff([]syntax.DID{bob}, dids(d)); diff != "" || d.Active != bob {
				t.Errorf("%s: active %s, accounts (-want +got):\n%s", what, d.Active, diff)
			}
		}
		if n := f.count(`SELECT count(*) FROM oauth_session WHERE did = $1 AND state = 'live'`, alice); n != 0 {
			t.Errorf("%d sessions of alice live on, want 0", n)
		}
	})
}

// S45: signing in again on the same device replaces the session of the same
// account there, and no other.
func TestSigningInAgainReplacesTheSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		_, elsewhere := f.signIn(keyring.Secret{}, alice)
		token, first := f.signIn(keyring.Secret{}, alice)
		token, bobs := f.signIn(token, bob)
		data := f.newSession(alice)
		out, err := f.SignIn(t.Context(), session.SignIn{Token: token, Session: data, Addr: netip.MustParseAddr("::1")})
		if err != nil || out.Replaced != first.ID {
			t.Fatalf("SignIn again = replaced %q, %v; want %q", out.Replaced, err, first.ID)
		}
		f.over(first.ID)
		for _, id := range []string{elsewhere.ID, bobs.ID, data.ID} {
			f.live(id)
		}
		if diff := cmp.Diff([]syntax.DID{alice, bob}, dids(f.device(out.Token))); diff != "" {
			t.Errorf("accounts keep their order (-want +got):\n%s", diff)
		}
	})
}

// S21: two tabs that come back at the same instant both succeed, and of the
// token that both presented nothing is left.
func TestTwoTabsSignInAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		for range 20 {
			shared, _ := f.signIn(keyring.Secret{}, "did:plc:carol")
			sessions := []*client.SessionData{f.newSession(alice), f.newSession(bob)}
			tokens := make([]keyring.Secret, 2)
			var wg sync.WaitGroup
			for i, data := range sessions {
				wg.Go(func() {
					out, err := f.SignIn(t.Context(), session.SignIn{Token: shared, Session: data})
					if err != nil {
						t.Errorf("SignIn(%s): %v", data.DID, err)
					}
					tokens[i] = out.Token
				})
			}
			wg.Wait()
			f.dead(shared, "token that both tabs presented")
			carols := 0
			for i, data := range sessions {
				d := f.device(tokens[i])
				if d.Active != data.DID {
					t.Errorf("tab of %s acts as %s", data.DID, d.Active)
				}
				f.live(data.ID)
				carols += len(d.Accounts) - 1
			}
			if carols != 1 {
				t.Errorf("the old device went on in %d tabs, want 1", carols)
			}
		}
	})
}

func TestADeviceHoldsABoundedNumberOfAccounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		var token keyring.Secret
		for i := range 20 {
			token, _ = f.signIn(token, syntax.DID("did:plc:member"+string(rune('a'+i))))
		}
		_, err := f.SignIn(t.Context(), session.SignIn{Token: token, Session: f.newSession(alice)})
		if !errors.Is(err, session.ErrTooManyAccounts) {
			t.Fatalf("SignIn of one too many = %v, want ErrTooManyAccounts", err)
		}
		if d := f.device(token); len(d.Accounts) != 20 {
			t.Errorf("device has %d accounts, want 20 and its token unchanged", len(d.Accounts))
		}
		f.signIn(token, "did:plc:membera") // one of them again is fine
	})
}

// Sign-outs that need the same devices in another order must not block or undo
// each other.
func TestConcurrentSignOutsEndEverything(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		var tokens []keyring.Secret
		for range 6 {
			token, _ := f.signIn(keyring.Secret{}, alice)
			token, _ = f.signIn(token, bob)
			tokens = append(tokens, token)
		}
		var wg sync.WaitGroup
		for i, token := range tokens {
			wg.Go(func() {
				did := []syntax.DID{alice, bob}[i%2]
				_, err := f.SignOutEverywhere(t.Context(), token, did)
				if err != nil && !errors.Is(err, session.ErrNotHere) && !errors.Is(err, session.ErrSignedOut) {
					t.Errorf("SignOutEverywhere(%s): %v", did, err)
				}
			})
		}
		wg.Wait()
		if n := f.count(`SELECT count(*) FROM oauth_session WHERE state = 'live'`); n != 0 {
			t.Errorf("%d sessions live on, want 0", n)
		}
		if n := f.count(`SELECT count(*) FROM device`) + f.count(`SELECT count(*) FROM device_account`); n != 0 {
			t.Errorf("%d rows of devices are left, want 0", n)
		}
	})
}
