package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Stand is one record by which an account follows or blocks a subject.
type Stand struct {
	RKey syntax.RecordKey
	// Value is what it says: for subscriptions how much is to be seen, from 1
	// to 5, and 0 when it has ended; for blocks 1.
	Value int
}

// standTables are the tables of records that name an account.
func standTables() map[syntax.NSID]string {
	return map[syntax.NSID]string{
		SubscriptionCollection: "subscription", PersonBlockCollection: "person_block", CommunityBlockCollection: "community_block",
	}
}

// Stands lists the records of a type (subscriptions or blocks) that an account
// has on a subject. The first is the one that counts.
func (x *Index) Stands(ctx context.Context, collection syntax.NSID, account, subject syntax.DID) ([]Stand, error) {
	table, ok := standTables()[collection]
	if !ok {
		return nil, fmt.Errorf("records of %s are on no account", collection)
	}
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT k.tid, k.value FROM account a JOIN account s ON s.did = $2
		JOIN `+table+` k ON k.subject_id = s.id AND k.account_id = a.id
		WHERE a.did = $1 ORDER BY k.tid DESC`, account, subject)
	if err != nil {
		return nil, fmt.Errorf("list records of %s: %w", collection, err)
	}
	var out []Stand
	err = each(rows, func() error {
		var s Stand
		var tid int64
		err := rows.Scan(&tid, &s.Value)
		s.RKey = tidText(tid)
		out = append(out, s)
		return err
	})
	return out, err
}

// Hidden reports whether an account is not to be shown although records name
// it: it is inactive, or its claim to be hosted somewhere was refused.
func (x *Index) Hidden(ctx context.Context, did syntax.DID) (bool, error) {
	var n int
	err := x.db.Read().QueryRowContext(ctx, `
		SELECT count(*) FROM account a LEFT JOIN community m ON m.account_id = a.id
		WHERE a.did = $1 AND (NOT a.active OR m.host_ok IS FALSE)`, did).Scan(&n)
	return n > 0, err
}
