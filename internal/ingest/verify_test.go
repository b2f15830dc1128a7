package ingest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lexutil "github.com/bluesky-social/indigo/lex/util"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// forgery is one way in which a commit can lie.
type forgery struct {
	name   string
	change func(e *commitEvent)
	reason index.Reason
}

func forgeries() []forgery {
	without := func(e *commitEvent, what func(block []byte) bool) {
		b, _ := readCAR(e.Blocks)
		var kept [][]byte
		for _, data := range b {
			if !what(data) {
				kept = append(kept, data)
			}
		}
		e.Blocks = carOf(cidOf(nil), kept...)
	}
	sign := func(e *commitEvent, did, rev string) {
		b, _ := readCAR(e.Blocks)
		d, _ := (&link{cid: (lexCID)(e.Commit)}).digest()
		h, _ := parseHead(mustMode(), b[*d])
		head := signedCommit(keyOf(bob), did, rev, h.data.cid())
		e.Commit = lexutil.LexLink(cidOf(head))
		var all [][]byte
		for _, data := range b {
			all = append(all, data)
		}
		e.Blocks = carOf(cidOf(nil), append(all, head)...)
	}
	other := func(text string) *lexutil.LexLink { l := lexutil.LexLink(cidOf([]byte(text))); return &l }
	return []forgery{
		{"signed by somebody else", func(e *commitEvent) { sign(e, e.Repo, e.Rev) }, reasonSignature},
		{"of another account", func(e *commitEvent) { sign(e, bob, e.Rev) }, reasonProof},
		{"of another revision", func(e *commitEvent) { e.Rev = string(rev(50)) }, reasonProof},
		{"an operation left out", func(e *commitEvent) { e.Ops = e.Ops[1:] }, reasonProof},
		{"an operation too many", func(e *commitEvent) {
			o := *e.Ops[0]
			o.Path = postPath(key(99))
			e.Ops = append(e.Ops, &o)
		}, reasonProof},
		{"another record", func(e *commitEvent) { e.Ops[0].Cid = other("x") }, reasonProof},
		{"a delete of what is there", func(e *commitEvent) {
			e.Ops[0].Action, e.Ops[0].Cid, e.Ops[0].Prev = "delete", nil, other("x")
		}, reasonProof},
		{"a delete of what never was", func(e *commitEvent) {
			o := *e.Ops[0]
			o.Action, o.Path, o.Cid, o.Prev = "delete", postPath(key(98)), nil, other("x")
			e.Ops = append(e.Ops, &o)
		}, reasonProof},
		{"an update of what never was", func(e *commitEvent) { e.Ops[0].Action, e.Ops[0].Prev = "update", other("x") }, reasonProof},
		{"wrong tree before", func(e *commitEvent) { e.PrevData = other("x") }, reasonProof},
		{"no tree before", func(e *commitEvent) { e.PrevData = nil }, reasonProof},
		{"no commit block", func(e *commitEvent) {
			without(e, func(b []byte) bool { return bytes.Contains(b, []byte("version")) })
		}, reasonProof},
		{"no tree", func(e *commitEvent) { without(e, isNode) }, reasonProof},
		{"no record", func(e *commitEvent) {
			without(e, func(b []byte) bool { return bytes.Contains(b, []byte("$type")) })
		}, reasonProof},
		{"no blocks", func(e *commitEvent) { e.Blocks = nil }, reasonProof},
		{"too many operations", func(e *commitEvent) { e.Ops = slices.Repeat(e.Ops, 300) }, reasonProof},
		{"a revision in the future", func(e *commitEvent) {
			e.Rev = string(syntax.NewTIDFromTime(time.Now().Add(time.Hour), 0))
		}, reasonFuture},
		{"a revision that is none", func(e *commitEvent) { e.Rev = "soon" }, index.ReasonRev},
	}
}

// TestForgedCommits holds I1: whatever a host makes of a commit, it is not
// applied; the repository is fetched from its own server, and what is there
// is what is shown.
func TestForgedCommits(t *testing.T) {
	t.Parallel()
	for _, f := range forgeries() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w, h := newWorld(), newHost(t)
			h.serve(w)
			h.emit(w.post(1, alice, 1, "a"))
			e := w.event(2, alice, rev(2), recordOp{action: "create", path: postPath(key(2)), record: postRecord(commons, "b")})
			f.change(e)
			h.emit(frame(2, "#commit", body{e}))
			r := start(t, storetest.New(t, store.SQLite), quick(), w, h)
			await(t, "the forgery to be dropped", func() bool { return r.metric(t, "dropped_total", string(f.reason)) == 1 })
			h.emit(w.post(3, alice, 3, "c")) // shows the gap, also where the forgery did not even tell the account
			await(t, "what the repository holds", func() bool { return len(r.shown(t)) == 3 })
		})
	}
}

// TestChain holds that what is missing between two commits is noticed and
// fetched, that deletes among it are, and that nothing older comes back.
func TestChain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, h := newWorld(), newHost(t)
		h.serve(w)
		h.emit(w.post(1, alice, 1, "a"), w.post(2, alice, 2, "b"))
		third := w.post(3, alice, 3, "c")
		w.commit(4, alice, rev(4), recordOp{action: "delete", path: postPath(key(1))},
			recordOp{action: "update", path: postPath(key(2)), record: postRecord(commons, "B")})
		w.commit(5, alice, rev(5), recordOp{action: "delete", path: postPath(key(3))})
		r := start(t, db, quick(), w, h)
		await(t, "the beginning", func() bool { return r.cursor(t, h) == 2 })
		h.emit(w.post(6, alice, 6, "f"))
		await(t, "the rest", func() bool {
			got := r.shown(t)
			return len(got) == 2 && got[alice+"/"+key(2)] == "B" && got[alice+"/"+key(6)] == "f"
		})
		await(t, "the end of the fetch", func() bool { _, base, wanted, _, _ := repoState(t, r, alice); return base > 0 && !wanted })
		if _, _, _, reason, _ := repoState(t, r, alice); reason != wantGap {
			t.Errorf("fetched because of %q, want a gap", reason)
		}
		h.emit(third, w.post(7, alice, 7, "g")) // the first is from before the fetch
		await(t, "the last", func() bool { return r.cursor(t, h) == 7 })
		if got := r.shown(t); len(got) != 3 {
			t.Errorf("shown %v: something came back", got)
		}
		if h.do(func() {}); h.gets != 1 {
			t.Errorf("fetched %d times, want once", h.gets)
		}
	})
}

// TestLeaps holds #sync and tooBig: the repository is fetched when it is
// elsewhere, and not when it is where we know it.
func TestLeaps(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, h := newWorld(), newHost(t)
		h.serve(w)
		h.emit(w.post(1, alice, 1, "a"), w.syncFrame(2, alice))
		r := start(t, db, quick(), w, h)
		await(t, "the beginning", func() bool { return r.cursor(t, h) == 2 })
		if _, _, wanted, _, _ := repoState(t, r, alice); wanted {
			t.Error("a repository that is where it was is to be fetched")
		}
		w.post(3, alice, 3, "c")
		h.emit(w.syncFrame(4, alice))
		await(t, "what #sync did not tell", func() bool { return len(r.shown(t)) == 2 })
		big := w.event(5, alice, rev(5), recordOp{action: "create", path: postPath(key(5)), record: postRecord(commons, "e")})
		big.TooBig, big.Ops = true, nil
		h.emit(frame(5, "#commit", body{big}))
		await(t, "what was too big", func() bool { return len(r.shown(t)) == 3 })
		h.emit(w.post(6, alice, 6, "f"))
		await(t, "the next", func() bool { return len(r.shown(t)) == 4 })
		if h.do(func() {}); h.gets != 2 {
			t.Errorf("fetched %d times, want twice", h.gets)
		}
	})
}

// TestKeysInDoubt holds that a doubt which another source casts while a batch is
// being verified drops nothing of it, and that the next batch asks: what a key
// signed is not believed when the answer does not come, or is another key.
func TestKeysInDoubt(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := newKeys(w, time.Now)
	in := &Ingester{keys: k}
	var keys map[syntax.DID]knownKey
	batch := func() { keys = k.prefetch(t.Context(), map[syntax.DID]bool{alice: true}) }
	h := head{did: alice, rev: rev(1)}
	h.sig, _ = keyOf(alice).HashAndSign(h.unsigned())
	check := func(when string, want error) {
		t.Helper()
		if err := in.checkSignature(t.Context(), keys[alice], h); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", when, err, want)
		}
	}
	check("never asked", errKey)
	batch()
	check("asked", nil)
	k.doubt(alice)
	check("doubted in the middle of a batch", nil)
	w.hidden = true
	batch()
	check("in the next batch, without an answer", errKey)
	if err := keys[alice].why; !errors.Is(err, sdk.ErrDIDNotFound) {
		t.Errorf("why there is no key: %v, want what the directory says", err)
	}
	w.hidden = false
	batch()
	check("with an answer", nil)
	k.doubt(alice)
	w.rotated[alice] = keyOf("another key")
	batch()
	check("with another key", errSignature)
	delete(w.rotated, alice)
	k.doubt(alice)
	batch()
	check("with the first key again", nil)
	k.doubt(alice)
	w.hidden = true
	k.prefetch(t.Context(), map[syntax.DID]bool{alice: true})
	check("when another source has no answer in the middle of the batch", nil)
}

// TestKeys holds that an account whose key cannot be had delays nobody else, and
// that a new key is noticed, announced or not.
func TestKeys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, h := newWorld(), newHost(t)
		h.serve(w)
		w.hidden = true
		h.emit(w.post(1, alice, 1, "a"))
		limits := quick()
		r := start(t, db, limits, w, h)
		await(t, "the post to wait for the key", func() bool { return r.metric(t, "dropped_total", string(reasonNoKey)) == 1 })
		w.mu.Lock()
		w.hidden = false
		w.mu.Unlock()
		h.emit(w.post(2, bob, 2, "b"))
		await(t, "another account's post", func() bool { return r.shown(t)[bob+"/"+key(2)] == "b" })
		w.mu.Lock()
		w.rotated[bob] = keyOf("another key")
		w.mu.Unlock()
		h.emit(identityFrame(3, bob), w.post(4, bob, 4, "new key"))
		await(t, "a post under the new key", func() bool { return r.shown(t)[bob+"/"+key(4)] == "new key" })
		w.mu.Lock()
		w.rotated[bob] = keyOf("a third key")
		w.mu.Unlock()
		h.emit(w.post(5, bob, 5, "nobody said so"))
		await(t, "a post under a key that nobody announced", func() bool { return r.shown(t)[bob+"/"+key(5)] != "" })
	})
}

// TestForgedRepositories holds that a repository is believed no more than a commit.
func TestForgedRepositories(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.post(1, alice, 1, "a")
	good := w.export(alice)
	w.post(1, bob, 1, "a")
	r, err := newRig(storetest.New(t, store.SQLite), quick(), w)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-3] ^= 1 // in a record
	forged := bytes.Clone(good)
	at := bytes.Index(forged, []byte("csigX@"))
	if at < 0 {
		t.Fatal("no signature found")
	}
	forged[at+20] ^= 1
	tests := map[string]struct {
		car  []byte
		want bool
	}{
		"good": {good, true}, "empty": {nil, false}, "cut": {good[:len(good)-5], false}, "cut early": {good[:30], false},
		"another account's": {w.export(bob), false}, "signature changed": {forged, false},
	}
	for name, tt := range tests {
		if _, err := readExport(t.Context(), r.Ingester, tt.car); (err == nil) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := readExport(t.Context(), r.Ingester, flipped)
	if err != nil || len(s.records) != 1 || s.records[0].data != nil {
		t.Errorf("with a record changed: %+v, %v; want it to be missing", s, err)
	}
}

func readExport(ctx context.Context, in *Ingester, car []byte) (*snapshot, error) {
	root, b, err := in.readRepo(newReader(car))
	if err != nil {
		return nil, err
	}
	return in.readSnapshot(ctx, alice, root, b)
}

// BenchmarkProve measures verifying one commit on one core: reading its
// blocks, the signature, the proof, in a repository of 1,000 records.
func BenchmarkProve(b *testing.B) {
	w := newWorld()
	var seed []recordOp
	for n := range 1000 {
		seed = append(seed, recordOp{action: "create", path: postPath(key(n)), record: postRecord(commons, "a")})
	}
	w.commit(1, alice, rev(1), seed...)
	e := w.event(2, alice, rev(2), recordOp{action: "create", path: postPath(key(2000)), record: postRecord(commons, "b")})
	proof(e, postPath(key(2000)))
	m := mustMode()
	raw := frame(2, "#commit", body{e}).bytes
	ev, err := decodeFrame(m, raw)
	if err != nil {
		b.Fatal(err)
	}
	in := &Ingester{decode: m, keys: newKeys(w, time.Now)}
	key := in.keys.prefetch(b.Context(), map[syntax.DID]bool{alice: true})[alice]
	h := head{did: alice, rev: rev(1)}
	h.sig, _ = keyOf(alice).HashAndSign(h.unsigned())
	b.Run("signature", func(b *testing.B) {
		for b.Loop() {
			if err := in.checkSignature(b.Context(), key, h); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode and prove", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			if ev, err = decodeFrame(m, raw); err != nil {
				b.Fatal(err)
			}
			if _, err := in.prove(b.Context(), key, alice, ev.commit); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// proof leaves of a commit's blocks what leads to one path, as hosts do.
func proof(e *commitEvent, path string) {
	all, _ := readCAR(e.Blocks)
	at, _ := (&link{cid: lexCID(e.Commit)}).digest()
	h, _ := parseHead(mustMode(), all[*at])
	kept := [][]byte{all[*at]}
	if c := e.Ops[0].Cid; c != nil {
		d, _ := digestOf(lexCID(*c))
		kept = append(kept, all[d])
	}
	var descend func(d *digest)
	descend = func(d *digest) {
		if d == nil {
			return
		}
		kept = append(kept, all[*d])
		n, _ := parseNode(all[*d])
		next, previous := n.left, ""
		for _, entry := range n.entries {
			previous = previous[:entry.prefix] + string(entry.suffix)
			if previous == path {
				descend(next)
			}
			if previous > path {
				break
			}
			next = entry.right
		}
		descend(next)
	}
	descend(&h.data)
	e.Blocks = carOf(lexCID(e.Commit), kept...)
}
