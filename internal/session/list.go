package session

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// State is what an operator sees of a session's life.
type State string

// The states.
const (
	StateLive     State = "live"
	StateExpiring State = "expiring" // live, and its refresh token ends within a week
	StatePaused   State = "paused"   // live, but its account is not active at its server
	StateUnusable State = "unusable" // live, but of another client or a withdrawn key: it asks to sign in again
	StateRevoking State = "revoking" // over here; its server is still to be told
	StateEnded    State = "ended"    // over; kept so that the member can be told why
)

// States lists those that every session has one of without being looked at
// closely.
func States() []State {
	return []State{StateLive, StateExpiring, StatePaused, StateRevoking, StateEnded}
}

// Info is a session as an operator sees it: no secret, no exact address. Times
// are zero when unknown or not at all.
type Info struct {
	ID     string
	DID    syntax.DID
	Handle syntax.Handle // as shown on its device; may be empty
	State  State
	Reason Reason // why it is over, paused or unusable

	Issuer, PDS string // origins
	ClientID    string
	KeyID       string // client key; empty for a public client
	Scope       string // as granted
	DeviceID    string // empty when no device has it
	Device      string // such as "Firefox on Linux"

	CreatedAt, UsedAt, RefreshedAt    time.Time // UsedAt is exact to the hour
	AccessExpiresAt, RefreshExpiresAt time.Time
	EndedAt                           time.Time
	RevokeTries                       int // how often its server was told, while revoking
}

// Query selects sessions for List. The zero Query selects all.
type Query struct {
	State State      // live includes those that are about to expire; unusable is no selection
	DID   syntax.DID // whose
	Limit int        // at most 1,000; zero means 100
}

const infoQuery = `
SELECT s.id, s.did, COALESCE(a.handle, ''), s.state, s.ended_reason, s.paused, ` + keyFits + `,
       s.issuer, s.pds, s.client_id, s.key_id, s.scope, COALESCE(d.id, ''), COALESCE(d.user_agent, ''),
       s.created_at, s.used_at, s.refreshed_at, s.access_expires_at, s.refresh_expires_at, s.ended_at, s.revoke_tries
FROM oauth_session s
LEFT JOIN device_account a ON a.session_id = s.id
LEFT JOIN device d ON d.id = a.device_id
WHERE `

// List returns sessions, newest sign-in first, and whether there are more.
// Selecting a state that cannot be selected is an error.
func (m *Manager) List(ctx context.Context, q Query) (all []Info, more bool, err error) {
	limit := min(q.Limit, 1000)
	if limit <= 0 {
		limit = 100
	}
	where, args, err := m.where(q)
	if err != nil {
		return nil, false, err
	}
	args = append(args, limit+1)
	rows, err := m.db.Read().QueryContext(ctx,
		infoQuery+where+fmt.Sprintf(` ORDER BY s.created_at DESC, s.id LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, false, fmt.Errorf("list sessions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		info, err := m.scanInfo(rows)
		if err != nil {
			return nil, false, fmt.Errorf("list sessions: %w", err)
		}
		all = append(all, info)
	}
	if len(all) > limit {
		return all[:limit], true, rows.Err()
	}
	return all, false, rows.Err()
}

// where is the condition of a Query.
func (m *Manager) where(q Query) (string, []any, error) {
	conditions, args := []string{"true"}, []any{}
	switch q.State {
	case "":
	case StateLive:
		conditions = append(conditions, `s.state = 'live' AND s.paused = ''`)
	case StatePaused:
		conditions = append(conditions, `s.state = 'live' AND s.paused <> ''`)
	case StateExpiring:
		args = append(args, store.Micros(m.now().Add(expiringWithin)))
		conditions = append(conditions, `s.state = 'live' AND s.paused = '' AND `+soon)
	case StateRevoking, StateEnded:
		args = append(args, string(q.State))
		conditions = append(conditions, `s.state = $1`)
	default:
		return "", nil, fmt.Errorf("list sessions: no selection by state %q", q.State)
	}
	if q.DID != "" {
		args = append(args, q.DID.String())
		conditions = append(conditions, fmt.Sprintf(`s.did = $%d`, len(args)))
	}
	return strings.Join(conditions, " AND "), args, nil
}

// Info returns one session; client.ErrNotFound when there is none.
func (m *Manager) Info(ctx context.Context, id string) (Info, error) {
	info, err := m.scanInfo(m.db.Read().QueryRowContext(ctx, infoQuery+`s.id = $1`, id))
	if isNoRows(err) {
		err = client.ErrNotFound
	}
	if err != nil {
		return Info{}, fmt.Errorf("look at session %s: %w", id, err)
	}
	return info, nil
}

// scanInfo reads a row of infoQuery.
func (m *Manager) scanInfo(row interface{ Scan(...any) error }) (Info, error) {
	var (
		i       Info
		state   string
		paused  Reason
		keyFits sql.NullBool
		times   [6]int64
	)
	err := row.Scan(&i.ID, &i.DID, &i.Handle, &state, &i.Reason, &paused, &keyFits,
		&i.Issuer, &i.PDS, &i.ClientID, &i.KeyID, &i.Scope, &i.DeviceID, &i.Device,
		&times[0], &times[1], &times[2], &times[3], &times[4], &times[5], &i.RevokeTries)
	if err != nil {
		return Info{}, err
	}
	for n, t := range []*time.Time{&i.CreatedAt, &i.UsedAt, &i.RefreshedAt, &i.AccessExpiresAt, &i.RefreshExpiresAt, &i.EndedAt} {
		*t = store.FromMicros(times[n])
	}
	end := i.RefreshExpiresAt
	i.State = stateOf(state, paused, !end.IsZero() && !end.After(m.now().Add(expiringWithin)))
	if i.State == StatePaused {
		i.Reason = paused
	}
	if why, ok := m.usable(state, i.Reason, i.ClientID, keyFits.Bool); !ok && state == stateLive {
		i.State, i.Reason = StateUnusable, why
	}
	return i, nil
}
