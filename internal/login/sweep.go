package login

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/atoll-social/atoll/internal/store"
)

// sweepBatch is how many attempts go in one transaction.
const sweepBatch = 1000

// Sweep removes sign-ins that have run out, in batches, and returns how many
// there were, also with an error (S43).
func (s *Attempts) Sweep(ctx context.Context) (int, error) {
	total := 0
	for {
		var n int64
		err := s.db.Tx(ctx, func(tx *store.Tx) error {
			res, err := tx.ExecContext(ctx, `
DELETE FROM login_attempt WHERE state_hash IN
  (SELECT state_hash FROM login_attempt WHERE expires_at <= $1 ORDER BY expires_at, state_hash LIMIT $2)`,
				store.Micros(s.now()), sweepBatch)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return total, fmt.Errorf("sweep sign-ins: %w", err)
		}
		total += int(n)
		if n < sweepBatch {
			return total, nil
		}
	}
}

func sealedAttempts() store.Sealed[[]byte] {
	return store.Sealed[[]byte]{
		Table: "login_attempt", Key: "state_hash", Columns: []string{"verifier", "dpop_key"},
		Place: func(stateHash []byte) string { return hex.EncodeToString(stateHash) },
	}
}

// Reseal seals every sign-in under way with the newest master key; see
// store.Reseal.
func (s *Attempts) Reseal(ctx context.Context) (store.Resealed, error) {
	return store.Reseal(ctx, s.db, s.ring, sealedAttempts())
}

// SealedWith counts the sealed values of sign-ins by master key id.
func (s *Attempts) SealedWith(ctx context.Context) (map[string]int, error) {
	return sealedAttempts().SealedWith(ctx, s.db)
}
