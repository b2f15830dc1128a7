// Package feed ranks and pages what the index holds: lists of posts, kept sorted
// in memory and followed by the index's own sequence, and threads. What memory
// does not hold, or not yet, it reads from the database; the answers are the same.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// Config is what Feeds work with.
type Config struct {
	Index   *index.Index
	Cursors *index.Cursors
	Logger  *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Bare tells to answer from the database alone.
	Bare bool
	// Late is how much older than its request a page may be in what other
	// processes wrote; 0 is not at all. In what this one wrote none is older.
	Late time.Duration
}

// Feeds answers what lists of posts and threads hold. It is safe for concurrent
// use, and right from the first request on; Run makes it quick.
type Feeds struct {
	index   *index.Index
	cursors *index.Cursors
	logger  *slog.Logger
	now     func() time.Time
	bare    bool

	lists   atomic.Pointer[lists] // nil until they are loaded
	cards   *index.Cards          // as of the lists' sequence
	older   atomic.Bool           // there are posts that lists do not hold
	refresh refresher
	late    time.Duration
	checked atomic.Pointer[checked] // nil before the lists were brought up to date
	pages   pageCache
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Feeds, error) {
	if cfg.Index == nil || cfg.Cursors == nil || cfg.Logger == nil {
		return nil, errors.New("feed: Index, Cursors and Logger are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Feeds{index: cfg.Index, cursors: cfg.Cursors, logger: cfg.Logger.With("component", "feed"), now: cfg.Now, bare: cfg.Bare, late: cfg.Late,
		cards: index.NewCards(cfg.Index)}, nil
}

// Listing says which posts a page is of.
type Listing uint8

// The listings.
const (
	Discover  Listing = iota // all public communities, without what warns of adult content or violence
	All                      // all public communities
	Home                     // what the viewer follows
	Community                // one community
)

// Sort is the order of a list.
type Sort = index.Order

// The sorts: by votes and age, by votes within a timeframe, by age.
const (
	Hot    = index.ByHot
	Top    = index.ByTop
	Newest = index.ByNew
)

// Query asks for a page of posts.
type Query struct {
	Listing   Listing
	Community syntax.DID // of the listing Community
	Sort      Sort
	// Timeframe is how old posts of Top may be; 0 is no bound.
	Timeframe time.Duration
	Viewer    syntax.DID // empty for a visitor
	Limit     int        // from 1; the page may be shorter, see PageBytes
	// Cursor is that of the page before; empty begins.
	Cursor string
	// Endpoint names who asks, so that cursors of one surface are none of another.
	Endpoint string
}

// PageBytes is about how much of records one page of posts holds. A page is
// read by anybody and as often as they like; a hundred of the longest posts
// would be megabytes of work for each of them.
const PageBytes = 1 << 20

// Page is some posts, whole and as the viewer sees them.
type Page struct {
	Posts []index.Post
	// Cursor leads to the next page; empty on the last one.
	Cursor string
}

// Page answers q. Errors: fault.Invalid (InvalidCursor, InvalidRequest),
// fault.NotFound (CommunityNotFound).
func (f *Feeds) Page(ctx context.Context, q Query) (Page, error) {
	if q.Limit < 1 {
		return Page{}, fault.New(fault.Invalid, "A page has at least one item.").WithCode("InvalidRequest")
	}
	at, err := f.position(q.binding(), q.Cursor)
	if err != nil {
		return Page{}, err
	}
	g, err := f.ground(ctx, &at)
	if err != nil {
		return Page{}, err
	}
	shared, ok := f.pages.get(q, at.seq, f.now())
	if ok {
		return shared, nil
	}
	r, err := g.cards.Reader(ctx, q.Viewer)
	if err != nil {
		return Page{}, err
	}
	streams, err := f.streams(ctx, q, r, at, g)
	if err != nil {
		return Page{}, err
	}
	posts, m, err := f.fill(ctx, q, view{g.cards, r, listings[q.Listing]}, streams)
	if err != nil {
		return Page{}, fmt.Errorf("read a page: %w", err)
	}
	page := Page{Posts: posts}
	if m != nil {
		page.Cursor = f.seal(q.binding(), at, *m)
	}
	f.pages.put(q, at.seq, f.now(), page)
	return page, nil
}

// place is where a page begins.
type place struct {
	seq   int64 // as of which transaction; 0 means the last one
	at    time.Time
	after *index.RankKey
}

// seal writes a cursor.
func (f *Feeds) seal(binding string, at place, end index.RankKey) string {
	return f.cursors.Seal(binding, at.seq, at.at.Unix(), end.Key, end.Post)
}

// position reads a cursor.
func (f *Feeds) position(binding, cursor string) (place, error) {
	now := f.now().UTC().Truncate(time.Second)
	if cursor == "" {
		return place{at: now}, nil
	}
	n, err := f.cursors.Open(binding, cursor, 4)
	if err != nil {
		return place{}, err
	}
	p := place{seq: n[0], at: time.Unix(n[1], 0).UTC(), after: &index.RankKey{Key: n[2], Post: n[3]}}
	if age := now.Sub(p.at); age > remember || age < -remember {
		p.seq, p.at = 0, now // go on by key
	}
	return p, nil
}

// binding is what a cursor belongs to: everything that decides what pages hold
// but their length.
func (q Query) binding() string {
	return fmt.Sprintf("%s %d %s %d %d %s", q.Endpoint, q.Listing, q.Community, q.Sort, q.Timeframe, q.Viewer)
}

// batch is how many posts are read whole at once, at most.
const batch = 16

// view is who looks, where, and through what.
type view struct {
	cards  *index.Cards
	reader *index.Reader
	in     index.Listing
}

// fill reads candidates until the page is full. end is where it ended, nil when
// nothing that the viewer may see comes after.
func (f *Feeds) fill(ctx context.Context, q Query, v view, m *merged) (posts []index.Post, end *index.RankKey, err error) {
	room, most := PageBytes, batch
	for {
		n := most
		if most == batch {
			n = min(batch, q.Limit+1-len(posts))
		}
		some, err := m.next(ctx, n)
		if err != nil || len(some) == 0 {
			return posts, nil, err
		}
		if some, err = f.sift(ctx, v, some); err != nil {
			return nil, nil, err
		}
		most = hiddenBatch // unless something can be seen here
		for part := range slices.Chunk(some, batch) {
			seen, err := v.cards.Posts(ctx, v.reader, v.in, ids(part))
			if err != nil {
				return nil, nil, err
			}
			for _, c := range part {
				if len(seen) == 0 || seen[0].ID != c.post {
					continue
				}
				p := seen[0]
				seen = seen[1:]
				if room -= len(p.Record); len(posts) == q.Limit || room < 0 && len(posts) > 0 {
					return posts, end, nil // the one too many proves another page
				}
				posts, end, most = append(posts, p), &c.key, batch
			}
		}
	}
}

// sift leaves out what the viewer may not see, where that can be asked for less
// than it takes to read posts whole.
func (f *Feeds) sift(ctx context.Context, v view, some []candidate) ([]candidate, error) {
	if len(some) <= batch {
		return some, nil
	}
	seen, err := f.index.Shown(ctx, v.reader.Viewer, v.in, ids(some))
	return slices.DeleteFunc(some, func(c candidate) bool { return !seen[c.post] }), err
}

func ids(some []candidate) []int64 {
	out := make([]int64, len(some))
	for i, c := range some {
		out[i] = c.post
	}
	return out
}

// hiddenBatch is how many posts are looked at at once where most are hidden.
const hiddenBatch = 512

// listings are what the index calls them.
var listings = [...]index.Listing{
	Discover: index.ForStrangers, All: index.ForAll, Home: index.OfCommunity, Community: index.OfCommunity,
}

// Ages of posts that Top can be limited to.
const (
	day  = 24 * time.Hour
	week = 7 * day
)

// ParseSort reads hot, top or new; nothing means hot.
func ParseSort(text string) (Sort, bool) {
	sort, ok := map[string]Sort{"": Hot, "hot": Hot, "top": Top, "new": Newest}[text]
	return sort, ok
}

// ParseTimeframe reads hour, day, week, month, year or all, which is 0; nothing
// means day.
func ParseTimeframe(text string) (time.Duration, bool) {
	frame, ok := map[string]time.Duration{
		"": day, "hour": time.Hour, "day": day, "week": week, "month": 30 * day, "year": 365 * day, "all": 0,
	}[text]
	return frame, ok
}

// Probe reports what keeps feeds from being answered (O4). While lists are
// loading they are answered from the database.
func (f *Feeds) Probe(ctx context.Context) error {
	_, err := f.Page(ctx, Query{Listing: All, Sort: Newest, Limit: 1, Endpoint: "probe"})
	return err
}
