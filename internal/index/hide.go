package index

import (
	"context"
	"fmt"

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

// entered is the condition under which the viewer may see what is inside a
// community: everybody, or of a private one its members, those who follow it
// and are not shut out, and its moderators.
func entered(v Viewer) string {
	const open = `COALESCE(m.visibility, 0) < 2`
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

// postShown is the condition under which the viewer sees a post somewhere.
func postShown(v Viewer, in Listing) string {
	cond := visible + ` AND ` + entered(v) +
		` AND NOT ` + banHolds("p.author_id", "p.community_id")
	if v.ID == 0 {
		cond += ` AND CAST($1 AS BIGINT) = 0` // both engines want to see every parameter
	} else {
		cond += ` AND NOT ` + blockedPerson("p.author_id") + ` AND NOT ` + blockedCommunity("p.community_id")
	}
	switch in {
	case OfCommunity:
		return cond + ` AND p.state = 1`
	case ByName:
		return cond
	}
	cond += ` AND COALESCE(m.visibility, 0) = 0`
	switch {
	case in == ForAll && v.DID != "":
		return cond
	case v.ID == 0:
		return cond + ` AND COALESCE(m.warnings, 0) & 3 = 0`
	}
	return cond + ` AND (COALESCE(m.warnings, 0) & 3 = 0 OR ` + follows("p.community_id") + ` > 0)`
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
