package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// over is a session that has just ended.
type over struct {
	id  string
	did syntax.DID
}

// A session ends in one of two ways. Where somebody ends it here, its tokens
// are kept until the Revoker has told the server. Where it ended by itself, or
// its tokens are good for nothing, they go at once. The version grows either
// way, so that a refresh which is under way cannot bring it back. A condition
// for the sessions follows; its first parameter is $4.
const (
	revokeQuery = `
UPDATE oauth_session SET state = 'revoking', ended_reason = $1, ended_at = $2, version = version + 1,
       paused = $3, lease_owner = $3, lease_until = 0, revoke_tries = 0, revoke_after = $2
WHERE state = 'live' AND `
	wipeQuery = `
UPDATE oauth_session SET state = 'ended', ended_reason = $1, ended_at = $2, version = version + 1,
       access_token = $3, refresh_token = $3, dpop_key = $3, paused = '', lease_owner = '', lease_until = 0, sent_until = 0
WHERE state = 'live' AND `
)

// revoke ends live sessions here; the server is told afterwards. It writes no
// audit row: the caller knows what it was.
func (tx *change) revoke(ctx context.Context, why Reason, where string, args ...any) ([]over, error) {
	return tx.end(ctx, revokeQuery+where, append([]any{string(why), store.Micros(tx.now), ""}, args...), why)
}

// wipe ends live sessions that are of no use to anybody any more, and removes
// them where no device waits for a new sign-in. Each leaves an audit row.
func (tx *change) wipe(ctx context.Context, why Reason, where string, args ...any) ([]over, error) {
	all, err := tx.end(ctx, wipeQuery+where, append([]any{string(why), store.Micros(tx.now), []byte{}}, args...), why)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if _, err := tx.ExecContext(ctx, `
DELETE FROM oauth_session WHERE id = $1 AND state = 'ended'
AND NOT EXISTS (SELECT 1 FROM device_account a WHERE a.session_id = oauth_session.id)`, s.id); err != nil {
			return nil, err
		}
	}
	return all, tx.recordEnded(ctx, all, why)
}

// end runs a query of the two above. However a session ends, what was shown of
// its account goes (S34), and one event says so.
func (tx *change) end(ctx context.Context, query string, args []any, why Reason) ([]over, error) {
	all, err := tx.ended(ctx, query+` RETURNING id, did`, args)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if _, err := tx.ExecContext(ctx, `UPDATE device_account SET handle = '' WHERE session_id = $1`, s.id); err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE app_session SET handle = '' WHERE oauth_session_id = $1`, s.id); err != nil {
			return nil, err
		}
		tx.happened(EventEnded, s.id, s.did, why)
	}
	return all, nil
}

func (tx *change) ended(ctx context.Context, query string, args []any) ([]over, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []over
	for rows.Next() {
		var s over
		if err := rows.Scan(&s.id, &s.did); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// recordEnded writes the audit rows of sessions that nobody signed out of.
func (tx *change) recordEnded(ctx context.Context, all []over, why Reason) error {
	for _, s := range all {
		err := tx.record(ctx, Entry{Kind: KindSessionEnded, DID: s.did, SessionID: s.id, Detail: string(why)})
		if err != nil {
			return err
		}
	}
	return nil
}

// endSession ends a session whose account has left its device; one that had
// ended by itself goes.
func (tx *change) endSession(ctx context.Context, id string, why Reason) ([]over, error) {
	if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_session WHERE id = $1 AND state = 'ended'`, id); err != nil {
		return nil, err
	}
	return tx.revoke(ctx, why, `id = $4`, id)
}

// Delete ends a session that ended by itself: its tokens are gone at once. Its
// account stays on the device, without profile data, and asks for a new sign-in
// (S34). Ending one that is over already does nothing. For endings that a
// member wants see SignOut.
func (m *Manager) Delete(ctx context.Context, id string, why Reason) error {
	err := m.change(ctx, func(tx *change) error {
		_, err := tx.wipe(ctx, why, `id = $4`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("end session %s: %w", id, err)
	}
	return nil
}

// ErrNotLive says that a session is over already.
var ErrNotLive = errors.New("session is over already")

// Revoke ends a session on behalf of the operator: here at once, and at its
// server as soon as a Revoker has told it, which one does within a minute. Its
// account is asked to sign in again. Errors: client.ErrNotFound when there is no
// such session, ErrNotLive.
func (m *Manager) Revoke(ctx context.Context, id string) error {
	err := m.change(ctx, func(tx *change) error {
		all, err := tx.revoke(ctx, ReasonOperator, `id = $4`, id)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			return tx.recordEnded(ctx, all, ReasonOperator)
		}
		var state string
		err = tx.QueryRowContext(ctx, `SELECT state FROM oauth_session WHERE id = $1`, id).Scan(&state)
		switch {
		case isNoRows(err):
			return client.ErrNotFound
		case err != nil:
			return err
		}
		return ErrNotLive
	})
	if err != nil {
		return fmt.Errorf("revoke session %s: %w", id, err)
	}
	m.wakeRevoker()
	return nil
}
