package index

import (
	"slices"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Bounds of what Cards keep, in about as many bytes, each of two generations;
// and in votes, of some 50 bytes.
const (
	cardsMost   = 40 << 20
	readersMost = 12 << 20
	votesMost   = 100_000
	placesMost  = 20_000
	// dependenceMost bounds the accounts that anything kept depends on.
	dependenceMost = 200_000
)

// Cards keep in memory what pages of posts are put together from: posts as a
// visitor sees them, what members follow, block and have voted, and which
// communities there are. All of it is as after one transaction: whoever uses
// them calls Follow first (docs/decisions/0014). Who may see what is decided by
// the clauses of hide.go whenever a page is read. It is safe for concurrent use.
type Cards struct {
	index *Index

	mu    sync.Mutex
	epoch int64 // grows when everything is forgotten
	seq   int64
	// traces are the last ones, to judge what was read meanwhile.
	traces  []Trace
	cards   recent[int64, *card]
	readers recent[syntax.DID, *Reader]
	places  recent[syntax.DID, communityPlace]
	votes   recent[voteKey, *Vote]
	// known are the accounts that cards and places depend on, reading those whose
	// readers are kept.
	known, reading map[int64]*dependence
	serials        int64

	asked Asked
}

// Asked counts what Cards had to ask the database for.
type Asked struct{ Posts, Readers, Votes, Communities int64 }

// NewCards returns Cards of what an index holds, empty.
func NewCards(x *Index) *Cards {
	return &Cards{
		index:   x,
		cards:   recent[int64, *card]{most: cardsMost, weigh: (*card).weight},
		readers: recent[syntax.DID, *Reader]{most: readersMost, weigh: (*Reader).weight},
		places:  recent[syntax.DID, communityPlace]{most: placesMost},
		votes:   recent[voteKey, *Vote]{most: votesMost},
		known:   map[int64]*dependence{},
		reading: map[int64]*dependence{},
	}
}

// dependence is what things kept of an account share. It is over when something
// about the account changes.
type dependence struct{ over bool }

// card is a post as it is kept.
type card struct {
	// post is what a visitor gets of it.
	post   Post
	author int64
	// visible and open are those conditions of hide.go; visibility and warnings
	// are the community's. outUntil is when the community lets the author in
	// again, 0 when they are in.
	visible, open bool
	visibility    Visibility
	warnings      Warnings
	outUntil      int64

	writer, place *dependence
}

func (c *card) weight() int { return 1000 + len(c.post.Record) }

// named reports whether a trace says that the card is over.
func (c *card) named(t Trace) bool {
	return among(t.Posts, c.post.ID) || among(t.Accounts, c.author) || among(t.Accounts, c.post.CommunityID)
}

func (c *card) over() bool { return c.writer.over || c.place.over }

// Reader is who looks, with what they follow and block. Nil maps are those of a
// visitor.
type Reader struct {
	Viewer
	follows             map[int64]int  // communities, by how much is wanted
	people, communities map[int64]bool // that are blocked
	self                *dependence
	serial              int64
}

func (r *Reader) weight() int { return 500 + 50*(len(r.follows)+len(r.people)+len(r.communities)) }

func (r *Reader) named(t Trace) bool { return among(t.Readers, r.ID) }

// Follows is which communities they follow, by their rows, and how much of each
// they want to see, from 1 to 5. It must not be changed.
func (r *Reader) Follows() map[int64]int { return r.follows }

type communityPlace struct {
	id    int64
	place *dependence
}

// voteKey is what a reader, as they were read once, has voted on.
type voteKey struct{ reader, post int64 }

// readAt is when something was read: what is over since then is not kept.
type readAt struct{ epoch, seq int64 }

// Reset forgets everything; what is read from now on is as after transaction seq
// or later.
func (k *Cards) Reset(seq int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reset(seq)
}

func (k *Cards) reset(seq int64) {
	k.epoch++
	k.seq, k.traces = seq, nil
	k.cards.clear()
	k.readers.clear()
	k.places.clear()
	k.votes.clear()
	clear(k.known)
	clear(k.reading)
}

// Seq is the transaction as after which everything is.
func (k *Cards) Seq() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seq
}

// Follow goes on to transaction seq: what traces name is over. Without all of
// them, which ok tells, everything is.
func (k *Cards) Follow(seq int64, traces []Trace, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if seq <= k.seq {
		return
	}
	if len(k.known)+len(k.reading) > dependenceMost {
		ok = false
	}
	if !ok {
		k.reset(seq)
		return
	}
	for _, t := range traces {
		if t.Seq <= k.seq {
			continue
		}
		for _, id := range t.Posts {
			k.cards.drop(id)
		}
		end(k.known, t.Accounts)
		end(k.reading, t.Readers)
		k.traces = append(k.traces, t)
	}
	k.seq = seq
	if n := len(k.traces) - tracesMost; n > 0 {
		k.traces = slices.Delete(k.traces, 0, n)
	}
}

// end tells everything that depends on accounts that it is over.
func end(all map[int64]*dependence, accounts []int64) {
	for _, id := range accounts {
		if d := all[id]; d != nil {
			d.over = true
			delete(all, id)
		}
	}
}

// depend returns what things kept of an account share.
func depend(all map[int64]*dependence, account int64) *dependence {
	d := all[account]
	if d == nil {
		d = &dependence{}
		all[account] = d
	}
	return d
}

func (k *Cards) now() readAt { return readAt{k.epoch, k.seq} }

// holds reports whether none of what was read since a moment is over, as names says
// of each trace.
func (k *Cards) holds(since readAt, names func(Trace) bool) bool {
	switch {
	case since.epoch != k.epoch:
		return false
	case since.seq == k.seq:
		return true
	case len(k.traces) == 0 || k.traces[0].Seq > since.seq+1:
		return false
	}
	return !slices.ContainsFunc(k.traces, func(t Trace) bool { return t.Seq > since.seq && names(t) })
}

func among(ids []int64, id int64) bool {
	_, ok := slices.BinarySearch(ids, id)
	return ok
}

// Asked tells how often the database was asked so far.
func (k *Cards) Asked() Asked {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}
