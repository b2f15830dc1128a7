package agent

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestKey holds that a request repeated under its key gets the same record
// key for a day, in any process, and that nobody else's key is met.
func TestKey(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var offset atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		s := newServer(t)
		one, other := newAgentOn(t, db, s, nil, now), newAgentOn(t, db, s, nil, now)
		key := func(a *Agent, did syntax.DID, key, request string) syntax.TID {
			t.Helper()
			tid, err := a.Key(t.Context(), did, key, []byte(request))
			if err != nil {
				t.Fatal(err)
			}
			return tid
		}
		first := key(one, alice, "k", "a")
		if again := key(other, alice, "k", "a"); again != first {
			t.Errorf("repeated elsewhere: %s, want %s", again, first)
		}
		if bob := key(one, "did:plc:bob", "k", "a"); bob == first {
			t.Error("two accounts share a key")
		}
		if unkeyed := key(one, alice, "", "a"); unkeyed == key(one, alice, "", "a") {
			t.Error("no key, yet the same answer")
		}
		_, err := one.Key(t.Context(), alice, "k", []byte("b"))
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Conflict || f.Code != "Conflict" {
			t.Errorf("another request under the key: %v, want a conflict", err)
		}
		if _, err := one.Key(t.Context(), alice, strings.Repeat("k", 256), nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("key of 256 bytes: %v", err)
		}
		offset.Store(int64(KeyLife + time.Minute))
		if late := key(one, alice, "k", "b"); late == first {
			t.Error("a key lives longer than a day")
		}
	})
}

// TestKeyAtOnce holds that of several first attempts one chooses.
func TestKeyAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		a := newAgentOn(t, db, newServer(t), nil, nil)
		var mu sync.Mutex
		chosen := map[syntax.TID]int{}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				tid, err := a.Key(t.Context(), alice, "k", nil)
				if err != nil {
					t.Errorf("key: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				chosen[tid]++
			})
		}
		wg.Wait()
		if len(chosen) != 1 {
			t.Errorf("chosen: %v, want one", chosen)
		}
	})
}
