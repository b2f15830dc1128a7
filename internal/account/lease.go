package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// leaseTime is how long a holder may be silent. Every save extends it, and
	// no call of a PDS lasts longer than callTime.
	leaseTime = time.Minute
	callTime  = 20 * time.Second
	// leasePoll is how often who waits looks again.
	leasePoll = 50 * time.Millisecond
)

var (
	// errHeld says that somebody else works on the account.
	errHeld = errors.New("somebody else works on the account")
	// errLost says that the lease was taken over: nothing may be saved any more.
	errLost = errors.New("the lease of the account is lost")
)

// held is an account that this goroutine alone may change. A process that dies
// loses it after leaseTime.
type held struct {
	*row
	m     *Manager
	owner string
}

// hold takes the lease of an account if it is free. Errors: errHeld, errNone.
func (m *Manager) hold(ctx context.Context, id string) (*held, error) {
	h := &held{m: m, owner: rand.Text()}
	now := m.cfg.Now()
	err := m.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE hosted_account SET lease_owner = CAST($1 AS TEXT), lease_until = CAST($2 AS BIGINT)
			WHERE id = $3 AND (lease_owner = '' OR lease_until <= $4)`,
			h.owner, store.Micros(now.Add(leaseTime)), id, store.Micros(now))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if h.row, err = m.get(ctx, tx, `id = $1`, id); err == nil && n == 0 {
			err = errHeld
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hold account %s: %w", id, err)
	}
	return h, nil
}

// holdWaiting is hold that waits for its turn until ctx ends.
func (m *Manager) holdWaiting(ctx context.Context, id string) (*held, error) {
	for {
		h, err := m.hold(ctx, id)
		if !errors.Is(err, errHeld) {
			return h, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(leasePoll):
		}
	}
}

// save writes the row if it is still ours, with what the audit trail is to have of
// it, and extends the lease. A request that is gone doesn't keep it from being
// written.
func (h *held) save(ctx context.Context, entries ...session.Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	return h.m.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE hosted_account SET lease_until = CAST($1 AS BIGINT) WHERE id = $2 AND lease_owner = $3`,
			store.Micros(h.m.cfg.Now().Add(leaseTime)), h.id, h.owner)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("save account %s: %w", h.id, errLost)
		}
		for _, e := range entries {
			e.DID = h.did
			if err := session.Audit(ctx, tx, e, h.m.cfg.Now()); err != nil {
				return err
			}
		}
		return h.m.put(ctx, tx, h.row)
	})
}

// release lets the next one at it.
func (h *held) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	err := h.m.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE hosted_account SET lease_owner = '', lease_until = 0 WHERE id = $1 AND lease_owner = $2`,
			h.id, h.owner)
		return err
	})
	if err != nil {
		h.m.log.WarnContext(ctx, "lease of an account not given back, it ends by itself", "account", h.id, "error", err)
	}
}
