package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// How the Revoker works: a session that ended here is revoked at once by the
// process that ended it; what a crash or an unreachable server left behind is
// found by the look every minute, of whichever process.
const (
	revokeLook    = time.Minute
	revokeBatch   = 32
	revokeAtOnce  = 8
	revokeTimeout = 20 * time.Second
	revokeTries   = 8 // about three days
)

// revokePause is the time until the try after this one: 1, 4, 16 … minutes.
func revokePause(tries int64) time.Duration { return time.Minute << (2 * min(tries, 6)) }

// RevokerConfig is what a Revoker works with.
type RevokerConfig struct {
	Manager *Manager
	// Client tells a member's server that a session's tokens are to be
	// forgotten (RFC 7009).
	Client interface {
		Revoke(ctx context.Context, s *client.SessionData) error
	}
}

// Revoker tells members' servers that sessions have ended. It comes after the
// fact: on our side such a session is over already, whatever the server says.
type Revoker struct {
	m      *Manager
	client interface {
		Revoke(ctx context.Context, s *client.SessionData) error
	}
	log *slog.Logger
}

// NewRevoker checks cfg and returns a Revoker. It does no I/O.
func NewRevoker(cfg RevokerConfig) (*Revoker, error) {
	if cfg.Manager == nil || cfg.Client == nil {
		return nil, errors.New("session: a revoker needs Manager and Client")
	}
	return &Revoker{m: cfg.Manager, client: cfg.Client, log: cfg.Manager.log}, nil
}

// wakeRevoker makes the Revoker of this process look now.
func (m *Manager) wakeRevoker() {
	select {
	case m.ended <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Run revokes until ctx ends. Calls that are under way then are cut off; the
// next process takes them up again, and revoking twice does no harm.
func (r *Revoker) Run(ctx context.Context) error {
	ticker := time.NewTicker(revokeLook)
	defer ticker.Stop()
	for {
		if _, err := r.Pass(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "revocations wait", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.m.ended:
		case <-ticker.C:
		}
	}
}

// Pass works on every session that is due and returns how many it took up.
func (r *Revoker) Pass(ctx context.Context) (int, error) {
	total := 0
	for {
		due, err := r.m.dueRevocations(ctx)
		if err != nil || len(due) == 0 {
			return total, err
		}
		total += len(due)
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(revokeAtOnce)
		for _, d := range due {
			group.Go(func() error { return r.revoke(groupCtx, d) })
		}
		if err := group.Wait(); err != nil {
			return total, err
		}
	}
}

// due is a session whose server is to be told; tries is how often that was tried.
type due struct {
	id    string
	tries int64
}

// revoke tells the server of one session. Only trouble of our own is returned.
func (r *Revoker) revoke(ctx context.Context, d due) error {
	row, err := r.m.claimRevocation(ctx, d)
	if errors.Is(err, client.ErrNotFound) {
		return nil // another process has it, or it is done
	}
	if err != nil {
		return err
	}
	s, last := &row.data, row.revokeTries >= revokeTries
	if err = r.m.open(row); err != nil {
		// It will not open next time either, unless its master key comes back.
		last = !errors.Is(err, keyring.ErrUnknownKey)
	} else {
		callCtx, cancel := context.WithTimeout(ctx, revokeTimeout)
		err = r.client.Revoke(callCtx, s)
		cancel()
	}
	switch {
	case err == nil:
		// Said and done: not to be undone by a shutdown in this very moment.
		return r.m.finishRevocation(context.WithoutCancel(ctx), s, KindRevoked)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	r.log.InfoContext(ctx, "server not told of an ended session", "session", s, "tries", row.revokeTries, "last", last, "error", err)
	if last {
		return r.m.finishRevocation(ctx, s, KindRevokeFailed)
	}
	return nil
}

// dueRevocations returns sessions whose server is to be told now.
func (m *Manager) dueRevocations(ctx context.Context) ([]due, error) {
	rows, err := m.db.Read().QueryContext(ctx, `
SELECT id, revoke_tries FROM oauth_session WHERE state = 'revoking' AND revoke_after <= $1
ORDER BY revoke_after LIMIT $2`, store.Micros(m.now()), revokeBatch)
	if err != nil {
		return nil, fmt.Errorf("look for revocations: %w", err)
	}
	defer rows.Close()
	var all []due
	for rows.Next() {
		var d due
		if err := rows.Scan(&d.id, &d.tries); err != nil {
			return nil, fmt.Errorf("look for revocations: %w", err)
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// claimRevocation takes a session up: of several processes the one that raises
// the number of tries has it, until the next try is due. The row's secrets are
// still sealed. client.ErrNotFound: somebody else has it.
func (m *Manager) claimRevocation(ctx context.Context, d due) (*sessionRow, error) {
	next := m.now().Add(revokeTimeout + revokePause(d.tries))
	var row *sessionRow
	err := m.db.Tx(ctx, func(tx *store.Tx) error {
		var err error
		row, err = scanSession(tx.QueryRowContext(ctx, `
UPDATE oauth_session SET revoke_tries = revoke_tries + 1, revoke_after = $1
WHERE id = $2 AND state = 'revoking' AND revoke_tries = $3 RETURNING `+sessionColumns,
			store.Micros(next), d.id, d.tries))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim revocation of session %s: %w", d.id, err)
	}
	return row, nil
}

// finishRevocation forgets a session whose server was told, or given up. Where
// an account waits for a new sign-in, the row stays without its tokens and says
// why.
func (m *Manager) finishRevocation(ctx context.Context, s *client.SessionData, kind Kind) error {
	now := m.now()
	err := m.db.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, `
DELETE FROM oauth_session WHERE id = $1 AND state = 'revoking'
AND NOT EXISTS (SELECT 1 FROM device_account a WHERE a.session_id = oauth_session.id)`, s.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
UPDATE oauth_session SET state = 'ended', access_token = $1, refresh_token = $1, dpop_key = $1
WHERE id = $2 AND state = 'revoking'`, []byte{}, s.ID); err != nil {
			return err
		}
		return record(ctx, tx, Entry{Kind: kind, DID: s.DID, SessionID: s.ID, Detail: s.Issuer}, now)
	})
	if err != nil {
		return fmt.Errorf("finish revocation of session %s: %w", s.ID, err)
	}
	return nil
}
