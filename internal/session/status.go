package session

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// Status is what the network says of an account.
type Status struct {
	Active bool
	// Word is why it is not active, in the words of
	// com.atproto.sync.subscribeRepos#account.
	Word string
	// At is when its host said so. Zero: now.
	At time.Time
}

// AccountStatus applies what the network says of an account. Sessions of an
// account that is deactivated, suspended or taken down are paused: nothing is
// written with them, and their tokens are kept for when it is active again. The
// sessions of a deleted account end (S40). What has got new tokens since then is
// left alone: the account's server has given them to an active account.
// "desynchronized" and "throttled" are about the host that says so, and change
// nothing. Saying the same twice does nothing.
func (m *Manager) AccountStatus(ctx context.Context, did syntax.DID, s Status) error {
	before := int64(math.MaxInt64)
	if !s.At.IsZero() {
		before = store.Micros(s.At)
	}
	err := m.change(ctx, func(tx *change) error {
		why, applies := inactive(s.Active, s.Word)
		switch {
		case !applies:
			return nil
		case why == ReasonDeleted:
			_, err := tx.wipe(ctx, why, `did = $4 AND refreshed_at < $5`, did.String(), before)
			return err
		case why == "":
			before = math.MaxInt64
		}
		return tx.pause(ctx, did, why, before)
	})
	if err != nil {
		return fmt.Errorf("apply status %q of account %s: %w", s.Word, did, err)
	}
	return nil
}

// inactive turns a status into the reason for pausing or ending; "" is active.
// A status that nobody has heard of pauses: the account is not active.
func inactive(active bool, status string) (why Reason, applies bool) {
	if active {
		return "", true
	}
	switch status {
	case "desynchronized", "throttled":
		return "", false
	case "deleted":
		return ReasonDeleted, true
	case "suspended":
		return ReasonSuspended, true
	case "takendown":
		return ReasonTakenDown, true
	}
	return client.ReasonDeactivated, true
}

// pause marks the live sessions of did whose tokens are older than before, or
// takes the mark away.
func (tx *change) pause(ctx context.Context, did syntax.DID, why Reason, before int64) error {
	ids, err := list[string](ctx, tx,
		`UPDATE oauth_session SET paused = $1 WHERE did = $2 AND state = 'live' AND paused <> $1 AND refreshed_at < $3 RETURNING id`,
		string(why), did.String(), before)
	if err != nil {
		return err
	}
	kind, event := KindPaused, EventPaused
	if why == "" {
		kind, event = KindResumed, EventResumed
	}
	for _, id := range ids {
		tx.happened(event, id, did, why)
		if err := tx.record(ctx, Entry{Kind: kind, DID: did, SessionID: id, Detail: string(why)}); err != nil {
			return err
		}
	}
	return nil
}

// SetHandle changes what is shown of an account wherever it is signed in (S39).
// An empty handle shows none.
func (m *Manager) SetHandle(ctx context.Context, did syntax.DID, handle syntax.Handle) error {
	err := m.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `
UPDATE device_account SET handle = $1 WHERE did = $2 AND handle <> $1
AND EXISTS (SELECT 1 FROM oauth_session s WHERE s.id = device_account.session_id AND s.state = 'live')`,
			handle.String(), did.String())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE app_session SET handle = $1 WHERE did = $2 AND handle <> $1`, handle.String(), did.String())
		return err
	})
	if err != nil {
		return fmt.Errorf("show handle %s of %s: %w", handle, did, err)
	}
	return nil
}
