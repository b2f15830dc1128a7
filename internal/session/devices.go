package session

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Listed is a device as its member sees it on the account page.
type Listed struct {
	ID         string // for EndDevice
	Name       string // "Firefox on Linux"
	Origin     string // coarse address of the last sign-in; may be empty
	SignedInAt time.Time
	UsedAt     time.Time // exact to the hour
	Live       bool      // as Account.Live: false when the member has to sign in again there
}

// Devices returns where did is signed in, last used first, 100 at most.
func (m *Manager) Devices(ctx context.Context, did syntax.DID) ([]Listed, error) {
	rows, err := m.db.Read().QueryContext(ctx, `
SELECT d.id, d.user_agent, d.origin, a.signed_in_at, d.used_at,
       COALESCE(s.state, ''), COALESCE(s.ended_reason, ''), COALESCE(s.client_id, ''), `+keyFits+`
FROM device_account a
JOIN device d ON d.id = a.device_id
LEFT JOIN oauth_session s ON s.id = a.session_id
WHERE a.did = $1 AND d.expires_at > $2
ORDER BY d.used_at DESC, d.id LIMIT 100`, did.String(), store.Micros(m.now()))
	if err != nil {
		return nil, fmt.Errorf("list devices of %s: %w", did, err)
	}
	defer rows.Close()
	var all []Listed
	for rows.Next() {
		var (
			l               Listed
			signed, used    int64
			state, clientID string
			ended           Reason
			keyFits         sql.NullBool // NULL where there is no session
		)
		if err := rows.Scan(&l.ID, &l.Name, &l.Origin, &signed, &used, &state, &ended, &clientID, &keyFits); err != nil {
			return nil, fmt.Errorf("list devices of %s: %w", did, err)
		}
		l.SignedInAt, l.UsedAt = store.FromMicros(signed), store.FromMicros(used)
		_, l.Live = m.usable(state, ended, clientID, keyFits.Bool)
		all = append(all, l)
	}
	return all, rows.Err()
}
