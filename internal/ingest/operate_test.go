package ingest

import (
	"context"
	"fmt"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// past fills a world with what a few accounts did, and returns what is left.
func past(w *world, h *host) map[string]string {
	frames, left := historyIn(w, 120)
	w.commit(900, "did:plc:stranger", rev(900), recordOp{action: "create", path: "app.bsky.feed.like/" + key(1),
		record: map[string]any{"$type": "app.bsky.feed.like"}})
	h.serve(w)
	h.emit(frames...)
	return left
}

// TestBackfillEqualsLive holds I9: an index that is built from whole
// repositories is the one that was built from the stream.
func TestBackfillEqualsLive(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				w, h := newWorld(), newHost(t)
				h.plain = plain
				left := past(w, h)
				live := start(t, storetest.New(t, store.SQLite), quick(), w, h)
				await(t, "the stream's end", func() bool { return live.cursor(t, h) == 120 })
				r := command(t, db, w)
				p, err := r.BackfillSource(t.Context(), h.server.URL, func(Progress) {})
				if err != nil || p.Left != 0 || p.Failed != 0 || p.Listed < 20 {
					t.Fatalf("backfill: %+v, %v", p, err)
				}
				if diff := cmp.Diff(left, r.shown(t)); diff != "" {
					t.Errorf("posts (-left +backfilled):\n%s", diff)
				}
				if diff := cmp.Diff(rowsOf(t, live.db), rowsOf(t, db)); diff != "" {
					t.Errorf("rows (-live +backfilled):\n%s", diff)
				}
				before := h.gets
				if _, err := r.BackfillSource(t.Context(), h.server.URL, func(Progress) {}); err != nil || h.gets > before+1 {
					t.Errorf("a second backfill fetched %d repositories again, %v", h.gets-before, err) // one has nothing of ours
				}
			})
		})
	}
}

// rowsOf lists what is stored of posts, less what design.md leaves out of the
// comparison: the moment of indexing, the revision that told, and edits, of
// which a repository does not tell.
func rowsOf(t *testing.T, db *store.DB) map[string]string {
	t.Helper()
	rows, err := db.Read().QueryContext(t.Context(), `
		SELECT a.did, p.rkey, c.did, p.cid, p.created_at, p.state, p.record
		FROM post p JOIN account a ON a.id = p.author_id JOIN account c ON c.id = p.community_id WHERE NOT p.deleted`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var did, rkey, community, cid string
		var created, state int64
		var record []byte
		if err := rows.Scan(&did, &rkey, &community, &cid, &created, &state, &record); err != nil {
			t.Fatal(err)
		}
		out[did+"/"+rkey] = fmt.Sprint(community, cid, created, state, string(record))
	}
	return out
}

// command is an Ingester that does not run, as commands have it.
func command(t *testing.T, db *store.DB, dir Directory) *rig {
	t.Helper()
	r, err := newRig(db, quick(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBackfillResumes holds that a list is read on where it was left, and that
// what was listed is fetched by the server.
func TestBackfillResumes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, h := newWorld(), newHost(t)
		left := past(w, h)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := command(t, db, w).BackfillSource(ctx, h.server.URL, func(p Progress) {
			if p.Listed >= 6 {
				cancel()
			}
		})
		if err == nil {
			t.Fatal("the backfill was not interrupted")
		}
		start(t, db, quick(), w) // without a source
		await(t, "what was listed to be fetched", func() bool {
			o, err := command(t, db, w).Overview(t.Context())
			return err == nil && o.Wanted == 0 && o.Repositories >= 4 && o.Ingesting
		})
		r := command(t, db, w)
		if _, err := r.BackfillSource(t.Context(), h.server.URL, func(Progress) {}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(left, r.shown(t)); diff != "" {
			t.Errorf("posts (-left +backfilled):\n%s", diff)
		}
		h.do(func() {
			seen := map[string]bool{"": true} // each list begins there
			for _, cursor := range h.lists {
				if seen[cursor] && cursor != "" {
					t.Errorf("page %s was asked for twice", cursor)
				}
				seen[cursor] = true
			}
		})
	})
}

// TestBackfillAndVerify holds I7: a repository is compared and rebuilt, deletes
// included, and one that cannot be had is said to be so.
func TestBackfillAndVerify(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, h := newWorld(), newHost(t)
		h.serve(w)
		h.emit(w.post(1, alice, 1, "a"), w.post(2, alice, 2, "b"))
		live := start(t, db, quick(), w, h)
		await(t, "the beginning", func() bool { return live.cursor(t, h) == 2 })
		live.stop()
		w.commit(3, alice, rev(3), recordOp{action: "delete", path: postPath(key(1))},
			recordOp{action: "update", path: postPath(key(2)), record: postRecord(commons, "B")},
			recordOp{action: "create", path: postPath(key(3)), record: postRecord(commons, "c")},
			recordOp{action: "create", path: postPath(key(4)), record: postRecord("nobody", "d")})
		r := command(t, db, w)
		want := Difference{Rev: rev(3), Missing: 1, Extra: 1, Different: 1, Malformed: 1}
		if got, err := r.Verify(t.Context(), alice); err != nil || got != want {
			t.Errorf("verify: %+v, %v; want %+v", got, err, want)
		}
		failed, err := r.Backfill(t.Context(), []syntax.DID{alice, "did:plc:nobody"}, func(Progress) {})
		if err != nil || len(failed) != 0 {
			t.Errorf("backfill: %v, %v", failed, err)
		}
		if got, err := r.Verify(t.Context(), alice); err != nil || got != (Difference{Rev: rev(3), Same: 2, Malformed: 1}) {
			t.Errorf("verify after the backfill: %+v, %v", got, err)
		}
		if o, err := r.Overview(t.Context()); err != nil || len(o.Drops) != 1 || o.Drops[0].Count != 1 {
			t.Errorf("what the backfill passed over: %+v, %v; want one record", o.Drops, err)
		}
		if diff := cmp.Diff(map[string]string{alice + "/" + key(2): "B", alice + "/" + key(3): "c"}, r.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		h.server.Close()
		failed, err = r.Backfill(t.Context(), []syntax.DID{alice}, func(Progress) {})
		if err != nil || failed[alice] == "" {
			t.Errorf("backfill from a host that is down: %v, %v", failed, err)
		}
	})
}

// TestRetry holds I5: a dead letter is driven again, stays while it is refused,
// and gives way to a repository that was fetched since.
func TestRetry(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		execute(t, db, `CREATE UNIQUE INDEX poison ON post (cid)`)
		w, h := newWorld(), newHost(t)
		h.serve(w)
		twin := postRecord(commons, "twin")
		h.emit(w.commit(1, alice, rev(1), recordOp{action: "create", path: postPath(key(1)), record: twin}),
			w.commit(2, bob, rev(2), recordOp{action: "create", path: postPath(key(2)), record: twin}))
		live := start(t, db, quick(), w, h)
		await(t, "the dead letter", func() bool { return live.cursor(t, h) == 2 })
		live.stop()
		r := command(t, db, w)
		letters, err := r.Dead(t.Context(), 10)
		if err != nil || len(letters) != 1 || letters[0].DID != bob || letters[0].RKey != key(2) || letters[0].Attempts != 1 {
			t.Fatalf("dead letters %+v, %v", letters, err)
		}
		try := func(want Retried) {
			t.Helper()
			if got, err := r.Retry(t.Context(), letters[0].ID); err != nil || got != want {
				t.Errorf("retry: %s, %v; want %s", got, err, want)
			}
		}
		try(RetryRefused)
		if again, err := r.Dead(t.Context(), 10); err != nil || len(again) != 1 || again[0].Attempts != 2 {
			t.Errorf("dead letters %+v, %v; want a second attempt", again, err)
		}
		execute(t, db, `DROP INDEX poison`)
		try(RetryApplied)
		try(RetryAbsent)
		if got := r.shown(t); len(got) != 2 {
			t.Errorf("posts %v, want both", got)
		}
	})
}

// TestLetters holds that what is kept of an event is all of it.
func TestLetters(t *testing.T) {
	t.Parallel()
	record := postRecord(commons, "a")
	record["n"] = int64(1) << 60
	u := unit{did: alice, rev: rev(1), ops: []index.Op{
		{Action: index.Create, Collection: index.PostCollection, RKey: "a", CID: "what a stream said", Record: record},
		{Action: index.Delete, Collection: index.PostCollection, RKey: "c"},
		{Action: index.Update, Collection: index.PostCollection, RKey: "d", Malformed: reasonCBOR},
	}}
	payload, err := encodeLetter(u)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeLetter(payload)
	if diff := cmp.Diff(u.ops, got.ops); diff != "" || err != nil || got.did != u.did || got.rev != u.rev {
		t.Errorf("%v (-kept +read):\n%s", err, diff)
	}
}
