package post

import (
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestPostsGoToCommunities holds C1 for what is posted to: an account that is no
// community, or none that is active, is not found, and nothing is written.
func TestPostsGoToCommunities(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk()
		s, x := newService(t, db, d, people{})
		to := func(community string) string {
			_, err := s.Create(t.Context(), actor, CreateInput{Community: community, Title: "t"})
			if err == nil {
				return "written"
			}
			return fault.From(err).Code
		}
		for _, community := range []string{string(bob), "@alice.example.com", "!alice.example.com", "nobody.example.com"} {
			if got := to(community); got != "CommunityNotFound" {
				t.Errorf("to %s: %q", community, got)
			}
		}
		d.untouched(t)
		if got := to(string(commons)); got != "written" {
			t.Errorf("to a community: %q", got)
		}
		becomes := func(active bool, at time.Time) {
			t.Helper()
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := x.ApplyAccounts(t.Context(), tx, []index.AccountEvent{{DID: commons,
					Status: &index.Status{Active: active, Reason: map[bool]string{false: "deactivated"}[active], At: at}}})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		becomes(false, time.Now())
		if got := to(string(commons)); got != "CommunityNotFound" {
			t.Errorf("to a deactivated community: %q", got)
		}
		if len(d.done) != 1 {
			t.Errorf("wrote %d times", len(d.done))
		}
		becomes(true, time.Now().Add(time.Second))
		if got := to(string(commons)); got != "written" {
			t.Errorf("active again: %q", got)
		}
	})
}
