package index

import (
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// knownMost bounds the accounts whose ids are remembered: two generations of
// so many, some 20 MB when full.
const knownMost = 50_000

// knownAccount is an account's row as far as it never changes again.
type knownAccount struct {
	id int64
	// asked tells that the account is looked up, or was.
	asked bool
}

// known remembers the ids of accounts, which every record names and which
// never change: asking for them is a good part of the work otherwise.
type known struct {
	mu         sync.Mutex
	young, old map[syntax.DID]knownAccount
	// inserted is the transaction in which accounts were last inserted. What
	// that reads may be its own and never be committed.
	inserted *store.Tx
}

// get returns an account that is remembered and needs nothing: who is to be
// seen must be looked up first.
func (k *known) get(did syntax.DID, loud bool) (int64, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.young[did]
	if !ok {
		if a, ok = k.old[did]; ok {
			k.add(did, a)
		}
	}
	return a.id, ok && (a.asked || !loud)
}

// put remembers a row that tx has read.
func (k *known) put(tx *store.Tx, did syntax.DID, a knownAccount) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.inserted != tx {
		k.add(did, a)
	}
}

// inserts notes that tx has rows that nobody else may see.
func (k *known) inserts(tx *store.Tx) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.inserted = tx
}

func (k *known) add(did syntax.DID, a knownAccount) {
	if k.young == nil || len(k.young) >= knownMost {
		k.young, k.old = make(map[syntax.DID]knownAccount), k.young
	}
	k.young[did] = a
}
