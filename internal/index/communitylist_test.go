package index

import (
	"fmt"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// found the communities of the test: a name each, in the order of their founding.
func founded(t *testing.T, x *Index, names ...string) []syntax.DID {
	t.Helper()
	var dids []syntax.DID
	for i, name := range names {
		did := syntax.DID("did:plc:" + name)
		apply(t, x, prepare(t, x, did, 1, put(CommunityCollection, "self", map[string]any{
			"name": name, "displayName": "The " + name, "createdAt": fmt.Sprintf("2026-01-%02dT00:00:00.000Z", i+1),
			"createdBy": string(alice), "hostedBy": "did:web:host.example",
		})))
		dids = append(dids, did)
	}
	return dids
}

func TestCommunitiesAreListed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		dids := founded(t, x, "cove", "atoll", "bay", "100%_dune")
		apply(t, x, prepare(t, x, alice, 1, subscribe(1, dids[0]), subscribe(2, dids[1])), prepare(t, x, bob, 1, subscribe(3, dids[1])))
		for _, c := range []struct {
			name   string
			viewer syntax.DID
			query  CommunityQuery
			want   []string
		}{
			{"by followers", "", CommunityQuery{Order: ByFollowers}, []string{"atoll", "cove", "100%_dune", "bay"}},
			{"by founding", "", CommunityQuery{Order: ByFounding}, []string{"100%_dune", "bay", "atoll", "cove"}},
			{"by name", "", CommunityQuery{Order: Alphabetical}, []string{"100%_dune", "atoll", "bay", "cove"}},
			{"what alice follows", alice, CommunityQuery{Order: Alphabetical, Followed: true}, []string{"atoll", "cove"}},
			{"what a visitor follows", "", CommunityQuery{Order: Alphabetical, Followed: true}, nil},
			{"with a text", "", CommunityQuery{Order: Alphabetical, Text: "The A"}, []string{"atoll"}},
			{"with signs that mean something", "", CommunityQuery{Order: Alphabetical, Text: "%_"}, []string{"100%_dune"}},
			{"unlisted ones", "", CommunityQuery{Visibility: Unlisted}, nil},
		} {
			if diff := cmp.Diff(c.want, namesOf(t, x, c.viewer, c.query)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
		apply(t, x, prepare(t, x, alice, 2, put(CommunityBlockCollection, rkey(9), map[string]any{"subject": string(dids[1]), "createdAt": "2026-02-01T00:00:00Z"})))
		if diff := cmp.Diff([]string{"cove"}, namesOf(t, x, alice, CommunityQuery{Order: Alphabetical, Followed: true})); diff != "" {
			t.Errorf("what alice follows and does not block (-want +got):\n%s", diff)
		}
	})
}

// namesOf pages through a list, one community a page.
func namesOf(t *testing.T, x *Index, viewer syntax.DID, q CommunityQuery) []string {
	t.Helper()
	v, err := x.Viewer(t.Context(), viewer)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	q.Limit = 1
	for range 10 {
		page, next, err := x.Communities(t.Context(), v, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			names = append(names, c.Name)
		}
		if next == nil {
			return names
		}
		q.After = next
	}
	t.Fatalf("%+v: the list does not end: %v", q, names)
	return nil
}

func TestWhoFollowsIsTold(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		dids := founded(t, x, "cove")
		apply(t, x, prepare(t, x, alice, 1, subscribe(1, dids[0])))
		v, err := x.Viewer(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		list, _, err := x.Communities(t.Context(), v, CommunityQuery{Limit: 5})
		if err != nil || len(list) != 1 || list[0].Follows != 3 || list[0].Subscribers != 1 || list[0].DisplayName != "The cove" {
			t.Errorf("list %+v, %v; want the cove, followed at 3 by one", list, err)
		}
	})
}

func TestWritten(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "low water"))))
		w, ok, err := x.Written(t.Context(), postURI(alice, 1))
		if err != nil || !ok || w.CID != someCID || len(w.Record) == 0 {
			t.Errorf("a post: %+v, %t, %v", w, ok, err)
		}
		if _, ok, err := x.Written(t.Context(), postURI(alice, 2)); ok || err != nil {
			t.Errorf("a post that is not there: %t, %v", ok, err)
		}
		apply(t, x, prepare(t, x, bob, 1, vote(1, postURI(alice, 1), "up")))
		if score, err := x.Score(t.Context(), postURI(alice, 1)); score != 1 || err != nil {
			t.Errorf("score %d, %v; want 1", score, err)
		}
	})
}
