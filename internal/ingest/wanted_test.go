package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// acceptance is a community's word for a post: path and record.
func acceptance(did, rkey, cid string) (path string, record map[string]any) {
	uri := "at://" + did + "/" + postPath(rkey)
	sum := sha256.Sum256([]byte(uri))
	k := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
	return index.AcceptanceCollection.String() + "/" + k, map[string]any{
		"$type": index.AcceptanceCollection.String(), "createdAt": "2026-01-01T00:00:00Z",
		"subject": map[string]any{"uri": uri, "cid": cid},
	}
}

// admitted tells what the index has of a post: nothing, that it waits for it,
// that there is none, or the post's state.
func admitted(t *testing.T, r *rig, did, rkey string) string {
	t.Helper()
	var rev, state, attempts int64
	var deleted, due bool
	err := r.db.Read().QueryRowContext(t.Context(), `
		SELECT p.rev, p.state, p.deleted, p.fetch_due IS NOT NULL, p.fetch_attempts
		FROM post p JOIN account a ON a.id = p.author_id WHERE a.did = $1 AND p.rkey = $2`, did, rkey).
		Scan(&rev, &state, &deleted, &due, &attempts)
	switch {
	case err != nil:
		return err.Error()
	case rev == 0 && due:
		return fmt.Sprintf("awaited %d", min(attempts, 1))
	case deleted:
		return "absent"
	}
	return index.State(state).String()
}

// TestWantedPosts holds that a post which is accepted before it is here is
// fetched from its author's server, that what is proven counts and nothing else.
func TestWantedPosts(t *testing.T) {
	t.Parallel()
	mallory, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		world func(w *world) // after the acceptance was made
		forge func(car []byte) []byte
		want  string
	}{
		{"as it was accepted", func(*world) {}, nil, "accepted"},
		{"edited since", func(w *world) {
			w.commit(3, bob, rev(3), recordOp{action: "update", path: postPath(key(1)), record: postRecord(commons, "edited")})
		}, nil, "pending_reacceptance"},
		{"deleted since", func(w *world) { w.commit(3, bob, rev(3), recordOp{action: "delete", path: postPath(key(1))}) }, nil, "absent"},
		{"no post at all", func(w *world) {
			w.commit(3, bob, rev(3), recordOp{action: "update", path: postPath(key(1)), raw: mustCBOR(map[string]any{"$type": "x"})})
		}, nil, "absent"},
		{"not given out", func(*world) {}, func([]byte) []byte { return nil }, "awaited 1"},
		{"signed by another", func(w *world) {
			w.rotated[bob] = mallory
			w.commit(3, bob, rev(3))
			delete(w.rotated, bob)
		}, nil, "awaited 1"},
		{"another's repository", func(w *world) {
			w.post(3, alice, 1, "of alice")
			w.mu.Lock()
			defer w.mu.Unlock()
			w.repos[bob] = w.repos[alice]
		}, nil, "awaited 1"},
		{"a record changed on the way", func(*world) {}, func(car []byte) []byte {
			return bytes.Replace(car, []byte("as written"), []byte("as changed"), 1)
		}, "awaited 1"},
		{"cut short", func(*world) {}, func(car []byte) []byte { return car[:len(car)-9] }, "awaited 1"},
		{"garbage", func(*world) {}, func([]byte) []byte { return []byte("garbage") }, "awaited 1"},
		{"huge", func(*world) {}, func(car []byte) []byte { return append(car, make([]byte, proofSize)...) }, "awaited 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t, store.SQLite) // TestWantedPostOfOfficialPDS has both engines
			w, h := newWorld(), newHost(t)
			h.serve(w)
			h.forge = tt.forge
			var ops []recordOp
			for n := 1; n <= 40; n++ { // a tree of several nodes
				ops = append(ops, recordOp{action: "create", path: postPath(key(n)), record: postRecord(commons, "as written")})
			}
			w.commit(1, bob, rev(1), ops...)
			path, record := acceptance(bob, key(1), w.repos[bob].records[postPath(key(1))].String())
			accepting := w.commit(2, commons, rev(2), recordOp{action: "create", path: path, record: record})
			tt.world(w)
			h.emit(accepting)
			r := start(t, db, quick(), w, h)
			await(t, "the post to be "+tt.want, func() bool { return admitted(t, r, bob, key(1)) == tt.want })
		})
	}
}

// TestWantedPostsBusy holds that a host is not asked for more posts at once
// than it may be, that the others go on meanwhile, and when asking ends.
func TestWantedPostsBusy(t *testing.T) {
	t.Parallel()
	w, h := newWorld(), newHost(t)
	h.serve(w)
	db := storetest.New(t, store.SQLite)
	r := command(t, db, w)
	f := newPostFetcher(r.Ingester)
	var leaves []func()
	for range r.cfg.Limits.PerHost {
		leave, ok := r.fetch.hosts.tryEnter(h.server.URL)
		if !ok {
			t.Fatal("no place at a host that nobody asks")
		}
		leaves = append(leaves, leave)
	}
	wanted := index.Wanted{Author: bob, RKey: "a"}
	if err := f.fetch(t.Context(), wanted); err != errBusy { //nolint:errorlint // it is not wrapped
		t.Errorf("a busy host: %v, want %v", err, errBusy)
	}
	for _, leave := range leaves {
		leave()
	}
	if len(r.fetch.hosts.hosts) != 0 {
		t.Error("hosts that nobody asks are remembered")
	}
	for range webWorkers {
		f.web <- struct{}{}
	}
	if err := f.fetch(t.Context(), index.Wanted{Author: "did:web:slow.example.com", RKey: "a"}); err != errBusy { //nolint:errorlint // it is not wrapped
		t.Errorf("one identity of a host of its choice too many: %v, want %v", err, errBusy)
	}
}

// TestFindKey holds that a tree which leaves out where a key would be proves
// nothing about it.
func TestFindKey(t *testing.T) {
	t.Parallel()
	known := func(k string) item { return item{key: k, value: digest{1}} }
	unknown := item{value: digest{2}}
	tests := []struct {
		name  string
		items []item
		found bool
		err   error
	}{
		{"an empty tree", nil, false, nil},
		{"there", []item{known("a"), known("m"), known("z")}, true, nil},
		{"not there", []item{known("a"), known("z")}, false, nil},
		{"not there, elsewhere unknown", []item{unknown, known("a"), known("z"), unknown}, false, nil},
		{"unknown before the next", []item{known("a"), unknown, known("z")}, false, errPartial},
		{"unknown at the end", []item{known("a"), unknown}, false, errPartial},
		{"nothing known", []item{unknown}, false, errPartial},
	}
	for _, tt := range tests {
		got, err := findKey(tt.items, "m")
		if (got != nil) != tt.found || err != tt.err { //nolint:errorlint // they are not wrapped
			t.Errorf("%s: found %v, %v; want %v, %v", tt.name, got != nil, err, tt.found, tt.err)
		}
	}
}

// TestWantedPostOfOfficialPDS holds the same with the real thing: the author's
// server is no source, and its proof shows only a part of the tree.
func TestWantedPostOfOfficialPDS(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := startRealOf(t, db, n, n.PDS[:1])
		community, author := n.NewAccount(t, 0), n.NewAccount(t, 1)
		sessions := map[string]*network.Session{}
		for _, a := range []network.Account{community, author} {
			s, err := n.SignInWithPassword(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			sessions[a.DID] = s
		}
		for range 20 {
			create(t, sessions[author.DID], postRecord(community.DID, "one of many"))
		}
		rkey := string(syntax.NewTIDNow(9))
		post, err := sessions[author.DID].CreateRecord(t.Context(), index.PostCollection.String(), rkey, postRecord(community.DID, "accepted"))
		if err != nil {
			t.Fatal(err)
		}
		path, record := acceptance(author.DID, rkey, post.CID)
		collection, k, _ := strings.Cut(path, "/")
		if _, err := sessions[community.DID].PutRecord(t.Context(), collection, k, record); err != nil {
			t.Fatal(err)
		}
		await(t, "the accepted post", func() bool { return admitted(t, r, author.DID, rkey) == "accepted" })
	})
}

// FuzzRecordProof holds that a proof which is not what a host gave out proves
// nothing else: the same record, or nothing.
func FuzzRecordProof(f *testing.F) {
	w := newWorld()
	var ops []recordOp
	for n := range 20 {
		record := postRecord(commons, "a")
		record["createdAt"] = "2026-01-01T00:00:00Z" // the same in every process
		ops = append(ops, recordOp{action: "create", path: postPath(key(n)), record: record})
	}
	w.commit(1, bob, rev(1), ops...)
	in := &Ingester{cfg: Config{Directory: w, Now: time.Now}, decode: mustMode(), keys: newKeys(w, time.Now)}
	there, absent := postPath(key(3)), postPath(key(99))
	f.Add(w.proof(bob, there))
	f.Add(w.proof(bob, absent))
	f.Add(w.export(bob))
	f.Fuzz(func(t *testing.T, car []byte) {
		if _, record, err := in.proveRecord(t.Context(), bob, there, car); err == nil &&
			(record == nil || record.cid.cid() != w.repos[bob].records[there]) {
			t.Errorf("another record is proven: %v", record)
		}
		if _, record, err := in.proveRecord(t.Context(), bob, absent, car); err == nil && record != nil {
			t.Errorf("a record that is not there is proven: %v", record)
		}
	})
}
