package session_test

import (
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

// heard collects the events of a Manager as "kind session reason".
type heard struct {
	mu  sync.Mutex
	all []session.Event
}

func listen(t *testing.T, m *session.Manager) *heard {
	t.Helper()
	h := &heard{}
	t.Cleanup(m.Subscribe(func(e session.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, e)
	}))
	return h
}

// want compares what was heard since the last call.
func (h *heard) want(t *testing.T, what string, want ...session.Event) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.all {
		h.all[i].At = time.Time{}
	}
	if diff := cmp.Diff(want, h.all); diff != "" {
		t.Errorf("events after %s (-want +got):\n%s", what, diff)
	}
	h.all = nil
}

func TestSubscribersHearWhatHasHappened(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		h := listen(t, f.Manager)
		token, data := f.signIn(keyring.Secret{}, alice)
		h.want(t, "a sign-in")

		data.LeaseOwner, data.LeaseUntil = "process-1", f.clock.now().Add(45*time.Second)
		f.save(data)
		h.want(t, "taking the lease")
		f.clock.advance(time.Hour)
		data.AccessToken, data.RefreshedAt, data.LeaseOwner, data.LeaseUntil = "a2", f.clock.now(), "", time.Time{}
		f.save(data)
		h.want(t, "a refresh", session.Event{Kind: session.EventUpdated, SessionID: data.ID, DID: alice})
		data.PDS = "https://elsewhere.example"
		f.save(data)
		h.want(t, "a move", session.Event{Kind: session.EventMoved, SessionID: data.ID, DID: alice})

		token, again := f.signIn(token, alice)
		h.want(t, "signing in again", session.Event{Kind: session.EventEnded, SessionID: data.ID, DID: alice, Reason: session.ReasonReplaced})
		if _, err := f.SignOut(t.Context(), token, alice); err != nil {
			t.Fatal(err)
		}
		h.want(t, "signing out", session.Event{Kind: session.EventEnded, SessionID: again.ID, DID: alice, Reason: session.ReasonSignedOut})

		kinds := map[session.Kind]string{session.KindRefreshed: data.Issuer, session.KindMoved: data.PDS,
			session.KindSessionEnded: string(session.ReasonReplaced)}
		for kind, detail := range kinds {
			if n := f.count(`SELECT count(*) FROM audit WHERE kind = $1 AND session_id = $2 AND detail = $3`, kind, data.ID, detail); n != 1 {
				t.Errorf("%d audit rows of %s, want 1", n, kind)
			}
		}
	})
}

// S34: however often an ending is noticed, it happens once.
func TestAnEndingIsOneEvent(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		h := listen(t, f.Manager)
		_, data := f.signIn(keyring.Secret{}, alice)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := f.Delete(t.Context(), data.ID, client.ReasonRevoked); err != nil {
					t.Errorf("Delete: %v", err)
				}
			})
		}
		wg.Wait()
		h.want(t, "twenty endings at once", session.Event{Kind: session.EventEnded, SessionID: data.ID, DID: alice, Reason: client.ReasonRevoked})
		if n := f.count(`SELECT count(*) FROM audit WHERE kind = 'session_ended'`); n != 1 {
			t.Errorf("%d audit rows of the ending, want 1", n)
		}
	})
}

func TestNothingIsHeardOfWhatWasNotCommitted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	token, data := f.signIn(keyring.Secret{}, alice)
	h := listen(t, f.Manager)
	// The same id again: the sign-in fails after it has ended the old session.
	if _, err := f.SignIn(t.Context(), session.SignIn{Token: token, Session: data}); err == nil {
		t.Fatal("a session id was stored twice")
	}
	h.want(t, "a sign-in that failed")
	if _, err := f.Get(t.Context(), data.ID); err != nil {
		t.Errorf("the session that was there = %v, want it live", err)
	}
}

func TestSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	var first, second int
	cancel := f.Subscribe(func(session.Event) { first++ })
	defer f.Subscribe(func(session.Event) { second++ })()
	_, one := f.signIn(keyring.Secret{}, alice)
	_, two := f.signIn(keyring.Secret{}, bob)
	for i, id := range []string{one.ID, two.ID} {
		if err := f.Delete(t.Context(), id, client.ReasonExpired); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			cancel()
			cancel()
		}
	}
	if first != 1 || second != 2 {
		t.Errorf("heard %d and %d events, want 1 before the cancel and 2", first, second)
	}
}

// save fails the test when a save fails.
func (f *fixture) save(data *client.SessionData) {
	f.t.Helper()
	if err := f.Save(f.t.Context(), data); err != nil {
		f.t.Fatalf("Save: %v", err)
	}
}
