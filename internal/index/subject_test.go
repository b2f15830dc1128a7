package index

import (
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestSubject holds what can be answered, voted on and quoted, by which name,
// and when it cannot.
func TestSubject(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		root, answer := postURI(alice, 1), recordURI(bob, CommentCollection, rkey(2))
		legacy := recordURI(commons, LegacyPostCollection, rkey(1))
		early := recordURI(alice, CommentCollection, rkey(9))
		find := func(uri syntax.ATURI) Subject {
			t.Helper()
			s, ok, err := x.Subject(t.Context(), uri)
			if err != nil || ok != (s != Subject{}) {
				t.Fatalf("%s: %t %+v %v", uri, ok, s, err)
			}
			return s
		}
		if got := find(root); got != (Subject{}) {
			t.Errorf("nothing is known: %+v", got)
		}
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "t"))), prepare(t, x, bob, 1, comment(2, root, root), comment(3, postURI(alice, 8), early)))
		aPost := Subject{URI: root, CID: someCID, Author: alice, Root: root, Community: commons, Visible: true}
		aComment := Subject{URI: answer, CID: someCID, Author: bob, Root: root, Community: commons, Visible: true}
		if diff := cmp.Diff([]Subject{aPost, aComment, {}}, []Subject{find(root), find(answer), find(legacy)}); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got, want := find(early), (Subject{URI: early, Author: alice}); got != want {
			t.Errorf("answered before it came: %+v, want %+v", got, want)
		}
		apply(t, x, prepare(t, x, commons, 1, acceptance(root, someCID)))
		if got := find(legacy); got != aPost {
			t.Errorf("in the older form: %+v", got)
		}
		apply(t, x, prepare(t, x, commons, 2, removal(root, someCID)))
		if find(root).Visible || find(answer).Visible {
			t.Error("a removed post, or a comment below it, may be answered")
		}
		apply(t, x, prepare(t, x, commons, 3, remove(RemovalCollection, admissionKey(root)), acceptance(root, someCID)))
		applyAccounts(t, x, AccountEvent{DID: bob, Status: &Status{Reason: "deactivated", At: noon}})
		if find(answer).Visible || !find(root).Visible {
			t.Error("what a deactivated account wrote may be answered")
		}
		apply(t, x, prepare(t, x, alice, 4, remove(PostCollection, rkey(1))))
		if got := find(root); got.Visible || got.CID != "" {
			t.Errorf("deleted: %+v", got)
		}
		for _, bad := range []syntax.ATURI{"", "at://alice.example.com/social.coves.community.postv2/" + syntax.ATURI(rkey(1)),
			recordURI(alice, VoteCollection, rkey(1)), recordURI(alice, PostCollection, "self")} {
			if got := find(bad); got != (Subject{}) {
				t.Errorf("%s: %+v", bad, got)
			}
		}
	})
}

// TestVotesOf holds that every record of a vote is found, so that those which do
// not count can be removed.
func TestVotesOf(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		root := postURI(alice, 1)
		apply(t, x, prepare(t, x, bob, 1, vote(5, root, "up"), vote(7, root, "down"), vote(6, root, "up"), vote(8, postURI(alice, 2), "up")),
			prepare(t, x, alice, 1, vote(5, root, "up")))
		got, err := x.VotesOf(t.Context(), bob, root)
		want := []Vote{{recordURI(bob, VoteCollection, rkey(7)), false}, {recordURI(bob, VoteCollection, rkey(6)), true}, {recordURI(bob, VoteCollection, rkey(5)), true}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v, -want +got:\n%s", err, diff)
		}
		if got, err := x.VotesOf(t.Context(), bob, postURI(alice, 3)); len(got) != 0 || err != nil {
			t.Errorf("on something unknown: %v, %v", got, err)
		}
	})
}

// TestApart holds that a block counts in both directions.
func TestApart(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apart := func(one, other syntax.DID) bool {
			t.Helper()
			is, err := x.Apart(t.Context(), one, other)
			if err != nil {
				t.Fatal(err)
			}
			return is
		}
		if apart(alice, bob) {
			t.Error("nobody has blocked anybody")
		}
		apply(t, x, prepare(t, x, alice, 1, put(PersonBlockCollection, rkey(1), map[string]any{"subject": string(bob), "createdAt": "2026-03-01T11:00:00.000Z"})))
		if !apart(alice, bob) || !apart(bob, alice) || apart(alice, alice) || apart(alice, commons) {
			t.Error("one has blocked the other")
		}
		apply(t, x, prepare(t, x, alice, 2, remove(PersonBlockCollection, rkey(1))))
		if apart(alice, bob) {
			t.Error("the block is over")
		}
	})
}
