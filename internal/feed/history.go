package feed

import (
	"slices"
	"time"

	"github.com/atoll-social/atoll/internal/index"
)

const (
	// remember is how long a cursor is good for to the letter.
	remember = 10 * time.Minute
	// historyMost bounds what is remembered, some 30 MB. Older cursors are
	// served from the database then.
	historyMost = 250_000
)

// history is where posts stood before they moved.
type history struct {
	// complete is the sequence since when nothing is missing.
	complete int64
	moves    []move
	base     int // the position of moves[0]
	// last is the newest move of each post, ofCommunity that of what was in each
	// community, by position.
	last, ofCommunity map[int64]int
}

// move is one of them. before and sibling are the positions of the move before
// it of the same post, and from the same community; -1 for none.
type move struct {
	seq             int64
	at              int64 // seconds
	was             index.Rank
	before, sibling int
}

func newHistory(seq int64) history {
	return history{complete: seq, last: map[int64]int{}, ofCommunity: map[int64]int{}}
}

func (h *history) get(position int) *move {
	if position < h.base {
		return nil
	}
	return &h.moves[position-h.base]
}

func position(m map[int64]int, id int64) int {
	if p, ok := m[id]; ok {
		return p
	}
	return -1
}

func (h *history) add(changes []index.Change, now time.Time) {
	for _, c := range changes {
		p := h.base + len(h.moves)
		h.moves = append(h.moves, move{seq: c.Seq, at: now.Unix(), was: c.Was,
			before: position(h.last, c.Was.Post), sibling: position(h.ofCommunity, c.Was.Community)})
		h.last[c.Was.Post], h.ofCommunity[c.Was.Community] = p, p
	}
	h.prune(now)
}

// prune forgets what is old or too much, a good part of it at once.
func (h *history) prune(now time.Time) {
	n := max(0, len(h.moves)-historyMost)
	old := now.Add(-remember - time.Minute).Unix()
	for n < len(h.moves) && h.moves[n].at < old {
		n++
	}
	if n == 0 || n < len(h.moves)/4 {
		return
	}
	for i, m := range h.moves[:n] {
		h.complete = m.seq
		if h.last[m.was.Post] == h.base+i {
			delete(h.last, m.was.Post)
		}
		if h.ofCommunity[m.was.Community] == h.base+i {
			delete(h.ofCommunity, m.was.Community)
		}
	}
	h.moves = slices.Clone(h.moves[n:])
	h.base += n
}

// moved reports whether a post stands elsewhere than at seq.
func (h *history) moved(post, seq int64) bool {
	p, ok := h.last[post]
	return ok && h.get(p).seq > seq
}

// stood calls yield for what has moved since seq out of a community, or out of
// any list for 0, as it stood at seq.
func (h *history) stood(community, seq int64, yield func(index.Rank)) {
	p := h.base + len(h.moves) - 1
	if community != 0 {
		p = position(h.ofCommunity, community)
	}
	for {
		m := h.at(p)
		if m == nil || m.seq <= seq {
			return
		}
		if first := h.at(m.before); (first == nil || first.seq <= seq) && listed(m.was, community) {
			yield(m.was)
		}
		if p--; community != 0 {
			p = m.sibling
		}
	}
}

// at is get for positions that may be none or forgotten.
func (h *history) at(position int) *move {
	if position < h.base || position >= h.base+len(h.moves) {
		return nil
	}
	return h.get(position)
}

// listed reports whether a post that stands like this is in a community's list,
// or in that of everything for 0.
func listed(r index.Rank, community int64) bool {
	if community == 0 {
		return r.Community != 0
	}
	return r.Community == community && r.State == index.Accepted
}
