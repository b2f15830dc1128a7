package ingest

import (
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// later is an Ingester that does not run, with a clock that is ahead.
func later(t *testing.T, db *store.DB, dir Directory, ahead time.Duration) *rig {
	t.Helper()
	r := command(t, db, dir)
	now := func() time.Time { return time.Now().Add(ahead) }
	x, err := index.New(index.Config{DB: db, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Index, r.cfg.Now, r.cfg.Retention, r.lease.off = x, now, Retention{}.withDefaults(), true
	return r
}

func gateRows(t *testing.T, db *store.DB) (n int) {
	t.Helper()
	if err := db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM post WHERE deleted AND rev > 0`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGatesArePruned holds that rows of deleted records go after 30 days where
// the repository is verified beyond them, and that nothing comes back all the
// same: not from a source that is far behind, not from a Jetstream, not from a
// dead letter.
func TestGatesArePruned(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, h, behind := newWorld(), newHost(t), newHost(t)
		h.serve(w)
		remove := func(n int) recordOp { return recordOp{action: "delete", path: postPath(key(n))} }
		first := w.post(1, alice, 1, "gone")
		frames := []sent{first, w.commit(2, alice, rev(2), remove(1)), w.post(3, alice, 3, "here"),
			w.post(4, bob, 1, "gone, and nothing since"), w.commit(5, bob, rev(2), remove(1))}
		h.emit(frames...)
		r := start(t, db, quick(), w, h)
		await(t, "the deletes", func() bool { return r.cursor(t, h) == 5 && gateRows(t, db) == 2 })
		r.stop()
		for _, step := range []struct {
			days int
			want int64
		}{{29, 0}, {29, 0}, {31, 0}, {31, 1}, {31, 0}} { // noted first, removed the next time
			// The records of the test are of 1 January.
			ahead := time.Until(rev(2).Time().Add(time.Duration(step.days) * 24 * time.Hour))
			if n, err := (tidier{later(t, db, w, ahead).Ingester}).gates(t.Context()); n != step.want || err != nil {
				t.Errorf("after %d days %d gates were removed, %v; want %d", step.days, n, err, step.want)
			}
		}
		if n := gateRows(t, db); n != 1 {
			t.Fatalf("%d gates, want that of the repository that nobody has verified beyond", n)
		}
		behind.serve(w)
		behind.emit(first, frames[3])
		again := start(t, db, quick(), w, behind)
		await(t, "the late events", func() bool { return again.cursor(t, behind) == 4 })
		// The repository was never here as a whole: it is fetched.
		await(t, "the repository", func() bool { _, base, wanted, _, _ := repoState(t, again, alice); return base > 0 && !wanted })
		again.stop()
		u := unit{did: alice}
		repos, err := again.loadRepos(t.Context(), dids(alice))
		if err != nil {
			t.Fatal(err)
		}
		again.fetch.sink.flat(t.Context(), &u, &flatCommit{Rev: string(rev(1)), Operation: "create"}, repos[alice])
		if !u.empty() {
			t.Error("a Jetstream's late copy would be applied")
		}
		if diff := cmp.Diff(map[string]string{alice + "/" + key(3): "here"}, again.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
	})
}

// TestTooLate holds what becomes of commits that nothing would hold back.
func TestTooLate(t *testing.T) {
	t.Parallel()
	in := command(t, storetest.New(t, store.SQLite), nil).Ingester
	w := newWorld()
	late := w.event(1, alice, rev(1), recordOp{action: "create", path: postPath(key(1)), record: postRecord(commons, "a")})
	e, err := decodeFrame(mode(t), frame(1, "#commit", body{late}).bytes)
	if err != nil {
		t.Fatal(err)
	}
	n := func(i int) int64 { return int64(rev(i).Integer()) }
	for name, tt := range map[string]struct {
		r    repo
		want string
	}{
		"never here as a whole": {repo{known: true, rev: n(9), pruned: n(5)}, wantGap},
		"here as it was before": {repo{known: true, rev: n(9), pruned: n(5), base: n(0) + 1}, ""},
	} {
		v := in.judge(t.Context(), alice, &tt.r, e.commit)
		got := ""
		if v.step != nil {
			got = v.step.want
		}
		if v.apply || v.drop != nil || got != tt.want {
			t.Errorf("%s: applied %v, dropped %v, fetched because of %q; want %q", name, v.apply, v.drop, got, tt.want)
		}
	}
}

// TestDeletedAccounts holds S40's end: what a deleted account wrote goes after
// its time, and should it come back, its next commit has the repository fetched.
func TestDeletedAccounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, h := newWorld(), newHost(t)
		h.serve(w)
		h.statuses[alice] = "deleted"
		h.emit(w.post(1, alice, 1, "a"), w.post(2, bob, 2, "b"), accountFrame(3, alice, false, "deleted"))
		r := start(t, db, quick(), w, h)
		await(t, "the end of alice", func() bool { return r.cursor(t, h) == 3 })
		r.stop()
		kept := func() (n int) {
			if err := db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM post WHERE NOT deleted`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, step := range []struct {
			days    int
			removed int64
			kept    int
		}{{29, 0, 2}, {31, 1, 1}, {31, 0, 1}} {
			n, err := tidier{later(t, db, w, time.Duration(step.days)*24*time.Hour).Ingester}.accounts(t.Context())
			if n != step.removed || kept() != step.kept || err != nil {
				t.Errorf("after %d days: %d accounts removed, %d posts kept, %v", step.days, n, kept(), err)
			}
		}
		repos, err := r.loadRepos(t.Context(), dids(alice))
		if err != nil || repos[alice].data != nil {
			t.Errorf("the repository of alice is still one that commits can follow: %+v, %v", repos[alice], err)
		}
		h.do(func() { delete(h.statuses, alice) })
		h.emit(accountFrame(4, alice, true, ""), w.post(5, alice, 5, "back"))
		again := start(t, db, quick(), w, h)
		await(t, "her repository", func() bool { _, base, wanted, _, _ := repoState(t, again, alice); return base > 0 && !wanted })
	})
}

func dids(list ...syntax.DID) []syntax.DID { return list }
