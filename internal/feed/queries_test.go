package feed

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// counter counts queries.
type counter struct {
	mu  sync.Mutex
	all []string
}

func (c *counter) queried(query string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, query)
}

// during counts the queries of one call.
func (c *counter) during(t *testing.T, call func() error) int {
	t.Helper()
	c.mu.Lock()
	before := len(c.all)
	c.mu.Unlock()
	if err := call(); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all) - before
}

// many is a world of some size: n posts in each of n communities, whose reader
// follows and blocks n each and has voted on everything, a thread of n comments
// beside each other, each with n below it, and as many comments on others.
func (m *model) many(n int) (root syntax.ATURI) {
	m.t.Helper()
	author := m.did("author", 0)
	records := func(n int, record func(i int) map[string]any) (all []map[string]any) {
		for i := range n {
			all = append(all, record(i))
		}
		return all
	}
	reply := func(root, parent syntax.ATURI) map[string]any {
		return map[string]any{"content": "yes", "reply": map[string]any{"root": strong(root), "parent": strong(parent)}}
	}
	place := func(i int) string { return string(m.did("community", i%n)) }
	posts := m.applyAll(author, index.PostCollection, records(n*n, func(i int) map[string]any {
		return map[string]any{"title": fmt.Sprint(i), "community": place(i)}
	}))
	m.applyAll(m.reader(), index.VoteCollection, records(n*n, func(i int) map[string]any {
		return map[string]any{"subject": strong(posts[i]), "direction": "up"}
	}))
	for i := range n {
		m.applyAll(m.did("community", i), index.AcceptanceCollection, records(n, func(j int) map[string]any {
			uri := posts[j*n+i]
			return map[string]any{"subject": strong(uri), "key": admissionKey(uri)}
		}))
		m.applyAll(m.did("community", i), index.CommunityCollection, []map[string]any{{"name": "n", "createdBy": string(author),
			"hostedBy": "did:web:example.com", "visibility": "public", "key": syntax.RecordKey("self")}})
	}
	m.applyAll(m.reader(), index.SubscriptionCollection, records(n, func(i int) map[string]any {
		return map[string]any{"subject": place(i), "contentVisibility": int64(1 + i%5)}
	}))
	m.applyAll(m.reader(), index.PersonBlockCollection, records(n, func(i int) map[string]any {
		return map[string]any{"subject": string(m.did("stranger", i))}
	}))
	first := m.applyAll(author, index.CommentCollection, records(n, func(int) map[string]any { return reply(posts[0], posts[0]) }))
	m.applyAll(author, index.CommentCollection, records(n*n, func(i int) map[string]any { return reply(posts[0], first[i%n]) }))
	m.applyAll(author, index.CommentCollection, records(n, func(i int) map[string]any { return reply(posts[i], posts[i]) }))
	return posts[0]
}

// TestQueries holds F1: how many queries a page takes depends on nothing: not on
// how many posts, communities, comments, blocks or subscriptions there are. Whoever
// adds one for each row finds out here; who adds one for each page changes the
// numbers. first is of a page of which nothing is in memory, again the same page
// a second time.
func TestQueries(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := &asking{clock: newClock()}
		cfg.Queried = a.count.queried
		a.process = newProcess(t, cfg, a.clock, true)
		few, lots := newModel(t, a.process, a.clock, "few", 20), newModel(t, a.process, a.clock, "lots", 21)
		small, large := few.many(2), lots.many(12)
		want := map[string]queries{
			"home":                 {First: 4, Again: 1},
			"community":            {First: 5, Again: 1},
			"all, top":             {First: 4, Again: 1},
			"posts of somebody":    {First: 4, Again: 4},
			"comments of somebody": {First: 6, Again: 6},
			"thread":               {First: 10, Again: 7},
		}
		if diff := cmp.Diff(want, a.ask(t, few, small, false)); diff != "" {
			t.Errorf("queries of small pages (-want +got):\n%s\nthe last ones:\n%s", diff, a.count.last(20))
		}
		if diff := cmp.Diff(want, a.ask(t, lots, large, false)); diff != "" {
			t.Errorf("queries of large pages (-want +got):\n%s", diff)
		}
		// Without lists there is one for each community that is followed, and more
		// where a level asks for what stands out.
		without, is := a.ask(t, few, small, true), a.ask(t, lots, large, true)
		delete(without, "home")
		delete(is, "home")
		if diff := cmp.Diff(without, is); diff != "" {
			t.Errorf("queries while lists are loading (-few +many):\n%s", diff)
		}
	})
}

// queries are how many a page takes.
type queries struct{ First, Again int }

// asking counts the queries of pages.
type asking struct {
	clock   *clock
	process *process
	count   counter
}

// ask reads every page of m, whose largest thread is below root; bare does
// without lists.
func (a *asking) ask(t *testing.T, m *model, root syntax.ATURI, bare bool) map[string]queries {
	t.Helper()
	fresh := processOn(t, a.process.db, a.clock)
	if !bare {
		if err := fresh.feeds.keepUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]queries{}
	for name, call := range m.calls(t, fresh.feeds, root) {
		fresh.feeds.cards.Reset(fresh.feeds.cards.Seq())
		out[name] = queries{a.count.during(t, call), a.count.during(t, call)}
	}
	return out
}

// calls read each page of a model; none of them is empty.
func (m *model) calls(t *testing.T, feeds *Feeds, root syntax.ATURI) map[string]func() error {
	reads := func(what string, read func() (int, error)) func() error {
		return func() error {
			n, err := read()
			if n == 0 && err == nil {
				return fmt.Errorf("nothing on the page: %s", what)
			}
			return err
		}
	}
	page := func(q Query) func() error {
		q.Viewer, q.Limit = m.reader(), 15
		return reads(fmt.Sprintf("%+v", q), func() (int, error) {
			got, err := feeds.Page(t.Context(), q)
			return len(got.Posts), err
		})
	}
	author := AuthorQuery{Author: m.did("author", 0), Viewer: m.reader(), Limit: 15}
	return map[string]func() error{
		"home":      page(Query{Listing: Home, Sort: Hot}),
		"community": page(Query{Listing: Community, Community: m.did("community", 0), Sort: Hot}),
		"all, top":  page(Query{Listing: All, Sort: Top, Timeframe: 7 * day}),
		"posts of somebody": reads("posts", func() (int, error) {
			got, err := feeds.PostsBy(t.Context(), author)
			return len(got.Posts), err
		}),
		"comments of somebody": reads("comments", func() (int, error) {
			got, _, err := feeds.CommentsBy(t.Context(), author)
			return len(got), err
		}),
		"thread": reads("thread", func() (int, error) {
			got, err := feeds.Thread(t.Context(), ThreadQuery{Post: root, Sort: Hot, Limit: 50, Depth: 5, Viewer: m.reader()})
			return len(got.Comments), err
		}),
	}
}

// last are the last queries, shortened.
func (c *counter) last(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, q := range c.all[max(0, len(c.all)-n):] {
		q = strings.Join(strings.Fields(q), " ")
		out = append(out, q[:min(100, len(q))])
	}
	return strings.Join(out, "\n")
}

// TestBarsAreCountedOnce holds that what stands out in a community is counted again
// only when something there has changed, and then at once.
func TestBarsAreCountedOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "b", 22)
		for i := range 30 {
			m.post(time.Duration(i) * time.Hour)
		}
		m.subscribe(0, 1)
		m.subscribe(1, 2)
		m.subscribe(2, 4)
		if err := p.feeds.keepUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		q := Query{Listing: Home, Sort: Hot, Viewer: m.reader(), Limit: 50}
		first := func(community int) *known {
			for _, k := range m.posts {
				if k.community == community && k.accepted && !k.gone {
					return k
				}
			}
			t.Fatalf("community %d has no post", community)
			return nil
		}
		steps := []struct {
			name string
			do   func()
			want int64 // how often bars have been counted
		}{
			{"the first page", func() {}, 2},
			{"again", func() {}, 2},
			{"a vote where it does not matter", func() { m.vote(first(2), true) }, 2},
			{"a vote where it does", func() { m.vote(first(0), true) }, 3},
			{"and the other", func() { m.vote(first(1), true) }, 4},
			{"a post is gone", func() { m.remove(first(0)) }, 5},
			{"an hour later", func() {
				for range 9 { // lists that nobody follows for longer begin anew
					c.at.Add((7 * time.Minute).Microseconds())
					uris(t, p.feeds, q)
				}
			}, 7},
		}
		for _, s := range steps {
			s.do()
			if diff := cmp.Diff(m.expect(q), uris(t, p.feeds, q)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", s.name, diff)
			}
			if got := p.feeds.lists.Load().counts.Load(); got != s.want {
				t.Errorf("%s: counted %d times, want %d", s.name, got, s.want)
			}
		}
	})
}
