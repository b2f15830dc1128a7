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

// knownKey is a key and when it was asked for; the zero value is none. A batch
// has those that it asked for and no others, whatever other sources come to
// doubt meanwhile, as if it had been first. The next one asks again.
type knownKey struct {
	key     atcrypto.PublicKey
	why     error // there is none; nil when nobody has asked
	asked   time.Time
	doubted bool
}

func newKeys(dir Directory, now func() time.Time) *keys {
	return &keys{dir: dir, now: now, web: make(chan struct{}, webWaits), known: map[syntax.DID]knownKey{}}
}

// current returns a key that is known and need not be asked for again.
func (k *keys) current(did syntax.DID) (key knownKey, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key = k.known[did]
	return key, key.key != nil && !key.doubted && k.now().Sub(key.asked) < keyAge
}

// prefetch returns the keys that a batch needs. It asks for those that are not
// known or not current, all at once, and waits a little for the answers. Where
// none comes the key is missing: what it signed is not believed, and that is told.
func (k *keys) prefetch(ctx context.Context, dids map[syntax.DID]bool) map[syntax.DID]knownKey {
	ctx, cancel := context.WithTimeout(ctx, keyWait)
	defer cancel()
	out := make(map[syntax.DID]knownKey, len(dids))
	var ask []syntax.DID
	for did := range dids {
		if key, ok := k.current(did); ok {
			out[did] = key
		} else {
			ask = append(ask, did)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	places := make(chan struct{}, keyPlaces)
	for _, did := range ask {
		wg.Go(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-ctx.Done():
				return
			}
			key, err := k.wait(ctx, did, k.freshness(did))
			if err != nil {
				key = knownKey{why: err}
			}
			mu.Lock()
			defer mu.Unlock()
			out[did] = key
		})
	}
	wg.Wait()
	return out
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
	ident, err := k.dir.LookupDocument(ctx, did, maxAge)
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
