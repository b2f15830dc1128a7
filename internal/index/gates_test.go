package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// pruneAll removes the gates of some accounts up to a time and returns how many.
func pruneAll(ctx context.Context, x *Index, of map[syntax.DID]bool, before time.Time, page int) (removed int64, err error) {
	var place GatePlace
	for {
		gates, next, more, err := x.Gates(ctx, place, before, page)
		if err != nil || !more {
			return removed, err
		}
		place = next
		gates = slices.DeleteFunc(gates, func(g Gate) bool { return !of[g.DID] })
		if len(gates) == 0 {
			continue
		}
		err = x.db.Tx(ctx, func(tx *store.Tx) error {
			n, err := x.PruneGates(ctx, tx, gates)
			removed += n
			return err
		})
		if err != nil {
			return removed, err
		}
	}
}

// withoutGates leaves out what only says that a record is not there, and the
// wish to fetch a post: who accepts one that is gone has it asked for again.
func withoutGates(lines map[string]string) map[string]string {
	out := maps.Clone(lines)
	maps.DeleteFunc(out, func(name, line string) bool {
		kind, _, _ := strings.Cut(name, " ")
		said := strings.Split(line, " ")
		switch kind {
		case "wanted":
			return true
		case "post", "comment":
			return said[1] == "true"
		case "vote":
			return said[1] == "0"
		case "record":
			return said[1] == "false" || said[1] == "0" && len(said) == 3 && said[2] == ""
		}
		return false
	})
	return out
}

// TestPrunedGatesChangeNothing holds that removing gates in the middle of a
// story leaves the index what an independent model says of the whole story, in
// whatever order both halves are told.
func TestPrunedGatesChangeNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		var serial, removed atomic.Int64
		rapid.Check(t, func(rt *rapid.T) {
			story := drawStory(rt)
			middle := rapid.SampledFrom(story).Draw(rt, "middle").rev
			w := world{fmt.Sprintf("w%d", serial.Add(1))}
			var before, after []step
			for _, s := range story {
				if s.rev <= middle {
					before = append(before, s)
				} else {
					after = append(after, s)
				}
			}
			ours := map[syntax.DID]bool{}
			for n := range worldAccounts {
				ours[w.did(n)] = true
			}
			err := tellStory(t.Context(), rt, x, w, before)
			if err == nil {
				var n int64
				n, err = pruneAll(t.Context(), x, ours, tid(middle+1).Time(), 5_000)
				removed.Add(n)
			}
			if err == nil && len(after) > 0 {
				err = tellStory(t.Context(), rt, x, w, after)
			}
			if err = errors.Join(err, resolveAll(t.Context(), x, w, nil)); err != nil {
				rt.Fatal(err)
			}
			got, err := lines(t.Context(), x, w)
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(withoutGates(foretell(w, story, nil)), withoutGates(got)); diff != "" {
				rt.Fatalf("the index of %s (-oracle +index):\n%s", w.name, diff)
			}
		})
		if removed.Load() == 0 {
			t.Error("no gate was ever removed")
		}
	})
}

// TestGates holds which gates go: those from before the time, of records that
// nothing names.
func TestGates(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		voted, answered, alone := postURI(alice, 1), postURI(alice, 2), postURI(alice, 3)
		apply(t, x,
			prepare(t, x, alice, 1, create(1, post(commons, "a")), create(2, post(commons, "b")), create(3, post(commons, "c")),
				vote(1, alone, "up"), subscribe(1, commons), comment(1, alone, alone)),
			prepare(t, x, bob, 1, vote(1, voted, "up"), comment(1, answered, answered), vote(2, alone, "up")),
			prepare(t, x, bob, 2, remove(VoteCollection, rkey(2))),
			prepare(t, x, alice, 2, remove(PostCollection, rkey(1)), remove(PostCollection, rkey(2)), remove(PostCollection, rkey(3)),
				remove(VoteCollection, rkey(1)), remove(SubscriptionCollection, rkey(1)), remove(CommentCollection, rkey(1))),
			prepare(t, x, alice, 30, subscribe(9, commons)),
			prepare(t, x, alice, 31, remove(SubscriptionCollection, rkey(9))))
		everybody := map[syntax.DID]bool{alice: true, bob: true, commons: true}
		for before, want := range map[int]int64{1: 0, 20: 5} { // both votes, the subscription, the comment, the last post
			if n, err := pruneAll(t.Context(), x, everybody, tid(before).Time(), 2); n != want || err != nil {
				t.Errorf("removed %d gates before %d, %v; want %d", n, before, err, want)
			}
		}
		left := rows(t, x, alice)
		if _, there := left[string(rkey(3))]; there || len(left) != 2 {
			t.Errorf("rows of posts %v, want those that others name", left)
		}
		apply(t, x, prepare(t, x, alice, 40, create(3, post(commons, "again")), create(1, post(commons, "again"))))
		if got := counts(t, x, voted); got != [3]int64{1, 0, 0} {
			t.Errorf("counts of a post that came back %v, want the vote that waited", got)
		}
		if got := counts(t, x, alone); got != [3]int64{} || titles(t, x) != 2 {
			t.Errorf("counts of a post that came back %v, %d shown", got, titles(t, x))
		}
	})
}
