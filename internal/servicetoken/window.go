package servicetoken

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// windowSize bounds the tokens that a process remembers, some 60 bytes each.
const windowSize = 100_000

// window remembers the tokens that were used, until they are over.
type window struct {
	now  func() time.Time
	size int

	mu     sync.Mutex
	used   map[[sha256.Size]byte]int64 // when they are over, in Unix seconds
	purged int64                       // when those that are over were last forgotten
}

func newWindow(now func() time.Time) *window {
	return &window{now: now, size: windowSize, used: map[[sha256.Size]byte]int64{}}
}

// take reports whether the token is new here. full: it cannot be remembered.
func (w *window) take(token [sha256.Size]byte, expires int64) (fresh, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, used := w.used[token]; used {
		return false, false
	}
	w.purge()
	if len(w.used) >= w.size {
		return true, true
	}
	w.used[token] = expires
	return true, false
}

// purgeEvery is how often tokens that are over are forgotten, in seconds.
const purgeEvery = 60

func (w *window) purge() {
	now := w.now().Unix()
	if now-w.purged < purgeEvery {
		return
	}
	w.purged = now
	for token, until := range w.used {
		if until <= now {
			delete(w.used, token)
		}
	}
}

// name identifies a token by what makes it unique: the issuer's jti.
func (t *parsed) name() [sha256.Size]byte {
	return sha256.Sum256([]byte(t.issuer.String() + "\x00" + t.claims.ID))
}

// once lets a token through the first time. Where it changes something, and
// where this process cannot remember it, the database does: for all processes.
func (v *Verifier) once(ctx context.Context, t *parsed, write bool) error {
	name := t.name()
	fresh, full := v.used.take(name, t.claims.Expires)
	if fresh && (write || full) {
		var err error
		if fresh, err = v.store(ctx, name, t.claims.Expires); err != nil {
			return err
		}
	}
	if !fresh {
		return refuse(nil, "was used before")
	}
	return nil
}

// store keeps a token until it is over, and forgets those that are.
func (v *Verifier) store(ctx context.Context, name [sha256.Size]byte, expires int64) (fresh bool, err error) {
	err = v.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM service_token WHERE expires_at <= $1`, store.Micros(v.cfg.Now())); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO service_token (token_hash, expires_at) VALUES ($1, $2) ON CONFLICT (token_hash) DO NOTHING`,
			name[:], store.Micros(time.Unix(expires, 0)))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		fresh = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("remember a service token: %w", err)
	}
	return fresh, nil
}
