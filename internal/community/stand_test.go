package community

import (
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// TestSubscribe holds C3: one record, whose visibility is clamped and changed
// in place, and counts that follow at once.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		v.settle(t)
		number := func(n int) *int { return &n }
		var key syntax.ATURI
		for _, tt := range []struct {
			ask      *int
			want     int64
			existing bool
		}{
			{nil, 3, false}, {nil, 3, true}, {number(5), 5, false}, {nil, 5, true}, {number(9), 5, true},
			{number(-7), 1, false}, {number(0), 1, true}, {number(2), 2, false},
		} {
			got, err := v.Subscribe(t.Context(), actor, "!garden@atoll.example.com", tt.ask)
			if err != nil || got.Existing != tt.existing || key != "" && got.URI != key {
				t.Fatalf("visibility %v: %+v, %v; existing %t", tt.ask, got, err, tt.existing)
			}
			key = got.URI
			all := v.repos.in(alice, index.SubscriptionCollection)
			is := all[key.RecordKey()]
			if cid, err := agent.RecordCID(is); len(all) != 1 || is["contentVisibility"] != tt.want || cid != got.CID || err != nil {
				t.Errorf("visibility %v: records %v", tt.ask, all)
			}
			if subs, err := v.index.Subscriptions(t.Context(), alice); len(subs) != 1 || subs[0].Visibility != int(tt.want) || err != nil {
				t.Errorf("visibility %v: the index has %v, %v", tt.ask, subs, err)
			}
		}
		if n := v.subscribers(t, garden); n != 1 {
			t.Errorf("%d subscribers", n)
		}
		for range 2 { // not to follow is success
			if err := v.Unsubscribe(t.Context(), actor, string(garden)); err != nil {
				t.Fatal(err)
			}
		}
		if all := v.repos.in(alice, index.SubscriptionCollection); len(all) != 0 || v.subscribers(t, garden) != 0 {
			t.Errorf("left: %v, %d subscribers", all, v.subscribers(t, garden))
		}
	})
}

// TestSeveralSubscriptions holds that of several records that others wrote the
// one that counts is changed, with what it says beyond us, and the rest goes.
func TestSeveralSubscriptions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		v.settle(t)
		elsewhere := func(visibility int64, fields map[string]any) syntax.RecordKey {
			fields["$type"], fields["subject"], fields["createdAt"] = string(index.SubscriptionCollection), string(garden), "2026-01-02T03:04:05Z"
			fields["contentVisibility"] = visibility
			key, err := v.repos.Key(t.Context(), alice, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			w := agent.Write{Collection: index.SubscriptionCollection, RKey: syntax.RecordKey(key), Record: fields}
			if _, err := v.cfg.Records.Create(t.Context(), actor, w); err != nil {
				t.Fatal(err)
			}
			return w.RKey
		}
		if _, err := v.Subscribe(t.Context(), actor, string(garden), nil); err != nil {
			t.Fatal(err)
		}
		elsewhere(1, map[string]any{})
		greatest := elsewhere(9, map[string]any{"note": "mine", "endedAt": "2026-02-02T03:04:05Z"})
		four := 4
		if _, err := v.Subscribe(t.Context(), actor, string(garden), &four); err != nil {
			t.Fatal(err)
		}
		want := map[syntax.RecordKey]map[string]any{greatest: {"$type": string(index.SubscriptionCollection), "subject": string(garden),
			"createdAt": "2026-01-02T03:04:05Z", "contentVisibility": int64(4), "note": "mine"}}
		if diff := cmp.Diff(want, v.repos.in(alice, index.SubscriptionCollection)); diff != "" || v.subscribers(t, garden) != 1 {
			t.Errorf("%d subscribers, records (-want +got):\n%s", v.subscribers(t, garden), diff)
		}
		elsewhere(2, map[string]any{})
		if err := v.Unsubscribe(t.Context(), actor, string(garden)); err != nil {
			t.Fatal(err)
		}
		if all := v.repos.in(alice, index.SubscriptionCollection); len(all) != 0 || v.subscribers(t, garden) != 0 {
			t.Errorf("left: %v", all)
		}
	})
}

// TestSubscribersRace holds C3 under concurrency: several members, a hundred
// requests each, in two processes; what is left is one record or none, and the
// count says so.
func TestSubscribersRace(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRepos()
		one, two := newVillage(t, db, r), newVillage(t, db, r)
		one.settle(t)
		people := []agent.Actor{{DID: alice}, {DID: kitchen}, {DID: cellar}}
		var wg sync.WaitGroup
		for i := range size.Size(40, 100) {
			for _, who := range people {
				v := []*village{one, two}[i%2]
				wg.Go(func() {
					var err error
					if visibility := i % 7; i%3 == 0 {
						err = v.Unsubscribe(t.Context(), who, string(garden))
					} else {
						_, err = v.Subscribe(t.Context(), who, string(garden), &visibility)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		var left int64
		for _, who := range people {
			n := len(r.in(who.DID, index.SubscriptionCollection))
			if left += int64(n); n > 1 {
				t.Errorf("%s has %d records", who.DID, n)
			}
			subs, err := one.index.Subscriptions(t.Context(), who.DID)
			if err != nil || len(subs) != n {
				t.Errorf("%s: the index has %v for %d records, %v", who.DID, subs, n, err)
			}
		}
		if n := one.subscribers(t, garden); n != left {
			t.Errorf("%d subscribers, %d records", n, left)
		}
	})
}

// TestBlock holds C4's records.
func TestBlock(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		first, err := v.BlockUser(t.Context(), actor, "@crook.example.com")
		if err != nil {
			t.Fatal(err)
		}
		again, err := v.BlockUser(t.Context(), actor, string(crook))
		if err != nil || again.URI != first.URI || again.CID != first.CID || !again.Existing {
			t.Errorf("again: %+v, %v, want %+v", again, err, first)
		}
		community, err := v.BlockCommunity(t.Context(), actor, "!kitchen@kitchens.example.com")
		if err != nil {
			t.Fatal(err)
		}
		for collection, want := range map[syntax.NSID]index.Block{
			index.PersonBlockCollection:    {Subject: crook, URI: first.URI, CID: first.CID},
			index.CommunityBlockCollection: {Subject: kitchen, URI: community.URI, CID: community.CID},
		} {
			got, _, err := v.index.Blocks(t.Context(), alice, collection, 10, 0)
			if err != nil || len(got) != 1 {
				t.Fatalf("%s: %v %v", collection, got, err)
			}
			want.At = syntax.TID(want.URI.RecordKey()).Time()
			if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", collection, diff)
			}
		}
		for range 2 {
			if err := v.UnblockUser(t.Context(), actor, "crook.example.com"); err != nil {
				t.Fatal(err)
			}
			if err := v.UnblockCommunity(t.Context(), actor, string(kitchen)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(v.repos.records); n != 0 {
			t.Errorf("%d records left", n)
		}
		// Who is not there any more can be let go.
		if err := v.UnblockUser(t.Context(), actor, "did:plc:nobodyaaaaaaaaaaaaaaaaaa"); err != nil {
			t.Error(err)
		}
	})
}

// TestStandsBadInput holds that what names nothing, or something else, writes
// nothing.
func TestStandsBadInput(t *testing.T) {
	t.Parallel()
	v := newVillage(t, storetest.New(t, store.SQLite), newRepos())
	v.settle(t)
	put(t, v.db, v.index, crook, index.CommunityCollection, "self", profileRecord("did:web:cellars.example.com", "beer"))
	verifyHosts(t, v.index, false)
	put(t, v.db, v.index, cellar, index.CommunityCollection, "self", profileRecord("did:web:cellars.example.com", "wine"))
	err := v.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := v.index.ApplyAccounts(t.Context(), tx, []index.AccountEvent{{DID: cellar, Status: &index.Status{Reason: "deactivated", At: v.cfg.Now()}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	subscribe := func(text string) error { _, err := v.Subscribe(t.Context(), actor, text, nil); return err }
	blockCommunity := func(text string) error { _, err := v.BlockCommunity(t.Context(), actor, text); return err }
	blockUser := func(text string) error { _, err := v.BlockUser(t.Context(), actor, text); return err }
	unsubscribe := func(text string) error { return v.Unsubscribe(t.Context(), actor, text) }
	for _, tt := range []struct {
		name string
		do   func(string) error
		text string
		want string
	}{
		{"nothing", subscribe, " ", "invalid InvalidRequest"},
		{"nonsense", subscribe, "!!", "invalid InvalidRequest"},
		{"unknown", subscribe, "nobody.example.com", "not found CommunityNotFound"},
		{"a person", subscribe, "alice.example.com", "not found CommunityNotFound"},
		{"refused", subscribe, string(crook), "not found CommunityNotFound"},
		{"deactivated", subscribe, string(cellar), "not found CommunityNotFound"},
		{"elsewhere", subscribe, "!garden@kitchens.example.com", "not found CommunityNotFound"},
		{"nothing", unsubscribe, "", "invalid InvalidRequest"},
		{"unknown", unsubscribe, "nobody.example.com", "not found CommunityNotFound"},
		{"unknown", blockCommunity, "nobody.example.com", "not found CommunityNotFound"},
		{"nothing", blockUser, "", "invalid InvalidRequest"},
		{"oneself", blockUser, "@alice.example.com", "invalid InvalidSubject"},
		{"unknown", blockUser, "nobody.example.com", "not found ProfileNotFound"},
		{"!", blockUser, "!garden.groups.example.com", "invalid InvalidRequest"},
	} {
		if got := code(tt.do(tt.text)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	v.repos.fail = fault.New(fault.Forbidden, "Scope.").WithCode("MissingScope")
	if got := code(subscribe(string(garden))); got != "forbidden MissingScope" {
		t.Errorf("missing scope: %s", got)
	}
	if len(v.repos.writes) != 0 || v.subscribers(t, garden) != 0 {
		t.Errorf("written: %v", v.repos.writes)
	}
}
