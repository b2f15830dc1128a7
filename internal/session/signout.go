package session

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// Switch makes did the active account of the device. The cookie keeps its
// value. Errors: ErrSignedOut, ErrNotHere. An account whose session has ended
// can be switched to; Device.Acting then asks for a new sign-in.
func (m *Manager) Switch(ctx context.Context, token keyring.Secret, did syntax.DID) error {
	if !wellFormed(token) {
		return ErrSignedOut
	}
	err := m.db.Tx(ctx, func(tx *store.Tx) error {
		var id string
		hash, now := hashToken(token.Reveal()), store.Micros(m.now())
		err := tx.QueryRowContext(ctx, `
UPDATE device SET active_did = $1
WHERE token_hash = $2 AND expires_at > $3
AND EXISTS (SELECT 1 FROM device_account a WHERE a.device_id = device.id AND a.did = $1) RETURNING id`,
			did.String(), hash, now).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		err = tx.QueryRowContext(ctx, `SELECT id FROM device WHERE token_hash = $1 AND expires_at > $2`, hash, now).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrSignedOut
		}
		if err != nil {
			return err
		}
		return ErrNotHere
	})
	if err != nil {
		return fmt.Errorf("switch to %s: %w", did, err)
	}
	return nil
}

// SignOut ends the session of did on this device, or of every account of the
// device when did is empty. It returns the device's new cookie value, empty
// when nobody is left on it: hand it to Cookies.SetDevice. The old value is
// dead once SignOut returns, whatever becomes of the revocation at the
// members' servers, which the Revoker does afterwards. Errors: ErrSignedOut,
// ErrNotHere.
func (m *Manager) SignOut(ctx context.Context, token keyring.Secret, did syntax.DID) (keyring.Secret, error) {
	next, err := m.signOut(ctx, token, "", func(ctx context.Context, tx *change, deviceID string) error {
		dids := []syntax.DID{did}
		if did == "" {
			var err error
			if dids, err = accountsOf(ctx, tx, deviceID); err != nil {
				return err
			}
		}
		for _, d := range dids {
			if err := tx.removeAccount(ctx, deviceID, d, KindSignOut); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return keyring.Secret{}, fmt.Errorf("sign out %s: %w", did, err)
	}
	return next, nil
}

// SignOutEverywhere ends every session of did, on every device, this one
// included. Other accounts stay signed in, on this device with the new cookie
// value that is returned (empty when nobody is left). Errors: ErrSignedOut;
// ErrNotHere when did is not signed in on this device.
func (m *Manager) SignOutEverywhere(ctx context.Context, token keyring.Secret, did syntax.DID) (keyring.Secret, error) {
	next, err := m.signOut(ctx, token, did, func(ctx context.Context, tx *change, deviceID string) error {
		if err := tx.removeAccount(ctx, deviceID, did, KindEverywhere); err != nil {
			return err
		}
		others, err := devicesOf(ctx, tx, did)
		if err != nil {
			return err
		}
		for _, id := range others {
			err := tx.endOnDevice(ctx, id, did, KindEverywhere)
			if err != nil && !errors.Is(err, ErrNotHere) {
				return err
			}
		}
		rest, err := tx.revoke(ctx, ReasonSignedOut, `did = $4`, did.String()) // those without a device
		if err != nil {
			return err
		}
		return tx.recordEnded(ctx, rest, ReasonSignedOut)
	})
	if err != nil {
		return keyring.Secret{}, fmt.Errorf("sign %s out everywhere: %w", did, err)
	}
	return next, nil
}

// EndDevice ends the session of did on the device with this id, which is
// usually another one than the member sits at. Other members' accounts on it
// are left alone. Error: ErrNotHere when did is not signed in there, also when
// there is no such device. To end the present device use SignOut, which also
// changes its cookie.
func (m *Manager) EndDevice(ctx context.Context, did syntax.DID, deviceID string) error {
	err := m.change(ctx, func(tx *change) error {
		return tx.endOnDevice(ctx, deviceID, did, KindDeviceEnded)
	})
	if err != nil {
		return fmt.Errorf("end %s on device %s: %w", did, deviceID, err)
	}
	m.wakeRevoker()
	return nil
}

// signOut changes the token of the device, lets remove take accounts from it,
// and settles what is left. Every device of all, where given, is locked first.
func (m *Manager) signOut(ctx context.Context, old keyring.Secret, all syntax.DID,
	remove func(ctx context.Context, tx *change, deviceID string) error) (keyring.Secret, error) {
	token, hash := newToken()
	var next keyring.Secret
	err := m.change(ctx, func(tx *change) error {
		next = keyring.Secret{}
		if err := lockDevices(ctx, tx.Tx, all); err != nil {
			return err
		}
		id, known, err := rotateToken(ctx, tx.Tx, old, hash, tx.now)
		if err != nil {
			return err
		}
		if !known {
			return ErrSignedOut
		}
		if err := remove(ctx, tx, id); err != nil {
			return err
		}
		left, err := settleDevice(ctx, tx.Tx, id)
		if left {
			next = token
		}
		return err
	})
	if err != nil {
		return keyring.Secret{}, err
	}
	m.wakeRevoker()
	return next, nil
}

// lockDevices locks every device of did, in one order for everybody, so that
// two transactions that need several of them don't wait for each other.
func lockDevices(ctx context.Context, tx *store.Tx, did syntax.DID) error {
	if did == "" {
		return nil
	}
	ids, err := devicesOf(ctx, tx, did)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := lockDevice(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// lockDevice keeps others from changing the device until the transaction ends.
// SQLite knows no FOR UPDATE; an update that changes nothing does it on both.
func lockDevice(ctx context.Context, tx *store.Tx, id string) error {
	_, err := tx.ExecContext(ctx, `UPDATE device SET active_did = active_did WHERE id = $1`, id)
	return err
}

// endOnDevice takes did off a device without its cookie.
func (tx *change) endOnDevice(ctx context.Context, deviceID string, did syntax.DID, kind Kind) error {
	if err := lockDevice(ctx, tx.Tx, deviceID); err != nil {
		return err
	}
	if err := tx.removeAccount(ctx, deviceID, did, kind); err != nil {
		return err
	}
	_, err := settleDevice(ctx, tx.Tx, deviceID)
	return err
}

// removeAccount takes one account off a device and ends its session.
func (tx *change) removeAccount(ctx context.Context, deviceID string, did syntax.DID, kind Kind) error {
	var sessionID string
	err := tx.QueryRowContext(ctx, `DELETE FROM device_account WHERE device_id = $1 AND did = $2 RETURNING session_id`,
		deviceID, did.String()).Scan(&sessionID)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotHere
	}
	if err != nil {
		return err
	}
	if _, err := tx.endSession(ctx, sessionID, ReasonSignedOut); err != nil {
		return err
	}
	return tx.record(ctx, Entry{Kind: kind, DID: did, DeviceID: deviceID, SessionID: sessionID})
}

// settleDevice deletes a device that has lost its last account, and gives one
// that has lost its active account the most recently used of the others.
func settleDevice(ctx context.Context, tx *store.Tx, deviceID string) (left bool, err error) {
	dids, err := accountsOf(ctx, tx, deviceID)
	if err != nil {
		return false, err
	}
	if len(dids) == 0 {
		_, err = tx.ExecContext(ctx, `DELETE FROM device WHERE id = $1`, deviceID)
		return false, err
	}
	var active syntax.DID
	if err := tx.QueryRowContext(ctx, `SELECT active_did FROM device WHERE id = $1`, deviceID).Scan(&active); err != nil {
		return false, err
	}
	if slices.Contains(dids, active) {
		return true, nil
	}
	_, err = tx.ExecContext(ctx, `UPDATE device SET active_did = $1 WHERE id = $2`, dids[0].String(), deviceID)
	return true, err
}

// accountsOf returns the accounts of a device, last signed in first.
func accountsOf(ctx context.Context, q store.Querier, deviceID string) ([]syntax.DID, error) {
	return list[syntax.DID](ctx, q,
		`SELECT did FROM device_account WHERE device_id = $1 ORDER BY signed_in_at DESC, did`, deviceID)
}

// devicesOf returns the ids of did's devices, ordered.
func devicesOf(ctx context.Context, q store.Querier, did syntax.DID) ([]string, error) {
	return list[string](ctx, q,
		`SELECT device_id FROM device_account WHERE did = $1 ORDER BY device_id`, did.String())
}

// list reads one column of text.
func list[T ~string](ctx context.Context, q store.Querier, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
