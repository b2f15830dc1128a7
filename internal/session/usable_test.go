package session_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

const (
	today    = "https://atoll.example.org/oauth-client-metadata.json"
	laptop   = "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Foauth%2Fcallback&scope=atproto"
	yourPort = "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A9090%2Foauth%2Fcallback&scope=atproto"
)

// as is a Manager of an instance that is this client.
func (f *fixture) as(clientID string) *session.Manager {
	f.t.Helper()
	m, err := session.New(session.Config{DB: f.db, Ring: f.ring, Logger: slog.New(slog.DiscardHandler), Now: f.clock.now, ClientID: clientID})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// listed checks that alice's list of devices says of one of them what its own
// pages say.
func (f *fixture) listed(m *session.Manager, id string, live bool) {
	f.t.Helper()
	all, err := m.Devices(f.t.Context(), alice)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, l := range all {
		if l.ID == id {
			if l.Live != live {
				f.t.Errorf("device %s is listed with live = %v, want %v", id, l.Live, live)
			}
			return
		}
	}
	f.t.Errorf("device %s is not listed", id)
}

// S46: a session of another client asks to sign in again, once; and an operator
// who corrects the instance's address finds every session as it was.
func TestSessionsOfAnotherClientAskToSignInAgain(t *testing.T) {
	t.Parallel()
	cases := []struct {
		of, is string
		fits   bool
	}{
		{today, today, true},
		{today, "https://elsewhere.example.org/oauth-client-metadata.json", false},
		{laptop, today, false},
		{today, laptop, false},
		{laptop, client.LoopbackID, true},
		{laptop, yourPort, true}, // used in the name of its own client
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		for _, c := range cases {
			data := f.newSession(alice)
			data.ClientID, data.KeyID = c.of, ""
			in, err := f.SignIn(t.Context(), session.SignIn{Session: data, Handle: "alice.example"})
			if err != nil {
				t.Fatal(err)
			}
			m := f.as(c.is)
			_, err = m.Get(t.Context(), data.ID)
			device, _, _ := m.Device(t.Context(), in.Token)
			standing, why := device.Standing()
			f.listed(m, device.ID, c.fits)
			if c.fits {
				if err != nil || standing != session.StandingSignedIn {
					t.Errorf("session of %s on %s = %v, %s; want it usable", c.of, c.is, err, standing)
				}
				continue
			}
			if !errors.Is(err, client.ErrNotFound) || standing != session.StandingSignInAgain || why != session.ReasonClient {
				t.Errorf("session of %s on %s = %v, %s (%s); want sign-in again", c.of, c.is, err, standing, why)
			}
			if got := fault.From(err); got.Code != "SignInAgain" {
				t.Errorf("a person is told %q, want SignInAgain", got.Code)
			}
			if _, err := device.Acting(alice); !errors.As(err, new(*session.SignInAgainError)) {
				t.Errorf("Acting = %v, want SignInAgainError", err)
			}
			if _, err := f.as(c.of).Get(t.Context(), data.ID); err != nil {
				t.Errorf("after the address was corrected: %v, want the session", err)
			}
			fresh := f.newSession(alice)
			fresh.ClientID, fresh.KeyID = c.is, ""
			if in, err = m.SignIn(t.Context(), session.SignIn{Token: in.Token, Session: fresh}); err != nil {
				t.Fatal(err)
			}
			device, _, _ = m.Device(t.Context(), in.Token)
			if standing, _ := device.Standing(); standing != session.StandingSignedIn || len(device.Accounts) != 1 {
				t.Errorf("after signing in again: %s, %d accounts; want signed in once", standing, len(device.Accounts))
			}
		}
	})
}

// S46: a session whose client key is gone is found at its next use, also when
// nobody ended it.
func TestSessionsOfAWithdrawnKeyAskToSignInAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		keys := f.newKeys()
		id := ensure(t, keys)[0]
		m := f.as(today)
		data := f.newSession(alice)
		data.KeyID = id
		in, err := m.SignIn(t.Context(), session.SignIn{Session: data})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Get(t.Context(), data.ID); err != nil {
			t.Fatalf("with its key: %v", err)
		}
		if _, err := keys.Rotate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Withdraw(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		_, err = m.Get(t.Context(), data.ID)
		var again *session.SignInAgainError
		if !errors.As(err, &again) || again.Reason != client.ReasonKeyWithdrawn {
			t.Errorf("Get = %v, want sign-in again because the key is withdrawn", err)
		}
		device, _, _ := m.Device(t.Context(), in.Token)
		if standing, why := device.Standing(); standing != session.StandingSignInAgain || why != client.ReasonKeyWithdrawn {
			t.Errorf("standing = %s, %s", standing, why)
		}
		f.listed(m, device.ID, false)
	})
}

// S46: what no key opens any more is found once. What is only missing its
// master key is kept: the operator can give it back.
func TestUnreadableSessionsAskToSignInAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		token, data := f.signIn(keyring.Secret{}, alice)
		right := f.ring
		f.ring = newRing(t)
		_, err := f.another().Get(t.Context(), data.ID)
		if !errors.Is(err, keyring.ErrUnknownKey) || errors.Is(err, client.ErrNotFound) {
			t.Errorf("Get without the master key = %v, want ErrUnknownKey and no ending", err)
		}
		f.ring = right
		if _, err := f.Get(t.Context(), data.ID); err != nil {
			t.Fatalf("with the master key back: %v", err)
		}
		f.exec(`UPDATE oauth_session SET dpop_key = access_token WHERE id = $1`, data.ID)
		if _, err := f.Get(t.Context(), data.ID); !errors.Is(err, client.ErrNotFound) || !errors.Is(err, keyring.ErrTampered) {
			t.Errorf("Get of an altered session = %v, want both what it is and what to do", err)
		}
		if standing, why := f.device(token).Standing(); standing != session.StandingSignInAgain || why != session.ReasonUnreadable {
			t.Errorf("standing = %s, %s; want sign-in again", standing, why)
		}
	})
}

// S46: signed out is not the same as having to sign in again.
func TestVisitorsAreSignedOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	token, _ := f.signIn(keyring.Secret{}, alice)
	if standing, why := f.device(token).Standing(); standing != session.StandingSignedIn || why != "" {
		t.Errorf("standing = %s, %s; want signed in", standing, why)
	}
	if standing, why := (session.Device{}).Standing(); standing != session.StandingSignedOut || why != "" {
		t.Errorf("standing of a visitor = %s, %s; want signed out", standing, why)
	}
}
