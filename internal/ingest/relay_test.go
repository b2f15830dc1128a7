package ingest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// TestRealRelay holds I1 and I3: both official PDSes through a relay that
// others have written, and beside it one of them directly. Every commit is
// verified, each record is there once, statuses arrive, and who was there
// before comes by a backfill from the relay's list.
func TestRealRelay(t *testing.T) {
	t.Parallel()
	n := network.Start(t, network.Config{Plain: true}).Network
	relay := n.StartRelay(t)
	want := map[string]string{} // what is there before we are
	for i := range n.PDS {
		s := signIn(t, n, i)
		want[create(t, s, postRecord(commons, "before"))] = "before"
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := startRealAt(t, db, n, []string{relay, n.PDS[1].URL})
		await(t, "the connections", func() bool {
			for _, s := range r.Status() {
				if !s.Connected {
					return false
				}
			}
			return true
		})
		mine := map[string]string{}
		var last []string
		for i := range n.PDS {
			s := signIn(t, n, i)
			for range 5 {
				mine[create(t, s, postRecord(commons, "through the relay"))] = "through the relay"
			}
			several := severalAtOnce(t, s, commons)
			mine[several[0]] = "second"
			last = append(last, create(t, s, postRecord(commons, "last")))
			mine[last[i]] = "last"
			await(t, "the last post of each", func() bool { return r.shown(t)[last[i]] == "last" })
			rev, base, wanted, _, _ := repoState(t, r, s.Account.DID)
			if rev == 0 || base != 0 || wanted {
				t.Errorf("not every commit of PDS %d was verified: rev %d, fetched at %d, to be fetched %v", i, rev, base, wanted)
			}
			if err := s.Call(t.Context(), "com.atproto.server.deactivateAccount", map[string]any{}, nil); err != nil {
				t.Fatal(err)
			}
			await(t, "a deactivated account to be hidden", func() bool { return r.shown(t)[last[i]] == "" })
			if err := s.Call(t.Context(), "com.atproto.server.activateAccount", nil, nil); err != nil {
				t.Fatal(err)
			}
			await(t, "it to be back", func() bool { return r.shown(t)[last[i]] == "last" })
		}
		if p, err := r.BackfillSource(t.Context(), relay, func(Progress) {}); err != nil || p.Failed > 0 {
			t.Fatalf("backfill from the relay: %+v, %v", p, err)
		}
		got := r.shown(t)
		for name := range got { // of the other engine's turn
			if _, ours := mine[name]; !ours && want[name] == "" {
				delete(got, name)
			}
		}
		for name, title := range want {
			mine[name] = title
		}
		if diff := cmp.Diff(mine, got); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		if n := r.metric(t, "dropped_total", ""); n > 0 {
			t.Errorf("%v events of honest servers were dropped", n)
		}
	})
}

func signIn(t *testing.T, n *network.Network, pds int) *network.Session {
	t.Helper()
	s, err := n.SignInWithPassword(t.Context(), n.NewAccount(t, pds))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
