package index

import (
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestAuthorizations reads back who lets whom post: of several records of a
// community about a service the one with the greatest key counts.
func TestAuthorizations(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		news, weather := syntax.DID("did:plc:news"), syntax.DID("did:plc:weather")
		say := func(community, service syntax.DID, key syntax.RecordKey, enabled bool) Op {
			return put(AuthorizationCollection, key, map[string]any{"aggregatorDid": string(service), "communityDid": string(community),
				"enabled": enabled, "createdBy": string(alice)})
		}
		apply(t, x, prepare(t, x, commons, 1, say(commons, news, "a", true), say(commons, weather, "b", false)))
		apply(t, x, prepare(t, x, gardens, 1, say(gardens, news, "a", true), say(gardens, news, "b", false)))
		pages := func(of AuthorizationsOf, limit int) (all []string) {
			t.Helper()
			after := int64(0)
			for range 5 {
				list, next, err := x.Authorizations(t.Context(), of, limit, after)
				if err != nil || len(list) > limit {
					t.Fatalf("%d authorizations, %v", len(list), err)
				}
				for _, a := range list {
					line := string(a.URI) + " " + string(a.Service.DID)
					if a.Enabled {
						line += " enabled"
					}
					if a.Record == nil || a.Community.DID != a.URI.Authority().DID() {
						t.Errorf("%+v", a)
					}
					all = append(all, line)
				}
				if after = next; next == 0 {
					break
				}
			}
			return all
		}
		at := func(community, service syntax.DID, key, state string) string {
			return "at://" + string(community) + "/" + string(AuthorizationCollection) + "/" + key + " " + string(service) + state
		}
		of := AuthorizationsOf{Service: news}
		for _, limit := range []int{1, 10} {
			if diff := cmp.Diff([]string{at(commons, news, "a", " enabled"), at(gardens, news, "b", "")}, pages(of, limit)); diff != "" {
				t.Errorf("of a service, %d a page (-want +got):\n%s", limit, diff)
			}
		}
		of.Enabled = true
		if diff := cmp.Diff([]string{at(commons, news, "a", " enabled")}, pages(of, 1)); diff != "" {
			t.Errorf("that let it post (-want +got):\n%s", diff)
		}
		if got := pages(AuthorizationsOf{Community: commons}, 1); len(got) != 2 {
			t.Errorf("of a community: %v", got)
		}
		if got := pages(AuthorizationsOf{Service: "did:plc:nobody"}, 1); got != nil {
			t.Errorf("of nobody: %v", got)
		}
		stats, err := x.ServiceStats(t.Context(), news)
		if err != nil || stats != (ServiceStats{Communities: 1}) {
			t.Errorf("stats %+v, %v", stats, err)
		}
		if stats, err := x.ServiceStats(t.Context(), "did:plc:nobody"); err != nil || stats != (ServiceStats{}) {
			t.Errorf("stats of nobody %+v, %v", stats, err)
		}
	})
}

// TestInactiveServices holds S40: nobody posts for, or in, an account that is not
// active.
func TestInactiveServices(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		news := syntax.DID("did:plc:news")
		apply(t, x, prepare(t, x, commons, 1, put(AuthorizationCollection, "a", map[string]any{"aggregatorDid": string(news),
			"communityDid": string(commons), "enabled": true, "createdBy": string(alice)})))
		for _, did := range []syntax.DID{news, commons} {
			for _, active := range []bool{false, true} {
				status := Status{Active: active, At: noon}
				if !active {
					status = Status{Reason: "deactivated", At: noon.Add(-time.Minute)}
				}
				applyAccounts(t, x, AccountEvent{DID: did, Status: &status})
				if ok, err := x.Authorized(t.Context(), commons, news); ok != active || err != nil {
					t.Errorf("%s active %v: %v, %v", did, active, ok, err)
				}
			}
		}
	})
}
