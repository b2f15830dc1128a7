package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// stateLive is the state of a session that can be used; see the migration for
// the others.
const stateLive = "live"

var _ client.SessionStore = (*Manager)(nil)

// Get returns a live session; it is one read. The error is a *SignInAgainError,
// which is client.ErrNotFound, when the session is over or can no longer be
// used, and wraps client.ErrNotFound when there is none. It is a *PausedError
// while the account is not active at its server: the session is to be kept, and
// not to be used. keyring.ErrUnknownKey: the operator has taken a master key
// away that is still needed; it comes back with the key.
func (m *Manager) Get(ctx context.Context, id string) (*client.SessionData, error) {
	data, err := m.get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read session %s: %w", id, err)
	}
	return data, nil
}

func (m *Manager) get(ctx context.Context, id string) (*client.SessionData, error) {
	var fits bool
	row, err := scanSession(m.db.Read().QueryRowContext(ctx,
		`SELECT `+sessionColumns+`, `+keyFits+` FROM oauth_session s WHERE s.id = $1`, id), &fits)
	if err != nil {
		return nil, err
	}
	d := &row.data
	if why, ok := m.usable(row.state, row.endedReason, d.ClientID, fits); !ok {
		return nil, &SignInAgainError{DID: d.DID, Reason: why}
	}
	if row.paused != "" {
		return nil, &PausedError{DID: d.DID, Reason: row.paused}
	}
	err = m.open(row)
	if errors.Is(err, errUnreadable) {
		// It will never open again: this is a session that can no longer be used.
		if ending := m.Delete(ctx, id, ReasonUnreadable); ending != nil {
			return nil, errors.Join(err, ending)
		}
		return nil, fmt.Errorf("%w: %w", &SignInAgainError{DID: d.DID, Reason: ReasonUnreadable}, err)
	}
	return d, err
}

// keyFits tells of a session s whether the client key that it is pinned to is
// still published.
const keyFits = `(s.key_id = '' OR EXISTS (SELECT 1 FROM signing_key k WHERE k.kid = s.key_id AND k.withdrawn_at = 0))`

// usable tells whether a session can be used by what this instance is today
// (S46), or why not. Nothing is written for that: an instance that was started
// with a wrong address for an hour has lost nobody's session.
func (m *Manager) usable(state string, ended Reason, clientID string, keyFits bool) (why Reason, ok bool) {
	switch {
	case state != stateLive:
		return ended, false
	case m.clientID == "" || clientID == m.clientID && keyFits:
		return "", true
	case clientID == m.clientID:
		return client.ReasonKeyWithdrawn, false
	case isLoopback(clientID) && isLoopback(m.clientID):
		// The ids of development clients hold their port and scopes. Each
		// session is used in the name of its own.
		return "", true
	}
	return ReasonClient, false
}

func isLoopback(clientID string) bool { return strings.HasPrefix(clientID, client.LoopbackID) }

// Save writes s if the stored version is still s.Version, and raises both;
// version 0 adds a session that belongs to no device. UsedAt is moved forward
// only: the device writes it too. See client.SessionStore for the errors.
func (m *Manager) Save(ctx context.Context, s *client.SessionData) error {
	row, err := m.seal(s)
	if err != nil {
		return fmt.Errorf("save session %s: %w", s.ID, err)
	}
	err = m.change(ctx, func(tx *change) error {
		if s.Version == 0 {
			return insertSession(ctx, tx.Tx, row)
		}
		return tx.updateSession(ctx, row)
	})
	if err != nil {
		return fmt.Errorf("save session %s: %w", s.ID, err)
	}
	s.Version++
	return nil
}

// insertSession adds a session; client.ErrConflict when its id is taken.
func insertSession(ctx context.Context, tx *store.Tx, r *sessionRow) error {
	d := &r.data
	res, err := tx.ExecContext(ctx, `
INSERT INTO oauth_session (id, did, issuer, pds, client_id, key_id, scope, token_endpoint, revocation_endpoint,
  dpop_key, access_token, refresh_token, version, state, ended_reason, lease_owner, lease_until, sent_until,
  created_at, used_at, refreshed_at, access_expires_at, refresh_expires_at, ended_at, revoke_tries, revoke_after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, 'live', '', $13, $14, $15, $16, $17, $18, $19, $20, 0, 0, 0)
ON CONFLICT (id) DO NOTHING`,
		d.ID, d.DID.String(), d.Issuer, d.PDS, d.ClientID, d.KeyID, d.Scope, d.TokenEndpoint, d.RevocationEndpoint,
		r.dpopKey, r.accessToken, r.refreshToken, d.LeaseOwner, store.Micros(d.LeaseUntil), store.Micros(d.SentUntil),
		store.Micros(d.CreatedAt), store.Micros(d.UsedAt), store.Micros(d.RefreshedAt),
		store.Micros(d.AccessExpiresAt), store.Micros(d.RefreshExpiresAt))
	return oneRow(res, err, client.ErrConflict)
}

// updateSession replaces a live session of the same version. A paused one can be
// replaced too: a refresh that was under way must not lose its tokens.
func (tx *change) updateSession(ctx context.Context, r *sessionRow) error {
	d := &r.data
	var before sessionRow
	var refreshed int64
	err := tx.QueryRowContext(ctx, `SELECT pds, scope, refreshed_at FROM oauth_session WHERE id = $1`, d.ID).
		Scan(&before.data.PDS, &before.data.Scope, &refreshed)
	if isNoRows(err) {
		return client.ErrNotFound
	}
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `
UPDATE oauth_session SET issuer = $3, pds = $4, client_id = $5, key_id = $6, scope = $7, token_endpoint = $8,
  revocation_endpoint = $9, dpop_key = $10, access_token = $11, refresh_token = $12, version = version + 1,
  lease_owner = $13, lease_until = $14, sent_until = $15, created_at = $16,
  used_at = CASE WHEN used_at > $17 THEN used_at ELSE $17 END, refreshed_at = $18,
  access_expires_at = $19, refresh_expires_at = $20
WHERE id = $1 AND version = $2 AND state = 'live'`,
		d.ID, d.Version, d.Issuer, d.PDS, d.ClientID, d.KeyID, d.Scope, d.TokenEndpoint, d.RevocationEndpoint,
		r.dpopKey, r.accessToken, r.refreshToken, d.LeaseOwner, store.Micros(d.LeaseUntil), store.Micros(d.SentUntil),
		store.Micros(d.CreatedAt), store.Micros(d.UsedAt), store.Micros(d.RefreshedAt),
		store.Micros(d.AccessExpiresAt), store.Micros(d.RefreshExpiresAt))
	if err := oneRow(res, err, client.ErrConflict); errors.Is(err, client.ErrConflict) {
		return tx.whyNotUpdated(ctx, d.ID)
	} else if err != nil {
		return err
	}
	// What was read before is what was replaced: the version has not moved.
	before.data.RefreshedAt = store.FromMicros(refreshed)
	return tx.updated(ctx, &before.data, d)
}

// whyNotUpdated tells a session that is over from one that somebody else has saved.
func (tx *change) whyNotUpdated(ctx context.Context, id string) error {
	var state string
	err := tx.QueryRowContext(ctx, `SELECT state FROM oauth_session WHERE id = $1`, id).Scan(&state)
	if isNoRows(err) || (err == nil && state != stateLive) {
		return client.ErrNotFound
	}
	if err != nil {
		return err
	}
	return client.ErrConflict
}

// updated says what a save has changed. Saves that only take or give back the
// lease change nothing that anybody else wants to know.
func (tx *change) updated(ctx context.Context, before, d *client.SessionData) error {
	refreshed := !before.RefreshedAt.Equal(d.RefreshedAt)
	if refreshed {
		if err := tx.record(ctx, Entry{Kind: KindRefreshed, DID: d.DID, SessionID: d.ID, Detail: d.Issuer}); err != nil {
			return err
		}
	}
	if refreshed || before.Scope != d.Scope {
		tx.happened(EventUpdated, d.ID, d.DID, "")
	}
	if before.PDS == d.PDS {
		return nil
	}
	tx.happened(EventMoved, d.ID, d.DID, "")
	return tx.record(ctx, Entry{Kind: KindMoved, DID: d.DID, SessionID: d.ID, Detail: d.PDS})
}
