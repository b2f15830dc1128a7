package feed

import (
	"cmp"
	"context"
	"slices"

	"github.com/atoll-social/atoll/internal/index"
)

// ground is where a page's posts are read from: lists in memory or the
// database. Both give the same, as it was at one sequence.
type ground interface {
	// span returns what of a scope stood after a place, in order: about n of
	// them, and until where that is complete, nil for the end.
	span(ctx context.Context, s section, after *index.RankKey, n int) (ranks []index.Rank, until *index.RankKey, err error)
	// bars are those of what a community accepted and was made since a time.
	bars(ctx context.Context, community, since int64) (bars, error)
}

// section is a part of a scope in one order. 0 is no bound.
type section struct {
	community     int64
	order         index.Order
	since, before int64
}

func (s section) holds(r index.Rank) bool {
	return listed(r, s.community) && (s.since == 0 || r.CreatedAt >= s.since) && (s.before == 0 || r.CreatedAt < s.before)
}

// memory is lists as they were at a sequence.
type memory struct {
	lists *lists
	seq   int64
	// moved is used instead of the lists' history where that does not reach
	// back; nil otherwise.
	moved *moved
}

// steps bounds how many entries a span looks at under the lock.
const steps = 4096

func (m *memory) has(post int64) bool {
	if m.moved != nil {
		_, ok := m.moved.were[post]
		return ok || m.lists.history.moved(post, m.moved.seq)
	}
	return m.lists.history.moved(post, m.seq)
}

// stood yields what has moved since, as it stood.
func (m *memory) stood(community int64, yield func(index.Rank)) {
	if m.moved == nil {
		m.lists.history.stood(community, m.seq, yield)
		return
	}
	for _, r := range m.moved.were {
		if listed(r, community) {
			yield(r)
		}
	}
	m.lists.history.stood(community, m.moved.seq, func(r index.Rank) {
		if _, earlier := m.moved.were[r.Post]; !earlier {
			yield(r)
		}
	})
}

func (m *memory) span(_ context.Context, s section, after *index.RankKey, n int) ([]index.Rank, *index.RankKey, error) {
	l := m.lists
	l.mu.RLock()
	defer l.mu.RUnlock()
	if s.order == index.ByTop && s.since > 0 && l.brief(s) {
		return m.window(s, after), nil, nil
	}
	var ranks []index.Rank
	var until *index.RankKey
	looked := 0
	if scope := l.scope(s.community); scope != nil {
		scope.lists[s.order].walk(&l.table, s.order, after, func(e *entry) bool {
			if e.created >= s.since && !m.has(e.id) {
				ranks = append(ranks, e.rank())
			}
			if looked++; len(ranks) < n && looked < steps {
				return !endOfTime(s, e)
			}
			until = &index.RankKey{Key: e.key(s.order), Post: e.id}
			return false
		})
	}
	return m.with(ranks, s, after, until), until, nil
}

// endOfTime reports whether nothing behind an entry can belong to a section.
func endOfTime(s section, e *entry) bool { return s.order == index.ByNew && e.created < s.since }

// with adds what stood between two places, and sorts.
func (m *memory) with(ranks []index.Rank, s section, after, until *index.RankKey) []index.Rank {
	have := len(ranks)
	m.stood(s.community, func(r index.Rank) {
		if s.holds(r) && between(r, s.order, after, until) {
			ranks = append(ranks, r)
		}
	})
	if len(ranks) > have {
		inOrder(ranks, s.order)
	}
	return ranks
}

// window gathers what was made in a short time and sorts it.
func (m *memory) window(s section, after *index.RankKey) []index.Rank {
	var ranks []index.Rank
	l := m.lists
	if scope := l.scope(s.community); scope != nil {
		scope.lists[index.ByNew].walk(&l.table, index.ByNew, nil, func(e *entry) bool {
			if e.created < s.since {
				return false
			}
			if r := e.rank(); !m.has(e.id) && between(r, s.order, after, nil) {
				ranks = append(ranks, r)
			}
			return true
		})
	}
	inOrder(ranks, s.order)
	return m.with(ranks, s, after, nil)
}

// brief reports whether a window is so short that sorting what is in it costs
// less than looking for it among the best of all times.
func (l *lists) brief(s section) bool {
	scope := l.scope(s.community)
	if scope == nil {
		return true
	}
	// The chunk in which the window begins tells about how much is in it.
	newest := &scope.lists[index.ByNew]
	c, _ := newest.seek(&l.table, index.ByNew, index.RankKey{Key: s.since, Post: -1})
	within, total := (c+1)*chunkMost, (len(newest.chunks)+1)*chunkMost
	return within*within < 16*total
}

// bars are kept with a community's lists until something in those changes.
func (m *memory) bars(_ context.Context, community, since int64) (bars, error) {
	l := m.lists
	l.mu.RLock()
	defer l.mu.RUnlock()
	c := l.scope(community)
	still := c != nil && c.changed <= m.seq
	if still {
		if k := c.counted.Load(); k != nil && k.since == since && k.changed == c.changed {
			return k.bars, nil
		}
	}
	b := barsOf(m.scores(c, community, since))
	if still {
		l.counts.Add(1)
		c.counted.Store(&counted{since: since, changed: c.changed, bars: b})
	}
	return b, nil
}

// scores are those of a community's posts that were made since a time.
func (m *memory) scores(c *scope, community, since int64) []int64 {
	var out []int64
	if c != nil {
		c.lists[index.ByNew].walk(&m.lists.table, index.ByNew, nil, func(e *entry) bool {
			if e.created >= since && !m.has(e.id) {
				out = append(out, e.score)
			}
			return e.created >= since
		})
	}
	m.stood(community, func(r index.Rank) {
		if r.CreatedAt >= since {
			out = append(out, r.Score)
		}
	})
	return out
}

// between reports whether a rank stands after one place and not after another.
func between(r index.Rank, o index.Order, after, until *index.RankKey) bool {
	key := r.Key(o)
	return (after == nil || !ahead(key, r.Post, *after) && (index.RankKey{Key: key, Post: r.Post}) != *after) &&
		(until == nil || ahead(key, r.Post, *until) || (index.RankKey{Key: key, Post: r.Post}) == *until)
}

func inOrder(ranks []index.Rank, o index.Order) {
	slices.SortFunc(ranks, func(a, b index.Rank) int {
		return cmp.Or(cmp.Compare(b.Key(o), a.Key(o)), cmp.Compare(b.Post, a.Post))
	})
}

// moved is what has moved since a sequence, read from the database so far.
type moved struct {
	ix   *index.Index
	seq  int64 // the last that was read
	were map[int64]index.Rank
}

// read adds what has moved meanwhile. The first move of a post says where it
// stood.
func (m *moved) read(ctx context.Context) error {
	changes, seq, err := m.ix.Changes(ctx, m.seq)
	for _, c := range changes {
		if _, ok := m.were[c.Was.Post]; !ok {
			m.were[c.Was.Post] = c.Was
		}
	}
	if err == nil {
		m.seq = seq
	}
	return err
}

// database reads ranks as they were at a sequence by queries.
type database struct {
	ix    *index.Index
	moved *moved
}

func newDatabase(ix *index.Index, seq int64) *database {
	return &database{ix: ix, moved: &moved{ix: ix, seq: seq, were: map[int64]index.Rank{}}}
}

func (d *database) span(ctx context.Context, s section, after *index.RankKey, n int) ([]index.Rank, *index.RankKey, error) {
	// More than is wanted, so that some may have moved.
	n += n/2 + 8
	now, err := d.ix.Ranked(ctx, index.RankQuery{
		Community: s.community, Order: s.order, After: after, Since: s.since, Before: s.before, Limit: n})
	if err != nil {
		return nil, nil, err
	}
	// After that, so that no move between the two is missed.
	if err := d.moved.read(ctx); err != nil {
		return nil, nil, err
	}
	var until *index.RankKey
	if len(now) == n {
		until = &index.RankKey{Key: now[n-1].Key(s.order), Post: now[n-1].Post}
	}
	ranks := now[:0]
	for _, r := range now {
		if _, gone := d.moved.were[r.Post]; !gone {
			ranks = append(ranks, r)
		}
	}
	have := len(ranks)
	for _, r := range d.moved.were {
		if s.holds(r) && between(r, s.order, after, until) {
			ranks = append(ranks, r)
		}
	}
	if len(ranks) > have {
		inOrder(ranks, s.order)
	}
	return ranks, until, nil
}

func (d *database) bars(ctx context.Context, community, since int64) (bars, error) {
	now, err := d.ix.Scores(ctx, community, since)
	if err != nil {
		return bars{}, err
	}
	if err := d.moved.read(ctx); err != nil {
		return bars{}, err
	}
	var out []int64
	for post, score := range now {
		if _, gone := d.moved.were[post]; !gone {
			out = append(out, score)
		}
	}
	for _, r := range d.moved.were {
		if listed(r, community) && r.CreatedAt >= since {
			out = append(out, r.Score)
		}
	}
	return barsOf(out), nil
}
