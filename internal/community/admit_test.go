package community

import (
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/store"
)

// TestAuthorizedService holds A11 where not everybody may post: a service that
// the community has authorized is let in as long as it is, and as long as it is
// not banned.
func TestAuthorizedService(t *testing.T) {
	t.Parallel()
	for _, admission := range []Admission{Members, Approval} {
		t.Run(string(admission), func(t *testing.T) {
			t.Parallel()
			eachVillage(t, Policy{Admission: admission}, func(t *testing.T, v *village) {
				authorize := func(community, service syntax.DID, enabled bool) {
					put(t, v.db, v.index, community, index.AuthorizationCollection, "a", map[string]any{
						"$type": string(index.AuthorizationCollection), "aggregatorDid": string(service), "communityDid": string(community),
						"enabled": enabled, "createdAt": "2026-01-02T03:04:05Z", "createdBy": string(alice)})
				}
				waits := "pending waits for " + map[Admission]string{Members: "member", Approval: "approval"}[admission]
				authorize(crook, guest.DID, true)
				before, _ := v.write(t, guest, garden, "", "authorized by somebody else")
				v.expect(t, "authorized by somebody else", before, waits)
				authorize(garden, guest.DID, true)
				news, _ := v.write(t, guest, garden, "", "news")
				v.expect(t, "authorized", news, "accepted")
				other, _ := v.write(t, member, garden, "", "not me")
				v.expect(t, "somebody else", other, waits)
				authorize(garden, guest.DID, false)
				late, _ := v.write(t, guest, garden, "", "more news")
				v.expect(t, "not any more", late, waits)
				authorize(garden, guest.DID, true)
				_, err := v.Ban(t.Context(), actor, BanInput{Community: string(garden), Person: string(guest.DID), Reason: "spam"})
				check(t, err)
				v.expect(t, "banned", late, "removed author-banned")
			})
		})
	}
}

// TestInactiveCommunity holds S40 for communities: while the account of one is
// not active nothing is written there and nothing fails; afterwards everything
// that came meanwhile is decided.
func TestInactiveCommunity(t *testing.T) {
	t.Parallel()
	eachVillage(t, Policy{Admission: Open}, func(t *testing.T, v *village) {
		becomes := func(active bool, at time.Time) {
			t.Helper()
			check(t, v.db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := v.index.ApplyAccounts(t.Context(), tx, []index.AccountEvent{{DID: garden,
					Status: &index.Status{Active: active, Reason: map[bool]string{false: "deactivated"}[active], At: at}}})
				return err
			}))
		}
		expect := func(what string, post syntax.ATURI, want index.State) {
			t.Helper()
			v.work(t)
			if standing, ok, err := v.index.Standing(t.Context(), post); err != nil || !ok || standing.State != want {
				t.Errorf("%s: the post is %s, want %s (%v)", what, standing.State, want, err)
			}
		}
		becomes(false, time.Now())
		writes := len(v.repos.in(garden, index.AcceptanceCollection))
		post, _ := v.write(t, guest, garden, "", "is anybody there?")
		expect("inactive", post, index.Pending)
		v.do(t, job.Insert{Kind: sweepJob})
		expect("swept", post, index.Pending)
		check(t, v.db.Tx(t.Context(), func(tx *store.Tx) error {
			return v.decideSoon(t.Context(), tx, deciding{garden, guest.DID, post.RecordKey()}, 0)
		}))
		expect("asked for", post, index.Pending)
		if n := len(v.repos.in(garden, index.AcceptanceCollection)); n != writes {
			t.Errorf("%d acceptances, want %d", n, writes)
		}
		becomes(true, time.Now().Add(time.Second))
		v.do(t, job.Insert{Kind: sweepJob})
		expect("active again", post, index.Accepted)
	})
}
