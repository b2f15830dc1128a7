package index

import (
	"context"
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

// Held lists the records of one repository that the index has, so that they
// can be compared with the repository itself. Deleted ones are left out.
func (x *Index) Held(ctx context.Context, did syntax.DID) ([]Held, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT p.rkey, p.cid FROM post p JOIN account a ON a.id = p.author_id
		WHERE a.did = $1 AND NOT p.deleted AND p.cid IS NOT NULL`, did)
	if err != nil {
		return nil, fmt.Errorf("list records of %s: %w", did, err)
	}
	var out []Held
	err = each(rows, func() error {
		h := Held{Collection: PostCollection}
		err := rows.Scan(&h.RKey, &h.CID)
		out = append(out, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list records of %s: %w", did, err)
	}
	return out, nil
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
