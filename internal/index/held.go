package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Held is a record that the index has.
type Held struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// CID is empty where the index does not keep it.
	CID syntax.CID
}

// holding says where the records of one type are.
type holding struct {
	collection syntax.NSID
	table      string
	owner      string // the column with the author
	key        string // the column with the key: rkey, tid, or none for "self"
	cid        string // the column with the CID, or none
	there      string // what holds for rows that have a record
}

func holdings() []holding {
	return []holding{
		{PersonCollection, "actor_profile", "account_id", "", "cid", "record IS NOT NULL"},
		{PersonBlockCollection, "person_block", "account_id", "tid", "", "value <> 0"},
		{CommunityCollection, "community", "account_id", "", "cid", "record IS NOT NULL"},
		{RulesCollection, "community_rules", "account_id", "", "", "record IS NOT NULL"},
		{ModeratorCollection, "moderator", "community_id", "tid", "", "record IS NOT NULL"},
		{BanCollection, "ban", "community_id", "tid", "", "record IS NOT NULL"},
		{PostCollection, "post", "author_id", "rkey", "cid", "NOT deleted AND cid IS NOT NULL"},
		{AcceptanceCollection, "admission", "community_id", "rkey", "", "accept_cid IS NOT NULL"},
		{RemovalCollection, "admission", "community_id", "rkey", "", "remove_cid IS NOT NULL"},
		{CommentCollection, "comment", "author_id", "tid", "cid", "NOT deleted AND cid IS NOT NULL"},
		{SubscriptionCollection, "subscription", "account_id", "tid", "", "subject_id IS NOT NULL"},
		{CommunityBlockCollection, "community_block", "account_id", "tid", "", "value <> 0"},
		{VoteCollection, "vote", "account_id", "tid", "", "value <> 0"},
		{ServiceCollection, "aggregator_service", "account_id", "", "", "record IS NOT NULL"},
		{AuthorizationCollection, "aggregator_authorization", "community_id", "rkey", "", "record IS NOT NULL"},
	}
}

// Held lists the records of one repository that the index has, so that they
// can be compared with the repository itself. Deleted ones are left out.
func (x *Index) Held(ctx context.Context, did syntax.DID) ([]Held, error) {
	var out []Held
	for _, h := range holdings() {
		list, err := h.read(ctx, x.db.Read(), did)
		if err != nil {
			return nil, fmt.Errorf("list %s of %s: %w", h.collection, did, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

func (h holding) read(ctx context.Context, q store.Querier, did syntax.DID) ([]Held, error) {
	text, tid, cid := "''", "0", "''"
	switch h.key {
	case "rkey":
		text = "rkey"
	case "tid":
		tid = "tid"
	default:
		text = "'self'"
	}
	if h.cid != "" {
		cid = "COALESCE(" + h.cid + ", '')"
	}
	rows, err := q.QueryContext(ctx, `SELECT `+text+`, `+tid+`, `+cid+` FROM `+h.table+`
		WHERE `+h.owner+` = (SELECT id FROM account WHERE did = $1) AND `+h.there, did)
	if err != nil {
		return nil, err
	}
	var out []Held
	err = each(rows, func() error {
		held := Held{Collection: h.collection}
		var number int64
		err := rows.Scan((*string)(&held.RKey), &number, (*string)(&held.CID))
		if number != 0 {
			held.RKey = tidText(number)
		}
		out = append(out, held)
		return err
	})
	return out, err
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
