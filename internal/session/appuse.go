package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// appRow is a row of app_session.
type appRow struct {
	id         string
	did        syntax.DID
	handle     syntax.Handle
	oauth      string
	once       bool
	hash, prev []byte
	salt       []byte
	generation int64
	rotated    time.Time
	expires    time.Time
}

// current tells whether secret is the one that is to be used next.
func (r appRow) current(secret AppSecret) bool {
	return subtle.ConstantTimeCompare(r.hash, secret.restHash()) == 1
}

// again tells whether secret is the one before, whose answer may have been lost.
func (r appRow) again(secret AppSecret, now time.Time) bool {
	return subtle.ConstantTimeCompare(r.prev, secret.restHash()) == 1 && now.Sub(r.rotated) <= appGrace &&
		(!r.once || r.generation > 2)
}

// lockApp reads one session and keeps others from changing it until the
// transaction ends. An update that changes nothing locks on both engines.
func (tx *change) lockApp(ctx context.Context, where string, arg any) (appRow, error) {
	var r appRow
	var rotated, expires int64
	err := tx.QueryRowContext(ctx, `
UPDATE app_session SET did = did WHERE `+where+`
RETURNING id, did, handle, oauth_session_id, once, secret_hash, prev_hash, salt, generation, rotated_at, expires_at`, arg).
		Scan(&r.id, &r.did, &r.handle, &r.oauth, &r.once, &r.hash, &r.prev, &r.salt, &r.generation, &rotated, &expires)
	if isNoRows(err) {
		return appRow{}, ErrAppOver
	}
	r.rotated, r.expires = store.FromMicros(rotated), store.FromMicros(expires)
	return r, err
}

// Refresh exchanges a refresh secret for a new access token and the next secret.
// The answer can be had again for 30 seconds; a secret that is used again later
// ends the session, because somebody else may hold it (RFC 9700, 4.14). Errors:
// ErrAppOver; *SignInAgainError when the member's OAuth session has ended.
func (a *Apps) Refresh(ctx context.Context, text keyring.Secret) (AppGrant, error) {
	return a.RefreshFor(ctx, text, func(string, string) bool { return true })
}

// RefreshFor is Refresh for a caller who also says whose session it is: where
// matches is false of member and session, nothing happens, and it is ErrAppOver.
func (a *Apps) RefreshFor(ctx context.Context, text keyring.Secret, matches func(did, id string) bool) (AppGrant, error) {
	secret, ok := parseAppSecret(text)
	if !ok {
		return AppGrant{}, ErrAppOver
	}
	salt := make([]byte, restBytes)
	rand.Read(salt) // never fails
	var grant AppGrant
	var replayed bool
	err := a.m.change(ctx, func(tx *change) error {
		replayed = false
		row, err := tx.lockApp(ctx, `family_hash = $1`, secret.familyHash())
		switch {
		case err != nil:
			return err
		case !row.expires.After(tx.now) || !matches(row.did.String(), row.id):
			return ErrAppOver
		case row.again(secret, tx.now):
			grant, err = a.grant(ctx, tx, row, secret.next(row.salt))
			return err
		case !row.current(secret):
			replayed = true
			return tx.endApp(ctx, row, ReasonAppReplayed, KindAppReplayed)
		}
		grant, err = a.grant(ctx, tx, row, secret.next(salt))
		if err != nil {
			return err
		}
		return tx.rotateApp(ctx, row, secret, salt)
	})
	if err == nil && replayed {
		a.m.wakeRevoker()
		err = ErrAppOver
	}
	if err != nil {
		return AppGrant{}, fmt.Errorf("refresh app session: %w", err)
	}
	return grant, nil
}

func (tx *change) rotateApp(ctx context.Context, row appRow, used AppSecret, salt []byte) error {
	if _, err := tx.ExecContext(ctx, `
UPDATE app_session SET secret_hash = $1, prev_hash = $2, salt = $3, generation = generation + 1, rotated_at = $4, expires_at = $5
WHERE id = $6`,
		used.next(salt).restHash(), used.restHash(), salt, store.Micros(tx.now), store.Micros(tx.now.Add(AppLife)), row.id); err != nil {
		return err
	}
	// The OAuth session is in use as long as the app renews its own.
	_, err := tx.ExecContext(ctx, `UPDATE oauth_session SET used_at = $1 WHERE id = $2 AND used_at < $1`, store.Micros(tx.now), row.oauth)
	return err
}

// AppCaller is an app that has shown a good access token.
type AppCaller struct {
	// SessionID is the app session's.
	SessionID string
	// Account is the member's, with the app's own OAuth session.
	Account Account
}

// Authenticate finds out whose access token this is. Errors: ErrAppOver for
// whatever is not a good token of a living session; *SignInAgainError when the
// member's OAuth session has ended.
func (a *Apps) Authenticate(ctx context.Context, token string) (AppCaller, error) {
	claims, err := a.keys.verify(a.issuer, token)
	if err != nil {
		return AppCaller{}, fault.Wrap(fault.Unauthenticated, err, ErrAppOver.Public).WithCode(ErrAppOver.Code)
	}
	account, err := a.account(ctx, a.m.db.Read(), claims.SessionID)
	if err != nil {
		return AppCaller{}, fmt.Errorf("look up app session %s: %w", claims.SessionID, err)
	}
	if account.DID.String() != claims.Subject {
		return AppCaller{}, ErrAppOver
	}
	return AppCaller{SessionID: claims.SessionID, Account: account}, nil
}

// account reads the account of a collected session with its OAuth session.
func (a *Apps) account(ctx context.Context, q store.Querier, id string) (Account, error) {
	var (
		acc                    Account
		created                int64
		state, scope, clientID string
		ended                  Reason
		fits                   sql.NullBool // NULL where there is no session
	)
	err := q.QueryRowContext(ctx, `
SELECT a.did, a.handle, a.oauth_session_id, a.created_at, COALESCE(s.state, ''), COALESCE(s.ended_reason, ''),
       COALESCE(s.pds, ''), COALESCE(s.scope, ''), COALESCE(s.paused, ''), COALESCE(s.client_id, ''), `+keyFits+`
FROM app_session a LEFT JOIN oauth_session s ON s.id = a.oauth_session_id
WHERE a.id = $1 AND a.generation > 0 AND a.expires_at > $2`, id, store.Micros(a.m.now())).
		Scan(&acc.DID, &acc.Handle, &acc.SessionID, &created, &state, &ended, &acc.PDS, &scope, &acc.Paused, &clientID, &fits)
	if isNoRows(err) {
		return Account{}, ErrAppOver
	}
	if err != nil {
		return Account{}, err
	}
	if acc.Ended, acc.Live = a.m.usable(state, ended, clientID, fits.Bool); !acc.Live {
		return Account{}, &SignInAgainError{DID: acc.DID, Reason: acc.Ended}
	}
	acc.SignedInAt, acc.Scopes = store.FromMicros(created), strings.Fields(scope)
	return acc, nil
}
