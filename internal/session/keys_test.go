package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// newKeys is a process's view of the client keys.
func (f *fixture) newKeys() *session.Keys {
	f.t.Helper()
	return newKeys(f.t, f.db, f.ring, f.clock.now)
}

func newKeys(t *testing.T, db *store.DB, ring *keyring.Ring, now func() time.Time) *session.Keys {
	t.Helper()
	k, err := session.NewKeys(session.KeysConfig{DB: db, Ring: ring, Logger: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ensure(t *testing.T, k *session.Keys) []string {
	t.Helper()
	if err := k.Ensure(t.Context()); err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	return k.Set().IDs()
}

func states(t *testing.T, k *session.Keys) []session.KeyState {
	t.Helper()
	all, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []session.KeyState
	for _, info := range all {
		got = append(got, info.State)
	}
	return got
}

func TestProcessesThatStartTogetherMakeOneKey(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		const processes = 8
		ids := make([]string, processes)
		var wg sync.WaitGroup
		for i := range processes {
			k := f.newKeys()
			wg.Go(func() {
				if err := k.Ensure(t.Context()); err != nil {
					t.Errorf("Ensure: %v", err)
					return
				}
				ids[i] = strings.Join(k.Set().IDs(), " ")
			})
		}
		wg.Wait()
		for i, id := range ids {
			if id == "" || id != ids[0] {
				t.Errorf("process %d uses %q, process 0 uses %q", i, id, ids[0])
			}
		}
		if n := f.count(`SELECT count(*) FROM signing_key`); n != 1 {
			t.Errorf("%d keys were made, want 1", n)
		}
	})
}

// S3: the old key stays published for its sessions; the new one is published
// first and signs when servers have had the time to see it.
func TestRotatingPublishesBeforeItSigns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		k := f.newKeys()
		old := ensure(t, k)[0]
		info, err := k.Rotate(t.Context(), session.KeyLead)
		if err != nil {
			t.Fatalf("Rotate: %v", err)
		}
		if info.State != session.KeyWaiting || !info.SignsFrom.Equal(f.clock.now().Add(session.KeyLead)) {
			t.Errorf("new key = %+v, want one that waits", info)
		}
		if diff := cmp.Diff([]string{old, info.ID}, k.Set().IDs()); diff != "" {
			t.Errorf("published while it waits (-want +got):\n%s", diff)
		}
		f.clock.advance(session.KeyLead)
		other := f.newKeys() // a process that comes later
		if diff := cmp.Diff([]string{info.ID, old}, ensure(t, other)); diff != "" {
			t.Errorf("published when its time has come (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]session.KeyState{session.KeySigning, session.KeyPinned}, states(t, other)); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		if n := f.count(`SELECT count(*) FROM signing_key`); n != 2 {
			t.Errorf("%d keys, want 2", n)
		}
	})
}

func TestGenerateThenRotateSignsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		k := f.newKeys()
		first := ensure(t, k)[0]
		made, err := k.Generate(t.Context())
		if err != nil || made.State != session.KeyWaiting || !made.SignsFrom.IsZero() {
			t.Fatalf("Generate = %+v, %v; want a key that only waits", made, err)
		}
		f.clock.advance(session.KeyLead)
		if diff := cmp.Diff([]string{first, made.ID}, ensure(t, f.newKeys())); diff != "" {
			t.Errorf("a key that nobody rotated to signs (-want +got):\n%s", diff)
		}
		info, err := k.Rotate(t.Context(), session.KeyLead)
		if err != nil || info.ID != made.ID || info.State != session.KeySigning {
			t.Fatalf("Rotate = %+v, %v; want %s signing", info, err, made.ID)
		}
		now, err := k.Rotate(t.Context(), 0)
		if err != nil || now.State != session.KeySigning || now.ID == made.ID {
			t.Fatalf("Rotate without lead = %+v, %v; want a new key signing", now, err)
		}
		if diff := cmp.Diff([]string{now.ID, made.ID, first}, k.Set().IDs()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestListCountsLiveSessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		k := f.newKeys()
		id := ensure(t, k)[0]
		for range 3 {
			data := f.newSession(alice)
			data.KeyID = id
			if err := f.Save(t.Context(), data); err != nil {
				t.Fatal(err)
			}
		}
		f.signIn(keyring.Secret{}, bob) // pinned to another key
		all, err := k.List(t.Context())
		if err != nil || len(all) != 1 || all[0].Sessions != 3 {
			t.Errorf("List = %+v, %v; want one key with 3 sessions", all, err)
		}
	})
}

// S2 and S42: keys that are withdrawn, or that do not open, stop the start; the
// set shows public members only.
func TestUnusableKeysStopTheStart(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		k := f.newKeys()
		first := ensure(t, k)[0]
		second, err := k.Rotate(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}

		jwks, err := k.Set().PublicJWKS()
		if err != nil {
			t.Fatal(err)
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(jwks, &set); err != nil || len(set.Keys) != 2 {
			t.Fatalf("JWKS %s: %v", jwks, err)
		}
		for _, key := range set.Keys {
			if _, leaked := key["d"]; leaked {
				t.Errorf("JWKS shows the private part of %v", key["kid"])
			}
		}

		right := f.ring
		f.ring = newRing(t)
		if err := f.newKeys().Ensure(t.Context()); !errors.Is(err, keyring.ErrUnknownKey) {
			t.Errorf("Ensure with another master key = %v, want ErrUnknownKey", err)
		}
		f.ring = right
		f.exec(`UPDATE signing_key SET private_key = (SELECT private_key FROM signing_key WHERE kid = $1) WHERE kid = $2`, first, second.ID)
		if err := f.newKeys().Ensure(t.Context()); !errors.Is(err, keyring.ErrTampered) {
			t.Errorf("Ensure with a copied row = %v, want ErrTampered", err)
		}
		f.exec(`UPDATE signing_key SET withdrawn_at = 1`)
		if err := f.newKeys().Ensure(t.Context()); !errors.Is(err, session.ErrNoUsableKey) {
			t.Errorf("Ensure with withdrawn keys = %v, want ErrNoUsableKey", err)
		}
		if n := f.count(`SELECT count(*) FROM signing_key`); n != 2 {
			t.Errorf("%d keys, want 2: none made in place of the withdrawn ones", n)
		}
	})
}

// A process follows the keys of others within ten seconds.
func TestRunFollowsOtherProcesses(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	cfg := storetest.NewConfig(t, store.SQLite)
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		here, there := newKeys(t, db, ring, time.Now), newKeys(t, db, ring, time.Now)
		first := ensure(t, here)[0]
		ensure(t, there)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- here.Run(ctx) }()
		made, err := there.Rotate(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{first}, here.Set().IDs()); diff != "" {
			t.Errorf("before looking (-want +got):\n%s", diff)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{made.ID, first}, here.Set().IDs()); diff != "" {
			t.Errorf("after ten seconds (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	})
}
