package index

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Held is a record that the index has.
type Held struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// CID is empty where the index does not keep it.
	CID syntax.CID
}

// heldQueries say for each record type what the index has of an account:
// key as text, key as number (0 where it is text), CID.
var heldQueries = map[syntax.NSID]string{
	PostCollection:           `SELECT rkey, 0, cid FROM post WHERE author_id = $1 AND NOT deleted`,
	CommentCollection:        `SELECT '', tid, cid FROM comment WHERE author_id = $1 AND NOT deleted`,
	AcceptanceCollection:     `SELECT rkey, 0, '' FROM admission WHERE community_id = $1 AND accept_cid IS NOT NULL`,
	RemovalCollection:        `SELECT rkey, 0, '' FROM admission WHERE community_id = $1 AND remove_cid IS NOT NULL`,
	VoteCollection:           `SELECT '', tid, '' FROM vote WHERE account_id = $1 AND value <> 0`,
	SubscriptionCollection:   `SELECT '', tid, '' FROM subscription WHERE account_id = $1 AND subject_id IS NOT NULL`,
	PersonBlockCollection:    `SELECT '', tid, '' FROM person_block WHERE account_id = $1 AND subject_id IS NOT NULL`,
	CommunityBlockCollection: `SELECT '', tid, '' FROM community_block WHERE account_id = $1 AND subject_id IS NOT NULL`,
	PersonCollection:         `SELECT 'self', 0, cid FROM actor_profile WHERE account_id = $1 AND record IS NOT NULL`,
	CommunityCollection:      `SELECT 'self', 0, cid FROM community WHERE account_id = $1 AND record IS NOT NULL`,
	RulesCollection:          `SELECT 'self', 0, '' FROM community_rules WHERE account_id = $1 AND record IS NOT NULL`,
	ServiceCollection:        `SELECT 'self', 0, '' FROM aggregator_service WHERE account_id = $1 AND record IS NOT NULL`,
	ModeratorCollection:      `SELECT '', tid, '' FROM moderator WHERE community_id = $1 AND record IS NOT NULL`,
	BanCollection:            `SELECT '', tid, '' FROM ban WHERE community_id = $1 AND record IS NOT NULL`,
	AuthorizationCollection:  `SELECT rkey, 0, '' FROM aggregator_authorization WHERE community_id = $1 AND record IS NOT NULL`,
}

// Held lists the records of one repository that the index has, so that they
// can be compared with the repository itself. Deleted ones are left out.
func (x *Index) Held(ctx context.Context, did syntax.DID) ([]Held, error) {
	var account int64
	ok, err := found(x.db.Read().QueryRowContext(ctx, `SELECT id FROM account WHERE did = $1`, did).Scan(&account))
	if err != nil || !ok {
		return nil, err
	}
	var out []Held
	for _, collection := range RecordTypes() {
		rows, err := x.db.Read().QueryContext(ctx, heldQueries[collection], account)
		if err == nil {
			err = each(rows, func() error {
				h, err := scanHeld(rows, collection)
				out = append(out, h)
				return err
			})
		}
		if err != nil {
			return nil, fmt.Errorf("list %s of %s: %w", collection, did, err)
		}
	}
	return out, nil
}

func scanHeld(rows *sql.Rows, collection syntax.NSID) (Held, error) {
	h := Held{Collection: collection}
	var number int64
	err := rows.Scan(&h.RKey, &number, &h.CID)
	if number != 0 {
		h.RKey = tidText(number)
	}
	return h, err
}

// RecordTypes lists the collections whose records are indexed: what is asked
// of streams is what is applied.
func RecordTypes() []syntax.NSID {
	var out []syntax.NSID
	for _, k := range kinds() {
		out = append(out, k.nsid)
	}
	return out
}
