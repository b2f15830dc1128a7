package index

import (
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestKeysBeyondTime holds that a key whose greatest bit is set, which no clock
// gives and the TID's pattern allows, is a key like any other: it is written as it
// was read, and what it names is taken for nothing else.
func TestKeysBeyondTime(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		root := postURI(alice, 1)
		twin := tidText(^tidNumber(rkey(2))) // of the comment's key, bit by bit
		odd := recordURI(alice, PostCollection, twin)
		said := recordURI(alice, CommentCollection, rkey(2))
		if !isTID(twin) || tidText(tidNumber(twin)) != twin || tidNumber(twin) >= 0 {
			t.Fatalf("the key %s is a TID: %v, of the number %d, which is written %s", twin, isTID(twin), tidNumber(twin), tidText(tidNumber(twin)))
		}
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a")), put(PostCollection, twin, post(commons, "b")), comment(2, root, root)))
		for range 2 { // the second time from memory
			apply(t, x, prepare(t, x, bob, 1, vote(1, odd, "up"), vote(2, said, "down")))
			apply(t, x, prepare(t, x, voter(1), 1, vote(1, said, "up")))
		}
		if got, want := counts(t, x, odd), [3]int64{1, 0, 0}; got != want {
			t.Errorf("votes on the post: %v, want %v", got, want)
		}
		if got, want := counts(t, x, root), [3]int64{0, 0, 1}; got != want {
			t.Errorf("votes on the root: %v, want %v", got, want)
		}
		var up, down int
		if err := db.Read().QueryRowContext(t.Context(), `SELECT v.upvotes, v.downvotes FROM comment_tally v JOIN comment c ON c.id = v.comment_id
			WHERE c.tid = $1`, tidNumber(rkey(2))).Scan(&up, &down); err != nil || up != 1 || down != 1 {
			t.Errorf("votes on the comment: %d, %d, %v; want one each", up, down, err)
		}
		answer := comment(2, root, root)
		answer.RKey = twin
		apply(t, x, prepare(t, x, voter(2), 1, answer))
		if held, err := x.Held(t.Context(), voter(2)); err != nil || len(held) != 1 || held[0].RKey != twin {
			t.Errorf("held are %+v, %v; want the key as it was written, %s", held, err, twin)
		}
	})
}
