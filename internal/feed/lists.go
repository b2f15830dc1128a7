package feed

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atoll-social/atoll/internal/index"
)

// orders are the lists that every scope has.
var orders = [...]index.Order{index.ByHot, index.ByTop, index.ByNew}

// scope is the posts of one community, or all of them, in every order.
type scope struct {
	lists [len(orders)]list
	// changed is the last transaction that has changed them.
	changed int64
	counted atomic.Pointer[counted] // nil before anybody asked
}

// counted is the bars of a window as of a change.
type counted struct {
	since, changed int64
	bars           bars
}

func (s *scope) insert(t *table, x slot, seq int64) {
	for _, o := range orders {
		s.lists[o].insert(t, o, x)
	}
	s.changed = seq
}

func (s *scope) remove(t *table, x slot, seq int64) {
	for _, o := range orders {
		s.lists[o].remove(t, o, x)
	}
	s.changed = seq
}

// lists are the posts made since the horizon, in memory, as of seq. What has
// moved since a sequence that is not too old can be put back (see history).
type lists struct {
	mu          sync.RWMutex
	table       table
	all         scope            // everything that is listed
	communities map[int64]*scope // what each community has accepted
	history     history
	seq         int64
	horizon     int64 // microseconds
	// counts is how often bars were counted.
	counts atomic.Int64
	// seen is when somebody last looked for changes. It belongs to whoever follows.
	seen time.Time
}

func newLists(seq, horizon int64) *lists {
	return &lists{
		table: table{slots: map[int64]slot{}}, communities: map[int64]*scope{}, seq: seq, horizon: horizon,
		history: newHistory(seq),
	}
}

// put places a post where r says, from wherever it was, by transaction seq.
func (l *lists) put(r index.Rank, seq int64) {
	if s, ok := l.table.slots[r.Post]; ok {
		if l.table.at(s).rank() == r {
			return
		}
		l.take(s, seq)
	}
	if r.Community == 0 || r.CreatedAt < l.horizon {
		return
	}
	s := l.table.add(r)
	l.all.insert(&l.table, s, seq)
	if r.State == index.Accepted {
		c := l.communities[r.Community]
		if c == nil {
			c = &scope{}
			l.communities[r.Community] = c
		}
		c.insert(&l.table, s, seq)
	}
}

func (l *lists) take(s slot, seq int64) {
	e := l.table.at(s)
	l.all.remove(&l.table, s, seq)
	if c := l.communities[e.community]; c != nil && e.state == index.Accepted {
		if c.remove(&l.table, s, seq); len(c.lists[index.ByNew].chunks) == 0 {
			delete(l.communities, e.community)
		}
	}
	l.table.remove(s)
}

// scope is a community's posts, or everything for 0; nil when there are none.
func (l *lists) scope(community int64) *scope {
	if community == 0 {
		return &l.all
	}
	return l.communities[community]
}

// atOnce is how many posts move while readers wait: a fraction of a
// millisecond.
const atOnce = 64

// follow brings the lists to seq. In between, readers see some posts where they
// will be; the history, which is complete from the beginning, puts them back.
func (l *lists) follow(changes []index.Change, seq int64, now time.Time) {
	l.mu.Lock()
	l.history.add(changes, now)
	l.mu.Unlock()
	done := make(map[int64]bool, len(changes))
	for len(changes) > 0 {
		n := min(atOnce, len(changes))
		l.mu.Lock()
		for _, c := range changes[:n] {
			if !done[c.Is.Post] {
				done[c.Is.Post] = true
				l.put(c.Is, seq)
			}
		}
		l.mu.Unlock()
		changes = changes[n:]
	}
	l.mu.Lock()
	l.seq = seq
	l.mu.Unlock()
}

// forget drops what was made before a time, some of it at a time. It reports
// whether there is more.
func (l *lists) forget(horizon int64) (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.horizon = max(l.horizon, horizon)
	newest := &l.all.lists[index.ByNew]
	for range atOnce {
		if len(newest.chunks) == 0 {
			return false
		}
		last := newest.chunks[len(newest.chunks)-1]
		s := last[len(last)-1]
		if l.table.at(s).created >= l.horizon {
			return false
		}
		l.take(s, l.seq)
	}
	return true
}

// build makes lists of many posts at once.
func build(ranks []index.Rank, seq, horizon int64) *lists {
	l := newLists(seq, horizon)
	slots := make([]slot, 0, len(ranks))
	for _, r := range ranks {
		slots = append(slots, l.table.add(r))
	}
	for _, o := range orders {
		slices.SortFunc(slots, func(a, b slot) int {
			p, q := l.table.at(a), l.table.at(b)
			return cmp.Or(cmp.Compare(q.key(o), p.key(o)), cmp.Compare(q.id, p.id))
		})
		for _, s := range slots {
			l.all.lists[o].push(s)
			if e := l.table.at(s); e.state == index.Accepted {
				c := l.communities[e.community]
				if c == nil {
					c = &scope{changed: seq}
					l.communities[e.community] = c
				}
				c.lists[o].push(s)
			}
		}
	}
	return l
}
