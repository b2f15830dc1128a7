package index

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

func voter(n int) syntax.DID { return syntax.DID(fmt.Sprintf("did:plc:voter%d", n)) }

// TestMemoryOfSeveral holds C9 with several processes on one database: what one
// remembers ends where another has written, whether they take turns one by one
// or all at once.
func TestMemoryOfSeveral(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		all := []*Index{newIndex(t, db), newIndex(t, db), newIndex(t, db)}
		uri := postURI(alice, 1)
		for n := range 30 {
			apply(t, all[n*n%3], prepare(t, all[0], voter(n), 1, vote(1, uri, "up"), comment(1, uri, uri)))
		}
		if got := counts(t, all[0], uri); got != [3]int64{30, 0, 30} {
			t.Errorf("one after the other: counts %v, want 30 votes and 30 comments", got)
		}
		var wg sync.WaitGroup
		for w, x := range all {
			wg.Go(func() {
				for n := range 20 {
					c, _ := x.Prepare(voter(100+20*w+n), tid(1), []Op{vote(1, uri, "down")})
					err := db.Tx(t.Context(), func(tx *store.Tx) error {
						_, err := x.Apply(t.Context(), tx, []Commit{c})
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := counts(t, all[0], uri); got != [3]int64{30, 60, 30} {
			t.Errorf("at once: counts %v, want 60 votes more", got)
		}
	})
}

// TestMemoryOfWhatNeverWas holds that what was rolled back is not remembered:
// neither rows nor counters.
func TestMemoryOfWhatNeverWas(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		commit := prepare(t, x, bob, 1, vote(1, uri, "up"), comment(1, uri, uri))
		for range 2 {
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := x.Apply(t.Context(), tx, []Commit{commit})
				return errors.Join(err, stop)
			})
			if !errors.Is(err, stop) {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time nothing is new
			apply(t, x, commit, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
			if got := counts(t, x, uri); got != [3]int64{1, 0, 1} {
				t.Errorf("counts %v, want one vote and one comment", got)
			}
		}
	})
}

// TestMemoryOfTheFirstKey holds that a post and a comment of one author are not
// taken for each other, also where their key is the zero of all times.
func TestMemoryOfTheFirstKey(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		const zero = "2222222222222"
		uri := syntax.ATURI("at://" + string(alice) + "/" + string(PostCollection) + "/" + zero)
		written, answer := create(1, post(commons, "a")), comment(1, uri, uri)
		written.RKey, answer.RKey = zero, zero
		apply(t, x, prepare(t, x, alice, 1, written))
		apply(t, x, prepare(t, x, alice, 2, answer))
		apply(t, x, prepare(t, x, bob, 1, vote(1, uri, "up")))
		apply(t, x, prepare(t, x, bob, 2, vote(2, syntax.ATURI("at://"+string(alice)+"/"+string(CommentCollection)+"/"+zero), "down")))
		if got := counts(t, x, uri); got != [3]int64{1, 0, 1} {
			t.Errorf("counts of the post %v, want one vote up and one comment", got)
		}
	})
}

// TestMemoryOfVotes holds that the database is not asked about the votes of those who
// have none on what was met before its first, and is asked about everything else.
func TestMemoryOfVotes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		voted, quiet := postURI(alice, 1), postURI(alice, 2)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a")), create(2, post(commons, "b"))))
		apply(t, x, prepare(t, x, bob, 1, vote(1, voted, "up")))
		var voter int64
		if err := db.Read().QueryRowContext(t.Context(), `SELECT id FROM account WHERE did = $1`, bob).Scan(&voter); err != nil {
			t.Fatal(err)
		}
		other := voter + 1
		for asVoter(other) == asVoter(voter) {
			other++
		}
		var pairs []pair
		for _, uri := range []syntax.ATURI{voted, quiet} {
			id, ok, err := x.locate(t.Context(), uri)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			pairs = append(pairs, pair{id, voter}, pair{id, other})
		}
		pairs = append(pairs, pair{12345, other}, pair{-12345, other}) // unknown, and a comment
		b := &batch{memory: x.memory, current: true}
		want := []pair{pairs[0], pairs[4], pairs[5]}
		if diff := cmp.Diff(want, voteBox().mayCount(b, pairs, nil), cmp.AllowUnexported(pair{})); diff != "" {
			t.Errorf("asked about (-want +got):\n%s", diff)
		}
		changed := map[pair]bool{pairs[1]: true, pairs[2]: true, pairs[3]: true}
		if got := voteBox().mayCount(b, pairs, changed); len(got) != len(pairs) {
			t.Errorf("where something has changed: asked about %v", got)
		}
		b.current = false
		if got := voteBox().mayCount(b, pairs, nil); len(got) != len(pairs) {
			t.Errorf("after somebody else has written: asked about %v", got)
		}
		x = newIndex(t, db) // which has not met the first vote
		apply(t, x, prepare(t, x, alice, 2, vote(1, voted, "up"), vote(2, quiet, "up")))
		b = &batch{memory: x.memory, current: true}
		if got := voteBox().mayCount(b, pairs[:2], nil); len(got) != 2 {
			t.Errorf("after a restart: asked about %v", got)
		}
	})
}

// TestPlans holds that a plan may be older than what is applied before it, is
// applied again after a rollback, and that its accounts are found all the same.
func TestPlans(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		var plans []*Plan
		for n := range 5 { // all of them know nobody
			plans = append(plans, x.Plan([]Commit{
				prepare(t, x, bob, n+1, vote(n+1, uri, "up")),
				prepare(t, x, voter(n), 1, vote(1, uri, "up"), comment(1, uri, uri)),
			}))
		}
		for _, p := range plans {
			for _, outcome := range []error{stop, nil, nil} {
				err := db.Tx(t.Context(), func(tx *store.Tx) error {
					_, err := x.ApplyPlan(t.Context(), tx, p)
					return errors.Join(err, outcome)
				})
				if !errors.Is(err, outcome) {
					t.Fatal(err)
				}
			}
		}
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		if got := counts(t, x, uri); got != [3]int64{6, 0, 5} {
			t.Errorf("counts %v, want six votes and five comments", got)
		}
	})
}
