package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

var (
	// ErrNoSuchKey says that there is no client key of that id.
	ErrNoSuchKey = errors.New("there is no such client key")
	// ErrLastKey says that no other key could sign in the place of the one to withdraw.
	ErrLastKey = errors.New("no other client key could sign in its place")
)

// Withdraw takes a key out of what is published; every process follows within
// ten seconds. Sessions that are pinned to it can no longer be used from then
// on: end them with Manager.EndPinned. The next best key signs for new sessions.
// Withdrawing twice is no error. Errors: ErrNoSuchKey, ErrLastKey.
func (k *Keys) Withdraw(ctx context.Context, id string) (KeyInfo, error) {
	info, err := k.add(ctx, func(ctx context.Context, tx *store.Tx, now time.Time) (string, error) {
		// All keys are locked: of two that are withdrawn at once, one may be the last.
		if _, err := tx.ExecContext(ctx, `UPDATE signing_key SET seq = seq WHERE purpose = $1`, purposeClient); err != nil {
			return "", err
		}
		var withdrawn int64
		err := tx.QueryRowContext(ctx, `SELECT withdrawn_at FROM signing_key WHERE purpose = $1 AND kid = $2`, purposeClient, id).Scan(&withdrawn)
		switch {
		case isNoRows(err):
			return "", ErrNoSuchKey
		case err != nil || withdrawn != 0:
			return id, err
		}
		if err := withdraw(ctx, tx, id, now); err != nil {
			return "", err
		}
		return id, record(ctx, tx, Entry{Kind: KindKeyWithdrawn, Detail: id}, now)
	})
	if err != nil {
		return KeyInfo{}, fmt.Errorf("withdraw client key %s: %w", id, err)
	}
	return info, nil
}

func withdraw(ctx context.Context, tx *store.Tx, id string, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE signing_key SET withdrawn_at = $1 WHERE kid = $2`, store.Micros(now), id); err != nil {
		return err
	}
	var left int
	err := tx.QueryRowContext(ctx, `
SELECT count(*) FROM signing_key
WHERE purpose = $1 AND withdrawn_at = 0 AND signs_from > 0 AND signs_from <= $2`, purposeClient, store.Micros(now)).Scan(&left)
	if err == nil && left == 0 {
		err = ErrLastKey
	}
	return err
}

// EndPinned ends every live session that is pinned to a client key, as
// key_withdrawn, and returns how many there were. It works in batches and can
// be repeated.
func (m *Manager) EndPinned(ctx context.Context, keyID string) (int, error) {
	total, err := batches(ctx, func() (int, error) {
		var ended []over
		err := m.change(ctx, func(tx *change) (err error) {
			ended, err = tx.wipe(ctx, client.ReasonKeyWithdrawn,
				`id IN (SELECT id FROM oauth_session WHERE key_id = $4 AND state = 'live' ORDER BY id LIMIT $5)`, keyID, sweepBatch)
			return err
		})
		return len(ended), err
	})
	if err != nil {
		return total, fmt.Errorf("end sessions of client key %s: %w", keyID, err)
	}
	return total, nil
}
