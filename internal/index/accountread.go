package index

import (
	"context"
	"fmt"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Server is the origin of the server of an account that is here and active. ok
// is false for every other account, and while its server is not known.
func (x *Index) Server(ctx context.Context, did syntax.DID) (origin string, ok bool, err error) {
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT pds FROM account WHERE did = $1 AND active AND pds IS NOT NULL`, did).Scan(&origin))
	if err != nil {
		return "", false, fmt.Errorf("find the server of %s: %w", did, err)
	}
	return origin, ok, nil
}

// Accounts returns those of the accounts that are here.
func (x *Index) Accounts(ctx context.Context, dids []syntax.DID) (map[syntax.DID]Account, error) {
	out := make(map[syntax.DID]Account, len(dids))
	for some := range slices.Chunk(dids, store.MaxList) {
		list, args := store.List(1, some)
		rows, err := x.db.Read().QueryContext(ctx, `SELECT did, COALESCE(handle, '') FROM account WHERE did IN `+list, args...)
		if err != nil {
			return nil, fmt.Errorf("read accounts: %w", err)
		}
		err = each(rows, func() error {
			var a Account
			err := rows.Scan(&a.DID, &a.Handle)
			out[a.DID] = a
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read accounts: %w", err)
		}
	}
	return out, nil
}
