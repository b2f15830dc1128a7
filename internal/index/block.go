package index

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The record types of blocks.
const (
	PersonBlockCollection    syntax.NSID = "social.coves.actor.block"
	CommunityBlockCollection syntax.NSID = "social.coves.community.block"
)

func personBlockKind() kind {
	return kind{nsid: PersonBlockCollection, key: isTID, read: readBlock, apply: box{table: "person_block", named: true}.apply, quiet: true, quietRefs: true, slim: true}
}

func communityBlockKind() kind {
	return kind{nsid: CommunityBlockCollection, key: isTID, read: readBlock, apply: box{table: "community_block", named: true}.apply, quiet: true, quietRefs: true, slim: true}
}

func readBlock(in input) (value, error) {
	did, err := syntax.ParseDID(text(in.record, "subject"))
	return stand{account: did, value: 1}, err
}

// Block is whom or what an account does not want to see.
type Block struct {
	Subject syntax.DID
	URI     syntax.ATURI
	// CID is empty when the block was indexed before CIDs were kept.
	CID syntax.CID
	// At is when it was made, as its key says.
	At time.Time
}

// Blocks lists an account's blocks of a type that count, the newest first: limit
// of them at most, all when it is negative, those after the place where a page
// ended unless that is 0. next is such a place, 0 on the last page.
func (x *Index) Blocks(ctx context.Context, did syntax.DID, collection syntax.NSID, limit int, after int64) (blocks []Block, next int64, err error) {
	table := standTables()[collection]
	query, args := `
		SELECT s.did, k.tid, COALESCE(k.cid, '') FROM account a
		JOIN `+table+` k ON k.account_id = a.id JOIN account s ON s.id = k.subject_id
		WHERE a.did = $1 AND k.tid = (
		    SELECT max(o.tid) FROM `+table+` o WHERE o.subject_id = k.subject_id AND o.account_id = k.account_id)`, []any{did}
	if after != 0 {
		query, args = query+` AND k.tid < $2`, append(args, after)
	}
	query += ` ORDER BY k.tid DESC`
	if limit >= 0 {
		query += ` LIMIT ` + strconv.Itoa(limit+1)
	}
	rows, err := x.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list blocks of %s: %w", did, err)
	}
	var last int64
	err = each(rows, func() error {
		var k Block
		var tid int64
		err := rows.Scan(&k.Subject, &tid, &k.CID)
		if limit >= 0 && len(blocks) == limit { // the one too many proves another page
			next = last
			return err
		}
		k.URI, k.At = recordURI(did, collection, tidText(tid)), time.UnixMicro(revTime(tid)).UTC()
		last, blocks = tid, append(blocks, k)
		return err
	})
	return blocks, next, err
}
