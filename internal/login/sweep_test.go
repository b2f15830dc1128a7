package login_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/test/size"
)

// S43: a sign-in goes when its time is over, not before.
func TestExpiredSignInsAreSwept(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		old := i.attempt(1, "203.0.113.0/24")
		i.must(i.attempts.Put(t.Context(), old))
		i.exec(`UPDATE login_attempt SET opened = $1`, true)
		i.clock.advance(client.AttemptLife - time.Second)
		waiting := i.attempt(2, "203.0.113.0/24")
		i.must(i.attempts.Put(t.Context(), waiting))
		i.sweep(0)
		i.clock.advance(time.Second)
		i.sweep(1)
		if _, err := i.attempts.Peek(t.Context(), old.State); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("the expired sign-in = %v, want it gone", err)
		}
		if _, err := i.attempts.Take(t.Context(), waiting.State); err != nil {
			t.Errorf("the sign-in that waits = %v", err)
		}
	})
}

func (i *instance) sweep(want int) {
	i.t.Helper()
	if n, err := i.attempts.Sweep(i.t.Context()); n != want || err != nil {
		i.t.Errorf("Sweep = %d, %v; want %d", n, err, want)
	}
}

// S43: sign-ins that nobody comes back to, at ten a second from a thousand
// networks, keep a bounded number of rows, leave no audit row, and after half
// an hour leave nothing; the file does not grow with their number.
func TestAFloodOfAbandonedSignInsLeavesStorageBounded(t *testing.T) {
	t.Parallel()
	const places = 1000
	flood, pending := size.Size(700, 100_000), size.Size(200, 0)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		attempts, err := login.NewAttempts(login.AttemptsConfig{DB: db, Ring: i.ring, Now: i.clock.now, MaxPending: pending})
		i.must(err)
		i.attempts = attempts
		bound := pending
		if bound == 0 {
			bound = 20_000
		}
		bound += bound/100 + 1
		a, began := i.attempt(0, ""), time.Now()
		var half, most int64
		for n := range flood {
			i.clock.advance(100 * time.Millisecond)
			a.State = fmt.Sprintf("state-%037d", n)
			a.AppState = fmt.Appendf(nil, `{"return_to":"/","binding":"AAAA","origin":"198.51.%d.0/24"}`, n%places)
			a.CreatedAt, a.ExpiresAt = i.clock.now(), i.clock.now().Add(client.AttemptLife)
			i.must(attempts.Put(t.Context(), a))
			if n%300 == 299 { // half a minute
				if _, err := attempts.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				if rows := i.count(`SELECT count(*) FROM login_attempt`); rows > bound {
					t.Fatalf("%d sign-ins are kept after %d, want %d at most", rows, n+1, bound)
				}
			}
			if n == flood/2 {
				half = i.bytes()
			}
		}
		most = i.bytes()
		t.Logf("%s: %d sign-ins in %v, %d kB stored", db.Engine(), flood, time.Since(began).Round(time.Millisecond), most>>10)
		if most > 2*half+(8<<20) {
			t.Errorf("%d bytes after half of the flood, %d after all of it; want a bound", half, most)
		}
		if n := i.count(`SELECT count(*) FROM audit`); n != 0 {
			t.Errorf("%d audit rows of sign-ins that never came back, want none", n)
		}
		i.clock.advance(client.AttemptLife)
		if _, err := attempts.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := i.count(`SELECT count(*) FROM login_attempt`); n != 0 {
			t.Errorf("%d sign-ins are left half an hour later, want none", n)
		}
	})
}

// bytes is how much the database takes for sign-ins, give or take.
func (i *instance) bytes() int64 {
	i.t.Helper()
	if i.db.Engine() == store.Postgres {
		return int64(i.count(`SELECT pg_total_relation_size('login_attempt')`))
	}
	return int64(i.count(`SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`))
}

// Several processes sweep at once: everything goes once.
func TestSweepsOfSignInsShareTheWork(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		count := size.Size(100, 2000)
		for n := range count {
			i.must(i.attempts.Put(t.Context(), i.attempt(n, "203.0.113.0/24")))
		}
		i.clock.advance(client.AttemptLife)
		var mu sync.Mutex
		var wg sync.WaitGroup
		total := 0
		for range 4 {
			wg.Go(func() {
				n, err := i.attempts.Sweep(t.Context())
				if err != nil {
					t.Errorf("Sweep: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				total += n
			})
		}
		wg.Wait()
		if total != count {
			t.Errorf("%d sign-ins swept, want %d", total, count)
		}
	})
}

// S42: a sign-in that is under way while the master key changes comes back.
func TestSignInsUnderWayAreResealed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		var lines [2]string
		for n := range lines {
			var err error
			lines[n], err = keyring.Generate()
			i.must(err)
		}
		with := func(text string) *login.Attempts {
			ring, err := keyring.Parse(text)
			i.must(err)
			attempts, err := login.NewAttempts(login.AttemptsConfig{DB: db, Ring: ring, Now: i.clock.now})
			i.must(err)
			return attempts
		}
		want := i.attempt(1, "203.0.113.0/24")
		i.must(with(lines[0]).Put(t.Context(), want))
		done, err := with(lines[1] + "\n" + lines[0]).Reseal(t.Context())
		if err != nil || done != (store.Resealed{Rows: 1}) {
			t.Errorf("Reseal = %+v, %v; want 1 row", done, err)
		}
		got, err := with(lines[1]).Take(t.Context(), want.State)
		if err != nil {
			t.Fatalf("Take with the newer key alone: %v", err)
		}
		if got.Verifier != want.Verifier || !got.DPoPKey.Equal(want.DPoPKey) {
			t.Error("the sign-in came back with other secrets")
		}
	})
}
