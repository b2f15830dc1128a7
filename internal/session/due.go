package session

import (
	"context"
	"fmt"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

var _ client.DueStore = (*Manager)(nil)

// Due returns live sessions that a client.Keeper may have to do something for.
// Those of accounts that are not active at their server are left out until they
// are.
func (m *Manager) Due(ctx context.Context, q client.DueQuery) ([]client.DueSession, error) {
	rows, err := m.db.Read().QueryContext(ctx, `
SELECT id, did, issuer, key_id, created_at, used_at, refreshed_at, refresh_expires_at FROM oauth_session
WHERE state = 'live' AND paused = '' AND id > $1
AND (used_at < $2 OR refresh_expires_at > 0 AND refresh_expires_at < $3 OR refresh_expires_at = 0 AND refreshed_at < $4)
ORDER BY id LIMIT $5`,
		q.After, before(q.UsedBefore), before(q.EndsBefore), before(q.RefreshedBefore), q.Limit)
	if err != nil {
		return nil, fmt.Errorf("look for sessions that are due: %w", err)
	}
	defer rows.Close()
	var due []client.DueSession
	for rows.Next() {
		var d client.DueSession
		var created, used, refreshed, ends int64
		if err := rows.Scan(&d.ID, &d.DID, &d.Issuer, &d.KeyID, &created, &used, &refreshed, &ends); err != nil {
			return nil, fmt.Errorf("look for sessions that are due: %w", err)
		}
		d.CreatedAt, d.UsedAt = store.FromMicros(created), store.FromMicros(used)
		d.RefreshedAt, d.RefreshExpiresAt = store.FromMicros(refreshed), store.FromMicros(ends)
		due = append(due, d)
	}
	return due, rows.Err()
}

// before is a bound for stored times; nothing is before the zero time.
func before(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return store.Micros(t)
}
