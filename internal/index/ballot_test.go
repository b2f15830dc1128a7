package index

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// counts reads the votes and comments of a post.
func counts(t *testing.T, x *Index, uri syntax.ATURI) [3]int64 {
	t.Helper()
	id, ok, err := x.locate(t.Context(), uri)
	if err != nil || !ok {
		t.Fatalf("locate %s: %v, %v", uri, ok, err)
	}
	var c [3]int64
	_, err = found(x.db.Read().QueryRowContext(t.Context(),
		`SELECT upvotes, downvotes, comments FROM post_rank WHERE post_id = $1`, id).Scan(&c[0], &c[1], &c[2]))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOneVoteCounts holds that of several votes by one account for one subject
// the one with the greatest key counts, in either form of the subject, and
// that the next counts when it goes.
func TestOneVoteCounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		older := recordURI(commons, LegacyPostCollection, rkey(1))
		steps := []struct {
			name   string
			commit Commit
			want   [3]int64
			mine   string // bob's vote that counts
		}{
			{"before its post", prepare(t, x, bob, 1, vote(1, uri, "up")), [3]int64{1, 0, 0}, "1 up"},
			{"again, by another key", prepare(t, x, bob, 2, vote(3, uri, "down")), [3]int64{0, 1, 0}, "3 down"},
			{"an older key", prepare(t, x, bob, 3, vote(2, uri, "up")), [3]int64{0, 1, 0}, "3 down"},
			{"the post", prepare(t, x, alice, 1, create(1, post(commons, "a"))), [3]int64{0, 1, 0}, "3 down"},
			{"by the older form, which means nothing yet", prepare(t, x, bob, 4, vote(4, older, "up")), [3]int64{0, 1, 0}, "3 down"},
			{"admitted: now it does", prepare(t, x, commons, 1, acceptance(uri, someCID)), [3]int64{1, 0, 0}, "4 up"},
			{"withdrawn", prepare(t, x, commons, 2, remove(AcceptanceCollection, admissionKey(uri))), [3]int64{0, 1, 0}, "3 down"},
			{"the greatest deleted", prepare(t, x, bob, 5, remove(VoteCollection, rkey(3))), [3]int64{1, 0, 0}, "2 up"},
			{"all deleted", prepare(t, x, bob, 6, remove(VoteCollection, rkey(1)), remove(VoteCollection, rkey(2))), [3]int64{}, ""},
			{"for one's own post", prepare(t, x, alice, 2, vote(1, uri, "up")), [3]int64{1, 0, 0}, ""},
		}
		for _, s := range steps {
			for range 2 { // the second time it is a replay
				apply(t, x, s.commit)
				if got := counts(t, x, uri); got != s.want {
					t.Errorf("%s: counts %v, want %v", s.name, got, s.want)
				}
			}
			v, ok, err := x.VoteOf(t.Context(), bob, uri)
			if err != nil {
				t.Fatal(err)
			}
			mine := ""
			if ok {
				for n := range 5 {
					if v.URI == recordURI(bob, VoteCollection, rkey(n)) {
						mine = fmt.Sprint(n, " ", map[bool]string{true: "up", false: "down"}[v.Up])
					}
				}
			}
			if mine != s.mine {
				t.Errorf("%s: bob's vote is %q, want %q", s.name, mine, s.mine)
			}
		}
	})
}

// TestManyVotesByOneAccount holds I5's bound: votes without end by one account
// count once, and neither they nor their deletion take longer for being many.
func TestManyVotesByOneAccount(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		total, atOnce := size.Size(2_000, 100_000), 1_000
		for from := 0; from < total; from += atOnce {
			var ops []Op
			for n := range atOnce {
				ops = append(ops, vote(from+n, uri, "up"))
			}
			apply(t, x, prepare(t, x, bob, from, ops...))
		}
		if got := counts(t, x, uri); got != [3]int64{1, 0, 0} {
			t.Errorf("%d votes by one account: counts %v", total, got)
		}
		apply(t, x, prepare(t, x, bob, total, remove(VoteCollection, rkey(total-1))))
		if got := counts(t, x, uri); got != [3]int64{1, 0, 0} {
			t.Errorf("one deleted: counts %v", got)
		}
	})
}

// TestConcurrentVotes holds C3's exactness under concurrency, for all counters.
func TestConcurrentVotes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 10 {
					did := syntax.DID(fmt.Sprintf("did:plc:voter%d", (w/2)*10+i)) // everybody twice, at once
					c, _ := x.Prepare(did, tid(1), []Op{vote(1, uri, "up"), subscribe(1, commons), comment(1, uri, uri)})
					err := db.Tx(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
						_, err := x.Apply(t.Context(), tx, []Commit{c})
						return err
					})
					if err != nil {
						t.Errorf("apply: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if got := counts(t, x, uri); got != [3]int64{40, 0, 40} {
			t.Errorf("counts %v, want 40 votes and 40 comments", got)
		}
		var subscribers int
		err := db.Read().QueryRowContext(t.Context(), `SELECT subscribers FROM account_tally t JOIN account a ON a.id = t.account_id
			WHERE a.did = $1`, commons).Scan(&subscribers)
		if subscribers != 40 || err != nil {
			t.Errorf("%d subscribers, %v; want 40", subscribers, err)
		}
	})
}

// TestSubscriptions holds C3's clamp, and that the record with the greatest
// key says what an account follows.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		seen := func(visibility any) Op {
			op := subscribe(2, commons)
			op.Record["contentVisibility"] = visibility
			return op
		}
		tests := []struct {
			name string
			op   Op
			want int // 0: not followed
		}{
			{"default", subscribe(2, commons), 3},
			{"above", seen(int64(99)), 5},
			{"below", seen(int64(-7)), 1},
			{"within", seen(int64(4)), 4},
			{"ended", func() Op {
				op := subscribe(2, commons)
				op.Record["endedAt"] = "2026-03-01T11:00:00Z"
				return op
			}(), 0},
			{"deleted, and the one before counts", remove(SubscriptionCollection, rkey(2)), 3},
		}
		apply(t, x, prepare(t, x, alice, 1, subscribe(1, commons)))
		for i, tt := range tests {
			apply(t, x, prepare(t, x, alice, 2+i, tt.op))
			got, err := x.Subscriptions(t.Context(), alice)
			if err != nil {
				t.Fatal(err)
			}
			visibility := 0
			if len(got) == 1 && got[0].Community == commons {
				visibility = got[0].Visibility
			}
			if visibility != tt.want {
				t.Errorf("%s: got %v, want %d", tt.name, got, tt.want)
			}
		}
	})
}

// TestBlocks holds that blocks of people and of communities are listed, each
// with the record to delete.
func TestBlocks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		subject := func(did syntax.DID) map[string]any { return map[string]any{"subject": string(did)} }
		ops := []Op{put(PersonBlockCollection, rkey(1), subject(bob)), put(PersonBlockCollection, rkey(2), subject(bob)),
			put(PersonBlockCollection, rkey(3), subject(commons)), put(CommunityBlockCollection, rkey(1), subject(commons))}
		apply(t, x, prepare(t, x, alice, 1, ops...))
		block := func(op Op, subject syntax.DID) Block {
			return Block{subject, recordURI(alice, op.Collection, op.RKey), op.CID, syntax.TID(op.RKey).Time()}
		}
		var people []Block
		var after int64
		for range 2 { // the older record on bob does not count
			page, next, err := x.Blocks(t.Context(), alice, PersonBlockCollection, 1, after)
			if err != nil || len(people) == 0 != (next != 0) {
				t.Fatalf("page after %v: next %v, %v", after, next, err)
			}
			people, after = append(people, page...), next
		}
		if diff := cmp.Diff([]Block{block(ops[2], commons), block(ops[1], bob)}, people); diff != "" {
			t.Errorf("people (-want +got):\n%s", diff)
		}
		communities, next, err := x.Blocks(t.Context(), alice, CommunityBlockCollection, -1, 0)
		if diff := cmp.Diff([]Block{block(ops[3], commons)}, communities); diff != "" || next != 0 || err != nil {
			t.Errorf("communities (-want +got):\n%s%v", diff, err)
		}
		stands, err := x.Stands(t.Context(), PersonBlockCollection, alice, bob)
		if diff := cmp.Diff([]Stand{{rkey(2), 1}, {rkey(1), 1}}, stands); diff != "" || err != nil {
			t.Errorf("blocks of bob (-want +got):\n%s%v", diff, err)
		}
	})
}

// TestRemoveDeleted holds S40's end: what a deleted account wrote is hidden at
// once, and goes with its counts after the time of grace, not before.
func TestRemoveDeleted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))),
			prepare(t, x, bob, 1, vote(1, uri, "up"), comment(1, uri, uri), subscribe(1, commons), create(2, post(commons, "b"))))
		applyAccounts(t, x, AccountEvent{DID: bob, Status: &Status{Reason: "deleted", At: noon.Add(-time.Hour)}})
		for _, step := range []struct {
			grace time.Duration
			want  int
			held  int
			count [3]int64
		}{{2 * time.Hour, 0, 4, [3]int64{1, 0, 1}}, {time.Minute, 1, 0, [3]int64{}}, {time.Minute, 0, 0, [3]int64{}}} {
			list, err := x.Deleted(t.Context(), step.grace, 10)
			if len(list) != step.want || err != nil {
				t.Errorf("after %v: to be removed %v, %v; want %d", step.grace, list, err, step.want)
			}
			for _, did := range list {
				if err := x.RemoveContent(t.Context(), did); err != nil {
					t.Error(err)
				}
			}
			held, err := x.Held(t.Context(), bob)
			if len(held) != step.held || err != nil {
				t.Errorf("after %v: %d records left, %v; want %d", step.grace, len(held), err, step.held)
			}
			if got := counts(t, x, uri); got != step.count {
				t.Errorf("after %v: counts %v, want %v", step.grace, got, step.count)
			}
		}
	})
}

// TestManyVotesAtOnce holds the gate for votes that come many at once, whether few
// or most of their keys are there, and with some of quite another time.
func TestManyVotesAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		uri := postURI(alice, 1)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		commits := func(rev, from, to int, direction string, more ...int) (all []Commit) {
			for n := from; n < to; n++ {
				more = append(more, n)
			}
			for _, n := range more {
				all = append(all, prepare(t, x, voter(n), rev, vote(n, uri, direction)))
			}
			return all
		}
		const years = 400 * 24 * 3600
		for _, s := range []struct {
			name           string
			commits        []Commit
			applied, stale int64
			want           [3]int64
		}{
			{"all new", commits(10, 0, 200, "up"), 200, 0, [3]int64{200, 0, 0}},
			{"a few are there", commits(10, 190, 300, "down", -years, years), 102, 10, [3]int64{200, 102, 0}},
			{"most are there", commits(10, 0, 310, "down"), 10, 300, [3]int64{200, 112, 0}},
			{"all are there, and some of another time", commits(10, 0, 310, "up", -years, years), 0, 312, [3]int64{200, 112, 0}},
			{"later ones", commits(11, 0, 300, "down", years), 301, 0, [3]int64{0, 312, 0}},
			{"older ones", commits(5, 0, 40, "up", 400), 1, 40, [3]int64{1, 312, 0}},
		} {
			got := apply(t, x, s.commits...)
			if got.Applied != s.applied || got.Stale != s.stale {
				t.Errorf("%s: applied %d, stale %d, want %d, %d", s.name, got.Applied, got.Stale, s.applied, s.stale)
			}
			if got := counts(t, x, uri); got != s.want {
				t.Errorf("%s: counts %v, want %v", s.name, got, s.want)
			}
		}
	})
}
