package session_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/test/size"
)

// rings are an older key alone, both with a newer one first, and the newer alone.
func rings(t *testing.T) (older, both, newer *keyring.Ring) {
	t.Helper()
	var lines [2]string
	for i := range lines {
		line, err := keyring.Generate()
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = line
	}
	parse := func(text string) *keyring.Ring {
		ring, err := keyring.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	return parse(lines[0]), parse(lines[1] + "\n" + lines[0]), parse(lines[1])
}

// with is a Manager that holds ring.
func (f *fixture) with(ring *keyring.Ring) *session.Manager {
	f.t.Helper()
	m, err := session.New(session.Config{DB: f.db, Ring: ring, Logger: slog.New(slog.DiscardHandler), Now: f.clock.now})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// S42: the master key changes beside a server that refreshes sessions all the
// time, and ends up the only one that is needed; nobody is signed out, and no
// token is lost.
func TestRotatingTheMasterKeySignsNobodyOut(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		older, both, newer := rings(t)
		f.ring, f.Manager = older, f.with(older)
		var sessions []*client.SessionData
		var tokens []keyring.Secret
		for range size.Size(30, 1000) {
			token, data := f.signIn(keyring.Secret{}, alice)
			sessions, tokens = append(sessions, data), append(tokens, token)
		}
		_, ended := f.signIn(keyring.Secret{}, bob)
		if err := f.Delete(t.Context(), ended.ID, client.ReasonExpired); err != nil {
			t.Fatal(err)
		}

		// A server with both keys refreshes a third of the sessions meanwhile.
		ctx, stop := context.WithCancel(t.Context())
		server := f.with(both)
		var wg sync.WaitGroup
		for i := 0; i < len(sessions); i += 3 {
			wg.Go(func() { refreshUntil(ctx, t, server, sessions[i]) })
		}
		command := f.with(both)
		done, err := command.Reseal(t.Context())
		stop()
		wg.Wait()
		if err != nil || done.Unreadable != 0 {
			t.Fatalf("Reseal = %+v, %v", done, err)
		}

		// The older key is gone from here on.
		f.Manager = f.with(newer)
		for i, want := range sessions {
			got, err := f.Get(t.Context(), want.ID)
			if err != nil {
				t.Fatalf("session %d with the newer key alone: %v", i, err)
			}
			if diff := sameSession(want, got); diff != "" {
				t.Errorf("session %d (-want +got):\n%s", i, diff)
			}
			if standing, _ := f.device(tokens[i]).Standing(); standing != session.StandingSignedIn {
				t.Errorf("device %d: %s, want signed in", i, standing)
			}
		}
		counts, err := f.SealedWith(t.Context())
		if diff := cmp.Diff(map[string]int{newer.CurrentID(): 3 * len(sessions)}, counts); diff != "" || err != nil {
			t.Errorf("sealed with, %v (-want +got):\n%s", err, diff)
		}
	})
}

// refreshUntil saves a session with new tokens until ctx ends, as the holder of
// its lease would: a conflict would mean lost tokens.
func refreshUntil(ctx context.Context, t *testing.T, m *session.Manager, data *client.SessionData) {
	for n := 0; ctx.Err() == nil; n++ {
		data.AccessToken, data.RefreshToken = "access-"+data.ID, "refresh-"+data.ID
		data.RefreshedAt = data.RefreshedAt.Add(time.Second)
		if err := m.Save(context.WithoutCancel(ctx), data); err != nil {
			t.Errorf("save %d beside resealing: %v", n, err)
			return
		}
	}
}

func TestClientKeysAreResealed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		older, both, newer := rings(t)
		clock := newClock()
		k := newKeys(t, db, older, clock.now)
		ensure(t, k)
		if _, err := k.Rotate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		want := k.Set().IDs()
		if done, err := newKeys(t, db, both, clock.now).Reseal(t.Context()); err != nil || done.Rows != 2 {
			t.Errorf("Reseal = %+v, %v; want 2 keys", done, err)
		}
		after := newKeys(t, db, newer, clock.now)
		if diff := cmp.Diff(want, ensure(t, after)); diff != "" {
			t.Errorf("client keys with the newer master key alone (-want +got):\n%s", diff)
		}
		if counts, err := after.SealedWith(t.Context()); err != nil || counts[newer.CurrentID()] != 2 || len(counts) != 1 {
			t.Errorf("sealed with %v, %v", counts, err)
		}
	})
}

// A server that holds the older key learns the newer one without a restart.
func TestARingIsReplacedInARunningServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	older, both, newer := rings(t)
	f.ring, f.Manager = older, f.with(older)
	_, data := f.signIn(keyring.Secret{}, alice)
	older.Replace(both)
	if _, err := f.with(both).Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(t.Context(), data.ID); err != nil {
		t.Errorf("Get on the running server = %v", err)
	}
	data.AccessToken = "new"
	f.save(data)
	if _, err := f.with(newer).Get(t.Context(), data.ID); err != nil {
		t.Errorf("what the running server saved = %v, want it sealed with the newer key", err)
	}
}
