package feed

import (
	"container/heap"
	"context"

	"github.com/atoll-social/atoll/internal/index"
)

// stream is one section of a ground, read as far as it is needed.
type stream struct {
	ground  ground
	section section
	lift    int64 // added to keys when streams are merged
	bar     int64 // the least score
	buf     []index.Rank
	after   *index.RankKey
	read    int  // how many spans were read
	ended   bool // nothing comes after buf
	// lazy tells that it is read only when key says that its turn has come.
	lazy bool
	// key is where the stream stands among others: that of buf[0], or before
	// anything was read the most that it can be.
	key index.RankKey
}

// firstSpan is how much of a stream is read at first; twice as much each time
// after that.
const firstSpan = 4

// fill reads until there is something in buf, or nothing more to come.
func (s *stream) fill(ctx context.Context) error {
	for len(s.buf) == 0 && !s.ended {
		n := min(firstSpan<<min(s.read, 8), 256)
		ranks, until, err := s.ground.span(ctx, s.section, s.after, n)
		if err != nil {
			return err
		}
		s.read++
		for _, r := range ranks {
			if r.Score >= s.bar {
				s.buf = append(s.buf, r)
			}
		}
		s.after, s.ended = until, until == nil
	}
	if len(s.buf) > 0 {
		s.key = index.RankKey{Key: s.buf[0].Key(s.section.order) + s.lift, Post: s.buf[0].Post}
	}
	return nil
}

// merged is several streams in one order. It is a heap of those that are not
// at their end.
type merged []*stream

func (m merged) Len() int           { return len(m) }
func (m merged) Less(i, j int) bool { return ahead(m[i].key.Key, m[i].key.Post, m[j].key) }
func (m merged) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Push implements heap.Interface.
func (m *merged) Push(x any) { *m = append(*m, x.(*stream)) }

// Pop implements heap.Interface.
func (m *merged) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// merge prepares streams.
func merge(ctx context.Context, streams []*stream) (*merged, error) {
	m := make(merged, 0, len(streams))
	for _, s := range streams {
		if !s.lazy {
			if err := s.fill(ctx); err != nil {
				return nil, err
			}
			if len(s.buf) == 0 {
				continue
			}
		}
		m = append(m, s)
	}
	heap.Init(&m)
	return &m, nil
}

// candidate is a post that a page may show, and where it stands.
type candidate struct {
	post int64
	key  index.RankKey // with its lift
}

// next takes up to n candidates.
func (m *merged) next(ctx context.Context, n int) ([]candidate, error) {
	var out []candidate
	for len(out) < n && m.Len() > 0 {
		s := (*m)[0]
		if len(s.buf) > 0 {
			out = append(out, candidate{s.buf[0].Post, s.key})
			s.buf = s.buf[1:]
		}
		if err := s.fill(ctx); err != nil {
			return nil, err
		}
		if len(s.buf) == 0 {
			heap.Pop(m)
			continue
		}
		heap.Fix(m, 0)
	}
	return out, nil
}
