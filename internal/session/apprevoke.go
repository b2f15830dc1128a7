package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
)

// AppInfo is an app session as its member sees it.
type AppInfo struct {
	ID        string
	Name      string // what the app calls itself; nobody has verified it
	Origin    string // coarse address of the app when it signed in; may be empty
	CreatedAt time.Time
	UsedAt    time.Time // last renewed
	ExpiresAt time.Time // unless it is renewed
}

// ErrNoApp says that the member has no such app session.
var ErrNoApp = fault.New(fault.NotFound, "There is no such sign-in of an app.")

// List returns the collected sessions of did, newest first, 100 at most.
func (a *Apps) List(ctx context.Context, did syntax.DID) ([]AppInfo, error) {
	rows, err := a.m.db.Read().QueryContext(ctx, `
SELECT a.id, a.name, a.origin, a.created_at, a.rotated_at, a.expires_at FROM app_session a
JOIN oauth_session s ON s.id = a.oauth_session_id AND s.state = 'live'
WHERE a.did = $1 AND a.generation > 0 AND a.expires_at > $2 ORDER BY a.created_at DESC, a.id LIMIT 100`,
		did.String(), store.Micros(a.m.now()))
	if err != nil {
		return nil, fmt.Errorf("list apps of %s: %w", did, err)
	}
	defer rows.Close()
	var all []AppInfo
	for rows.Next() {
		var i AppInfo
		var created, used, expires int64
		if err := rows.Scan(&i.ID, &i.Name, &i.Origin, &created, &used, &expires); err != nil {
			return nil, fmt.Errorf("list apps of %s: %w", did, err)
		}
		i.CreatedAt, i.UsedAt, i.ExpiresAt = store.FromMicros(created), store.FromMicros(used), store.FromMicros(expires)
		all = append(all, i)
	}
	return all, rows.Err()
}

// Revoke ends a session of did, and its OAuth session; the member's server is
// told afterwards. Its tokens are refused from now on. Error: ErrNoApp.
func (a *Apps) Revoke(ctx context.Context, did syntax.DID, id string) error {
	err := a.end(ctx, id, func(row appRow) error {
		if row.did != did {
			return ErrNoApp
		}
		return nil
	}, KindAppEnded)
	if err != nil {
		return fmt.Errorf("revoke app session %s: %w", id, err)
	}
	return nil
}

// Abandon ends a session that its app has not collected, because the sign-in was
// not approved. One that is collected, or over, is left alone.
func (a *Apps) Abandon(ctx context.Context, id string) error {
	err := a.end(ctx, id, func(row appRow) error {
		if row.generation > 0 {
			return ErrNoApp
		}
		return nil
	}, KindAppRefused)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return fmt.Errorf("abandon app session %s: %w", id, err)
	}
	return nil
}

func (a *Apps) end(ctx context.Context, id string, allowed func(appRow) error, kind Kind) error {
	err := a.m.change(ctx, func(tx *change) error {
		row, err := tx.lockApp(ctx, `id = $1`, id)
		if errors.Is(err, ErrAppOver) {
			return ErrNoApp
		}
		if err != nil {
			return err
		}
		if err := allowed(row); err != nil {
			return err
		}
		return tx.endApp(ctx, row, ReasonSignedOut, kind)
	})
	if err != nil {
		return err
	}
	a.m.wakeRevoker()
	return nil
}

// endApp removes a session and ends its OAuth session.
func (tx *change) endApp(ctx context.Context, row appRow, why Reason, kind Kind) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM app_session WHERE id = $1`, row.id); err != nil {
		return err
	}
	if _, err := tx.endSession(ctx, row.oauth, why); err != nil {
		return err
	}
	return tx.record(ctx, Entry{Kind: kind, DID: row.did, SessionID: row.oauth, Detail: string(why)})
}

// Sweep removes sessions that nobody has collected or renewed in time, and ends
// their OAuth sessions (S43). It returns how many there were. A session whose
// OAuth session is over stays until then, so that its app learns why.
func (a *Apps) Sweep(ctx context.Context) (int, error) {
	total, err := batches(ctx, func() (int, error) {
		var ids []string
		err := a.m.change(ctx, func(tx *change) (err error) {
			ids, err = list[string](ctx, tx, `
SELECT id FROM app_session WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2`,
				store.Micros(tx.now), sweepBatch)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := tx.endExpired(ctx, id); err != nil {
					return err
				}
			}
			return nil
		})
		return len(ids), err
	})
	if total > 0 {
		a.m.wakeRevoker()
	}
	return total, err
}

func (tx *change) endExpired(ctx context.Context, id string) error {
	row, err := tx.lockApp(ctx, `id = $1`, id)
	switch {
	case errors.Is(err, ErrAppOver):
		return nil // another process was first
	case err != nil:
		return err
	case row.expires.After(tx.now):
		return nil // renewed in between
	}
	return tx.endApp(ctx, row, ReasonIdle, KindAppEnded)
}
