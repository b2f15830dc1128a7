package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/test/size"
)

// pinned stores live sessions that began with a key.
func (f *fixture) pinned(key string, count int) []*client.SessionData {
	f.t.Helper()
	var all []*client.SessionData
	for range count {
		data := f.newSession(alice)
		data.KeyID = key
		f.save(data)
		all = append(all, data)
	}
	return all
}

// S3: withdrawing is announced with a count, ends exactly the sessions of the
// key, and leaves a key that signs.
func TestWithdrawingAKeyEndsItsSessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		k := f.newKeys()
		first := ensure(t, k)[0]
		second, err := k.Rotate(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		count := size.Size(520, 5000) // more than one batch
		f.pinned(first, count)
		kept := f.pinned(second.ID, 1)[0]

		info, err := k.Withdraw(t.Context(), first)
		if err != nil || info.State != session.KeyWithdrawn || info.Sessions != count {
			t.Errorf("Withdraw = %+v, %v; want it withdrawn, with %d sessions", info, err, count)
		}
		if diff := cmp.Diff([]string{second.ID}, k.Set().IDs()); diff != "" {
			t.Errorf("published afterwards (-want +got):\n%s", diff)
		}
		h := listen(t, f.Manager)
		if n, err := f.EndPinned(t.Context(), first); n != count || err != nil {
			t.Errorf("EndPinned = %d, %v; want %d", n, err, count)
		}
		if len(h.all) != count || h.all[0].Reason != client.ReasonKeyWithdrawn {
			t.Errorf("%d events, want %d endings by key_withdrawn", len(h.all), count)
		}
		if _, err := f.Get(t.Context(), kept.ID); err != nil {
			t.Errorf("a session of the other key = %v, want it live", err)
		}
		if n, err := f.EndPinned(t.Context(), first); n != 0 || err != nil {
			t.Errorf("EndPinned again = %d, %v; want nothing left", n, err)
		}
		if _, err := k.Withdraw(t.Context(), first); err != nil {
			t.Errorf("Withdraw again = %v, want no error", err)
		}
		if n := f.count(`SELECT count(*) FROM audit WHERE kind = 'key_withdrawn' AND detail = $1`, first); n != 1 {
			t.Errorf("%d audit rows of the withdrawal, want 1", n)
		}
	})
}

func TestTheLastKeyThatSignsStays(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		k := f.newKeys()
		first := ensure(t, k)[0]
		if _, err := k.Withdraw(t.Context(), "no-such-key"); !errors.Is(err, session.ErrNoSuchKey) {
			t.Errorf("Withdraw of nothing = %v, want ErrNoSuchKey", err)
		}
		if _, err := k.Withdraw(t.Context(), first); !errors.Is(err, session.ErrLastKey) {
			t.Errorf("Withdraw of the only key = %v, want ErrLastKey", err)
		}
		next, err := k.Rotate(t.Context(), session.KeyLead) // published, does not sign yet
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Withdraw(t.Context(), first); !errors.Is(err, session.ErrLastKey) {
			t.Errorf("Withdraw while the next key waits = %v, want ErrLastKey", err)
		}
		if diff := cmp.Diff([]string{first, next.ID}, k.Set().IDs()); diff != "" {
			t.Errorf("published after refusals (-want +got):\n%s", diff)
		}

		f.clock.advance(session.KeyLead)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, id := range []string{first, next.ID} {
			wg.Go(func() { _, errs[i] = f.newKeys().Withdraw(t.Context(), id) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), session.ErrLastKey) {
			t.Errorf("withdrawing both at once = %v, %v; want one refused", errs[0], errs[1])
		}
		if ids := ensure(t, f.newKeys()); len(ids) != 1 {
			t.Errorf("%d keys are left, want 1", len(ids))
		}
	})
}

// Every process stops publishing a withdrawn key within ten seconds.
func TestRunFollowsAWithdrawal(t *testing.T) {
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
		second, err := there.Rotate(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- here.Run(ctx) }()
		if _, err := there.Withdraw(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{second.ID}, here.Set().IDs()); diff != "" {
			t.Errorf("published ten seconds later (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
