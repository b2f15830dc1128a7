package index

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// This file is the one place that says who may see what (F4). Every query that
// shows something is put together from these conditions. They name tables by
// fixed letters: p a post, a its author, c its community's account, m the
// community's profile, which there need not be. $1 is who looks, 0 for a
// visitor, and $2 the time.

// Viewer is who looks. The zero Viewer is a visitor.
type Viewer struct {
	DID syntax.DID
	// ID is 0 for a member of whom no record is here.
	ID int64
}

// Viewer finds the one who looks; an empty did is a visitor.
func (x *Index) Viewer(ctx context.Context, did syntax.DID) (Viewer, error) {
	v := Viewer{DID: did}
	if did == "" {
		return v, nil
	}
	_, err := found(x.db.Read().QueryRowContext(ctx, `SELECT id FROM account WHERE did = $1`, did).Scan(&v.ID))
	if err != nil {
		return v, fmt.Errorf("find viewer: %w", err)
	}
	return v, nil
}

// Warnings is what content warns of, as a sum.
type Warnings int64

// The warnings. Their numbers are stored.
const (
	Adult Warnings = 1 << iota
	Violence
	Spoilers
)

// Shielded are the warnings of what nobody meets who did not ask for it.
const Shielded = Adult | Violence

// Listing is where a post is to be shown, which decides with its state and its
// community's wishes whether it is.
type Listing uint8

// The listings.
const (
	// ByName is a post that was asked for by its URI, or through its author.
	ByName Listing = iota
	// OfCommunity are a community's own list and home pages: what it accepted.
	OfCommunity
	// ForAll is every public community.
	ForAll
	// ForStrangers is ForAll without what warns of adult content or violence, as
	// long as the viewer does not follow the community.
	ForStrangers
)

// banHolds is the condition under which person has been shut out of community.
func banHolds(person, community string) string {
	return `EXISTS (SELECT 1 FROM ban b WHERE b.subject_id = ` + person + ` AND b.community_id = ` + community +
		` AND ` + banned("$2") + `)`
}

// outUntil is when a ban of banHolds ends, in microseconds: 0 when there is
// none, forever when it does not end.
func outUntil(person, community string) string {
	return fmt.Sprintf(`COALESCE((SELECT max(COALESCE(b.expires_at, %d)) FROM ban b
		WHERE b.subject_id = %s AND b.community_id = %s AND b.in_force), 0)`, int64(math.MaxInt64), person, community)
}

// blockedPerson and blockedCommunity are conditions on what the viewer blocks.
func blockedPerson(person string) string {
	return `EXISTS (SELECT 1 FROM person_block k WHERE k.subject_id = ` + person + ` AND k.account_id = $1)`
}

func blockedCommunity(community string) string {
	return `EXISTS (SELECT 1 FROM community_block k WHERE k.subject_id = ` + community + ` AND k.account_id = $1)`
}

// follows is how much of a community the viewer wants to see, 0 for nothing.
func follows(community string) string {
	return `COALESCE((SELECT s.value FROM subscription s WHERE s.subject_id = ` + community +
		` AND s.account_id = $1 ORDER BY s.subject_id DESC, s.account_id DESC, s.tid DESC LIMIT 1), 0)`
}

// open is the condition under which everybody may see what is inside a community.
const open = `COALESCE(m.visibility, 0) < 2`

// entered is the condition under which the viewer may see what is inside a
// community: everybody, or of a private one its members, those who follow it
// and are not shut out, and its moderators.
func entered(v Viewer) string {
	if v.ID == 0 {
		return open
	}
	return `(` + open + ` OR c.id = $1 OR (` + follows("c.id") + ` > 0 AND NOT ` + banHolds("$1", "c.id") + `) OR EXISTS (
	    SELECT 1 FROM moderator o WHERE o.user_id = $1 AND o.community_id = c.id AND (o.expires_at IS NULL OR o.expires_at > $2)))`
}

// communityStands is the condition under which a community is there at all:
// nobody has blocked or shut down its account, and its server owns its name.
const communityStands = `c.active AND m.host_ok IS NOT FALSE`

// visible is the part of postShown that does not depend on who looks, or when.
const visible = `NOT p.deleted AND p.state < 3 AND a.active AND ` + communityStands

// clause is a condition on a post in two notations: for queries, and for what
// is kept in memory of the post and of who looks (see Cards), which was read by
// queries with the conditions above.
type clause struct {
	sql   func(v Viewer) string
	holds func(c *card, r *Reader, now int64) bool
}

// What decides whether the viewer sees a post. No other file knows more of it.
var (
	thePostStands = clause{func(Viewer) string { return visible }, func(c *card, _ *Reader, _ int64) bool { return c.visible }}
	// Of communities that are not open memory knows nothing: Cards asks the
	// database about their posts.
	theyMayEnter      = clause{entered, func(c *card, _ *Reader, _ int64) bool { return c.open }}
	theAuthorIsNotOut = clause{func(Viewer) string { return `NOT ` + banHolds("p.author_id", "p.community_id") }, func(c *card, _ *Reader, now int64) bool { return c.outUntil <= now }}
	theyBlockNeither  = clause{blocksNeither, func(c *card, r *Reader, _ int64) bool {
		return !r.people[c.author] && !r.communities[c.post.CommunityID]
	}}
	theCommunityAgrees = clause{func(Viewer) string { return `p.state = 1` }, func(c *card, _ *Reader, _ int64) bool { return c.post.State == Accepted }}
	everybodyFindsIt   = clause{func(Viewer) string { return `COALESCE(m.visibility, 0) = 0` }, func(c *card, _ *Reader, _ int64) bool { return c.visibility == Public }}
	theyWereWarned     = clause{warned, func(c *card, r *Reader, _ int64) bool {
		return c.warnings&Shielded == 0 || r.follows[c.post.CommunityID] > 0
	}}
)

func blocksNeither(v Viewer) string {
	if v.ID == 0 {
		return `CAST($1 AS BIGINT) = 0` // both engines want to see every parameter
	}
	return `NOT ` + blockedPerson("p.author_id") + ` AND NOT ` + blockedCommunity("p.community_id")
}

func warned(v Viewer) string {
	const harmless = `COALESCE(m.warnings, 0) & 3 = 0`
	if v.ID == 0 {
		return harmless
	}
	return `(` + harmless + ` OR ` + follows("p.community_id") + ` > 0)`
}

// postClauses are the conditions under which the viewer sees a post somewhere.
func postClauses(v Viewer, in Listing) []clause {
	all := []clause{thePostStands, theyMayEnter, theAuthorIsNotOut, theyBlockNeither}
	switch {
	case in == OfCommunity:
		all = append(all, theCommunityAgrees)
	case in == ForAll && v.DID != "":
		all = append(all, everybodyFindsIt)
	case in != ByName:
		all = append(all, everybodyFindsIt, theyWereWarned)
	}
	return all
}

// postShown is postClauses for a query.
func postShown(v Viewer, in Listing) string {
	var all []string
	for _, c := range postClauses(v, in) {
		all = append(all, c.sql(v))
	}
	return strings.Join(all, ` AND `)
}

// shielded reports whether a post that is shown by postShown is to be left out
// for what its author warns of.
func (p Post) shielded(v Viewer, in Listing) bool {
	switch in {
	case ForAll:
		return p.Warnings&Shielded != 0 && v.DID == ""
	case ForStrangers:
		return p.Warnings&Shielded != 0 && (p.Viewer == nil || p.Viewer.Follows == 0)
	}
	return false
}

// sight are the first two parameters of every query that uses this file.
func (x *Index) sight(v Viewer) []any { return []any{v.ID, store.Micros(x.now())} }
