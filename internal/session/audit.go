package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/telemetry"
)

// Kind says what an audit row is about.
type Kind string

// The kinds of audit rows. They are stored; a name is never reused.
const (
	KindSignIn        Kind = "sign_in"
	KindSignInRefused Kind = "sign_in_refused" // came back, and was turned away; Detail says why
	KindDeclined      Kind = "sign_in_declined"
	KindSignOut       Kind = "sign_out"
	KindDeviceEnded   Kind = "device_ended"         // by the member, from another device
	KindEverywhere    Kind = "signed_out_all"       // by the member
	KindSessionEnded  Kind = "session_ended"        // by itself; Detail is the Reason
	KindRevoked       Kind = "revoked"              // the member's server was told
	KindRevokeFailed  Kind = "revocation_abandoned" // it could not be told
	KindRefreshed     Kind = "refreshed"            // its tokens were renewed
	KindMoved         Kind = "moved"                // its account is at another PDS; Detail is its origin
	KindPaused        Kind = "paused"               // its account is not active; Detail is the Reason
	KindResumed       Kind = "resumed"              // its account is active again
	KindKeyMade       Kind = "key_made"
	KindKeyRotated    Kind = "key_rotated"
	KindKeyWithdrawn  Kind = "key_withdrawn"
	KindResealed      Kind = "resealed" // everything is sealed with the master key in Detail
)

// Entry is a row of the audit trail (S44). It never holds a secret, an exact
// address or a User-Agent header.
type Entry struct {
	ID        string    // set when it is written
	At        time.Time // set when it is written
	Kind      Kind
	DID       syntax.DID // empty when nobody was identified
	DeviceID  string
	SessionID string
	Origin    string // coarse; see the function Origin
	RequestID string // set when it is written, from the context
	Detail    string // a word or two from a closed set, or a server's origin
}

// maxDetail bounds what is kept of words that may come from elsewhere, in bytes.
const maxDetail = 200

// Record writes an entry that belongs to no change of a session, such as a
// sign-in that was turned away when it came back.
func (m *Manager) Record(ctx context.Context, e Entry) error {
	now := m.now()
	return m.db.Tx(ctx, func(tx *store.Tx) error { return Audit(ctx, tx, e, now) })
}

// Audit is Record as part of a change that others make: the entry is there when
// tx is committed.
func Audit(ctx context.Context, tx *store.Tx, e Entry, now time.Time) error {
	if err := record(ctx, tx, e, now); err != nil {
		return fmt.Errorf("write audit row %s: %w", e.Kind, err)
	}
	return nil
}

func record(ctx context.Context, q store.Querier, e Entry, now time.Time) error {
	if len(e.Detail) > maxDetail {
		e.Detail = strings.ToValidUTF8(e.Detail[:maxDetail], "")
	}
	_, err := q.ExecContext(ctx, `
INSERT INTO audit (id, at, kind, did, device_id, session_id, origin, request_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		rand.Text(), store.Micros(now), string(e.Kind), e.DID.String(), e.DeviceID, e.SessionID,
		e.Origin, telemetry.RequestID(ctx), e.Detail)
	return err
}

// Trail returns the newest entries about did, newest first; limit is at most 500.
func (m *Manager) Trail(ctx context.Context, did syntax.DID, limit int) ([]Entry, error) {
	rows, err := m.db.Read().QueryContext(ctx, `
SELECT id, at, kind, did, device_id, session_id, origin, request_id, detail
FROM audit WHERE did = $1 ORDER BY at DESC, id DESC LIMIT $2`, did.String(), min(limit, 500))
	if err != nil {
		return nil, fmt.Errorf("read audit trail of %s: %w", did, err)
	}
	defer rows.Close()
	var trail []Entry
	for rows.Next() {
		var e Entry
		var at int64
		if err := rows.Scan(&e.ID, &at, &e.Kind, &e.DID, &e.DeviceID, &e.SessionID, &e.Origin, &e.RequestID, &e.Detail); err != nil {
			return nil, fmt.Errorf("read audit trail of %s: %w", did, err)
		}
		e.At = store.FromMicros(at)
		trail = append(trail, e)
	}
	return trail, rows.Err()
}
