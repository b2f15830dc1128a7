package index

import (
	"context"
	"encoding/json"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// The record types of a community's order.
const (
	ModeratorCollection syntax.NSID = "social.coves.community.moderator"
	RulesCollection     syntax.NSID = "social.coves.community.rules"
)

func moderatorKind() kind {
	s := sheet{table: "moderator", keys: 2, columns: []column{
		byAccount("community_id"), byTID(), gate(), named("user_id"), field("role", "TEXT"), field("expires_at", "BIGINT"), whole()}}
	return kind{nsid: ModeratorCollection, key: isTID, read: readModerator, apply: s.apply}
}

func readModerator(in input) (value, error) {
	if err := ownedBy(in, "community"); err != nil {
		return nil, err
	}
	expires, err := momentOrNil(in.record, "expiresAt")
	if err != nil {
		return nil, err
	}
	return document{account: syntax.DID(text(in.record, "user")), record: in.raw, fields: map[string]any{
		"role": text(in.record, "role"), "expires_at": expires,
	}}, nil
}

// Moderator is somebody who looks after a community.
type Moderator struct {
	Account
	Role   string // moderator, admin, or a word of later
	Record json.RawMessage
}

// Moderators lists those of a community whose time is not over. Of several
// records about one person the one with the greatest key counts.
func (x *Index) Moderators(ctx context.Context, community syntax.DID) ([]Moderator, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT a.did, COALESCE(a.handle, ''), m.role, m.record FROM account c
		JOIN moderator m ON m.community_id = c.id JOIN account a ON a.id = m.user_id
		WHERE c.did = $1 AND a.active AND (m.expires_at IS NULL OR m.expires_at > $2) AND m.tid = (
		    SELECT max(o.tid) FROM moderator o WHERE o.community_id = m.community_id AND o.user_id = m.user_id)
		ORDER BY m.tid`, community, store.Micros(x.now()))
	if err != nil {
		return nil, err
	}
	var out []Moderator
	err = each(rows, func() error {
		var m Moderator
		var record []byte
		err := rows.Scan(&m.DID, &m.Handle, &m.Role, &record)
		m.Record = record
		out = append(out, m)
		return err
	})
	return out, err
}

func rulesKind() kind {
	s := sheet{table: "community_rules", keys: 1, columns: []column{byAccount("account_id"), gate(), whole()}}
	return kind{nsid: RulesCollection, key: isSelf, apply: s.apply, quiet: true,
		read: func(in input) (value, error) { return document{record: in.raw}, nil }}
}

// Rules returns a community's rules as the data model's JSON.
func (x *Index) Rules(ctx context.Context, community syntax.DID) (record json.RawMessage, ok bool, err error) {
	var raw []byte
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT r.record FROM community_rules r JOIN account a ON a.id = r.account_id
		WHERE a.did = $1 AND r.record IS NOT NULL`, community).Scan(&raw))
	return raw, ok, err
}
