package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth/client"
)

// DueStore is a store that a client.Keeper can work with.
type DueStore interface {
	client.SessionStore
	client.DueStore
}

// Due is the suite for a client.DueStore.
func Due(t *testing.T, open Open[DueStore]) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, DueStore){
		"finds what is due":  findsDue,
		"answers in pages":   pages,
		"leaves out the end": leavesOutEnded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, _ := open(t)
			test(t, one)
		})
	}
}

func due(t *testing.T, s DueStore, q client.DueQuery) []client.DueSession {
	t.Helper()
	found, err := s.Due(t.Context(), q)
	if err != nil {
		t.Fatalf("Due: %v", err)
	}
	return found
}

func findsDue(t *testing.T, s DueStore) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	days := func(n int) time.Time { return now.Add(time.Duration(n) * 24 * time.Hour) }
	made := map[string]*client.SessionData{}
	add := func(name string, refreshed, ends, used time.Time) {
		d := NewSession(t)
		d.RefreshedAt, d.RefreshExpiresAt, d.UsedAt, d.CreatedAt = refreshed, ends, used, days(-200)
		save(t, s, d)
		made[name] = d
	}
	add("known end, far", days(-5), days(60), now)
	add("known end, near", days(-5), days(2), now)
	add("known end, past", days(-90), days(-1), now)
	add("unknown end, young", now, time.Time{}, now)
	add("unknown end, old", days(-2), time.Time{}, now)
	add("unused", now, days(60), days(-100))
	add("unused, unknown end", now, time.Time{}, days(-100))
	for name, c := range map[string]struct {
		q    client.DueQuery
		want []string
	}{
		"nothing asked": {client.DueQuery{}, nil},
		"ends":          {client.DueQuery{EndsBefore: days(7)}, []string{"known end, near", "known end, past"}},
		"refreshed":     {client.DueQuery{RefreshedBefore: days(-1)}, []string{"unknown end, old"}},
		"used":          {client.DueQuery{UsedBefore: days(-90)}, []string{"unused", "unused, unknown end"}},
		"all": {client.DueQuery{EndsBefore: days(7), RefreshedBefore: days(-1), UsedBefore: days(-90)},
			[]string{"known end, near", "known end, past", "unknown end, old", "unused", "unused, unknown end"}},
	} {
		var want []client.DueSession
		for _, n := range c.want {
			want = append(want, made[n].Due())
		}
		slices.SortFunc(want, func(a, b client.DueSession) int { return strings.Compare(a.ID, b.ID) })
		c.q.Limit = 100
		if diff := cmp.Diff(want, due(t, s, c.q)); diff != "" {
			t.Errorf("%s: want - got +\n%s", name, diff)
		}
	}
}

func pages(t *testing.T, s DueStore) {
	var want []string
	for range 25 {
		d := NewSession(t)
		save(t, s, d)
		want = append(want, d.ID)
	}
	slices.Sort(want)
	q := client.DueQuery{Limit: 10, EndsBefore: time.Now().Add(365 * 24 * time.Hour)}
	var got []string
	for _, size := range []int{10, 10, 5, 0} {
		page := due(t, s, q)
		if len(page) != size {
			t.Fatalf("a page of %d, want %d", len(page), size)
		}
		for _, d := range page {
			got = append(got, d.ID)
			q.After = d.ID
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all pages, want - got +\n%s", diff)
	}
}

func leavesOutEnded(t *testing.T, s DueStore) {
	d := fresh(t, s)
	if err := s.Delete(t.Context(), d.ID, client.ReasonRevoked); err != nil {
		t.Fatal(err)
	}
	if found := due(t, s, client.DueQuery{Limit: 10, EndsBefore: time.Now().Add(365 * 24 * time.Hour)}); len(found) != 0 {
		t.Errorf("%d sessions are due, want none: the only one has ended", len(found))
	}
}
