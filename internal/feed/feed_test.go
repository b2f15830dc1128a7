package feed

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

func uris(t testing.TB, f *Feeds, q Query) []syntax.ATURI {
	t.Helper()
	page, err := f.Page(t.Context(), q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	var out []syntax.ATURI
	for _, p := range page.Posts {
		out = append(out, p.URI())
	}
	return out
}

// TestVisibility holds F2: what each level of a subscription shows, and how high.
func TestVisibility(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "v", 1)
		scores := []int{-2, 0, 0, 0, 0, 0, 0, 1, 2, 5}
		for i, score := range scores {
			k := m.post(time.Duration(i+1) * time.Hour)
			for k.community != 0 || !k.accepted {
				m.posts = m.posts[:len(m.posts)-1]
				k = m.post(time.Duration(i+1) * time.Hour)
			}
			for range max(score, -score) {
				m.vote(k, score > 0)
			}
		}
		for level, want := range map[int]int{5: 10, 4: 9, 3: 9, 2: 3, 1: 1} {
			m.subscribe(0, level)
			q := Query{Listing: Home, Sort: Newest, Viewer: m.reader(), Limit: 50}
			if got := uris(t, p.feeds, q); len(got) != want {
				t.Errorf("level %d shows %d posts, want %d", level, len(got), want)
			}
		}
		// Two communities with equal posts: the one that is wanted more comes first.
		if lifts[5] <= lifts[4] || lifts[4] <= lifts[3] || lifts[3] <= lifts[2] || lifts[2] <= lifts[1] {
			t.Errorf("levels are not in order: %v", lifts)
		}
	})
}

// processOn is a process on a database that is open.
func processOn(t testing.TB, db *store.DB, c *clock) *process {
	t.Helper()
	p := &process{db: db}
	var err error
	if p.index, err = index.New(index.Config{DB: db, Now: c.now}); err != nil {
		t.Fatal(err)
	}
	cursors, err := index.NewCursors(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	p.feeds, err = New(Config{Index: p.index, Cursors: cursors, Logger: slog.New(slog.DiscardHandler), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOldCursors holds that after ten minutes paging goes on by key, without an
// error, and that a cursor of another listing, viewer or key is refused.
func TestOldCursors(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "o", 3)
		for i := range 12 {
			m.post(time.Duration(i) * time.Minute)
		}
		q := Query{Listing: All, Sort: Newest, Viewer: m.reader(), Limit: 5, Endpoint: "a"}
		first, err := p.feeds.Page(t.Context(), q)
		if err != nil || first.Cursor == "" {
			t.Fatalf("first page: %q, %v", first.Cursor, err)
		}
		if len(first.Cursor) > 80 {
			t.Errorf("a cursor of %d characters", len(first.Cursor))
		}
		q.Cursor = first.Cursor
		want := uris(t, p.feeds, q)
		for _, wrong := range []Query{
			{Listing: Discover, Sort: Newest, Viewer: m.reader()}, {Listing: All, Sort: Hot, Viewer: m.reader()},
			{Listing: All, Sort: Newest}, {Listing: All, Sort: Newest, Viewer: m.did("other", 0)},
			{Listing: All, Sort: Newest, Viewer: m.reader(), Timeframe: time.Hour},
			{Listing: All, Sort: Newest, Viewer: m.reader(), Endpoint: "b"},
		} {
			if wrong.Endpoint == "" {
				wrong.Endpoint = "a"
			}
			wrong.Limit, wrong.Cursor = 5, first.Cursor
			if _, err := p.feeds.Page(t.Context(), wrong); err == nil || fault.From(err).Code != "InvalidCursor" {
				t.Errorf("%+v: %v, want InvalidCursor", wrong, err)
			}
		}
		m.post(0)
		for _, age := range []time.Duration{9 * time.Minute, 20 * time.Minute, 1000 * time.Hour} {
			c.at.Store(noon.Add(age).UnixMicro())
			if diff := cmp.Diff(want, uris(t, p.feeds, q)); diff != "" {
				t.Errorf("after %v (-want +got):\n%s", age, diff)
			}
		}
	})
}

// TestFollowing holds that what one process writes is in the lists of the same
// one and of another soon, woken here and by asking there, whoever is reading.
func TestFollowing(t *testing.T) {
	t.Parallel()
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			cfg, c := storetest.NewConfig(t, engine), newClock()
			here, there := newProcess(t, cfg, c, false), newProcess(t, cfg, c, false)
			for _, p := range []*process{here, there} {
				go func() { _ = p.feeds.Run(t.Context()) }()
			}
			m := newModel(t, here, c, "f", 4)
			quickest := map[string]time.Duration{"here": time.Hour, "there": time.Hour}
			for range 5 {
				m.post(time.Minute)
				seq, err := here.index.Seq(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for name, p := range map[string]*process{"here": here, "there": there} {
					quickest[name] = min(quickest[name], p.await(t, name, seq))
				}
			}
			for name, took := range quickest { // 20 times what is promised
				if took > 20*250*time.Millisecond {
					t.Errorf("%s: lists took %v and longer to follow", name, took)
				}
			}
		})
	}
}

// await waits until lists have followed without anybody asking for a page, and
// tells how long that took.
func (p *process) await(t *testing.T, name string, seq int64) time.Duration {
	t.Helper()
	began := time.Now()
	eventually(t, fmt.Sprintf("%s: change %d in the lists", name, seq), func() bool {
		l := p.feeds.lists.Load()
		l.mu.RLock()
		defer l.mu.RUnlock()
		return l.seq >= seq
	})
	return time.Since(began)
}

// TestMemory holds that a post takes less than 300 bytes in all lists together.
func TestMemory(t *testing.T) {
	n := size.Size(200_000, 1_000_000)
	ranks := make([]index.Rank, n)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range ranks {
		created := noon.Add(-time.Duration(n-i) * 20 * time.Second).UnixMicro()
		ranks[i] = index.Rank{Post: int64(i + 1), Community: int64(1 + random.IntN(n/500)), State: index.Accepted,
			CreatedAt: created, Hot: created / 45000, Score: random.Int64N(50)}
	}
	before := heapBytes()
	l := build(ranks, 1, 0)
	for range n / 2 { // votes split pieces
		r := ranks[random.IntN(n)]
		r.Score, r.Hot = r.Score+random.Int64N(9), r.Hot+random.Int64N(900_000)
		l.put(r, 1)
	}
	if per := (heapBytes() - before) / int64(n); per > 300 {
		t.Errorf("%d bytes for each of %d posts, want 300 at most", per, n)
	} else {
		t.Logf("%d bytes for each of %d posts", per, n)
	}
	runtime.KeepAlive(l)
	runtime.KeepAlive(ranks)
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestLists compares lists with sorting, through inserts, moves and removals.
func TestLists(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2, 2))
	l := newLists(0, 1)
	have := map[int64]index.Rank{}
	for range size.Size(20_000, 200_000) {
		r := index.Rank{Post: 1 + random.Int64N(3000), Community: random.Int64N(4), State: index.State(random.IntN(3)),
			CreatedAt: 1 + random.Int64N(500), Hot: random.Int64N(500), Score: random.Int64N(10)}
		l.put(r, 1)
		if have[r.Post] = r; r.Community == 0 {
			delete(have, r.Post)
		}
	}
	for community := range int64(4) {
		for _, o := range orders {
			var want, got []index.Rank
			for _, r := range have {
				if listed(r, community) {
					want = append(want, r)
				}
			}
			inOrder(want, o)
			l.scope(community).lists[o].walk(&l.table, o, nil, func(e *entry) bool { got = append(got, e.rank()); return true })
			if !slices.Equal(want, got) {
				t.Errorf("community %d, order %d: %d entries, want %d, or in another order", community, o, len(got), len(want))
			}
		}
	}
	for l.forget(400) {
	}
	for _, s := range l.table.slots {
		if e := l.table.at(s); e.created < 400 {
			t.Fatalf("a post of %d was not forgotten", e.created)
		}
	}
}

// TestThreadPages holds C7 for pages: a thread of any shape, walked page by page
// and then below each comment that has more, shows everything once, in a number
// of queries that does not depend on it.
func TestThreadPages(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "t", 5)
		root := m.post(time.Hour)
		n := size.Size(150, 5000)
		var all []syntax.ATURI
		for i := range n {
			parent := root.uri
			if i > 0 && m.rand.IntN(3) > 0 {
				parent = all[m.rand.IntN(len(all))]
			}
			all = append(all, m.comment(root.uri, parent))
		}
		seen := map[syntax.ATURI]int{}
		m.readThread(ThreadQuery{Post: root.uri, Sort: Hot, Limit: 7, Depth: 4, Viewer: m.reader()}, seen)
		for _, uri := range all {
			if seen[uri] != 1 {
				t.Errorf("%s was shown %d times", uri, seen[uri])
			}
		}
		if len(seen) != n {
			t.Errorf("%d comments were shown, want %d", len(seen), n)
		}
	})
}

func (m *model) comment(root, parent syntax.ATURI) syntax.ATURI {
	m.t.Helper()
	key := m.tid()
	author := m.did("author", m.rand.IntN(4))
	m.apply(author, index.CommentCollection, syntax.RecordKey(key), map[string]any{"content": "yes",
		"createdAt": key.Time().Format("2006-01-02T15:04:05.000000Z"), "reply": map[string]any{"root": strong(root), "parent": strong(parent)}})
	return syntax.ATURI("at://" + string(author) + "/" + string(index.CommentCollection) + "/" + string(key))
}

// readThread reads all pages of a level, and what is below, as a client would.
func (m *model) readThread(q ThreadQuery, seen map[syntax.ATURI]int) {
	m.t.Helper()
	for {
		page, err := m.p.feeds.Thread(m.t.Context(), q)
		if err != nil {
			m.t.Fatal(err)
		}
		m.note(q, page.Comments, seen)
		if page.Cursor == "" {
			return
		}
		q.Cursor = page.Cursor
	}
}

func (m *model) note(q ThreadQuery, comments []*index.Comment, seen map[syntax.ATURI]int) {
	for _, c := range comments {
		if seen[c.URI]++; !c.More {
			m.note(q, c.Answers, seen)
			continue
		}
		below := q
		below.Comment, below.Cursor = syntax.RecordKey(path(c.URI)), ""
		m.readThread(below, seen)
	}
}

// TestDeepThread holds a thread of depth 500: it can be read to its end, and a
// link to its last comment shows what stands above.
func TestDeepThread(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "d", 6)
		root := m.post(time.Hour)
		at := root.uri
		var all []syntax.ATURI
		depth := size.Size(120, 500)
		for range depth {
			at = m.comment(root.uri, at)
			all = append(all, at)
		}
		seen := map[syntax.ATURI]int{}
		m.readThread(ThreadQuery{Post: root.uri, Sort: Newest, Limit: 10, Depth: 100, Viewer: m.reader()}, seen)
		if len(seen) != depth {
			t.Errorf("%d comments were shown, want %d", len(seen), depth)
		}
		linked, err := p.feeds.Thread(t.Context(), ThreadQuery{Post: root.uri, Comment: syntax.RecordKey(path(at)), Sort: Hot, Limit: 10, Depth: 10})
		if err != nil || len(linked.Context) != min(depth, contextMost+1) || linked.Context[len(linked.Context)-1].URI != at {
			t.Fatalf("context of %d, %v", len(linked.Context), err)
		}
		if want := all[max(0, depth-contextMost-1)]; linked.Context[0].URI != want {
			t.Errorf("the context begins with %s, want %s", linked.Context[0].URI, want)
		}
	})
}

// TestCommentsOfOneKey holds that a link leads to the comment of its author,
// whoever else has taken the same key in the same thread.
func TestCommentsOfOneKey(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "k", 8)
		root := m.post(time.Hour)
		key := m.tid()
		for i := range 2 {
			m.apply(m.did("author", i), index.CommentCollection, syntax.RecordKey(key), map[string]any{"content": "yes",
				"createdAt": key.Time().Format("2006-01-02T15:04:05.000000Z"), "reply": map[string]any{"root": strong(root.uri), "parent": strong(root.uri)}})
		}
		for i := range 2 {
			by := m.did("author", i)
			thread, err := p.feeds.Thread(t.Context(), ThreadQuery{Post: root.uri, Comment: syntax.RecordKey(key), By: by, Sort: Hot, Limit: 5, Depth: 5})
			if err != nil || len(thread.Context) != 1 || thread.Context[0].Author.DID != by {
				t.Errorf("the comment of %s: %+v, %v", by, thread.Context, err)
			}
		}
		_, err := p.feeds.Thread(t.Context(), ThreadQuery{Post: root.uri, Comment: syntax.RecordKey(key), By: m.did("author", 3), Sort: Hot, Limit: 5, Depth: 5})
		if fault.From(err).Code != "ParentNotFound" {
			t.Errorf("the comment of somebody who wrote none: %v, want ParentNotFound", err)
		}
	})
}

// TestThreadBadInput holds the errors of threads.
func TestThreadBadInput(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := processOn(t, storetest.New(t, store.SQLite), c)
	m := newModel(t, p, c, "b", 7)
	root := m.post(time.Hour)
	tests := []struct {
		q    ThreadQuery
		code string
	}{
		{ThreadQuery{Post: root.uri + "x"}, "RootNotFound"},
		{ThreadQuery{Post: "at://" + syntax.ATURI(m.did("nobody", 1)) + "/social.coves.community.postv2/3mfyljlt3e223"}, "RootNotFound"},
		{ThreadQuery{Post: root.uri, Comment: "3mfyljlt3e223"}, "ParentNotFound"},
		{ThreadQuery{Post: root.uri, Comment: "self"}, "ParentNotFound"},
		{ThreadQuery{Post: root.uri, Cursor: strings.Repeat("A", 60)}, "InvalidCursor"},
	}
	for _, tt := range tests {
		tt.q.Limit, tt.q.Depth = 10, 10
		if _, err := p.feeds.Thread(t.Context(), tt.q); err == nil || fault.From(err).Code != tt.code {
			t.Errorf("%+v: %v, want %s", tt.q, err, tt.code)
		}
	}
	if _, err := p.feeds.Page(t.Context(), Query{Listing: Community, Community: m.did("nothing", 1), Limit: 5}); err == nil || fault.From(err).Code != "CommunityNotFound" {
		t.Errorf("an unknown community: %v", err)
	}
	if _, err := p.feeds.Page(t.Context(), Query{Limit: 0}); err == nil {
		t.Error("a page of nothing")
	}
	if got := fmt.Sprint(uris(t, p.feeds, Query{Listing: Home, Viewer: m.did("nobody", 2), Limit: 5})); got != "[]" {
		t.Errorf("home of somebody who follows nothing: %s", got)
	}
}

// TestProbe holds O4 for feeds: they can be answered before anything is loaded,
// and say so when the database is gone.
func TestProbe(t *testing.T) {
	t.Parallel()
	cfg := storetest.NewConfig(t, store.SQLite)
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := processOn(t, db, newClock())
	if err := p.feeds.Probe(t.Context()); err != nil {
		t.Errorf("before loading: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.feeds.Probe(t.Context()); err == nil {
		t.Error("without a database: no error")
	}
}

// TestSharedPages holds that what is kept for visitors is over as soon as anything
// in the index changes, also what moves no post.
func TestSharedPages(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "s", 8)
		k := m.post(time.Minute)
		q := Query{Listing: All, Sort: Newest, Limit: 5}
		inactive := func(active bool) {
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := p.index.ApplyAccounts(t.Context(), tx, []index.AccountEvent{{DID: k.author,
					Status: &index.Status{Active: active, Reason: "suspended", At: c.now()}}})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []int{1, 1, 0, 0} {
			if got := uris(t, p.feeds, q); len(got) != want {
				t.Errorf("%d: %d posts, want %d", i, len(got), want)
			}
			if i == 1 {
				inactive(false)
			}
		}
	})
}

// TestMuchIsHidden holds that a page is found behind any number of posts that the
// reader may not see, with few of them read whole.
func TestMuchIsHidden(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		p := processOn(t, db, c)
		m := newModel(t, p, c, "h", 9)
		spammer := m.did("author", 0)
		n := size.Size(120, 2000)
		for range n {
			if k := m.post(time.Minute); k.author != spammer {
				m.remove(k)
			}
		}
		wanted := m.post(day)
		for wanted.author == spammer || !wanted.accepted {
			wanted = m.post(day)
		}
		m.block(spammer)
		for _, listing := range []Listing{All, Community} {
			q := Query{Listing: listing, Community: m.did("community", wanted.community), Sort: Newest, Viewer: m.reader(), Limit: 1}
			if got := uris(t, p.feeds, q); !slices.Equal(got, m.expect(q)[:1]) {
				t.Errorf("listing %d: %v, want %v", listing, got, m.expect(q)[:1])
			}
		}
	})
}
