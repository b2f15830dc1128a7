package index

import (
	"context"
	"encoding/json"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// PersonCollection is the record type by which people present themselves.
const PersonCollection syntax.NSID = "social.coves.actor.profile"

func personKind() kind {
	s := sheet{table: "actor_profile", keys: 1, columns: []column{
		byAccount("account_id"), gate(), contentID(), made(), field("display_name", "TEXT"), field("avatar", "TEXT"), whole()}}
	return kind{nsid: PersonCollection, key: isSelf, read: readPerson, apply: s.apply}
}

func readPerson(in input) (value, error) {
	created, err := moment(in.record, "createdAt")
	if err != nil {
		return nil, err
	}
	return document{record: in.raw, fields: map[string]any{
		"created_at": created, "display_name": orNull(text(in.record, "displayName")), "avatar": blobCID(in.record, "avatar"),
	}}, checkFacets(in.record, "bio", "bioFacets")
}

// Profile is a person as they present themselves, and what they have done.
type Profile struct {
	Account
	// Record is nil for somebody who says nothing about themselves here.
	Record    json.RawMessage
	CreatedAt time.Time // clamped; without a record when the account was first seen
	// Posts and Comments count records; Communities those followed.
	Posts, Comments, Communities int64
}

// Profile returns a person whom the index knows and whose account is active.
func (x *Index) Profile(ctx context.Context, did syntax.DID) (p Profile, ok bool, err error) {
	var record []byte
	var created, id int64
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT a.id, a.did, COALESCE(a.handle, ''), p.record, COALESCE(p.created_at, 0),
		       COALESCE(t.posts, 0), COALESCE(t.comments, 0), COALESCE(t.subscriptions, 0)
		FROM account a LEFT JOIN actor_profile p ON p.account_id = a.id LEFT JOIN account_tally t ON t.account_id = a.id
		WHERE a.did = $1 AND a.active`, did).
		Scan(&id, &p.DID, &p.Handle, &record, &created, &p.Posts, &p.Comments, &p.Communities))
	p.Record = record
	if record == nil {
		created = id>>idNodeBits + idEpoch
	}
	p.CreatedAt = time.UnixMicro(created).UTC()
	return p, ok, err
}
