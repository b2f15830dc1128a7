package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
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
