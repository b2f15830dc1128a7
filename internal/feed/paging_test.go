package feed

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// readers are the ways in which a page can be answered.
type readers struct {
	t     *testing.T
	cfg   store.Config
	clock *clock
	all   []*process
}

// newReaders are a process that writes, another one, and one that has no lists.
func newReaders(t *testing.T, engine store.Engine) *readers {
	r := &readers{t: t, cfg: storetest.NewConfig(t, engine), clock: newClock()}
	for _, bare := range []bool{false, false, true} {
		r.all = append(r.all, newProcess(t, r.cfg, r.clock, bare))
	}
	return r
}

// restart begins the second process anew.
func (r *readers) restart() {
	p := *r.all[1]
	feeds, err := New(Config{Index: p.index, Cursors: p.feeds.cursors, Logger: p.feeds.logger, Now: r.clock.now})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := feeds.keepUp(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	p.feeds = feeds
	r.all[1] = &p
}

// queries are all sorts of pages.
func (m *model) query() Query {
	frames := []time.Duration{0, 0, time.Hour, day, 7 * day, 30 * day, 365 * day}
	q := Query{Listing: Listing(m.rand.IntN(4)), Sort: []Sort{Hot, Hot, Top, Newest}[m.rand.IntN(4)], Viewer: m.reader(),
		Limit: 1 + m.rand.IntN(9), Endpoint: "test"}
	if q.Sort == Top {
		q.Timeframe = frames[m.rand.IntN(len(frames))]
	}
	if q.Listing == All || q.Listing == Discover {
		q.Limit += 20 // there is more
	}
	if q.Listing == Community {
		q.Community = m.did("community", m.rand.IntN(3))
	}
	return q
}

// only keeps the posts of this model: others share the database.
func (m *model) only(uris []syntax.ATURI) []syntax.ATURI {
	mine := m.uris()
	return slices.DeleteFunc(uris, func(u syntax.ATURI) bool { return !slices.Contains(mine, u) })
}

// TestPagingUnderChange holds F3: however a feed changes while somebody pages
// through it, on whatever process, they see what was there at the first page,
// once and in its order, but for what they may not see any more.
func TestPagingUnderChange(t *testing.T) {
	t.Parallel()
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			var r *readers
			for run := range size.Size(12, 1000) {
				if run%20 == 0 { // All and Discover show what earlier runs have left
					r = newReaders(t, engine)
				}
				m := newModel(t, r.all[0], r.clock, fmt.Sprintf("r%d", run), uint64(run))
				m.pageThrough(r, run)
				if t.Failed() {
					t.Fatalf("run %d", run)
				}
			}
		})
	}
}

func (m *model) pageThrough(r *readers, run int) {
	for n := range 3 {
		if m.rand.IntN(4) > 0 {
			m.subscribe(n, 1+m.rand.IntN(5))
		}
	}
	for range 5 + m.rand.IntN(20) {
		for k := m.post(m.someAge()); m.rand.IntN(3) > 0; {
			m.vote(k, m.rand.IntN(4) > 0)
		}
	}
	q := m.query()
	if ok := slices.ContainsFunc(m.posts, func(k *known) bool { return m.did("community", k.community) == q.Community }); q.Listing == Community && !ok {
		return
	}
	want := m.expect(q)
	q0 := q
	var got []syntax.ATURI
	for pages := 0; ; pages++ {
		p := r.all[m.rand.IntN(len(r.all))]
		page, err := p.feeds.Page(m.t.Context(), q)
		if err != nil {
			m.t.Fatalf("%+v: %v", q, err)
		}
		for _, post := range page.Posts {
			got = append(got, post.URI())
			if m.hidden()[post.URI()] {
				m.t.Errorf("%s is shown although it is hidden", post.URI())
			}
		}
		if page.Cursor == "" {
			break
		}
		if q.Cursor = page.Cursor; pages > 400 {
			m.t.Fatal("paging does not end")
		}
		for range m.rand.IntN(5) {
			m.stir()
		}
		if m.rand.IntN(30) == 0 {
			r.restart()
		}
	}
	// What has been hidden since may be there, from earlier pages, or not.
	gone := m.hidden()
	seen := map[syntax.ATURI]bool{}
	for _, uri := range got {
		seen[uri] = true
	}
	want = slices.DeleteFunc(want, func(u syntax.ATURI) bool { return gone[u] && !seen[u] })
	if got = m.only(got); !slices.Equal(want, got) {
		diff := cmp.Diff(want, got)
		m.t.Errorf("run %d, %+v, levels %v (-want +got):\n%s", run, q0, m.levels, diff)
	}
}

// TestThreadPagingUnderChange holds C7's paging: what was on the first level at the
// first page is shown once, in its order, whatever happens meanwhile.
func TestThreadPagingUnderChange(t *testing.T) {
	t.Parallel()
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			r := newReaders(t, engine)
			for run := range size.Size(12, 300) {
				newModel(t, r.all[0], r.clock, fmt.Sprintf("t%d", run), uint64(run)).pageThread(r, run)
			}
		})
	}
}

func (m *model) pageThread(r *readers, run int) {
	root := m.post(time.Hour)
	var all []syntax.ATURI
	for range 3 + m.rand.IntN(25) {
		uri := m.comment(root.uri, root.uri)
		all = append(all, uri)
		for range m.rand.IntN(4) {
			m.voteOn(uri)
		}
	}
	q := ThreadQuery{Post: root.uri, Sort: []Sort{Hot, Top, Newest}[m.rand.IntN(3)], Limit: 1 + m.rand.IntN(6), Depth: 2, Viewer: m.reader()}
	whole := q
	whole.Limit = 100
	want := m.level(r.all[0], &whole)
	gone := map[syntax.ATURI]bool{}
	var got []syntax.ATURI
	for pages := 0; pages < 100; pages++ {
		got = append(got, m.level(r.all[m.rand.IntN(len(r.all))], &q)...)
		if q.Cursor == "" {
			break
		}
		for range m.rand.IntN(6) {
			uri := all[m.rand.IntN(len(all))]
			switch n := m.rand.IntN(10); {
			case n < 7:
				m.voteOn(uri)
			case n < 9:
				m.comment(root.uri, root.uri)
			case !gone[uri]:
				gone[uri] = true
				m.apply(syntax.DID(uri.Authority().String()), index.CommentCollection, syntax.RecordKey(path(uri)), nil)
			}
		}
	}
	want = slices.DeleteFunc(want, func(u syntax.ATURI) bool { return gone[u] && !slices.Contains(got, u) })
	if !slices.Equal(want, got) {
		diff := cmp.Diff(want, got)
		m.t.Errorf("run %d, %+v (-want +got):\n%s", run, q, diff)
	}
}

// level reads one page of a thread's first level and moves q to the next.
func (m *model) level(p *process, q *ThreadQuery) []syntax.ATURI {
	m.t.Helper()
	page, err := p.feeds.Thread(m.t.Context(), *q)
	if err != nil {
		m.t.Fatal(err)
	}
	var out []syntax.ATURI
	for _, c := range page.Comments {
		out = append(out, c.URI)
	}
	q.Cursor = page.Cursor
	return out
}

func (m *model) voteOn(uri syntax.ATURI) {
	m.t.Helper()
	m.apply(m.did("voter", m.serial), index.VoteCollection, syntax.RecordKey(m.tid()), map[string]any{
		"subject": strong(uri), "direction": []string{"up", "up", "down"}[m.rand.IntN(3)]})
}
