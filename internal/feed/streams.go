package feed

import (
	"context"
	"math"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// soil is a ground and up to where it reaches.
type soil struct {
	ground
	// cards are what pages are put together from.
	cards *index.Cards
	// horizon is since when the ground holds posts, 0 for all; those from before
	// are in rest, nil when there are none.
	horizon int64
	rest    ground
}

// ground chooses where a page is read from, and settles as of which sequence.
func (f *Feeds) ground(ctx context.Context, at *place) (soil, error) {
	l := f.lists.Load()
	if l == nil {
		return f.bareGround(ctx, at)
	}
	if err := f.fresh(ctx); err != nil {
		return soil{}, err
	}
	if l = f.lists.Load(); l == nil { // they have to be loaded anew
		return f.bareGround(ctx, at)
	}
	l.mu.RLock()
	seq, complete, horizon := l.seq, l.history.complete, l.horizon+margin.Microseconds()
	l.mu.RUnlock()
	if at.seq == 0 || at.seq > seq {
		at.seq = seq
	}
	m := &memory{lists: l, seq: at.seq}
	if at.seq < complete {
		m.moved = &moved{ix: f.index, seq: at.seq, were: map[int64]index.Rank{}}
		if err := m.moved.read(ctx); err != nil {
			return soil{}, err
		}
	}
	s := soil{ground: m, cards: f.cards, horizon: horizon}
	if f.older.Load() {
		s.rest = newDatabase(f.index, at.seq)
	}
	return s, nil
}

func (f *Feeds) bareGround(ctx context.Context, at *place) (soil, error) {
	seq, err := f.index.Seq(ctx)
	if at.seq == 0 || at.seq > seq {
		at.seq = seq
	}
	// What is kept for later is not brought up to date without lists.
	return soil{ground: newDatabase(f.index, at.seq), cards: index.NewCards(f.index)}, err
}

// streams opens what a page is made of.
func (f *Feeds) streams(ctx context.Context, q Query, r *index.Reader, at place, g soil) (*merged, error) {
	levels := map[int64]int{}
	switch q.Listing {
	case Community:
		id, ok, err := g.cards.CommunityID(ctx, q.Community)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fault.New(fault.NotFound, "There is no such community here.").WithCode("CommunityNotFound")
		}
		levels[id] = everyPost
	case Home:
		levels = r.Follows()
	default:
		levels[0] = everyPost
	}
	all := make([]*stream, 0, 2*len(levels))
	for community, level := range levels {
		s := section{community: community, order: q.Sort}
		if q.Sort == Top && q.Timeframe > 0 {
			s.since = at.at.Add(-q.Timeframe).UnixMicro()
		}
		least, err := bar(level, func() (bars, error) { return g.bars(ctx, community, barSince(at.at)) })
		if err != nil {
			return nil, err
		}
		all = append(all, g.open(s, lift(level, q.Sort), least, at.after)...)
	}
	return merge(ctx, all)
}

// everyPost is the level of lists that are no subscription: nothing is lifted
// and nothing left out.
const everyPost = 6

// open makes the streams of a section.
func (g soil) open(s section, lift, least int64, after *index.RankKey) []*stream {
	if after != nil {
		after = &index.RankKey{Key: after.Key - lift, Post: after.Post}
	}
	if g.horizon == 0 {
		return []*stream{{ground: g.ground, section: s, lift: lift, bar: least, after: after}}
	}
	young, old := s, s
	young.since = max(s.since, g.horizon)
	out := []*stream{{ground: g.ground, section: young, lift: lift, bar: least, after: after}}
	if g.rest != nil && s.since < g.horizon {
		old.before = g.horizon
		most := map[index.Order]int64{index.ByHot: index.HotBound(g.horizon), index.ByNew: g.horizon, index.ByTop: math.MaxInt64 / 2}[s.order]
		out = append(out, &stream{ground: g.rest, section: old, lift: lift, bar: least, after: after,
			lazy: true, key: index.RankKey{Key: most + lift, Post: math.MaxInt64}})
	}
	return out
}
