package session

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// sessionRow is a row of oauth_session: the data, and beside it the three
// secrets as they are stored.
type sessionRow struct {
	data                               client.SessionData
	dpopKey, accessToken, refreshToken []byte
	state                              string
	endedReason                        Reason
	paused                             Reason
	revokeTries                        int64
}

// place is where a secret of a session is stored: sealing binds to it, so that
// a value copied to another row or column does not open (S42).
func place(column, id string) keyring.Place {
	return keyring.Place{Table: "oauth_session", Column: column, Key: id}
}

// seal makes the row of s.
func (m *Manager) seal(s *client.SessionData) (*sessionRow, error) {
	if s.ID == "" || s.DID == "" || s.DPoPKey == nil {
		return nil, errors.New("session data lacks id, DID or proof key")
	}
	jwk, err := s.DPoPKey.PrivateJWK()
	if err != nil {
		return nil, err
	}
	row := &sessionRow{data: *s}
	for _, secret := range []struct {
		column string
		plain  []byte
		sealed *[]byte
	}{
		{"dpop_key", jwk, &row.dpopKey},
		{"access_token", []byte(s.AccessToken), &row.accessToken},
		{"refresh_token", []byte(s.RefreshToken), &row.refreshToken},
	} {
		*secret.sealed, err = m.ring.Seal(secret.plain, place(secret.column, s.ID))
		if err != nil {
			return nil, fmt.Errorf("seal %s: %w", secret.column, err)
		}
	}
	return row, nil
}

// errUnreadable: the secrets of a session are not what was sealed there, or of
// a form that this program does not know. No key will change that.
var errUnreadable = errors.New("secrets of the session cannot be read")

// open fills the secrets of row.data in. The error is errUnreadable, or
// keyring.ErrUnknownKey when a master key is missing.
func (m *Manager) open(row *sessionRow) error {
	var plain [3][]byte
	for i, sealed := range [...]struct {
		column string
		value  []byte
	}{{"dpop_key", row.dpopKey}, {"access_token", row.accessToken}, {"refresh_token", row.refreshToken}} {
		var err error
		plain[i], err = m.ring.Open(sealed.value, place(sealed.column, row.data.ID))
		if errors.Is(err, keyring.ErrTampered) {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		if err != nil {
			return err
		}
	}
	key, err := dpop.ParseKey(plain[0])
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	access, refresh := plain[1], plain[2]
	row.data.DPoPKey, row.data.AccessToken, row.data.RefreshToken = key, string(access), string(refresh)
	return nil
}

const sessionColumns = `id, did, issuer, pds, client_id, key_id, scope, token_endpoint, revocation_endpoint,
  dpop_key, access_token, refresh_token, version, state, ended_reason, lease_owner, lease_until, sent_until,
  created_at, used_at, refreshed_at, access_expires_at, refresh_expires_at, revoke_tries, paused`

// scanSession reads sessionColumns and more after them, secrets still sealed;
// client.ErrNotFound when there is no row.
func scanSession(scanned *sql.Row, more ...any) (*sessionRow, error) {
	var (
		r                                              sessionRow
		leaseUntil, sentUntil                          int64
		created, used, refreshed, access, refreshUntil int64
	)
	d := &r.data
	err := scanned.Scan(append([]any{&d.ID, &d.DID, &d.Issuer, &d.PDS, &d.ClientID, &d.KeyID, &d.Scope, &d.TokenEndpoint,
		&d.RevocationEndpoint, &r.dpopKey, &r.accessToken, &r.refreshToken, &d.Version, &r.state, &r.endedReason,
		&d.LeaseOwner, &leaseUntil, &sentUntil, &created, &used, &refreshed, &access, &refreshUntil, &r.revokeTries,
		&r.paused}, more...)...)
	if isNoRows(err) {
		return nil, client.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	d.LeaseUntil, d.SentUntil = store.FromMicros(leaseUntil), store.FromMicros(sentUntil)
	d.CreatedAt, d.UsedAt, d.RefreshedAt = store.FromMicros(created), store.FromMicros(used), store.FromMicros(refreshed)
	d.AccessExpiresAt, d.RefreshExpiresAt = store.FromMicros(access), store.FromMicros(refreshUntil)
	return &r, nil
}

func isNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// oneRow turns a statement that changed no row into missing.
func oneRow(res sql.Result, err, missing error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return missing
	}
	return nil
}
