package session

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// SignIn is a member who has just proven who they are.
type SignIn struct {
	// Token is the device cookie that came with the request. Empty, unknown or
	// dead values are fine: the browser then becomes a new device.
	Token keyring.Secret
	// Session is the new OAuth session. It is stored by SignIn, not before.
	Session *client.SessionData
	// Handle is for display; empty when no handle could be verified.
	Handle syntax.Handle
	// Upgrades is the session that this sign-in was to have more permissions
	// than; empty for any other. Where it is the one that this device had, it
	// ends for that reason.
	Upgrades string
	// UserAgent is the request's header; only its Summary is kept.
	UserAgent string
	// Addr is the member's address; only its Origin is kept.
	Addr netip.Addr
}

// SignedIn is what the browser gets.
type SignedIn struct {
	// Token is the device's new cookie value. It exists nowhere else.
	Token    keyring.Secret
	DeviceID string
	// Replaced is the session that the same account had on this device before,
	// or empty. It is over already; the Revoker tells the server.
	Replaced string
}

// SignIn stores the session and makes its account the active one of the
// device, in one transaction. The cookie's value always changes: the old one is
// dead at once, for every account of the device (S19, S23). A value that is
// dead already joins nothing: of two tabs that come back at the same instant
// each gets a device of its own (S21). Error for people: ErrTooManyAccounts.
func (m *Manager) SignIn(ctx context.Context, in SignIn) (SignedIn, error) {
	token, hash := newToken()
	row, err := m.seal(in.Session)
	if err != nil {
		return SignedIn{}, fmt.Errorf("sign %s in: %w", in.Session.DID, err)
	}
	newID := rand.Text()
	var out SignedIn
	err = m.change(ctx, func(tx *change) error {
		out = SignedIn{Token: token}
		if out.DeviceID, err = m.placeDevice(ctx, tx.Tx, newID, hash, in, tx.now); err != nil {
			return err
		}
		if out.Replaced, err = tx.placeAccount(ctx, out.DeviceID, in); err != nil {
			return err
		}
		if err := insertSession(ctx, tx.Tx, row); err != nil {
			return err
		}
		return tx.record(ctx, Entry{Kind: KindSignIn, DID: in.Session.DID, DeviceID: out.DeviceID,
			SessionID: in.Session.ID, Origin: Origin(in.Addr), Detail: in.Session.Issuer})
	})
	if err != nil {
		return SignedIn{}, fmt.Errorf("sign %s in: %w", in.Session.DID, err)
	}
	in.Session.Version = 1 // as insertSession stored it
	if out.Replaced != "" {
		m.wakeRevoker()
	}
	return out, nil
}

// placeDevice gives the device that presented a live token the new one, or
// makes a device under newID, and returns its id.
func (m *Manager) placeDevice(ctx context.Context, tx *store.Tx, newID string, hash []byte, in SignIn, now time.Time) (string, error) {
	id, known, err := rotateToken(ctx, tx, in.Token, hash, now)
	switch {
	case err != nil:
		return "", err
	case known:
		return id, m.adoptDevice(ctx, tx, id, in, now)
	}
	return newID, m.insertDevice(ctx, tx, newID, hash, in, now)
}

// rotateToken replaces a device's token and locks its row until the
// transaction ends. known is false when old is not, or no longer, a token.
func rotateToken(ctx context.Context, tx *store.Tx, old keyring.Secret, hash []byte, now time.Time) (id string, known bool, err error) {
	if !wellFormed(old) {
		return "", false, nil
	}
	err = tx.QueryRowContext(ctx, `
UPDATE device SET token_hash = $1, token_version = token_version + 1
WHERE token_hash = $2 AND expires_at > $3 RETURNING id`,
		hash, hashToken(old.Reveal()), store.Micros(now)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return id, err == nil, err
}

// adoptDevice brings a known device up to date.
func (m *Manager) adoptDevice(ctx context.Context, tx *store.Tx, id string, in SignIn, now time.Time) error {
	var accounts int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM device_account WHERE device_id = $1 AND did <> $2`,
		id, in.Session.DID.String()).Scan(&accounts)
	if err != nil {
		return err
	}
	if accounts >= maxAccounts {
		return ErrTooManyAccounts
	}
	_, err = tx.ExecContext(ctx, `
UPDATE device SET active_did = $1, user_agent = $2, origin = $3, used_at = $4, expires_at = $5 WHERE id = $6`,
		in.Session.DID.String(), Summary(in.UserAgent), Origin(in.Addr), store.Micros(now), store.Micros(now.Add(m.life)), id)
	return err
}

func (m *Manager) insertDevice(ctx context.Context, tx *store.Tx, id string, hash []byte, in SignIn, now time.Time) error {
	_, err := tx.ExecContext(ctx, `
INSERT INTO device (id, token_hash, token_version, active_did, user_agent, origin, created_at, used_at, expires_at)
VALUES ($1, $2, 1, $3, $4, $5, $6, $6, $7)`,
		id, hash, in.Session.DID.String(), Summary(in.UserAgent), Origin(in.Addr), store.Micros(now), store.Micros(now.Add(m.life)))
	return err
}

// placeAccount points the device's account at the new session and ends the one
// that it had before.
func (tx *change) placeAccount(ctx context.Context, deviceID string, in SignIn) (replaced string, err error) {
	err = tx.QueryRowContext(ctx, `SELECT session_id FROM device_account WHERE device_id = $1 AND did = $2`,
		deviceID, in.Session.DID.String()).Scan(&replaced)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	_, err = tx.ExecContext(ctx, `
INSERT INTO device_account (device_id, did, session_id, position, handle, signed_in_at)
VALUES ($1, $2, $3, (SELECT COALESCE(max(position), 0) + 1 FROM device_account WHERE device_id = $1), $4, $5)
ON CONFLICT (device_id, did) DO UPDATE
SET session_id = excluded.session_id, handle = excluded.handle, signed_in_at = excluded.signed_in_at`,
		deviceID, in.Session.DID.String(), in.Session.ID, in.Handle.String(), store.Micros(tx.now))
	if err != nil || replaced == "" {
		return replaced, err
	}
	why := ReasonReplaced
	if replaced == in.Upgrades {
		why = client.ReasonUpgraded
	}
	ended, err := tx.endSession(ctx, replaced, why)
	if err != nil {
		return replaced, err
	}
	return replaced, tx.recordEnded(ctx, ended, why)
}
