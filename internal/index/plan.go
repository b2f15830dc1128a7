package index

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Plan is commits made ready to be applied, as far as that goes before their
// turn. It may be applied again when that has failed, but not twice at once.
type Plan struct {
	// changes are ordered by record type, then by their row's key as far as it is
	// known, so that rows that stand together are written together.
	changes []change
	// people are the accounts that the changes name; at finds them.
	people []person
	at     map[syntax.DID]int32
	// unknown are those of people whose row must be read; due tells that one of the
	// others is still to be resolved.
	unknown []int32
	due     bool
	// era is that of memory in which the changes' items were remembered.
	era int64
}

// person is an account that changes name.
type person struct {
	did syntax.DID
	knownAccount
	known bool // what is remembered of it is above
	// loud tells that somebody will see it for that. Those that nobody sees, such
	// as who voted, are not looked up.
	loud bool
}

// Plan makes commits ready for Apply. It needs no storage and is safe for
// concurrent use.
func (x *Index) Plan(commits []Commit) *Plan {
	p := &Plan{at: make(map[syntax.DID]int32, 2*len(commits))}
	list := p.authors(commits)
	x.memory.recall(p.people)
	authors := len(p.people)
	for i := range list {
		list[i].account = p.people[list[i].who].id
	}
	slices.SortFunc(list, inOrder.compare)
	p.take(list)
	x.memory.recall(p.people[authors:])
	for i, who := range p.people {
		if !who.known || who.loud && !who.asked {
			p.unknown = append(p.unknown, int32(i))
			continue
		}
		p.due = p.due || who.waits
	}
	slices.SortFunc(p.unknown, func(i, j int32) int { return cmp.Compare(p.people[i].did, p.people[j].did) })
	x.memory.recallItems(p)
	return p
}

// inOrder is a change with what it is ordered by.
type inOrder struct {
	change  *change
	n       int // in the order of arrival
	who     int32
	account int64
}

func (o inOrder) compare(other inOrder) int {
	p, q := o.change, other.change
	if c := o.compareName(other); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(q.rev, p.rev), cmp.Compare(o.n, other.n))
}

// compareName is 0 for changes of one record.
func (o inOrder) compareName(other inOrder) int {
	p, q := o.change, other.change
	switch {
	case p.kind != q.kind:
		return cmp.Compare(p.kind.place, q.kind.place)
	case o.account != other.account:
		return cmp.Compare(o.account, other.account)
	case o.who != other.who:
		return cmp.Compare(o.who, other.who)
	case p.tid != q.tid:
		return cmp.Compare(p.tid, q.tid)
	}
	return strings.Compare(string(p.rkey), string(q.rkey))
}

// authors lists the changes of commits, with whose they are.
func (p *Plan) authors(commits []Commit) []inOrder {
	out := make([]inOrder, 0, len(commits))
	for _, c := range commits {
		for i := range c.changes {
			ch := &c.changes[i]
			out = append(out, inOrder{change: ch, n: len(out), who: p.meet(ch.did)})
		}
	}
	return out
}

// meet is the place of an account among people.
func (p *Plan) meet(did syntax.DID) int32 {
	i, ok := p.at[did]
	if !ok {
		i = int32(len(p.people))
		p.at[did] = i
		p.people = append(p.people, person{did: did})
	}
	return i
}

// take takes the greatest revision of each record from a list in order: one
// statement must not touch a row twice, and what the gate would overwrite need not
// be written.
func (p *Plan) take(list []inOrder) {
	p.changes = make([]change, 0, len(list))
	for i, o := range list {
		if i > 0 && o.compareName(list[i-1]) == 0 {
			continue
		}
		ch := *o.change
		ch.who = o.who
		who := &p.people[o.who]
		who.loud = who.loud || !ch.kind.quiet
		if ch.value != nil {
			for n, did := range ch.value.refs() {
				if did == "" {
					continue
				}
				ch.named[n] = p.meet(did)
				ref := &p.people[ch.named[n]]
				ref.loud = ref.loud || !ch.kind.quietRefs
			}
		}
		p.changes = append(p.changes, ch)
	}
}

// byKind gives each the changes of a record type.
func (p *Plan) byKind(each func(*kind, []change) error) error {
	for rest := p.changes; len(rest) > 0; {
		k, n := rest[0].kind, 1
		for n < len(rest) && rest[n].kind == k {
			n++
		}
		if err := each(k, rest[:n:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// accounts are the rows of people.
type accounts struct {
	at   map[syntax.DID]int32
	rows []int64
}

// id is the row of an account, 0 where it has none.
func (a accounts) id(did syntax.DID) int64 {
	if i, ok := a.at[did]; ok {
		return a.rows[i]
	}
	return 0
}

// recall fills in what is remembered of people.
func (m *memory) recall(people []person) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range people {
		people[i].knownAccount, people[i].known = m.accounts.get(people[i].did)
	}
}

// recallItems fills in the rows of what changes speak of. They stay what they are
// as long as memory follows every transaction.
func (m *memory) recallItems(p *Plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.era = m.era
	for i := range p.changes {
		ch := &p.changes[i]
		if s, ok := ch.value.(stand); ok && s.account == "" && s.subject.kind != toLegacyPost {
			if author := p.people[ch.named[0]]; author.known {
				ch.foreseen, _ = m.items.get(itemKey{s.subject.kind, author.id, tidNumber(s.subject.rkey)})
			}
		}
	}
}
