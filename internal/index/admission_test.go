package index

import (
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const otherCID = syntax.CID("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454")

// TestAdmission holds what a community's repository, commit by commit, makes
// of a post.
func TestAdmission(t *testing.T) {
	t.Parallel()
	uri := postURI(alice, 1)
	accept, old, reject := acceptance(uri, someCID), acceptance(uri, otherCID), removal(uri, someCID)
	unaccept, unreject := remove(AcceptanceCollection, accept.RKey), remove(RemovalCollection, accept.RKey)
	tests := []struct {
		name    string
		commits [][]Op
		want    State
	}{
		{"nothing", nil, Pending},
		{"accepted", [][]Op{{accept}}, Accepted},
		{"another version accepted", [][]Op{{old}}, PendingReacceptance},
		{"accepted anew", [][]Op{{old}, {accept}}, Accepted},
		{"removed", [][]Op{{accept}, {reject}}, Removed},
		{"removed without having been accepted", [][]Op{{reject}}, Removed},
		{"exchanged in one commit", [][]Op{{accept}, {reject, unaccept}}, Removed},
		{"restored in one commit", [][]Op{{accept}, {unaccept, reject}, {accept, unreject}}, Accepted},
		{"both in one commit", [][]Op{{accept, reject}}, Removed},
		{"accepted after a removal that stays", [][]Op{{reject}, {accept}}, Accepted},
		{"removal withdrawn", [][]Op{{accept}, {reject}, {unreject}}, Accepted},
		{"acceptance withdrawn", [][]Op{{accept}, {unaccept}}, Pending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				x := newIndex(t, db)
				for i := len(tt.commits) - 1; i >= 0; i-- { // the last first, and all before the post
					apply(t, x, prepare(t, x, commons, 10+i, tt.commits[i]...))
				}
				apply(t, x, prepare(t, x, gardens, 1, removal(uri, someCID))) // not asked
				apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
				if got := rows(t, x, alice)[string(rkey(1))].State; got != tt.want {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestWantedPosts holds that an acceptance which comes first has its post
// fetched, until it is here or not accepted any more.
func TestWantedPosts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		wanted := func() []Wanted {
			t.Helper()
			list, err := x.WantedPosts(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		first, second := acceptance(postURI(alice, 1), someCID), acceptance(postURI(alice, 2), someCID)
		apply(t, x, prepare(t, x, commons, 1, first, second), prepare(t, x, bob, 1, vote(1, postURI(alice, 3), "up")))
		want := []Wanted{{Author: alice, RKey: rkey(1)}, {Author: alice, RKey: rkey(2)}}
		if diff := cmp.Diff(want, wanted()); diff != "" {
			t.Errorf("accepted but not here (-want +got):\n%s", diff)
		}
		if err := x.PostponePost(t.Context(), want[0], time.Minute); err != nil {
			t.Fatal(err)
		}
		apply(t, x, prepare(t, x, commons, 2, remove(AcceptanceCollection, second.RKey)))
		if got := wanted(); len(got) != 0 {
			t.Errorf("put off and withdrawn, still wanted: %v", got)
		}
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		if got := rows(t, x, alice)[string(rkey(1))].State; got != Accepted {
			t.Errorf("when it came it was %v", got)
		}
	})
}

// TestHostClaims holds H7 as far as the index goes: a community whose claim
// was refused is not there, and a claim or handle that changes is asked again.
func TestHostClaims(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		profile := func(host string) Op {
			return put(CommunityCollection, "self", map[string]any{"name": "commons", "createdBy": string(alice), "hostedBy": host})
		}
		apply(t, x, prepare(t, x, commons, 1, profile("did:web:good.example.com")), prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		claims := func(want ...syntax.DID) []HostClaim {
			t.Helper()
			list, err := x.HostClaims(t.Context(), 10)
			if err != nil || len(list) != len(want) {
				t.Fatalf("claims %v, %v; want %v", list, err, want)
			}
			for i, c := range list {
				if c.HostedBy != want[i] {
					t.Fatalf("claims %v, want %v", list, want)
				}
			}
			return list
		}
		there := func(want bool) {
			t.Helper()
			_, ok, err := x.Community(t.Context(), commons)
			if got := titles(t, x) == 1; got != want || ok != want || err != nil {
				t.Errorf("community there: %v, its post: %v, want %v (%v)", ok, got, want, err)
			}
		}
		claims() // no handle yet
		identify(t, x, Identity{DID: commons, Handle: "commons.good.example.com"})
		no, yes := false, true
		claim := claims("did:web:good.example.com")[0]
		there(true)
		answer := func(c HostClaim, ok *bool) {
			t.Helper()
			if err := x.AnswerHost(t.Context(), c, HostAnswer{OK: ok, Again: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		answer(claim, &no)
		claims()
		there(false)
		apply(t, x, prepare(t, x, commons, 2, profile("did:web:other.example.com")))
		answer(claim, &yes) // about the claim before
		there(true)
		answer(claims("did:web:other.example.com")[0], &yes)
		identify(t, x, Identity{DID: commons, Handle: "commons.elsewhere.example.com"})
		claims("did:web:other.example.com")
	})
}
