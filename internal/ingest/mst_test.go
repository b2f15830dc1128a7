package ingest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
)

// TestKnownTrees holds the tree to the roots that all implementations agree on
// (AT Protocol interoperability tests).
func TestKnownTrees(t *testing.T) {
	t.Parallel()
	for root, keys := range map[string][]string{
		"bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm": nil,
		"bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu": {"com.example.record/3jqfcqzm3fo2j"},
		"bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai": {"com.example.record/3jqfcqzm3fx2j"},
		"bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m": {"com.example.record/3jqfcqzm3fp2j",
			"com.example.record/3jqfcqzm3fr2j", "com.example.record/3jqfcqzm3fs2j",
			"com.example.record/3jqfcqzm3ft2j", "com.example.record/3jqfcqzm4fc2j"},
	} {
		var items []item
		for _, k := range keys {
			items = append(items, item{key: k, value: leaf(t, "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"), level: keyLevel(k)})
		}
		got, err := treeRoot(items)
		if err != nil || got.cid().String() != root {
			t.Errorf("tree of %v: %s, %v; want %s", keys, got.cid(), err, root)
		}
	}
}

func leaf(t *testing.T, text string) digest {
	t.Helper()
	c, err := cid.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := digestOf(c)
	if !ok {
		t.Fatalf("%s is not a CID of a repository", text)
	}
	return d
}

// TestProofs undoes commits of which only the blocks of the proof are known
// (AT Protocol interoperability tests, commit proofs).
func TestProofs(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/commit-proof-fixtures.json")
	if err != nil {
		t.Fatal(err)
	}
	var fixtures []struct {
		Comment, LeafValue, RootBeforeCommit, RootAfterCommit string
		Keys, Adds, Dels, BlocksInProof                       []string
	}
	if err := json.Unmarshal(raw, &fixtures); err != nil || len(fixtures) < 5 {
		t.Fatalf("%d fixtures, %v", len(fixtures), err)
	}
	for _, f := range fixtures {
		t.Run(f.Comment, func(t *testing.T) {
			t.Parallel()
			value := leaf(t, f.LeafValue)
			records := map[string]cid.Cid{}
			for _, k := range slices.Concat(f.Keys, f.Adds) {
				records[k] = value.cid()
			}
			var changes []pathChange
			for _, k := range f.Dels {
				delete(records, k)
				changes = append(changes, pathChange{path: k, before: &value})
			}
			for _, k := range f.Adds {
				changes = append(changes, pathChange{path: k, after: &value})
			}
			_, nodes := treeOf(records)
			proof := blocks{}
			for _, n := range nodes {
				if d := digest(sha256.Sum256(n)); slices.Contains(f.BlocksInProof, d.cid().String()) {
					proof[d] = n
				}
			}
			items, err := readTree(proof, leaf(t, f.RootAfterCommit))
			if err != nil {
				t.Fatal(err)
			}
			before, err := undo(items, changes)
			if err != nil {
				t.Fatal(err)
			}
			root, err := treeRoot(before)
			if err != nil || root.cid().String() != f.RootBeforeCommit {
				t.Errorf("before the commit: %s, %v; want %s", root.cid(), err, f.RootBeforeCommit)
			}
			for d, n := range proof { // less is not enough, and is no danger either
				delete(proof, d)
				if items, err := readTree(proof, leaf(t, f.RootAfterCommit)); err == nil {
					if before, err = undo(items, changes); err == nil {
						if got, err := treeRoot(before); err == nil && got != root {
							t.Errorf("without %s the tree before is %s", d.cid(), got.cid())
						}
					}
				}
				proof[d] = n
			}
		})
	}
}

// TestTreesOfAnySize compares with another implementation, and undoes random
// commits.
func TestTreesOfAnySize(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 60 {
		records := map[string]cid.Cid{}
		for range rng.IntN(200) {
			records[fmt.Sprintf("a.b.c/%d", rng.IntN(1000))] = cidOf([]byte{byte(rng.IntN(256))})
		}
		before, _ := treeOf(records)
		var changes []pathChange
		for n := range 1 + rng.IntN(8) {
			path := fmt.Sprintf("a.b.c/%d", rng.IntN(1000))
			if slices.ContainsFunc(changes, func(c pathChange) bool { return c.path == path }) {
				continue
			}
			c := pathChange{path: path}
			if had, ok := records[path]; ok {
				d, _ := digestOf(had)
				c.before = &d
			}
			if n%2 == 0 {
				records[path] = cidOf([]byte{byte(n), 1})
				d, _ := digestOf(records[path])
				c.after = &d
			} else {
				delete(records, path)
			}
			changes = append(changes, c)
		}
		after, nodes := treeOf(records)
		b := blocks{}
		for _, n := range nodes {
			b[sha256.Sum256(n)] = n
		}
		root, _ := digestOf(after)
		items, err := readTree(b, root)
		if err != nil || len(items) != len(maps.Clone(records)) {
			t.Fatalf("round %d: %d keys, %v; want %d", round, len(items), err, len(records))
		}
		if got, err := treeRoot(items); err != nil || got != root {
			t.Errorf("round %d: root %s, %v; want %s", round, got.cid(), err, after)
		}
		undone, err := undo(items, changes)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got, err := treeRoot(undone); err != nil || got.cid() != before {
			t.Errorf("round %d: before %s, %v; want %s", round, got.cid(), err, before)
		}
	}
}

// TestHostileTrees holds that no tree, however it is made, is more than an error.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	value := digest(sha256.Sum256([]byte("x")))
	low, high := "", "" // keys of level 0 and 1
	for n := 0; low == "" || high == ""; n++ {
		switch k := fmt.Sprintf("a/%03d", n); keyLevel(k) {
		case 0:
			low = k
		case 1:
			high = k
		}
	}
	entry := func(key string) nodeEntry { return nodeEntry{suffix: []byte(key), value: value} }
	put := func(b blocks, n node) *digest {
		raw := appendNode(nil, n)
		d := digest(sha256.Sum256(raw))
		b[d] = raw
		return &d
	}
	tests := map[string]func(b blocks) *digest{
		"no keys but a child": func(b blocks) *digest { return put(b, node{left: put(b, node{entries: []nodeEntry{entry(low)}})}) },
		"keys out of order":   func(b blocks) *digest { return put(b, node{entries: []nodeEntry{entry("z"), entry("b")}}) },
		"key twice":           func(b blocks) *digest { return put(b, node{entries: []nodeEntry{entry(low), entry(low)}}) },
		"prefix of nothing": func(b blocks) *digest {
			return put(b, node{entries: []nodeEntry{{prefix: 9, suffix: []byte("a"), value: value}}})
		},
		"key on another level": func(b blocks) *digest {
			return put(b, node{left: put(b, node{entries: []nodeEntry{entry(high)}}), entries: []nodeEntry{entry(high + "z")}})
		},
		"key of 2 KB": func(b blocks) *digest { return put(b, node{entries: []nodeEntry{entry(string(make([]byte, 2000)))}}) },
		"one node below all keys": func(b blocks) *digest {
			n := node{}
			below := put(b, node{left: &value})
			for k := range 2000 {
				if key := fmt.Sprintf("b/%05d", k); keyLevel(key) == 2 {
					e := entry(key)
					e.right = below
					n.entries = append(n.entries, e)
				}
			}
			return put(b, n)
		},
	}
	for name, make := range tests {
		b := blocks{}
		root := make(b)
		if items, err := readTree(b, *root); !errors.Is(err, errTree) {
			t.Errorf("%s: %d items, %v; want a malformed tree", name, len(items), err)
		}
	}
}

func FuzzParseNode(f *testing.F) {
	_, nodes := treeOf(map[string]cid.Cid{"a/1": cidOf(nil), "a/2": cidOf(nil), "b/333": cidOf(nil)})
	for _, n := range nodes {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := parseNode(raw)
		if err != nil {
			return
		}
		if again := appendNode(nil, n); string(again) != string(raw) {
			t.Errorf("%x is read, but written as %x", raw, again)
		}
	})
}

func FuzzReadCAR(f *testing.F) {
	w := newWorld()
	w.post(1, alice, 1, "a")
	f.Add(w.export(alice))
	m := mode(f)
	f.Fuzz(func(_ *testing.T, raw []byte) {
		b, err := readCAR(raw)
		if err != nil {
			return
		}
		for d := range b {
			if items, err := readTree(b, d); err == nil {
				_, _ = treeRoot(items)
			}
			if data, ok := b.get(d); ok {
				_, _ = parseHead(m, data)
			}
		}
	})
}
