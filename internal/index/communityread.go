package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// CommunityID finds the row of a community that is there: it has a profile, or
// posts that name it.
func (x *Index) CommunityID(ctx context.Context, did syntax.DID) (id int64, ok bool, err error) {
	id, _, err = x.findCommunity(ctx, did)
	return id, id != 0, err
}

// findCommunity returns 0 for none; named tells whether it has a profile.
func (x *Index) findCommunity(ctx context.Context, did syntax.DID) (id int64, named bool, err error) {
	_, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT c.id, m.record IS NOT NULL FROM account c LEFT JOIN community m ON m.account_id = c.id
		WHERE c.did = $1 AND `+communityStands+` AND (m.record IS NOT NULL OR EXISTS (
		    SELECT 1 FROM post_rank r WHERE r.community_id = c.id))`, did).Scan(&id, &named))
	if err != nil {
		return 0, false, fmt.Errorf("find community: %w", err)
	}
	return id, named, nil
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

// Membership is how a member stands to a community.
type Membership struct {
	// Follows is how much of it they want to see, 0 for nothing.
	Follows int
	// Member tells that they follow it and are not shut out.
	Member  bool
	Blocked bool
}

// Membership tells how the viewer stands to a community, in one query.
func (x *Index) Membership(ctx context.Context, v Viewer, community syntax.DID) (s Membership, err error) {
	var out bool
	_, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT `+follows("c.id")+`, `+banHolds("$1", "c.id")+`, `+blockedCommunity("c.id")+` FROM account c WHERE c.did = $3`,
		append(x.sight(v), community)...).Scan(&s.Follows, &out, &s.Blocked))
	if err != nil {
		return Membership{}, fmt.Errorf("read standing in %s: %w", community, err)
	}
	s.Member = s.Follows > 0 && !out
	return s, nil
}
