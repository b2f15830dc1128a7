package web

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
)

func strong(uri syntax.ATURI) map[string]any {
	return map[string]any{"uri": string(uri), "cid": string(someCID)}
}

// TestQueriesOfPages holds F1 for whole pages, signed in: what a page asks the
// database does not depend on how much is on it. feed.TestQueries has the numbers
// of what the pages are made of.
func TestQueriesOfPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	s.found(t)
	s.apply(t, alice, index.SubscriptionCollection, "3mfxhkk2222ab", map[string]any{"subject": commons.DID, "createdAt": "2026-01-02T03:04:05Z",
		"contentVisibility": int64(5)})
	var root syntax.ATURI
	serial := 0
	grow := func(posts int) {
		for range posts {
			serial++
			author := []person{bob, alice}[serial%2]
			s.write(t, author, serial, map[string]any{"title": fmt.Sprint("t", serial)})
			uri := syntax.ATURI("at://" + author.DID + "/" + string(index.PostCollection) + "/" + string(postKey(serial)))
			if root == "" {
				root = uri
			}
			s.apply(t, []person{alice, bob}[serial%2], index.CommentCollection, postKey(1000+serial), map[string]any{"content": "yes",
				"createdAt": "2026-01-02T03:04:05Z", "reply": map[string]any{"root": strong(root), "parent": strong(root)}})
		}
	}
	count := func() map[string]int64 {
		out := map[string]int64{}
		for _, path := range []string{"/", "/discover", "/all", "/c/" + commons.Handle, "/u/" + bob.Handle, "/u/" + bob.Handle + "/comments",
			"/p/" + root.Authority().String() + "/" + root.RecordKey().String()} {
			b.get(path).is(200)
			before := s.queries.Load()
			b.get(path).is(200)
			out[path] = s.queries.Load() - before
		}
		return out
	}
	grow(2)
	s.loadFeeds(t)
	few := count()
	grow(12)
	if diff := cmp.Diff(few, count()); diff != "" {
		t.Errorf("queries (-few +many):\n%s", diff)
	}
	for path, n := range few {
		most := int64(mostQueries)
		if strings.HasSuffix(path, "/comments") {
			most += namingPosts
		}
		if n > most {
			t.Errorf("%s takes %d queries, more than %d", path, n, most)
		}
	}
}

// mostQueries is how many queries a page takes at most that is asked for again, with
// the session, what is beside the posts, and forms. Somebody's comments take most:
// they name the posts that they belong to. Every other page takes eight.
const mostQueries = 14

// namingPosts is how many more it takes to name the posts that comments are on.
const namingPosts = 4

// loadFeeds has the lists in memory, as the program has soon after its start.
func (s *site) loadFeeds(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.cfg.Feeds.Run(ctx) }()
	for !s.cfg.Feeds.Loaded() {
		if err := s.cfg.Feeds.Probe(ctx); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
