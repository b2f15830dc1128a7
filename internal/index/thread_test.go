package index

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// threadOf reads a whole thread and draws it: one line per comment, indented,
// by the number of its key, in brackets when it is gone.
func threadOf(t testing.TB, x *Index, v Viewer, uri syntax.ATURI, order Order) string {
	t.Helper()
	found, err := x.PostsByURI(t.Context(), v, []syntax.ATURI{uri})
	if err != nil {
		t.Fatal(err)
	}
	q := ThreadQuery{Post: found[uri].Post, Order: order, Limit: 100, Answers: 100, Depth: 100, Most: 10_000}
	comments, _, err := x.Thread(t.Context(), v, q)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	drawComments(&b, comments, 0)
	return b.String()
}

func drawComments(b *strings.Builder, comments []*Comment, depth int) {
	for _, c := range comments {
		text := fmt.Sprint(number(c.URI))
		if c.Gone != 0 {
			text = fmt.Sprintf("[%s %d]", text, c.Gone)
		}
		fmt.Fprintf(b, "%s%s\n", strings.Repeat("  ", depth), text)
		drawComments(b, c.Answers, depth+1)
	}
}

// number is the n of rkey(n) that a URI ends with.
func number(uri syntax.ATURI) int {
	key := syntax.TID(uri[strings.LastIndex(string(uri), "/")+1:])
	return int(key.Time().Sub(tid(0).Time()) / time.Second)
}

// commentAt is a comment that was made when its key says.
func commentAt(key int, root, parent syntax.ATURI) Op {
	op := comment(key, root, parent)
	op.Record["createdAt"] = tid(key).Time().Format(time.RFC3339)
	return op
}

func commentURI(did syntax.DID, key int) syntax.ATURI {
	return recordURI(did, CommentCollection, rkey(key))
}

// TestThreads holds C7 as far as it is the index's: trees of any shape, gone
// comments keep their place as long as something answers them, whatever came
// first.
func TestThreads(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x := newIndex(t, db)
		root := postURI(alice, 1)
		say := func(did syntax.DID, key int, parent syntax.ATURI) Commit {
			return prepare(t, x, did, key, commentAt(key, root, parent))
		}
		apply(t, x, prepare(t, x, alice, 1, create(1, post(commons, "a"))))
		// Answers before what they answer, which comes last, and never.
		apply(t, x, say(bob, 5, commentURI(bob, 4)), say(bob, 7, commentURI(bob, 6)))
		apply(t, x, say(bob, 3, root), say(bob, 2, root))
		steps := []struct {
			name string
			do   Commit
			want string
		}{
			{"what was answered comes", say(bob, 4, commentURI(bob, 3)), "[6 1]\n  7\n3\n  4\n    5\n2\n"},
			{"votes move", prepare(t, x, alice, 10, vote(10, commentURI(bob, 2), "up")), "2\n[6 1]\n  7\n3\n  4\n    5\n"},
			{"deleted in the middle", prepare(t, x, bob, 11, remove(CommentCollection, rkey(4))), "2\n[6 1]\n  7\n3\n  [4 1]\n    5\n"},
			{"deleted at the top", prepare(t, x, bob, 12, remove(CommentCollection, rkey(3))), "2\n[6 1]\n  7\n[3 1]\n  [4 1]\n    5\n"},
			{"a leaf goes, and with it what only it held", prepare(t, x, bob, 13, remove(CommentCollection, rkey(5))), "2\n[6 1]\n  7\n"},
			{"an answer to one that is gone", say(alice, 14, commentURI(bob, 4)), "2\n[6 1]\n  7\n[3 1]\n  [4 1]\n    14\n"},
			{"back again", prepare(t, x, bob, 15, commentAt(3, root, root)), "2\n[6 1]\n  7\n3\n  [4 1]\n    14\n"},
		}
		for _, s := range steps {
			apply(t, x, s.do)
			if diff := cmp.Diff(s.want, threadOf(t, x, Viewer{}, root, ByHot)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", s.name, diff)
			}
		}
	})
}

// TestThreadsShowEverything holds that every comment that is there can be
// reached, in whatever order a tree was written and thinned out.
func TestThreadsShowEverything(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	x := newIndex(t, db)
	x.now = func() time.Time { return noon.Add(10_000 * time.Hour) }
	serial := 100
	rapid.Check(t, func(rt *rapid.T) {
		serial += 1000
		root := postURI(alice, serial)
		apply(t, x, prepare(t, x, alice, serial, create(serial, post(commons, "a"))))
		n := rapid.IntRange(1, 20).Draw(rt, "comments")
		parent, there := map[int]int{}, map[int]bool{}
		for i := 1; i <= n; i++ {
			parent[i] = rapid.IntRange(0, i-1).Draw(rt, "parent")
		}
		for at, i := range rapid.Permutation(keysTo(n)).Draw(rt, "order") {
			above := root
			if parent[i] != 0 {
				above = commentURI(bob, serial+parent[i])
			}
			apply(t, x, prepare(t, x, bob, serial+at, commentAt(serial+i, root, above)))
			there[i] = true
		}
		for at, i := range rapid.SliceOfNDistinct(rapid.IntRange(1, n), 0, n, rapid.ID[int]).Draw(rt, "deleted") {
			apply(t, x, prepare(t, x, bob, serial+n+at, remove(CommentCollection, rkey(serial+i))))
			delete(there, i)
		}
		var want func(under, depth int) string
		want = func(under, depth int) string {
			out := ""
			for i := n; i >= 1; i-- {
				if parent[i] != under {
					continue
				}
				below, text := want(i, depth+1), fmt.Sprint(serial+i)
				if !there[i] {
					text = "[" + text + " 1]"
				}
				if there[i] || below != "" {
					out += strings.Repeat("  ", depth) + text + "\n" + below
				}
			}
			return out
		}
		if diff := cmp.Diff(want(0, 0), threadOf(t, x, Viewer{}, root, ByNew)); diff != "" {
			rt.Errorf("thread (-want +got):\n%s", diff)
		}
	})
}

func keysTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}
