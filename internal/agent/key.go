package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
)

// KeyLife is how long a request may be repeated under its key.
const KeyLife = 24 * time.Hour

// maxKey bounds what callers may use as a key, in bytes.
const maxKey = 255

// Key chooses the record key for a request of an account and remembers it
// under key, which is any text that the caller keeps the same when it repeats
// the request. The first call chooses; the others get the same answer, also in
// another process. request is what is asked for: under a key that was used for
// something else the answer is a Conflict. An empty key is never the same.
func (a *Agent) Key(ctx context.Context, did syntax.DID, key string, request []byte) (syntax.TID, error) {
	if key == "" {
		return a.tids.next(), nil
	}
	if len(key) > maxKey {
		return "", fault.New(fault.Invalid, "The idempotency key is too long; 255 bytes are allowed.").WithCode("InvalidRequest")
	}
	keyHash, requestHash := sha256.Sum256([]byte(key)), sha256.Sum256(request)
	chosen, now := a.tids.next(), a.cfg.Now()
	var kept string
	var asked []byte
	err := a.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		ended := store.Micros(now.Add(-KeyLife))
		if _, err := tx.ExecContext(ctx, `DELETE FROM agent_write_key WHERE created_at < $1`, ended); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO agent_write_key (did, key_hash, request_hash, rkey, created_at)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT (did, key_hash) DO NOTHING`,
			did, keyHash[:], requestHash[:], chosen, store.Micros(now))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx,
			`SELECT rkey, request_hash FROM agent_write_key WHERE did = $1 AND key_hash = $2`,
			did, keyHash[:]).Scan(&kept, &asked)
	})
	if err != nil {
		return "", fmt.Errorf("choose a record key for %s: %w", did, err)
	}
	if !bytes.Equal(asked, requestHash[:]) {
		return "", fault.New(fault.Conflict, "This idempotency key was used for another request. Choose a new one.").
			WithCode("Conflict")
	}
	return syntax.TID(kept), nil
}

// tidSource makes TIDs that grow.
type tidSource struct {
	now   func() time.Time
	clock uint // ten bits that tell processes apart

	mu   sync.Mutex
	last int64
}

func newTIDSource(now func() time.Time) *tidSource {
	return &tidSource{now: now, clock: rand.UintN(1 << 10)}
}

func (s *tidSource) next() syntax.TID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, s.now().UnixMicro())
	return syntax.NewTID(s.last, s.clock)
}
