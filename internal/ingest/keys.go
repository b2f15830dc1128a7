package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

const (
	// keyAge is how long a key is used without asking again. A rotation is
	// noticed earlier: by the identity event, or by a signature that fails.
	keyAge = 24 * time.Hour
	// keyCount bounds the keys in memory.
	keyCount = 200_000
	// keyAgain is the least time between two questions about one account
	// that its signatures give rise to.
	keyAgain = 10 * time.Minute
	// A batch waits this long for a key that is not known, and not at all
	// where webWaits documents of hosts of somebody's choice are being
	// waited for already: nobody can hold up everybody.
	keyWait  = 2 * time.Second
	webWait  = 250 * time.Millisecond
	webWaits = 8
	// keyPlaces bounds the questions at once.
	keyPlaces = 32
)

var errKey = errors.New("signing key not known")

// keys knows the signing keys of accounts.
type keys struct {
	dir Directory
	now func() time.Time
	web chan struct{} // a place for everyone who waits for a did:web

	mu    sync.Mutex
	known map[syntax.DID]knownKey
}

// knownKey is a key and when it was asked for. One that is in doubt is good for
// the batches that asked for their keys before the doubt arose, as if they had
// been first; the next ones ask again.
type knownKey struct {
	key     atcrypto.PublicKey // nil after a question without an answer
	asked   time.Time
	doubted bool
}

func newKeys(dir Directory, now func() time.Time) *keys {
	return &keys{dir: dir, now: now, web: make(chan struct{}, webWaits), known: map[syntax.DID]knownKey{}}
}

// get returns the key that the last question had for an answer. Whether it may
// still be used is for prefetch to say, once for each batch: another source may
// cast doubt on it at any time.
func (k *keys) get(did syntax.DID) (knownKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.known[did]
	return have, have.key != nil
}

// current tells whether a key is known and need not be asked for again.
func (k *keys) current(did syntax.DID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[did].current(k.now())
}

func (k knownKey) current(now time.Time) bool {
	return k.key != nil && !k.doubted && now.Sub(k.asked) < keyAge
}

// prefetch asks for the keys that are not known or not current, all at once, and
// waits a little for the answers. Without one, what was known before is gone.
func (k *keys) prefetch(ctx context.Context, dids map[syntax.DID]bool) {
	ctx, cancel := context.WithTimeout(ctx, keyWait)
	defer cancel()
	var wg sync.WaitGroup
	places := make(chan struct{}, keyPlaces)
	for did := range dids {
		if k.current(did) {
			continue
		}
		wg.Go(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
				if _, err := k.wait(ctx, did, k.freshness(did)); err != nil {
					k.lapse(did) // the commit is not believed, and says so
				}
			case <-ctx.Done():
				k.lapse(did)
			}
		})
	}
	wg.Wait()
}

// freshness is how old an answer may be: of an account whose key was known,
// but may have changed, not at all.
func (k *keys) freshness(did syntax.DID) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, had := k.known[did]; had {
		return 0
	}
	return keyAge
}

// wait asks for a key, as long as a batch may wait.
func (k *keys) wait(ctx context.Context, did syntax.DID, maxAge time.Duration) (knownKey, error) {
	patience := keyWait
	if !strings.HasPrefix(string(did), "did:plc:") {
		patience = webWait
		select {
		case k.web <- struct{}{}:
			defer func() { <-k.web }()
		default:
			return knownKey{}, errKey
		}
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return k.ask(asking, did, maxAge)
}

// newer returns the key by a fresh answer, when a signature does not fit the
// one that is known. ok is false when there is none, or when it was asked a
// moment ago.
func (k *keys) newer(ctx context.Context, did syntax.DID, old knownKey) (key knownKey, ok bool) {
	if k.now().Sub(old.asked) < keyAgain {
		return knownKey{}, false
	}
	key, err := k.wait(ctx, did, 0)
	return key, err == nil
}

// ask looks a key up by answers at most maxAge old.
func (k *keys) ask(ctx context.Context, did syntax.DID, maxAge time.Duration) (knownKey, error) {
	ident, err := k.dir.LookupFresh(ctx, did.AtIdentifier(), maxAge)
	if err != nil {
		return knownKey{}, fmt.Errorf("%w: %w", errKey, err)
	}
	key, err := ident.PublicKey()
	if err != nil {
		return knownKey{}, fmt.Errorf("%w: %w", errKey, err)
	}
	have := knownKey{key: key, asked: k.now()}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= keyCount {
		for other := range k.known { // any: all of them can be had again
			delete(k.known, other)
			if len(k.known) < keyCount*9/10 {
				break
			}
		}
	}
	k.known[did] = have
	return have, nil
}

// doubt makes the next batch ask for a key, because the identity has changed.
func (k *keys) doubt(did syntax.DID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if have, had := k.known[did]; had {
		have.doubted = true
		k.known[did] = have
	}
}

// lapse ends the use of a key that is not current.
func (k *keys) lapse(did syntax.DID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if have, had := k.known[did]; had && !have.current(k.now()) {
		k.known[did] = knownKey{doubted: true}
	}
}
