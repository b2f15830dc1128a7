package login

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
)

// HandOffState is how far the sign-in of an app is.
type HandOffState string

// The states. They are stored, but for the last: that one is a matter of time.
const (
	stateInitiated  HandOffState = "initiated"   // the browser has not come
	stateOpened     HandOffState = "opened"      // the browser is at the member's server
	stateCodeWanted HandOffState = "code_wanted" // it is back and asked for the code
	stateApproved   HandOffState = "approved"    // the app gets its session
	StateDelivered  HandOffState = "delivered"   // the app has acknowledged it
	StateDenied     HandOffState = "denied"      // the member declined, here or at their server
	StateWrongCode  HandOffState = "wrong_code"  // five times
	StateFailed     HandOffState = "failed"      // the member's server did not sign them in
	StateCancelled  HandOffState = "cancelled"   // the app gave up
	StateExpired    HandOffState = "expired"     // 30 minutes are over
)

// over tells whether nothing can become of the sign-in any more.
func (s HandOffState) over() bool {
	switch s {
	case stateInitiated, stateOpened, stateCodeWanted, stateApproved:
		return false
	}
	return true
}

// EndedError says how the sign-in of an app ended, to the app.
type EndedError struct{ State HandOffState }

// Error names the state, for the log.
func (e *EndedError) Error() string { return "sign-in of an app has ended: " + string(e.State) }

// Unwrap returns what a person may be shown.
func (e *EndedError) Unwrap() error {
	kind, sentence := fault.Forbidden, map[HandOffState]string{
		StateDelivered: "This sign-in was finished, and its session delivered.",
		StateDenied:    "The sign-in was declined.",
		StateWrongCode: "A wrong code was typed five times, so the sign-in was ended. Start again.",
		StateFailed:    "The server of that account did not sign anybody in. Start again.",
		StateCancelled: "The sign-in was cancelled.",
		StateExpired:   "The sign-in was not finished within 30 minutes. Start again.",
	}[e.State]
	return fault.New(kind, sentence).WithCode(string(e.State))
}

// errNoHandOff: there is no such sign-in, or the secret is not its own; which of
// them is nobody's business.
var errNoHandOff = fault.New(fault.NotFound, "There is no such sign-in of an app. It may have run out; start again in the app.").WithCode("NotFound")

// handOff is a row of app_login.
type handOff struct {
	id, identifier, name, origin string
	state                        HandOffState
	secretHash, codeHash         []byte
	approverHash, proofHash      []byte
	tries, port                  int
	redirect                     string
	did                          syntax.DID
	session                      string
	salt                         []byte
	created, changed, expires    time.Time
}

// at is the state at a moment.
func (r handOff) at(now time.Time) HandOffState {
	if !r.state.over() && !r.expires.After(now) {
		return StateExpired
	}
	return r.state
}

// holds tells whether value is what hash was made of.
func holds(hash []byte, value string) bool {
	return len(hash) > 0 && subtle.ConstantTimeCompare(hash, hashOf(value)) == 1
}

const handOffColumns = `id, identifier, name, origin, state, secret_hash, code_hash, approver_hash, proof_hash,
  tries, loopback_port, redirect_uri, did, app_session_id, salt, created_at, changed_at, expires_at`

func scanHandOff(row *sql.Row) (handOff, error) {
	var r handOff
	var created, changed, expires int64
	err := row.Scan(&r.id, &r.identifier, &r.name, &r.origin, &r.state, &r.secretHash, &r.codeHash, &r.approverHash, &r.proofHash,
		&r.tries, &r.port, &r.redirect, &r.did, &r.session, &r.salt, &created, &changed, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return handOff{}, errNoHandOff
	}
	r.created, r.changed, r.expires = store.FromMicros(created), store.FromMicros(changed), store.FromMicros(expires)
	return r, err
}

func (h *HandOffs) read(ctx context.Context, id string) (handOff, error) {
	r, err := scanHandOff(h.cfg.DB.Read().QueryRowContext(ctx, `SELECT `+handOffColumns+` FROM app_login WHERE id = $1`, id))
	if err != nil {
		return handOff{}, fmt.Errorf("read sign-in of an app: %w", err)
	}
	return r, nil
}

// change locks a sign-in and lets decide say what becomes of it: a statement's
// SET clause with its values, $1 being the first, or "" for nothing. Whoever
// waits for it is woken.
func (h *HandOffs) change(ctx context.Context, id string, decide func(r handOff, now time.Time) (set string, args []any, err error)) error {
	err := h.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		r, err := scanHandOff(tx.QueryRowContext(ctx, `UPDATE app_login SET state = state WHERE id = $1 RETURNING `+handOffColumns, id))
		if err != nil {
			return err
		}
		now := h.now()
		set, args, err := decide(r, now)
		if err != nil || set == "" {
			return err
		}
		args = append(args, store.Micros(now), id)
		_, err = tx.ExecContext(ctx, fmt.Sprintf(`UPDATE app_login SET %s, changed_at = $%d WHERE id = $%d`, set, len(args)-1, len(args)), args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("change sign-in of an app: %w", err)
	}
	h.waiters.wake(id)
	return nil
}

// insert stores a new sign-in and drops what is too many.
func (h *HandOffs) insert(ctx context.Context, r handOff) error {
	now := store.Micros(h.now())
	sweep := h.puts.Add(1)%int64(max(1, h.pending/100)) == 0
	err := h.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, `
INSERT INTO app_login (id, identifier, name, origin, state, secret_hash, code_hash, tries, loopback_port, redirect_uri,
  did, app_session_id, created_at, changed_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, '', '', $10, $10, $11)`,
			r.id, r.identifier, r.name, r.origin, string(r.state), r.secretHash, r.codeHash, r.port, r.redirect,
			now, store.Micros(r.expires)); err != nil {
			return err
		}
		if err := dropHandOffs(ctx, tx, r.id, h.perPlace, `origin = $1`, r.origin); err != nil || !sweep {
			return err
		}
		return dropHandOffs(ctx, tx, r.id, h.pending, `id <> $1`, "")
	})
	if err != nil {
		return fmt.Errorf("store sign-in of an app: %w", err)
	}
	return nil
}

// dropHandOffs keeps limit of the sign-ins that where selects, the newcomer among
// them, and drops the others: those that are over first, then those whose browser
// has not come, the oldest before the newer.
func dropHandOffs(ctx context.Context, tx *store.Tx, newcomer string, limit int, where, arg string) error {
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM app_login WHERE `+where, arg).Scan(&n); err != nil || n <= limit {
		return err
	}
	_, err := tx.ExecContext(ctx, `
DELETE FROM app_login WHERE id IN (
  SELECT id FROM app_login WHERE `+where+` AND id <> $2
  ORDER BY CASE WHEN state IN ('opened', 'code_wanted', 'approved') THEN 2 WHEN state = 'initiated' THEN 1 ELSE 0 END DESC,
           created_at DESC, id LIMIT 1000000 OFFSET $3)`, arg, newcomer, limit-1)
	return err
}

// handOffKept is how much longer than its life a sign-in is kept, for an app that
// asks a moment too late.
const handOffKept = 2 * time.Minute

// Sweep removes sign-ins of apps that have run out, in batches, and returns how
// many there were, also with an error (S43). Sessions that nobody has collected
// are swept by session.Apps.
func (h *HandOffs) Sweep(ctx context.Context) (int, error) {
	total := 0
	for {
		var n int64
		err := h.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
			res, err := tx.ExecContext(ctx, `
DELETE FROM app_login WHERE id IN (SELECT id FROM app_login WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2)`,
				store.Micros(h.now().Add(-handOffKept)), sweepBatch)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return total, fmt.Errorf("sweep sign-ins of apps: %w", err)
		}
		total += int(n)
		if n < sweepBatch {
			return total, nil
		}
	}
}
