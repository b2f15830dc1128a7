package index

import (
	"context"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// BanCollection is the record type by which a community shuts somebody out.
const BanCollection syntax.NSID = "social.coves.moderation.ban"

// longestBan is from how many hours on a ban is for ever: what a time in
// microseconds can hold, with room.
const longestBan = 1_000_000

func banKind() kind {
	s := sheet{table: "ban", keys: 2, columns: []column{
		byAccount("community_id"), byTID(), gate(), named("subject_id"), field("in_force", "BOOLEAN"),
		field("expires_at", "BIGINT"), whole()}}
	return kind{nsid: BanCollection, key: isTID, read: readBan, apply: s.apply}
}

func readBan(in input) (value, error) {
	if err := ownedBy(in, "community"); err != nil {
		return nil, err
	}
	expires, err := momentOrNil(in.record, "expiresAt")
	if err != nil {
		return nil, err
	}
	created, err := moment(in.record, "createdAt")
	if err != nil {
		return nil, err
	}
	if hours, ok := in.record["duration"].(int64); ok && expires == nil && hours < longestBan {
		expires = created + hours*time.Hour.Microseconds()
	}
	status := text(in.record, "status")
	return document{account: syntax.DID(text(in.record, "subject")), record: in.raw, fields: map[string]any{
		"in_force": status == "" || status == "active", "expires_at": expires,
	}}, nil
}

// banned is the condition under which ban b holds at the time of a parameter.
func banned(now string) string {
	return `b.in_force AND (b.expires_at IS NULL OR b.expires_at > ` + now + `)`
}

// Banned reports whether a community has shut somebody out.
func (x *Index) Banned(ctx context.Context, community, person syntax.DID) (bool, error) {
	var n int
	err := x.db.Read().QueryRowContext(ctx, `
		SELECT count(*) FROM ban b JOIN account a ON a.id = b.subject_id JOIN account c ON c.id = b.community_id
		WHERE a.did = $1 AND c.did = $2 AND `+banned("$3"), person, community, store.Micros(x.now())).Scan(&n)
	return n > 0, err
}
