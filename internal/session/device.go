package session

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// Device is a browser or an app installation and the accounts signed in on it.
// The zero Device is a visitor whom nobody knows.
type Device struct {
	// ID names the device in lists and forms. It is no secret and opens nothing.
	ID string
	// Accounts are in the order in which they were added.
	Accounts []Account
	// Active is the account that acts; empty only in the zero Device.
	Active syntax.DID

	CreatedAt, UsedAt, ExpiresAt time.Time

	// Renewed says that the expiry was moved by this look-up: set the cookie
	// again, so that the browser keeps it as long.
	Renewed bool
}

// Account is one account signed in on a device. It holds no secret.
type Account struct {
	DID syntax.DID
	// Handle is for display; empty when no handle could be verified.
	Handle syntax.Handle
	// SessionID names the account's OAuth session on this device.
	SessionID string
	// Live is false when the session ended by itself, or can no longer be used
	// (Ended says why, if it is still known), and the member has to sign in again.
	Live  bool
	Ended Reason
	// Paused says why nothing can be written for a live account just now: it is
	// not active at its server. Empty: nothing is in the way.
	Paused Reason

	PDS        string   // origin of the member's server
	Scopes     []string // as granted
	SignedInAt time.Time
}

// Account returns the account did of the device.
func (d Device) Account(did syntax.DID) (Account, bool) {
	for _, a := range d.Accounts {
		if a.DID == did {
			return a, true
		}
	}
	return Account{}, false
}

// Standing tells what a device's account can do here (S46).
type Standing string

// The standings.
const (
	StandingSignedOut   Standing = "signed_out"    // nobody is signed in
	StandingSignInAgain Standing = "sign_in_again" // somebody is, and has to sign in once more; the Reason says why
	StandingPaused      Standing = "paused"        // signed in, but the account is not active at its server
	StandingSignedIn    Standing = "signed_in"
)

// Standing tells what the active account can do here, and with
// StandingSignInAgain and StandingPaused why; see Explain.
func (d Device) Standing() (Standing, Reason) {
	active, ok := d.Current()
	switch {
	case !ok:
		return StandingSignedOut, ""
	case !active.Live:
		return StandingSignInAgain, active.Ended
	case active.Paused != "":
		return StandingPaused, active.Paused
	}
	return StandingSignedIn, ""
}

// Current returns the active account; ok is false for a visitor.
func (d Device) Current() (Account, bool) { return d.Account(d.Active) }

// Acting returns the account that a form or script call with the DID did acts
// for: the active one, and only if the member still means it (S25). Errors:
// ErrSignedOut, ErrNoActor when did is empty, *SwitchedError when another
// account is active by now, *SignInAgainError when the session has ended.
func (d Device) Acting(did syntax.DID) (Account, error) {
	active, ok := d.Current()
	switch {
	case !ok:
		return Account{}, ErrSignedOut
	case did == "":
		return Account{}, ErrNoActor
	case did != active.DID:
		_, here := d.Account(did)
		return Account{}, &SwitchedError{Wanted: did, Active: active.DID, Here: here}
	case !active.Live:
		return Account{}, &SignInAgainError{DID: did, Reason: active.Ended}
	}
	return active, nil
}

// Device looks a cookie value up; ok is false when it is not, or no longer,
// one of ours. It costs one read at most, and one write an hour, which moves
// the expiry and the time of last use. A write that fails is made up for later:
// who can be read is signed in, also on a full disk.
func (m *Manager) Device(ctx context.Context, token keyring.Secret) (d Device, ok bool, err error) {
	if !wellFormed(token) {
		return Device{}, false, nil
	}
	now := m.now()
	d, err = m.readDevice(ctx, hashToken(token.Reveal()), now)
	if err != nil {
		return Device{}, false, fmt.Errorf("look up device: %w", err)
	}
	if d.ID == "" {
		return Device{}, false, nil
	}
	if now.Sub(d.UsedAt) >= slideEvery && now.UnixMicro() >= m.noSlideUntil.Load() {
		if err := m.slide(ctx, &d, now); err != nil && ctx.Err() == nil {
			m.pauseSlides(ctx, now, err)
		}
	}
	return d, true, nil
}

const deviceQuery = `
SELECT d.id, d.active_did, d.created_at, d.used_at, d.expires_at,
       a.did, a.handle, a.session_id, a.signed_in_at,
       COALESCE(s.state, ''), COALESCE(s.ended_reason, ''), COALESCE(s.pds, ''), COALESCE(s.scope, ''),
       COALESCE(s.paused, ''), COALESCE(s.client_id, ''), ` + keyFits + `
FROM device d
JOIN device_account a ON a.device_id = d.id
LEFT JOIN oauth_session s ON s.id = a.session_id
WHERE d.token_hash = $1 AND d.expires_at > $2
ORDER BY a.position, a.did`

// readDevice returns the zero Device when there is none.
func (m *Manager) readDevice(ctx context.Context, hash []byte, now time.Time) (Device, error) {
	rows, err := m.db.Read().QueryContext(ctx, deviceQuery, hash, store.Micros(now))
	if err != nil {
		return Device{}, err
	}
	defer rows.Close()
	var d Device
	for rows.Next() {
		a, err := m.scanAccount(rows, &d)
		if err != nil {
			return Device{}, err
		}
		d.Accounts = append(d.Accounts, a)
	}
	return d, rows.Err()
}

func (m *Manager) scanAccount(rows *sql.Rows, d *Device) (Account, error) {
	var (
		a                              Account
		created, used, expires, signed int64
		state, scope, clientID         string
		ended                          Reason
		keyFits                        sql.NullBool // NULL where there is no session
	)
	err := rows.Scan(&d.ID, &d.Active, &created, &used, &expires,
		&a.DID, &a.Handle, &a.SessionID, &signed, &state, &ended, &a.PDS, &scope,
		&a.Paused, &clientID, &keyFits)
	if err != nil {
		return Account{}, err
	}
	d.CreatedAt, d.UsedAt, d.ExpiresAt = store.FromMicros(created), store.FromMicros(used), store.FromMicros(expires)
	a.SignedInAt = store.FromMicros(signed)
	a.Ended, a.Live = m.usable(state, ended, clientID, keyFits.Bool)
	a.Scopes = strings.Fields(scope)
	return a, nil
}

// slide moves the expiry. Of several requests at once one writes; the
// comparison with used_at makes the others do nothing. A page does not wait
// long for it. After an error d is as it was.
func (m *Manager) slide(ctx context.Context, d *Device, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, slideTimeout)
	defer cancel()
	expires := now.Add(m.life)
	err := m.db.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx,
			`UPDATE device SET used_at = $1, expires_at = $2 WHERE id = $3 AND used_at <= $4`,
			store.Micros(now), store.Micros(expires), d.ID, store.Micros(now.Add(-slideEvery))); err != nil {
			return err
		}
		current, _ := d.Current()
		_, err := tx.ExecContext(ctx,
			`UPDATE oauth_session SET used_at = $1 WHERE id = $2 AND used_at < $1`,
			store.Micros(now), current.SessionID)
		return err
	})
	if err != nil {
		return err
	}
	d.UsedAt, d.ExpiresAt, d.Renewed = now, expires, true
	return nil
}

// pauseSlides keeps this process from trying again, and from saying so again,
// for a while: what is in the way of one device is in the way of all.
func (m *Manager) pauseSlides(ctx context.Context, now time.Time, cause error) {
	until := m.noSlideUntil.Load()
	if until <= now.UnixMicro() && m.noSlideUntil.CompareAndSwap(until, now.Add(slidePause).UnixMicro()) {
		m.log.ErrorContext(ctx, "last use of devices cannot be written", "error", cause)
	}
}
