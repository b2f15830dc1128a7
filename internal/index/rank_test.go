package index

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func TestHotRank(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rank := func(score int64, after time.Duration) int64 { return hotRank(score, at.Add(after).UnixMicro()) }
	for _, pair := range []struct {
		name         string
		above, below int64
	}{
		{"newer", rank(0, time.Second), rank(0, 0)},
		{"more votes", rank(1, 0), rank(0, 0)},
		{"fewer against", rank(0, 0), rank(-1, 0)},
		{"ten times the votes against twelve hours", rank(99, 0), rank(9, 12*time.Hour)},
		{"thirteen hours against ten times the votes", rank(9, 13*time.Hour), rank(99, 0)},
		{"now and long ago", rank(0, 0), hotRank(1_000_000, time.Date(11, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())},
	} {
		if pair.above <= pair.below {
			t.Errorf("%s: %d is not above %d", pair.name, pair.above, pair.below)
		}
	}
}

// changed is a change by what it says.
type changed struct {
	Seq, Was, Is int64
	Listed       bool
}

func changes(t *testing.T, x *Index) (out []changed) {
	t.Helper()
	all, _, err := x.Changes(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		out = append(out, changed{c.Seq, c.Was.Score, c.Is.Score, c.Was.Community != 0})
	}
	return out
}

// TestRankChanges holds what feeds page by: each transaction that moves a
// listed post leaves where it stood before under its own, greater number, what
// moves nothing leaves nothing, and after ten minutes it is forgotten.
func TestRankChanges(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := noon
		x := newIndex(t, db)
		x.now = func() time.Time { return now }
		uri := postURI(alice, 1)
		first := prepare(t, x, bob, 1, vote(1, uri, "up"))
		apply(t, x, first)                                                  // not listed yet
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a")))) // now it is
		apply(t, x, first)                                                  // a replay
		apply(t, x, prepare(t, x, bob, 2, vote(2, uri, "down")))
		apply(t, x, prepare(t, x, commons, 1, removal(uri, someCID)))
		apply(t, x, prepare(t, x, bob, 3, remove(VoteCollection, rkey(2)))) // not listed any more
		want := []changed{{2, 1, -1, false}, {4, 1, -1, true}, {5, -1, -1, true}}
		if diff := cmp.Diff(want, changes(t, x)); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		now = now.Add(time.Minute + changesKept)
		apply(t, x, first)
		if got := changes(t, x); len(got) != 0 {
			t.Errorf("after ten minutes: %v", got)
		}
	})
}

// TestBands holds that bands are in the order of what they stand for, which
// lists by them rely on, and as they were made for the rows from before them.
func TestBands(t *testing.T) {
	t.Parallel()
	for score, want := range map[int64]int64{-100: 0, 0: 0, 15: 0, 16: 32, 17: 32, 18: 33, 31: 39, 32: 40, 1<<20 - 1: 159, 1 << 20: 160, math.MaxInt64: 160} {
		if got := topBand(score); got != want {
			t.Errorf("the band of score %d is %d, want %d", score, got, want)
		}
	}
	for score := int64(-2); score < 3_000_000; score += 1 + score/500 {
		if topBand(score+1) < topBand(score) {
			t.Fatalf("score %d stands in a higher band than the next", score)
		}
	}
	for hot, want := range map[int64]int64{-1: -1, 0: 0, 1<<22 - 1: 0, 1 << 22: 1, -1 << 22: -1, -1<<22 - 1: -2} {
		if got := hotBand(hot); got != want {
			t.Errorf("the band of heat %d is %d, want %d", hot, got, want)
		}
	}
}
