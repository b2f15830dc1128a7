package index

import (
	"errors"
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

// TestVotesStayInPlace holds that votes change rows of ranks where they are, which
// on PostgreSQL takes room on their pages and no index that follows every vote.
func TestVotesStayInPlace(t *testing.T) {
	t.Parallel()
	const posts, rounds = 500, 20
	db := storetest.New(t, store.Postgres)
	x := newIndex(t, db)
	var written []Commit
	for n := range posts {
		written = append(written, prepare(t, x, voter(n), 1, create(1, post(commons, "a"))))
	}
	apply(t, x, written...)
	for round := range rounds {
		var votes []Commit
		for n := range posts {
			votes = append(votes, prepare(t, x, voter(1000+round), n+1, vote(n+1, postURI(voter(n), 1), "up")))
		}
		var was, is [2]int64 // updates, and those of them in place
		count := func(tx *store.Tx, into *[2]int64) error {
			return tx.QueryRowContext(t.Context(), `SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'post_rank'`).
				Scan(&into[0], &into[1])
		}
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			err := count(tx, &was)
			if err == nil {
				_, err = x.Apply(t.Context(), tx, votes)
			}
			return errors.Join(err, count(tx, &is))
		})
		// The first rounds make room on pages that have just been filled, and any may
		// meet an autovacuum that holds old rows.
		updates, inPlace := is[0]-was[0], is[1]-was[1]
		if err != nil || updates != posts || round == rounds-1 && inPlace < posts*9/10 {
			t.Fatalf("round %d: %d of %d updates in place, %v", round, inPlace, updates, err)
		}
		if inPlace >= posts*9/10 {
			break
		}
	}
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
