package index

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// follower is Cards that are brought up to date as feeds do it.
type follower struct {
	x     *Index
	cards *Cards
	// forgot counts how often everything had to be forgotten.
	forgot int
}

func newFollower(ctx context.Context, x *Index) (*follower, error) {
	f := &follower{x: x, cards: NewCards(x)}
	seq, err := x.Seq(ctx)
	f.cards.Reset(seq)
	return f, err
}

func (f *follower) follow(ctx context.Context) error {
	seq, err := f.x.Seq(ctx)
	if err != nil {
		return err
	}
	traces, ok, err := f.x.Traces(ctx, f.cards.Seq(), seq)
	if !ok {
		f.forgot++
	}
	f.cards.Follow(seq, traces, ok)
	return err
}

// compare holds what cards show somebody of posts against what a query shows.
func (f *follower) compare(ctx context.Context, who syntax.DID, in Listing, ids []int64) error {
	if err := f.follow(ctx); err != nil {
		return err
	}
	v, err := f.x.Viewer(ctx, who)
	if err != nil {
		return err
	}
	asked, err := f.x.Posts(ctx, v, in, ids)
	if err != nil {
		return err
	}
	var want []Post
	for _, id := range ids {
		if p, ok := asked[id]; ok {
			want = append(want, p)
		}
	}
	r, err := f.cards.Reader(ctx, who)
	if err != nil {
		return err
	}
	got, err := f.cards.Posts(ctx, r, in, ids)
	if err != nil {
		return err
	}
	if len(want)+len(got) == 0 {
		return nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%q in listing %d (-query +cards):\n%s", who, in, diff)
	}
	return nil
}

// postsOf are the rows of all posts of a world's accounts.
func postsOf(ctx context.Context, x *Index, w world) ([]int64, error) {
	var dids []syntax.DID
	for n := range worldAccounts {
		dids = append(dids, w.did(n))
	}
	in, args := store.List(1, dids)
	rows, err := x.db.Read().QueryContext(ctx, `SELECT p.id FROM post p JOIN account a ON a.id = p.author_id WHERE a.did IN `+in+` ORDER BY p.id`, args...)
	if err != nil {
		return nil, err
	}
	var ids []int64
	err = each(rows, func() error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// TestCardsShowWhatQueriesShow holds F4 for what is kept in memory: after every
// transaction, whatever it did, Cards of the process that wrote and of another one
// show everybody what the query with the same conditions shows them, to the last
// field. Nothing of that is by forgetting everything.
func TestCardsShowWhatQueriesShow(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		var followers []*follower
		for _, x := range []*Index{x, newIndex(t, db)} {
			f, err := newFollower(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			followers = append(followers, f)
		}
		var serial atomic.Int64
		rapid.Check(t, func(rt *rapid.T) {
			w := world{fmt.Sprintf("k%d", serial.Add(1))}
			story, words := drawStory(rt), drawWords(rt)
			look := func(times int) {
				ids, err := postsOf(t.Context(), x, w)
				for range times {
					var who syntax.DID
					if n := rapid.IntRange(0, worldAccounts).Draw(rt, "viewer"); n < worldAccounts {
						who = w.did(n)
					}
					in := Listing(rapid.IntRange(int(ByName), int(ForStrangers)).Draw(rt, "listing"))
					f := followers[rapid.IntRange(0, 1).Draw(rt, "process")]
					if err == nil {
						err = f.compare(t.Context(), who, in, ids)
					}
				}
				if err != nil {
					rt.Fatal(err)
				}
			}
			for len(story) > 0 {
				n := rapid.IntRange(1, min(3, len(story))).Draw(rt, "together")
				if err := tellStory(t.Context(), rt, x, w, story[:n]); err != nil {
					rt.Fatal(err)
				}
				if story = story[n:]; len(words) > 0 && rapid.Bool().Draw(rt, "word") {
					if err := hear(t.Context(), rt, x, w, words[:1]); err != nil {
						rt.Fatal(err)
					}
					words = words[1:]
				}
				look(3)
			}
			if err := resolveAll(t.Context(), x, w, words); err != nil {
				rt.Fatal(err)
			}
			look(3)
		})
		for i, f := range followers {
			if f.forgot > 0 {
				t.Errorf("process %d had to forget everything %d times", i, f.forgot)
			}
		}
	})
}

// TestCardsAskOnce holds what Cards are for: what they have read they do not read
// again, until a change names it, and one of something else does not.
func TestCardsAskOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		community := func(did syntax.DID) Commit {
			return prepare(t, x, did, 1, put(CommunityCollection, "self", map[string]any{"name": "n", "createdBy": string(alice),
				"hostedBy": "did:web:example.com", "visibility": "public"}))
		}
		apply(t, x, community(commons), community(gardens), prepare(t, x, alice, 1, create(1, post(commons, "a"))),
			prepare(t, x, bob, 1, create(1, post(gardens, "b")), vote(2, postURI(alice, 1), "up"), subscribe(3, commons)))
		f, err := newFollower(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		first, second := id(t, x, postURI(alice, 1)), id(t, x, postURI(bob, 1))
		all := []int64{first, second}
		spammer := func(n int) Commit {
			return prepare(t, x, voter(n), 1, vote(1, postURI(voter(n), 9), "up"), comment(2, postURI(voter(n), 9), postURI(voter(n), 9)))
		}
		steps := []struct {
			name string
			do   func()
			want Asked
		}{
			{"the first page", func() {}, Asked{1, 1, 1, 1}},
			{"the same again", func() {}, Asked{}},
			{"others vote on others", func() { apply(t, x, spammer(1)) }, Asked{}},
			{"somebody votes on one", func() { apply(t, x, prepare(t, x, voter(2), 1, vote(1, postURI(alice, 1), "up"))) }, Asked{Posts: 1}},
			{"an author votes", func() { apply(t, x, prepare(t, x, alice, 2, vote(3, postURI(voter(1), 9), "up"))) }, Asked{}},
			{"the reader votes", func() { apply(t, x, prepare(t, x, bob, 2, vote(4, postURI(alice, 1), "down"))) }, Asked{Posts: 1, Readers: 1, Votes: 1}},
			{"a community has another name", func() { identify(t, x, Identity{DID: gardens, Handle: "gardens.example.com"}) }, Asked{Posts: 1}},
			{"a comment", func() { apply(t, x, prepare(t, x, voter(3), 1, comment(1, postURI(bob, 1), postURI(bob, 1)))) }, Asked{Posts: 1}},
			{"acceptance of another post", func() { apply(t, x, prepare(t, x, commons, 3, acceptance(postURI(voter(1), 9), someCID))) }, Asked{}},
			{"the community of a page", func() {
				apply(t, x, prepare(t, x, commons, 4, put(RulesCollection, "self", map[string]any{"rules": []any{}})))
			}, Asked{Posts: 1, Communities: 1}},
		}
		var before Asked
		for _, s := range steps {
			s.do()
			if err := f.compare(t.Context(), bob, ByName, all); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			if _, ok, err := f.cards.CommunityID(t.Context(), commons); !ok || err != nil {
				t.Errorf("%s: the community is gone: %v", s.name, err)
			}
			is := f.cards.Asked()
			got := Asked{is.Posts - before.Posts, is.Readers - before.Readers, is.Votes - before.Votes, is.Communities - before.Communities}
			if diff := cmp.Diff(s.want, got); diff != "" {
				t.Errorf("%s: queries (-want +got):\n%s", s.name, diff)
			}
			before = is
		}
		if f.forgot > 0 {
			t.Errorf("everything was forgotten %d times", f.forgot)
		}
	})
}

// id is the row of a post.
func id(t *testing.T, x *Index, uri syntax.ATURI) int64 {
	t.Helper()
	id, ok, err := x.locate(t.Context(), uri)
	if err != nil || !ok {
		t.Fatalf("%s is not there: %v", uri, err)
	}
	return id
}

// TestBansEndByTheClock holds that what is kept follows the time: a ban ends, and
// nobody has written anything.
func TestBansEndByTheClock(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var at atomic.Int64
		at.Store(noon.UnixMicro())
		x, err := New(Config{DB: db, Now: func() time.Time { return time.UnixMicro(at.Load()).UTC() }})
		if err != nil {
			t.Fatal(err)
		}
		ban := put(BanCollection, rkey(1), map[string]any{"subject": string(alice), "community": string(commons), "banType": "moderator",
			"reason": "spam", "expiresAt": noon.Add(time.Hour).Format(time.RFC3339)})
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))), prepare(t, x, commons, 1, ban))
		f, err := newFollower(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		ids := []int64{id(t, x, postURI(alice, 1))}
		for _, want := range []int{0, 0, 1} {
			got, err := f.cards.Posts(t.Context(), &visitor, ByName, ids)
			if err != nil || len(got) != want {
				t.Errorf("at %v: %d posts, %v; want %d", x.now(), len(got), err, want)
			}
			if err := f.compare(t.Context(), bob, ByName, ids); err != nil {
				t.Error(err)
			}
			at.Add(int64(30 * time.Minute / time.Microsecond))
		}
		if asked := f.cards.Asked().Posts; asked != 1 {
			t.Errorf("the post was read %d times, want once", asked)
		}
	})
}

// TestCardsReadWhileWritten holds that what was read before a change and put away
// after it is not kept: readers race writers, and whoever reads after a change
// was acknowledged sees it.
func TestCardsReadWhileWritten(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		f, err := newFollower(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		ids := []int64{id(t, x, postURI(alice, 1))}
		var following sync.Mutex
		look := func() (votes int64, mine bool, err error) {
			following.Lock()
			err = f.follow(context.Background())
			following.Unlock()
			if err != nil {
				return 0, false, err
			}
			r, err := f.cards.Reader(context.Background(), bob)
			if err != nil {
				return 0, false, err
			}
			posts, err := f.cards.Posts(context.Background(), r, ByName, ids)
			if err != nil || len(posts) == 0 {
				return 0, false, fmt.Errorf("%d posts, %w", len(posts), err)
			}
			return posts[0].Upvotes, posts[0].Viewer.Vote != nil, nil
		}
		var wg sync.WaitGroup
		done := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					if _, _, err := look(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for n := range 40 {
			apply(t, x, prepare(t, x, voter(n), 1, vote(1, postURI(alice, 1), "up")),
				prepare(t, x, bob, 1+n, []Op{vote(1, postURI(alice, 1), "up"), remove(VoteCollection, rkey(1))}[n%2]))
			votes, mine, err := look()
			if want := int64(n + 1 + (n+1)%2); votes != want || mine != (n%2 == 0) || err != nil {
				t.Errorf("after %d changes: %d votes, own %v, %v; want %d, %v", n+1, votes, mine, err, want, n%2 == 0)
			}
		}
		close(done)
		wg.Wait()
	})
}

// TestCardsOfBefore is the same with the worst timing: a change comes between
// reading and keeping.
func TestCardsOfBefore(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))), prepare(t, x, bob, 1, subscribe(2, gardens)))
		f, err := newFollower(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		ids := []int64{id(t, x, postURI(alice, 1))}
		changes := map[string]Commit{
			"the post":   prepare(t, x, voter(1), 1, vote(1, postURI(alice, 1), "up")),
			"the author": prepare(t, x, alice, 2, put(PersonCollection, "self", map[string]any{"displayName": "Alice"})),
			"the community": prepare(t, x, commons, 1, put(CommunityCollection, "self", map[string]any{"name": "n", "createdBy": string(alice),
				"hostedBy": "did:web:example.com", "visibility": "public"})),
			"the reader": prepare(t, x, bob, 2, vote(3, postURI(alice, 1), "up"), subscribe(4, commons)),
		}
		for name, commit := range changes {
			at := f.cards.now()
			read, err := x.readCards(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			r, err := x.reader(t.Context(), bob)
			if err != nil {
				t.Fatal(err)
			}
			votes, err := x.votesOn(t.Context(), r.Viewer, ids)
			if err != nil {
				t.Fatal(err)
			}
			apply(t, x, commit)
			if err := f.follow(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.cards.keepCards(at, read)
			f.cards.keepReader(at, r)
			f.cards.keepVotes(at, r, ids, votes)
			if err := f.compare(t.Context(), bob, ByName, ids); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if f.forgot > 0 {
			t.Errorf("everything was forgotten %d times", f.forgot)
		}
	})
}

// TestMovedVotes holds that a vote that names a post in the older form shows at
// the post that it counts for, when that becomes another one.
func TestMovedVotes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		first, second := postURI(alice, 1), postURI(bob, 1)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))), prepare(t, x, bob, 1, create(1, post(commons, "b"))))
		apply(t, x, prepare(t, x, commons, 1, acceptance(first, someCID)))
		apply(t, x, prepare(t, x, commons, 2, acceptance(second, someCID)))
		apply(t, x, prepare(t, x, voter(1), 1, vote(1, recordURI(commons, LegacyPostCollection, rkey(1)), "up")))
		f, err := newFollower(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		ids := []int64{id(t, x, first), id(t, x, second)}
		voted := func() (out [2]bool) {
			t.Helper()
			if err := f.compare(t.Context(), voter(1), ByName, ids); err != nil {
				t.Error(err)
			}
			r, err := f.cards.Reader(t.Context(), voter(1))
			if err != nil {
				t.Fatal(err)
			}
			posts, err := f.cards.Posts(t.Context(), r, ByName, ids)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range posts {
				out[b2i(p.ID == ids[1])] = p.Viewer.Vote != nil
			}
			return out
		}
		if got := voted(); got != [2]bool{true, false} {
			t.Errorf("votes show at %v, want at the first", got)
		}
		apply(t, x, prepare(t, x, commons, 3, removal(first, someCID)))
		if got := voted(); got != [2]bool{false, true} {
			t.Errorf("votes show at %v, want at the second", got)
		}
	})
}

// TestUnknownTraces holds that where it is not known what a transaction changed,
// everything is forgotten.
func TestUnknownTraces(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		for n := range 3 {
			apply(t, x, prepare(t, x, voter(n), 1, create(1, post(commons, "a"))))
		}
		change := func(query string, args ...any) {
			t.Helper()
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.ExecContext(t.Context(), query, args...)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		known := func(after, upTo int64) bool {
			t.Helper()
			_, ok, err := x.Traces(t.Context(), after, upTo)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if !known(0, 3) || known(0, 4) || known(0, tracesMost+1) {
			t.Errorf("known: all %v, more than all %v, too many %v; want true, false, false", known(0, 3), known(0, 4), known(0, tracesMost+1))
		}
		change(`UPDATE shown_change SET trace = $1 WHERE seq = 2`, (&Trace{Posts: make([]int64, traceMost+1)}).encode())
		if known(0, 3) || !known(2, 3) {
			t.Error("a trace of too much counts as one of little")
		}
		change(`DELETE FROM shown_change WHERE seq = 3`)
		if known(2, 3) {
			t.Error("a missing trace counts as one of nothing")
		}
		for _, bad := range [][]byte{{}, {9}, {namesSome}, {namesSome, 1, 1, 0}, {namesSome, 0xff, 0xff, 0xff, 0x7f}} {
			if ok, err := (&Trace{}).decode(bad); ok || err == nil {
				t.Errorf("%x was read", bad)
			}
		}
		f, err := newFollower(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		ids := []int64{id(t, x, postURI(voter(0), 1))}
		for range 2 {
			if err := f.compare(t.Context(), bob, ByName, ids); err != nil {
				t.Fatal(err)
			}
		}
		f.cards.Follow(f.cards.Seq()+1, nil, false)
		if err := f.compare(t.Context(), bob, ByName, ids); err != nil || f.cards.Asked().Posts != 2 {
			t.Errorf("asked %d times, want again after everything was forgotten: %v", f.cards.Asked().Posts, err)
		}
	})
}

func FuzzTrace(f *testing.F) {
	f.Add((&Trace{Posts: []int64{1, 5}, Accounts: []int64{9}}).encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		var is, again Trace
		if ok, err := is.decode(raw); !ok || err != nil || !slices.IsSorted(is.Posts) || !slices.IsSorted(is.Accounts) {
			return
		}
		if ok, err := again.decode(is.encode()); !ok || err != nil {
			t.Fatalf("%x reads as %v, which does not read: %v", raw, is, err)
		}
		if diff := cmp.Diff(is, again); diff != "" {
			t.Errorf("%x (-first +second):\n%s", raw, diff)
		}
	})
}
