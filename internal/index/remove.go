package index

import (
	"context"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// RemoveDeleted removes what accounts have written that their hosts have called
// deleted for longer than grace, at most limit accounts, and returns how many
// they were. Until then it is only hidden. It may be repeated and interrupted
// at any time.
func (x *Index) RemoveDeleted(ctx context.Context, grace time.Duration, limit int) (int, error) {
	all, err := x.deleted(ctx, store.Micros(x.now().Add(-grace)), limit)
	if err != nil {
		return 0, fmt.Errorf("list deleted accounts: %w", err)
	}
	for i, did := range all {
		if err := x.removeAccount(ctx, did); err != nil {
			return i, fmt.Errorf("remove %s: %w", did, err)
		}
	}
	return len(all), nil
}

// deleted lists accounts that were deleted before a time and whose content is
// still here.
func (x *Index) deleted(ctx context.Context, before int64, limit int) (all []syntax.DID, err error) {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT did FROM account
		WHERE NOT active AND status = 'deleted' AND status_at < $1 AND (removed_at IS NULL OR removed_at < status_at)
		ORDER BY status_at LIMIT $2`, before, limit)
	if err != nil {
		return nil, err
	}
	err = each(rows, func() error {
		var did syntax.DID
		err := rows.Scan(&did)
		all = append(all, did)
		return err
	})
	return all, err
}

// removeAccount deletes every record, as a commit of the repository at this
// moment would have done. Should the account come back, its commits are later.
func (x *Index) removeAccount(ctx context.Context, did syntax.DID) error {
	held, err := x.Held(ctx, did)
	if err != nil {
		return err
	}
	ops := make([]Op, len(held))
	for i, h := range held {
		ops[i] = Op{Action: Delete, Collection: h.Collection, RKey: h.RKey}
	}
	last := syntax.NewTIDFromTime(x.now(), maxClock)
	commit, _ := x.Prepare(did, last, ops)
	return x.db.Tx(ctx, func(tx *store.Tx) error {
		if _, err := x.Apply(ctx, tx, []Commit{commit}); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE account SET removed_at = $1 WHERE did = $2 AND NOT active`, store.Micros(x.now()), did)
		return err
	})
}

// maxClock is the greatest clock identifier of a TID: later than every commit
// of the same microsecond.
const maxClock = 1023
