package index

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestMoves holds that moves are read as they were written, whatever numbers are
// in them, and that rows are short enough for PostgreSQL to keep where they are.
func TestMoves(t *testing.T) {
	t.Parallel()
	at := func(post int64, r rankRow) Rank {
		return Rank{Post: post, Community: r.community, State: r.state, CreatedAt: r.createdAt, Hot: r.hot, Score: r.score}
	}
	odd := []rankRow{
		{}, {place: place{7, noon.UnixMicro(), Accepted}, hot: 1_000_000, score: 5},
		{place: place{math.MaxInt64, math.MinInt64, Removed}, hot: math.MaxInt64, score: math.MinInt64},
		{place: place{-1, math.MaxInt64, Pending}, hot: math.MinInt64, score: math.MaxInt64},
	}
	var m moves
	var want, got []Change
	for i := range 1000 {
		post, was, is := int64(i)<<40, odd[i%len(odd)], odd[i/7%len(odd)]
		m.add(post, was, is)
		want = append(want, Change{Was: at(post, was), Is: at(post, is)})
	}
	for _, row := range m.rows {
		if len(row) > 1950 {
			t.Errorf("a row of %d bytes", len(row))
		}
		err := readMoves(row, func(was, is Rank) { got = append(got, Change{Was: was, Is: is}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
	row := m.rows[0]
	for _, bad := range [][]byte{row[:len(row)-1], {0x80}, {1, 2, 3}} {
		if err := readMoves(bad, func(Rank, Rank) {}); !errors.Is(err, errMoves) {
			t.Errorf("%d bytes that are no moves: %v", len(bad), err)
		}
	}
}

// TestMovesTogether holds that a vote does not cost a row of its own: many moves
// are one, all of them are found, and where a post has gone several times, where
// it is now.
func TestMovesTogether(t *testing.T) {
	t.Parallel()
	const posts = 300
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		var written, votes, again []Commit
		for n := range posts {
			written = append(written, prepare(t, x, voter(n), 1, create(1, post(commons, "a"))))
			votes = append(votes, prepare(t, x, alice, n+1, vote(n+1, postURI(voter(n), 1), "up")))
			again = append(again, prepare(t, x, bob, n+1, vote(n+1, postURI(voter(n), 1), "up")))
		}
		apply(t, x, written...)
		apply(t, x, votes...)
		apply(t, x, again...)
		var rows int64
		if err := db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM rank_change WHERE seq = 2`).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if rows > posts/25 {
			t.Errorf("%d votes left %d rows of changes", posts, rows)
		}
		all, seq, err := x.Changes(t.Context(), 1)
		if err != nil || seq != 3 || len(all) != 2*posts {
			t.Fatalf("%d changes up to %d, %v; want %d up to 3", len(all), seq, err, 2*posts)
		}
		for i, c := range all {
			if c.Seq != int64(2+i/posts) || c.Was.Score != int64(i/posts) || c.Is.Score != 2 {
				t.Fatalf("change %d: %+v", i, c)
			}
		}
	})
}
