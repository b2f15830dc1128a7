package index

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func status(active bool, after time.Duration) AccountEvent {
	s := &Status{Active: active, At: noon.Add(-time.Hour + after*time.Second)}
	if !active {
		s.Reason = "deactivated"
	}
	return AccountEvent{DID: alice, Status: s}
}

func titles(t *testing.T, x *Index) int {
	t.Helper()
	return len(listed(t, x, Viewer{}, ForStrangers))
}

// TestStatus holds that the latest word about an account counts in any order,
// and that what an inactive account wrote is hidden and comes back.
func TestStatus(t *testing.T) {
	t.Parallel()
	off, on, offLater := status(false, 1), status(true, 2), status(false, 3)
	sameTime := status(true, 3)
	tests := []struct {
		name   string
		events []AccountEvent
		shown  int
	}{
		{"none", nil, 1},
		{"off", []AccountEvent{off}, 0},
		{"off and on", []AccountEvent{off, on}, 1},
		{"on and off, the other way round", []AccountEvent{on, off}, 1},
		{"off, on, off", []AccountEvent{offLater, on, off}, 0},
		{"both at once hides", []AccountEvent{sameTime, offLater}, 0},
		{"both at once hides in any order", []AccountEvent{offLater, sameTime}, 0},
		{"repeated", []AccountEvent{off, off, on, on, off}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				x := newIndex(t, db)
				apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
				for _, e := range tt.events {
					applyAccounts(t, x, e)
				}
				if got := titles(t, x); got != tt.shown {
					t.Errorf("%d posts shown, want %d", got, tt.shown)
				}
			})
		})
	}
}

// TestStatusOfFormerHost holds that the server an account has left cannot hide
// what it writes elsewhere.
func TestStatusOfFormerHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		identify(t, x, Identity{DID: alice, PDS: "https://new.example.com"})
		old := status(false, 1)
		old.Status.Host = "https://old.example.com"
		if n := applyAccounts(t, x, old); n != 0 || titles(t, x) != 1 {
			t.Errorf("the former host changed %d accounts, %d posts shown", n, titles(t, x))
		}
		old.Status.Host = "https://new.example.com"
		if n := applyAccounts(t, x, old); n != 1 || titles(t, x) != 0 {
			t.Errorf("the host changed %d accounts, %d posts shown", n, titles(t, x))
		}
	})
}

// TestCommunityHidden holds that a community's account counts too.
func TestCommunityHidden(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		off := status(false, 1)
		off.DID = commons
		applyAccounts(t, x, off)
		if got := titles(t, x); got != 0 {
			t.Errorf("%d posts of a community that is gone", got)
		}
	})
}

func unresolved(t *testing.T, x *Index) []Unresolved {
	t.Helper()
	list, err := x.Unresolved(t.Context(), "did:plc:", 10)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// waiting counts accounts that are to be resolved, now or later.
func waiting(t *testing.T, x *Index) int {
	t.Helper()
	var n int
	err := x.db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM account WHERE resolve_due IS NOT NULL`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUnresolved holds S41's memory: authors and communities nobody has seen
// before are due at once, and stay due until they are answered.
func TestUnresolved(t *testing.T) {
	t.Parallel()
	ignoreDue := cmpopts.IgnoreUnexported(Unresolved{})
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		due := unresolved(t, x)
		if diff := cmp.Diff([]Unresolved{{DID: alice}, {DID: commons}}, due, ignoreDue); diff != "" {
			t.Fatalf("unresolved (-want +got):\n%s", diff)
		}
		answer := Answer{
			Identity: Identity{Handle: "alice.example.com", PDS: "https://pds.example.com"},
			Status:   &Status{Active: false, Reason: "suspended", At: noon},
		}
		if err := x.Resolve(t.Context(), due[0], answer); err != nil {
			t.Fatal(err)
		}
		if err := x.Postpone(t.Context(), due[1], time.Minute); err != nil {
			t.Fatal(err)
		}
		if left := unresolved(t, x); len(left) != 0 {
			t.Errorf("still due: %v", left)
		}
		if n := waiting(t, x); n != 1 {
			t.Errorf("%d waiting, want 1", n)
		}
		if got := titles(t, x); got != 0 {
			t.Errorf("%d posts of a suspended account", got)
		}
		applyAccounts(t, x, AccountEvent{DID: alice}, AccountEvent{DID: bob})
		again := unresolved(t, x)
		if diff := cmp.Diff([]Unresolved{{DID: alice, Again: true}}, again, ignoreDue); diff != "" {
			t.Errorf("after an identity event (-want +got):\n%s", diff)
		}
	})
}

// TestIdentityEventWhileResolving holds that a request which comes while the
// one before is being answered stays open.
func TestIdentityEventWhileResolving(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(alice, "a"))))
		due := unresolved(t, x)
		applyAccounts(t, x, AccountEvent{DID: alice}) // the clock stands still
		if err := x.Resolve(t.Context(), due[0], Answer{Identity: Identity{Handle: "old.example.com"}}); err != nil {
			t.Fatal(err)
		}
		if n := waiting(t, x); n != 1 {
			t.Errorf("%d waiting, want 1", n)
		}
	})
}

// TestHandleTakenOver holds S39: a handle shows for one account only.
func TestHandleTakenOver(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))),
			prepare(t, x, bob, 1, create(1, post(commons, "b"))))
		identify(t, x, Identity{DID: alice, Handle: "name.example.com"})
		identify(t, x, Identity{DID: bob, Handle: "name.example.com"})
		posts := listed(t, x, Viewer{}, ForStrangers)
		got := map[syntax.DID]syntax.Handle{}
		for _, p := range posts {
			got[p.Author.DID] = p.Author.Handle
		}
		if diff := cmp.Diff(map[syntax.DID]syntax.Handle{alice: "", bob: "name.example.com"}, got); diff != "" {
			t.Errorf("handles (-want +got):\n%s", diff)
		}
	})
}

// TestConcurrentAuthors holds that writers who meet the same new accounts at
// once neither fail nor make two rows of one.
func TestConcurrentAuthors(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 10 {
					authors := []syntax.DID{alice, bob}
					if w%2 == 1 {
						authors = []syntax.DID{bob, alice}
					}
					var commits []Commit
					for _, did := range authors {
						c, _ := x.Prepare(did, tid(i*8+w), []Op{create(i, post(commons, "a"))})
						commits = append(commits, c)
					}
					err := x.db.Tx(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
						_, err := x.Apply(t.Context(), tx, commits)
						return err
					})
					if err != nil {
						t.Errorf("apply: %v", err)
					}
				}
			})
		}
		wg.Wait()
		var accounts, posts int
		err := db.Read().QueryRowContext(t.Context(),
			`SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM post)`).Scan(&accounts, &posts)
		if accounts != 3 || posts != 20 || err != nil {
			t.Errorf("%d accounts, %d posts, %v; want 3 and 20", accounts, posts, err)
		}
	})
}

// TestUncheckedHandle holds that a name server that is down for a moment takes
// nobody's handle away.
func TestUncheckedHandle(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(alice, "a"))))
		identify(t, x, Identity{DID: alice, Handle: "alice.example.com", PDS: "https://old.example.com"})
		answer := Answer{Identity: Identity{Unchecked: true, PDS: "https://new.example.com"}, Again: time.Minute}
		if err := x.Resolve(t.Context(), unresolved(t, x)[0], answer); err != nil {
			t.Fatal(err)
		}
		var handle, pds string
		err := db.Read().QueryRowContext(t.Context(), `SELECT handle, pds FROM account WHERE did = $1`, alice).Scan(&handle, &pds)
		if handle != "alice.example.com" || pds != "https://new.example.com" || err != nil {
			t.Errorf("handle %q, PDS %q, %v", handle, pds, err)
		}
		if n := waiting(t, x); n != 1 {
			t.Errorf("%d waiting, want 1", n)
		}
	})
}
