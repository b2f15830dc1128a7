package index

import (
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestRankedPlans holds that SQLite walks indexes for what is asked often of the
// database alone, however many posts there are.
func TestRankedPlans(t *testing.T) {
	t.Parallel()
	x := newIndex(t, storetest.New(t, store.SQLite))
	after := &RankKey{1, 1}
	for _, tt := range []struct {
		name, extra string
		q           RankQuery
		uses        string
		sorts       bool // within bands
	}{
		{"the newest", "", RankQuery{Order: ByNew, After: after, Limit: 10}, "post_newest", false},
		{"the newest before", "", RankQuery{Order: ByNew, Before: 5, Limit: 10}, "post_newest", false},
		{"the hottest of a community", "", RankQuery{Community: 7, Order: ByHot, After: after, Limit: 10}, "post_rank_hot", true},
		{"the best of all times", " AND r.top_band > 0", RankQuery{Order: ByTop, After: after, Limit: 10}, "post_rank_top", true},
	} {
		query, args := rankedQuery(tt.q, tt.extra)
		plan := planOf(t, x, query, args)
		whole := strings.Contains(plan, "USE TEMP B-TREE FOR ORDER BY")
		if !strings.Contains(plan, tt.uses) || whole || !tt.sorts && strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s:\n%s", tt.name, plan)
		}
	}
}

// planOf is how SQLite would answer a query.
func planOf(t *testing.T, x *Index, query string, args []any) string {
	t.Helper()
	rows, err := x.db.Read().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	var plan strings.Builder
	err = each(rows, func() error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		plan.WriteString(detail + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// TestFollowedPlan holds that a member's communities are found from their
// subscriptions, not among all that there are: every page of theirs asks.
func TestFollowedPlan(t *testing.T) {
	t.Parallel()
	x := newIndex(t, storetest.New(t, store.SQLite))
	query, args := x.communityQuery(Viewer{DID: alice, ID: 1}, CommunityQuery{Order: Alphabetical, Followed: true, Limit: 10})
	plan := planOf(t, x, query, args)
	if !strings.Contains(plan, "SEARCH m USING") || strings.Contains(plan, "SCAN") {
		t.Errorf("the plan looks at every community:\n%s", plan)
	}
}
