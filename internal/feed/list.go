package feed

import (
	"slices"

	"github.com/atoll-social/atoll/internal/index"
)

// slot is where a post's entry is in a table.
type slot = uint32

// entry is what lists know of a post: 48 bytes.
type entry struct {
	id, community       int64
	created, hot, score int64
	state               index.State
}

func (e *entry) rank() index.Rank {
	return index.Rank{Post: e.id, Community: e.community, State: e.state, CreatedAt: e.created, Hot: e.hot, Score: e.score}
}

func (e *entry) key(o index.Order) int64 {
	switch o {
	case index.ByTop:
		return e.score
	case index.ByNew:
		return e.created
	}
	return e.hot
}

// pageSize is how many entries are allocated at once, so that a table that
// grows is never copied.
const pageSize = 4096

// table holds entries; lists name them by their slot.
type table struct {
	pages []*[pageSize]entry
	used  slot // slots that were ever given out
	free  []slot
	slots map[int64]slot
}

func (t *table) at(s slot) *entry { return &t.pages[s/pageSize][s%pageSize] }

func (t *table) add(r index.Rank) slot {
	var s slot
	if n := len(t.free); n > 0 {
		s, t.free = t.free[n-1], t.free[:n-1]
	} else {
		if s = t.used; int(s/pageSize) == len(t.pages) {
			t.pages = append(t.pages, new([pageSize]entry))
		}
		t.used++
	}
	*t.at(s) = entry{id: r.Post, community: r.Community, created: r.CreatedAt, hot: r.Hot, score: r.Score, state: r.State}
	t.slots[r.Post] = s
	return s
}

func (t *table) remove(s slot) {
	delete(t.slots, t.at(s).id)
	*t.at(s) = entry{}
	t.free = append(t.free, s)
}

// chunkMost is how long a piece of a list gets: short enough to shift.
const chunkMost = 512

// list is slots in one order, the best first, in pieces.
type list struct{ chunks [][]slot }

// ahead reports whether an entry stands before a place in an order.
func ahead(key, id int64, at index.RankKey) bool {
	return key > at.Key || key == at.Key && id > at.Post
}

// seek finds the first entry that does not stand before a place.
func (l *list) seek(t *table, o index.Order, at index.RankKey) (chunk, i int) {
	before := func(s slot) bool { e := t.at(s); return ahead(e.key(o), e.id, at) }
	lo, hi := 0, len(l.chunks) // the first chunk whose last entry is not before
	for lo < hi {
		mid := (lo + hi) / 2
		if c := l.chunks[mid]; before(c[len(c)-1]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(l.chunks) {
		return lo, 0
	}
	c, j := l.chunks[lo], len(l.chunks[lo])
	for i < j {
		if mid := (i + j) / 2; before(c[mid]) {
			i = mid + 1
		} else {
			j = mid
		}
	}
	return lo, i
}

func (l *list) insert(t *table, o index.Order, s slot) {
	e := t.at(s)
	c, i := l.seek(t, o, index.RankKey{Key: e.key(o), Post: e.id})
	if c == len(l.chunks) { // behind everything
		if c == 0 {
			l.chunks = append(l.chunks, []slot{s})
			return
		}
		c--
		i = len(l.chunks[c])
	}
	if len(l.chunks[c]) == chunkMost {
		half := chunkMost / 2
		right := slices.Clone(l.chunks[c][half:])
		l.chunks[c] = slices.Clone(l.chunks[c][:half])
		l.chunks = slices.Insert(l.chunks, c+1, right)
		if i > half {
			c, i = c+1, i-half
		}
	}
	l.chunks[c] = slices.Insert(l.chunks[c], i, s)
}

// push adds an entry that stands behind all others. Pieces keep room, so that
// what comes between does not split each of them.
func (l *list) push(s slot) {
	if n := len(l.chunks); n > 0 && len(l.chunks[n-1]) < chunkMost*3/4 {
		l.chunks[n-1] = append(l.chunks[n-1], s)
		return
	}
	l.chunks = append(l.chunks, []slot{s})
}

func (l *list) remove(t *table, o index.Order, s slot) {
	e := t.at(s)
	c, i := l.seek(t, o, index.RankKey{Key: e.key(o), Post: e.id})
	if c == len(l.chunks) || l.chunks[c][i] != s {
		return
	}
	if len(l.chunks[c]) == 1 {
		l.chunks = slices.Delete(l.chunks, c, c+1)
		return
	}
	l.chunks[c] = slices.Delete(l.chunks[c], i, i+1)
}

// walk calls yield for what comes after a place, or from the beginning, until
// yield returns false.
func (l *list) walk(t *table, o index.Order, after *index.RankKey, yield func(*entry) bool) {
	c, i := 0, 0
	if after != nil {
		c, i = l.seek(t, o, *after)
	}
	for ; c < len(l.chunks); c, i = c+1, 0 {
		for _, s := range l.chunks[c][i:] {
			e := t.at(s)
			if after != nil && e.id == after.Post && e.key(o) == after.Key {
				continue
			}
			if !yield(e) {
				return
			}
		}
	}
}
