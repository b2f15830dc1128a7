// Package index keeps what the network said: accounts and records, applied in
// any order to the same result, and the queries over them. It knows only
// storage. What it lacks about an account it marks as due to be resolved; it
// never asks the network itself.
package index

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/lexicons"
)

// Config is what an Index needs.
type Config struct {
	// DB holds the tables of docs/data.md that are the index's, which nobody
	// else writes.
	DB *store.DB
	// Now is the clock of indexed_at and of clamping; nil means time.Now.
	Now func() time.Time
}

// Index applies commits and answers queries. It is safe for concurrent use.
type Index struct {
	db      *store.DB
	now     func() time.Time
	catalog lexicon.Catalog
	ids     *idSource
	memory  *memory
	pruned  atomic.Int64 // when rank_change was pruned last, in microseconds
	// watchers are told after commits.
	watchers watchers
	told     atomic.Bool // of what other processes commit, too
}

// New checks cfg and reads the built-in lexicons. It does no I/O.
func New(cfg Config) (*Index, error) {
	if cfg.DB == nil {
		return nil, errors.New("index: no database")
	}
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	catalog, err := lexicons.NewCatalog()
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return &Index{db: cfg.DB, now: now, catalog: catalog, ids: newIDSource(now), memory: newMemory(),
		watchers: watchers{own: make(chan struct{}, 1)}}, nil
}

// kind is one record type: how its records are read and how they are applied.
type kind struct {
	nsid syntax.NSID
	// key reports whether records of this type may have this key.
	key func(syntax.RecordKey) bool
	// read turns a record that its lexicon accepts into what is stored.
	read func(in input) (value, error)
	// apply writes changes of this type that are in key order and name
	// distinct records. It returns how many passed the gate.
	apply func(ctx context.Context, b *batch, changes []change) (int64, error)
	// quiet tells that nobody sees who wrote such records, so that their
	// authors are not looked up for them.
	quiet bool
	// quietRefs tells the same of the accounts that they name.
	quietRefs bool
	// slim tells that the record itself is not kept.
	slim bool
	// place is where it stands among allKinds.
	place int
}

// input is a record on its way in.
type input struct {
	did    syntax.DID
	rkey   syntax.RecordKey
	record map[string]any
	raw    []byte // its JSON; nil for slim kinds
}

// value is a record as it is stored.
type value interface {
	// refs are the accounts that the record names besides its author; those that
	// it does not have are empty.
	refs() refs
}

// refs are accounts that a record names.
type refs [2]syntax.DID

// kinds is the one list of record types: what is asked of streams, what is
// validated and what is applied all follow it.
func kinds() []kind {
	return []kind{
		personKind(), personBlockKind(),
		communityKind(), rulesKind(), moderatorKind(), banKind(),
		postKind(), acceptanceKind(), removalKind(), commentKind(),
		subscriptionKind(), communityBlockKind(), voteKind(),
		serviceKind(), authorizationKind(),
	}
}

// allKinds is kinds, made once, and byCollection the same for looking up.
var (
	allKinds = func() (all []*kind) {
		for i, k := range kinds() {
			k.place = i
			all = append(all, &k)
		}
		return all
	}()
	byCollection = func() map[syntax.NSID]*kind {
		m := map[syntax.NSID]*kind{}
		for _, k := range allKinds {
			m[k.nsid] = k
		}
		return m
	}()
)

// kindOf finds the record type of a collection.
func kindOf(collection syntax.NSID) (*kind, bool) {
	k, ok := byCollection[collection]
	return k, ok
}

// Indexes reports whether records of this collection are indexed.
func Indexes(collection syntax.NSID) bool {
	_, ok := kindOf(collection)
	return ok
}
