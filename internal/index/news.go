package index

import (
	"context"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// AccountChange is an account as it is now, whose identity or status is other
// than it was when it was last told.
type AccountChange struct {
	DID syntax.DID
	// Active is whether its host serves it; Status is the host's word for why
	// not (deactivated, suspended, takendown, deleted, …), empty when active.
	Active bool
	Status string
	// Since is when the host said so; zero when nobody has said anything yet.
	Since time.Time
	// Identified tells that Handle and PDS are known; otherwise they say
	// nothing. Handle is empty when none leads back to the DID, PDS (an
	// origin) when the account names none.
	Identified bool
	Handle     syntax.Handle
	PDS        string

	at int64 // identifies this change: one that comes meanwhile is told again
}

// Meet makes an account one that the index knows and asks about, although no
// record here names it: such as somebody who has just signed in. One
// that is thought to be inactive is asked about again, because who signs in is
// not. Only of accounts that are known are changes told.
func (x *Index) Meet(ctx context.Context, did syntax.DID) error {
	now := store.Micros(x.now())
	err := x.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO account (id, did, active, status_at, resolve_attempts, resolve_due)
			VALUES (CAST($1 AS BIGINT), CAST($2 AS TEXT), true, 0, 0, CAST($3 AS BIGINT))
			ON CONFLICT (did) DO UPDATE SET resolve_due = excluded.resolve_due
			WHERE account.resolve_due IS NULL AND (account.resolved_at IS NULL OR NOT account.active)`, x.ids.next(), did, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("meet %s: %w", did, err)
	}
	return nil
}

// AccountChanges lists changes that are to be told, the longest due first, at
// most limit. They are remembered in their rows, so a restart loses none.
func (x *Index) AccountChanges(ctx context.Context, limit int) ([]AccountChange, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT did, active, COALESCE(status, ''), status_at, COALESCE(handle, ''), COALESCE(pds, ''), news_at,
		       resolved_at IS NOT NULL AND (handle IS NOT NULL OR resolve_due IS NULL)
		FROM account WHERE news_at IS NOT NULL AND news_at <= $1 ORDER BY news_at, id LIMIT $2`, store.Micros(x.now()), limit)
	if err != nil {
		return nil, fmt.Errorf("list changes of accounts: %w", err)
	}
	var out []AccountChange
	err = each(rows, func() error {
		var c AccountChange
		var since int64
		err := rows.Scan(&c.DID, &c.Active, &c.Status, &since, &c.Handle, &c.PDS, &c.at, &c.Identified)
		c.Since = store.FromMicros(since)
		out = append(out, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list changes of accounts: %w", err)
	}
	return out, nil
}

// Told notes that a change has been told, or that it is to be told again after
// a while.
func (x *Index) Told(ctx context.Context, c AccountChange, again time.Duration) error {
	var next any
	if again > 0 {
		next = store.Micros(x.now().Add(again))
	}
	err := x.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE account SET news_at = CAST($1 AS BIGINT) WHERE did = $2 AND news_at = $3`,
			next, c.DID, c.at)
		return err
	})
	if err != nil {
		return fmt.Errorf("note what was told of %s: %w", c.DID, err)
	}
	return nil
}

// newsWhere is the value of news_at in an UPDATE of account: due now where
// changed holds, also where an earlier change was put off, and another value
// than that one had.
func newsWhere(changed, now string) string {
	return `CASE WHEN NOT (` + changed + `) THEN news_at WHEN news_at = ` + now + ` THEN news_at + 1 ELSE ` + now + ` END`
}
