package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// startReal runs an Ingester over both official PDSes, with production parts.
func startReal(t *testing.T, db *store.DB, n *network.Network) *rig {
	t.Helper()
	return startRealOf(t, db, n, n.PDS)
}

// startRealOf follows some of them.
func startRealOf(t *testing.T, db *store.DB, n *network.Network, followed []network.PDS) *rig {
	t.Helper()
	var origins []string
	for _, p := range followed {
		origins = append(origins, p.URL)
	}
	return startRealAt(t, db, n, origins)
}

// startRealAt follows streams of n by their addresses.
func startRealAt(t *testing.T, db *store.DB, n *network.Network, origins []string) *rig {
	t.Helper()
	guard, err := egress.New(egress.Config{Route: n.Route, Dev: true}) // the directory is on loopback
	if err != nil {
		t.Fatal(err)
	}
	fetch := guard.Client(egress.Limits{Timeout: patience, MaxBytes: 1 << 20, Redirects: 3})
	dir, err := identity.New(identity.Config{HTTP: fetch, PLCURL: n.PLC, Dev: true, DevHandles: handles(n)})
	if err != nil {
		t.Fatal(err)
	}
	x, err := index.New(index.Config{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	var sources []Source
	for _, origin := range origins {
		sources = append(sources, Source{Kind: Repos, URL: origin})
	}
	log, reg := &lockedBuffer{}, prometheus.NewRegistry()
	in, err := New(Config{DB: db, Index: x, Sources: sources, Stream: guard.Client(egress.Limits{}), Fetch: fetch, Hosting: Hosting{Skip: true},
		Repos:     guard.Client(egress.Limits{Timeout: time.Minute}),
		Directory: patient{dir}, Logger: slog.New(slog.NewTextHandler(log, nil)), Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Ingester: in, db: db, index: x, log: log, reg: reg}
	r.run(t)
	return r
}

// patient waits for a directory that is busy with other tests for longer than
// a batch does, so that every commit can be verified as it comes.
type patient struct{ Directory }

func (p patient) LookupDocument(ctx context.Context, did syntax.DID, maxAge time.Duration) (*sdk.Identity, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return p.Directory.LookupDocument(ctx, did, maxAge)
}

func handles(n *network.Network) map[string]string {
	out := map[string]string{}
	for _, p := range n.PDS {
		out[p.HandleDomain] = p.URL
	}
	return out
}

// TestOfficialPDS holds I1, I4 and S41 on the real thing: what other clients
// write to either server is here, with the author's handle, also when one
// commit touches a record several times.
func TestOfficialPDS(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := startReal(t, db, n)
		community := n.NewAccount(t, 0)
		for i := range n.PDS {
			author := n.NewAccount(t, i)
			s, err := n.SignInWithPassword(t.Context(), author)
			if err != nil {
				t.Fatal(err)
			}
			plain := create(t, s, postRecord(community.DID, "plain"))
			nul := create(t, s, postRecord(community.DID, "a\x00b"))
			several := severalAtOnce(t, s, community.DID)
			for range 30 { // a tree of several nodes, of which commits show a part
				create(t, s, postRecord(community.DID, "one of many"))
			}
			last := create(t, s, postRecord(community.DID, "last"))
			await(t, "the last post", func() bool { return r.shown(t)[last] == "last" })
			got := r.shown(t)
			if got[plain] != "plain" || got[several[0]] != "second" {
				t.Errorf("got %q and %q, want plain and second", got[plain], got[several[0]])
			}
			for _, absent := range []string{nul, several[1]} {
				if title, there := got[absent]; there {
					t.Errorf("%s is there: %q", absent, title)
				}
			}
			want := fmt.Sprintf("%s %s  due=false", author.Handle, n.PDS[i].URL)
			await(t, "handle and server: "+want, func() bool { return known(t, db, author.DID) == want })
			if rev, base, wanted, _, _ := repoState(t, r, author.DID); rev == 0 || base != 0 || wanted {
				t.Errorf("not every commit of %s was verified: rev %d, fetched at %d, to be fetched %v", author.DID, rev, base, wanted)
			}
		}
	})
}

// create writes a post as another client would and names it.
func create(t *testing.T, s *network.Session, record map[string]any) string {
	t.Helper()
	k := string(syntax.NewTIDNow(9))
	if _, err := s.CreateRecord(t.Context(), index.PostCollection.String(), k, record); err != nil {
		t.Fatal(err)
	}
	return s.Account.DID + "/" + k
}

// severalAtOnce makes one commit that creates and updates a record, and
// creates and deletes another.
func severalAtOnce(t *testing.T, s *network.Session, community string) [2]string {
	t.Helper()
	keys := [2]string{string(syntax.NewTIDNow(10)), string(syntax.NewTIDNow(11))}
	write := func(verb, key, title string) map[string]any {
		w := map[string]any{"$type": "com.atproto.repo.applyWrites#" + verb,
			"collection": index.PostCollection.String(), "rkey": key}
		if title != "" {
			w["value"] = postRecord(community, title)
		}
		return w
	}
	in := map[string]any{"repo": s.Account.DID, "writes": []any{
		write("create", keys[0], "first"), write("update", keys[0], "second"),
		write("create", keys[1], "gone"), write("delete", keys[1], ""),
	}}
	if err := s.Call(t.Context(), "com.atproto.repo.applyWrites", in, nil); err != nil {
		t.Fatal(err)
	}
	return [2]string{s.Account.DID + "/" + keys[0], s.Account.DID + "/" + keys[1]}
}

// TestOfficialAccountEvents holds that deactivating hides at once, on the real
// stream, and that reactivating brings everything back.
func TestOfficialAccountEvents(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := startReal(t, db, n)
		author := n.NewAccount(t, 1)
		s, err := n.SignInWithPassword(t.Context(), author)
		if err != nil {
			t.Fatal(err)
		}
		post := create(t, s, postRecord(author.DID, "here"))
		await(t, "the post", func() bool { return r.shown(t)[post] == "here" })
		if err := s.Call(t.Context(), "com.atproto.server.deactivateAccount", map[string]any{}, nil); err != nil {
			t.Fatal(err)
		}
		await(t, "the post to be hidden", func() bool { return r.shown(t)[post] == "" })
		if err := s.Call(t.Context(), "com.atproto.server.activateAccount", nil, nil); err != nil {
			t.Fatal(err)
		}
		await(t, "the post to be back", func() bool { return r.shown(t)[post] == "here" })
	})
}
