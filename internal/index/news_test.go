package index

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func news(t *testing.T, x *Index) []AccountChange {
	t.Helper()
	now := x.now().Add(time.Microsecond) // so that two changes at once are both due
	x.now = func() time.Time { return now }
	list, err := x.AccountChanges(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// told lists what is to be told and notes that it was.
func told(t *testing.T, x *Index) []AccountChange {
	t.Helper()
	list := news(t, x)
	for _, c := range list {
		if err := x.Told(t.Context(), c, 0); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// TestAccountChanges holds S40's memory: changes of identity and status wait
// until they have been told, and what changes nothing is not told.
func TestAccountChanges(t *testing.T) {
	t.Parallel()
	elsewhere := status(false, 9)
	elsewhere.Status.Host = "https://old.example.com"
	known := AccountChange{DID: alice, Active: true, Identified: true, Handle: "alice.example.com", PDS: "https://pds.example.com"}
	paused := known
	paused.Active, paused.Status, paused.Since = false, "deactivated", status(false, 1).Status.At
	back := known
	back.Since = status(true, 2).Status.At
	moved := known
	moved.PDS = "https://new.example.com"
	tests := []struct {
		name string
		does func(t *testing.T, x *Index)
		want []AccountChange
	}{
		{"nothing", func(*testing.T, *Index) {}, nil},
		{"the same identity again", func(t *testing.T, x *Index) {
			identify(t, x, Identity{DID: alice, Handle: known.Handle, PDS: known.PDS})
		}, nil},
		{"a status", func(t *testing.T, x *Index) { applyAccounts(t, x, status(false, 1)) }, []AccountChange{paused}},
		{"off and on again", func(t *testing.T, x *Index) {
			applyAccounts(t, x, status(false, 1))
			applyAccounts(t, x, status(true, 2))
		}, []AccountChange{back}},
		{"the late word of before", func(t *testing.T, x *Index) {
			applyAccounts(t, x, status(true, 2))
			told(t, x)
			applyAccounts(t, x, status(false, 1))
		}, nil},
		{"the word of a former host", func(t *testing.T, x *Index) { applyAccounts(t, x, elsewhere) }, nil},
		{"another server", func(t *testing.T, x *Index) {
			identify(t, x, Identity{DID: alice, Handle: known.Handle, PDS: moved.PDS})
		}, []AccountChange{moved}},
		{"a handle that could not be checked", func(t *testing.T, x *Index) {
			identify(t, x, Identity{DID: alice, Unchecked: true, PDS: known.PDS})
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				x := newIndex(t, db)
				if err := x.Meet(t.Context(), alice); err != nil {
					t.Fatal(err)
				}
				due := unresolved(t, x)
				if err := x.Resolve(t.Context(), due[0], Answer{Identity: Identity{Handle: known.Handle, PDS: known.PDS}}); err != nil {
					t.Fatal(err)
				}
				ignore := cmpopts.IgnoreUnexported(AccountChange{})
				if diff := cmp.Diff([]AccountChange{known}, told(t, x), ignore); diff != "" {
					t.Fatalf("first told (-want +got):\n%s", diff)
				}
				tt.does(t, x)
				if diff := cmp.Diff(tt.want, told(t, x), ignore); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
				if left := news(t, x); len(left) != 0 {
					t.Errorf("told again: %v", left)
				}
			})
		})
	}
}

// TestChangeWhileTelling holds that a change which comes while another is
// being told is told as well, and that telling can be put off.
func TestChangeWhileTelling(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		if err := x.Meet(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		applyAccounts(t, x, status(false, 1))
		first := news(t, x)
		if len(first) != 1 || first[0].Identified {
			t.Fatalf("told %v, want one change of an account nobody has identified", first)
		}
		then := store.FromMicros(first[0].at) // the clock stands still between the two
		x.now = func() time.Time { return then }
		applyAccounts(t, x, status(true, 2))
		if err := x.Told(t.Context(), first[0], 0); err != nil {
			t.Fatal(err)
		}
		second := news(t, x)
		if len(second) != 1 || !second[0].Active {
			t.Fatalf("told %v, want the second change", second)
		}
		if err := x.Told(t.Context(), second[0], time.Minute); err != nil {
			t.Fatal(err)
		}
		if early := news(t, x); len(early) != 0 {
			t.Errorf("told before its time: %v", early)
		}
		later := x.now().Add(time.Minute)
		x.now = func() time.Time { return later }
		if late := news(t, x); len(late) != 1 {
			t.Errorf("told %v after a minute, want the change again", late)
		}
	})
}

// TestMeet holds that meeting somebody who is known changes nothing.
func TestMeet(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		for range 2 {
			if err := x.Meet(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
		}
		if n := waiting(t, x); n != 1 {
			t.Fatalf("%d accounts wait, want one", n)
		}
		if err := x.Resolve(t.Context(), unresolved(t, x)[0], Answer{}); err != nil {
			t.Fatal(err)
		}
		if err := x.Meet(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if n := waiting(t, x); n != 0 {
			t.Error("somebody who has been identified is asked for again")
		}
		applyAccounts(t, x, status(false, 1))
		if err := x.Meet(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if n := waiting(t, x); n != 1 {
			t.Error("somebody who signs in although thought inactive is not asked for again")
		}
		if err := x.Resolve(t.Context(), unresolved(t, x)[0], Answer{}); err != nil {
			t.Fatal(err)
		}
		apply(t, x, prepare(t, x, bob, 1, vote(1, postURI(commons, 1), "up"))) // seen by nobody
		if err := x.Meet(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		if due := unresolved(t, x); len(due) != 1 || due[0].DID != bob {
			t.Errorf("due: %v, want who has voted until now", due)
		}
	})
}
