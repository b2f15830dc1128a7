package index

import (
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Bounds of what is remembered, each of two generations of so many. All full
// take some 80 MB.
const (
	accountsMost = 50_000
	itemsMost    = 200_000
	ranksMost    = 200_000
)

// memory is what batches remember of the database, so that applying need not
// ask: that is most of the work otherwise. Only what has been committed is in it.
//
// Accounts keep their ids. Items and ranks are those after transaction seq, and
// hold for one that follows it directly: whoever else writes, or removes rows,
// takes a number too (see takeTurn).
type memory struct {
	mu  sync.Mutex
	seq int64
	// era counts how often items and ranks had to be forgotten.
	era      int64
	accounts recent[syntax.DID, knownAccount]
	items    recent[itemKey, int64]
	ranks    recent[int64, knownRank]
}

// knownAccount is an account's row.
type knownAccount struct {
	id int64
	// asked tells that the account is looked up, or was; waits, that this is
	// still to happen, as far as is known.
	asked, waits bool
}

// itemKey names a post or comment by its author's row and the number of its key,
// or by its community's where it is in the older form.
type itemKey struct {
	kind         targetKind
	account, tid int64
}

// knownRank is a row of post_rank without what follows from the rest.
type knownRank struct {
	community, createdAt         int64
	voters                       voters
	upvotes, downvotes, comments int32
	state                        uint8
}

func (r rankRow) remembered() knownRank {
	return knownRank{r.community, r.createdAt, r.voters, int32(r.upvotes), int32(r.downvotes), int32(r.comments), uint8(r.state)}
}

func (k knownRank) row() rankRow {
	r := rankRow{place: place{k.community, k.createdAt, State(k.state)},
		upvotes: int64(k.upvotes), downvotes: int64(k.downvotes), comments: int64(k.comments), voters: k.voters}
	return r.after(&postDelta{})
}

func newMemory() *memory {
	return &memory{
		accounts: recent[syntax.DID, knownAccount]{most: accountsMost},
		items:    recent[itemKey, int64]{most: itemsMost},
		ranks:    recent[int64, knownRank]{most: ranksMost},
	}
}

// forgets has an account read again.
func (m *memory) forgets(did syntax.DID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts.drop(did)
}

// lesson is what a batch has learned, to be remembered when it is committed.
type lesson struct {
	accounts map[syntax.DID]knownAccount
	items    map[itemKey]int64
	ranks    []rankLesson
}

// rankLesson is a row of post_rank as a batch leaves it.
type rankLesson struct {
	post int64
	knownRank
}

func newLesson() lesson {
	return lesson{accounts: map[syntax.DID]knownAccount{}, items: map[itemKey]int64{}}
}

// learn remembers what transaction seq has read and written.
func (m *memory) learn(seq int64, l lesson) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for did, a := range l.accounts {
		m.accounts.put(did, a)
	}
	if seq <= m.seq {
		return // a later one was quicker to tell
	}
	if seq != m.seq+1 {
		m.era++
		m.items.clear()
		m.ranks.clear()
	}
	m.seq = seq
	for key, id := range l.items {
		m.items.put(key, id)
	}
	for _, r := range l.ranks {
		m.ranks.put(r.post, r.knownRank)
	}
}

// pass goes on to transaction seq, which has changed nothing that is remembered.
func (m *memory) pass(seq int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seq == seq-1 {
		m.seq = seq
	}
}
