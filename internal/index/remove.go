package index

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Deleted lists accounts that their hosts have called deleted for longer than
// grace and whose content is still here, at most limit. Until it is removed it
// is only hidden.
func (x *Index) Deleted(ctx context.Context, grace time.Duration, limit int) (all []syntax.DID, err error) {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT did FROM account
		WHERE NOT active AND status = 'deleted' AND status_at < $1 AND (removed_at IS NULL OR removed_at < status_at)
		ORDER BY status_at LIMIT $2`, store.Micros(x.now().Add(-grace)), limit)
	if err != nil {
		return nil, fmt.Errorf("list deleted accounts: %w", err)
	}
	err = each(rows, func() error {
		var did syntax.DID
		err := rows.Scan(&did)
		all = append(all, did)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list deleted accounts: %w", err)
	}
	return all, nil
}

// removeOps is how many records are removed in one transaction: others wait
// for it.
const removeOps = 500

// RemoveContent deletes every record of an account that is not active, as a
// commit of the repository at this moment would have done. Should the account
// come back, its commits are later. It may be interrupted and repeated at any
// time, and stops when the account is active again.
func (x *Index) RemoveContent(ctx context.Context, did syntax.DID) error {
	held, err := x.Held(ctx, did)
	if err != nil {
		return err
	}
	last := syntax.NewTIDFromTime(x.now(), maxClock)
	for part := range slices.Chunk(held, removeOps) {
		ops := make([]Op, len(part))
		for i, h := range part {
			ops[i] = Op{Action: Delete, Collection: h.Collection, RKey: h.RKey}
		}
		commit, _ := x.Prepare(did, last, ops)
		gone, err := x.removeSome(ctx, did, commit)
		if err != nil {
			return fmt.Errorf("remove the content of %s: %w", did, err)
		}
		if !gone {
			return nil
		}
	}
	return x.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE account SET removed_at = $1 WHERE did = $2 AND NOT active`,
			store.Micros(last.Time()), did)
		return err
	})
}

// removeSome applies deletes; gone is false when the account is active.
func (x *Index) removeSome(ctx context.Context, did syntax.DID, commit Commit) (gone bool, err error) {
	err = x.db.Tx(ctx, func(tx *store.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT NOT active FROM account WHERE did = $1`, did).Scan(&gone)
		if err != nil || !gone {
			return err
		}
		_, err = x.Apply(ctx, tx, []Commit{commit})
		return err
	})
	return gone, err
}

// maxClock is the greatest clock identifier of a TID: later than every commit
// of the same microsecond.
const maxClock = 1023
