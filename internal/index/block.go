package index

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The record types of blocks.
const (
	PersonBlockCollection    syntax.NSID = "social.coves.actor.block"
	CommunityBlockCollection syntax.NSID = "social.coves.community.block"
)

func personBlockKind() kind {
	return kind{nsid: PersonBlockCollection, key: isTID, read: readBlock, apply: box{table: "person_block"}.apply, quiet: true, quietRefs: true, slim: true}
}

func communityBlockKind() kind {
	return kind{nsid: CommunityBlockCollection, key: isTID, read: readBlock, apply: box{table: "community_block"}.apply, quiet: true, quietRefs: true, slim: true}
}

func readBlock(in input) (value, error) {
	did, err := syntax.ParseDID(text(in.record, "subject"))
	return stand{account: did, value: 1}, err
}

// Block is whom or what an account does not want to see.
type Block struct {
	Subject syntax.DID
	URI     syntax.ATURI
}

// BlockedPeople lists the people whom an account has blocked.
func (x *Index) BlockedPeople(ctx context.Context, did syntax.DID) ([]Block, error) {
	return x.blocks(ctx, did, "person_block", PersonBlockCollection)
}

// BlockedCommunities lists the communities that an account has blocked.
func (x *Index) BlockedCommunities(ctx context.Context, did syntax.DID) ([]Block, error) {
	return x.blocks(ctx, did, "community_block", CommunityBlockCollection)
}

// blocks lists the records that count, the newest first.
func (x *Index) blocks(ctx context.Context, did syntax.DID, table string, collection syntax.NSID) ([]Block, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT s.did, max(k.tid) FROM account a JOIN `+table+` k ON k.account_id = a.id JOIN account s ON s.id = k.subject_id
		WHERE a.did = $1 GROUP BY s.did ORDER BY max(k.tid) DESC`, did)
	if err != nil {
		return nil, err
	}
	var out []Block
	err = each(rows, func() error {
		var k Block
		var tid int64
		err := rows.Scan(&k.Subject, &tid)
		k.URI = recordURI(did, collection, tidText(tid))
		out = append(out, k)
		return err
	})
	return out, err
}
