package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// CommunityID finds the row of a community that is there: it has a profile, or
// posts that name it.
func (x *Index) CommunityID(ctx context.Context, v Viewer, did syntax.DID) (id int64, ok bool, err error) {
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT c.id FROM account c LEFT JOIN community m ON m.account_id = c.id
		WHERE c.did = $1 AND `+communityStands+` AND (m.record IS NOT NULL OR EXISTS (
		    SELECT 1 FROM post_rank r WHERE r.community_id = c.id))`, did).Scan(&id))
	if err != nil {
		return 0, false, fmt.Errorf("find community: %w", err)
	}
	return id, ok, nil
}

// AnyBefore reports whether a post that is listed was made before a time.
func (x *Index) AnyBefore(ctx context.Context, at int64) (bool, error) {
	var n int
	ok, err := found(x.db.Read().QueryRowContext(ctx, `
		SELECT 1 FROM post p CROSS JOIN post_rank r
		WHERE p.created_at < $1 AND NOT p.deleted AND r.post_id = p.id AND r.community_id IS NOT NULL
		ORDER BY p.created_at LIMIT 1`, at).Scan(&n))
	if err != nil {
		return false, fmt.Errorf("look for older posts: %w", err)
	}
	return ok, nil
}

// ByHandle finds the account that has a handle, as far as it has been verified.
func (x *Index) ByHandle(ctx context.Context, handle syntax.Handle) (did syntax.DID, ok bool, err error) {
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT did FROM account WHERE handle = $1 ORDER BY verified_at DESC LIMIT 1`, handle).Scan(&did))
	if err != nil {
		return "", false, fmt.Errorf("find handle: %w", err)
	}
	return did, ok, nil
}
