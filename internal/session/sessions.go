package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// stateLive is the state of a session that can be used; see the migration for
// the others.
const stateLive = "live"

var _ client.SessionStore = (*Manager)(nil)

// Get returns a live session; it is one read. The error wraps
// client.ErrNotFound when there is none, or when it has ended, and
// keyring.ErrTampered or keyring.ErrUnknownKey when it does not open.
func (m *Manager) Get(ctx context.Context, id string) (*client.SessionData, error) {
	row, err := scanSession(m.db.Read().QueryRowContext(ctx,
		`SELECT `+sessionColumns+` FROM oauth_session WHERE id = $1`, id))
	if err != nil {
		return nil, fmt.Errorf("read session %s: %w", id, err)
	}
	if row.state != stateLive {
		return nil, fmt.Errorf("read session %s, over (%s): %w", id, row.endedReason, client.ErrNotFound)
	}
	if err := m.open(row); err != nil {
		return nil, fmt.Errorf("read session %s: %w", id, err)
	}
	return &row.data, nil
}

// Save writes s if the stored version is still s.Version, and raises both;
// version 0 adds a session that belongs to no device. UsedAt is moved forward
// only: the device writes it too. See client.SessionStore for the errors.
func (m *Manager) Save(ctx context.Context, s *client.SessionData) error {
	row, err := m.seal(s)
	if err != nil {
		return fmt.Errorf("save session %s: %w", s.ID, err)
	}
	err = m.db.Tx(ctx, func(tx *store.Tx) error {
		if s.Version == 0 {
			return insertSession(ctx, tx, row)
		}
		return updateSession(ctx, tx, row)
	})
	if err != nil {
		return fmt.Errorf("save session %s: %w", s.ID, err)
	}
	s.Version++
	return nil
}

// Delete ends a session that ended by itself: its tokens are gone at once. Its
// account stays on the device, without profile data, and asks for a new sign-in
// (S34). For endings that a member wants see SignOut.
func (m *Manager) Delete(ctx context.Context, id string, why Reason) error {
	now := m.now()
	err := m.db.Tx(ctx, func(tx *store.Tx) error {
		var did syntax.DID
		err := tx.QueryRowContext(ctx, `
UPDATE oauth_session SET state = 'ended', ended_reason = $1, ended_at = $2, version = version + 1,
       access_token = $3, refresh_token = $3, dpop_key = $3, lease_owner = '', lease_until = 0, sent_until = 0
WHERE id = $4 AND state = 'live' RETURNING did`, string(why), store.Micros(now), []byte{}, id).Scan(&did)
		if isNoRows(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return forgetEnded(ctx, tx, did, id, why, now)
	})
	if err != nil {
		return fmt.Errorf("end session %s: %w", id, err)
	}
	return nil
}

// forgetEnded removes what was shown of an account whose session has ended, and
// the session itself where no device waits for a new sign-in.
func forgetEnded(ctx context.Context, tx *store.Tx, did syntax.DID, id string, why Reason, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE device_account SET handle = '' WHERE session_id = $1`, id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `
DELETE FROM oauth_session WHERE id = $1
AND NOT EXISTS (SELECT 1 FROM device_account a WHERE a.session_id = oauth_session.id)`, id); err != nil {
		return err
	}
	return record(ctx, tx, Entry{Kind: KindSessionEnded, DID: did, SessionID: id, Detail: string(why)}, now)
}

// endSession ends a session for good on our side. Its tokens are kept until the
// Revoker has told the server; one that had ended by itself has none and goes.
// The version grows, so that a refresh which is under way cannot bring it back.
func endSession(ctx context.Context, tx *store.Tx, id string, reason Reason, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_session WHERE id = $1 AND state = 'ended'`, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, endQuery+`id = $3 AND state = 'live'`, string(reason), store.Micros(now), id)
	return err
}

// endAllSessions ends every live session of did, with a device or without.
func endAllSessions(ctx context.Context, tx *store.Tx, did syntax.DID, reason Reason, now time.Time) error {
	_, err := tx.ExecContext(ctx, endQuery+`did = $3 AND state = 'live'`, string(reason), store.Micros(now), did.String())
	return err
}

const endQuery = `
UPDATE oauth_session SET state = 'revoking', ended_reason = $1, ended_at = $2, version = version + 1,
       lease_owner = '', lease_until = 0, revoke_tries = 0, revoke_after = $2
WHERE `

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

// updateSession replaces a live session of the same version.
func updateSession(ctx context.Context, tx *store.Tx, r *sessionRow) error {
	d := &r.data
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
	if err := oneRow(res, err, client.ErrConflict); !errors.Is(err, client.ErrConflict) {
		return err
	}
	var state string
	err = tx.QueryRowContext(ctx, `SELECT state FROM oauth_session WHERE id = $1`, d.ID).Scan(&state)
	if isNoRows(err) || (err == nil && state != stateLive) {
		return client.ErrNotFound
	}
	if err != nil {
		return err
	}
	return client.ErrConflict
}
