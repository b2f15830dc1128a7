package index

import (
	"context"
	"encoding/json"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The record types of services that post to communities.
const (
	ServiceCollection       syntax.NSID = "social.coves.aggregator.service"
	AuthorizationCollection syntax.NSID = "social.coves.aggregator.authorization"
)

func serviceKind() kind {
	s := sheet{table: "aggregator_service", keys: 1, columns: []column{byAccount("account_id"), gate(), made(), whole()}}
	return kind{nsid: ServiceCollection, key: isSelf, read: readService, apply: s.apply}
}

func readService(in input) (value, error) {
	created, err := moment(in.record, "createdAt")
	if err != nil {
		return nil, err
	}
	return document{record: in.raw, fields: map[string]any{"created_at": created}}, ownedBy(in, "did")
}

func authorizationKind() kind {
	s := sheet{table: "aggregator_authorization", keys: 2, columns: []column{
		byAccount("community_id"), byKey(), gate(), named("aggregator_id"), field("enabled", "BOOLEAN"), whole()}}
	return kind{nsid: AuthorizationCollection, key: isAnyKey, read: readAuthorization, apply: s.apply}
}

func readAuthorization(in input) (value, error) {
	if err := ownedBy(in, "communityDid"); err != nil {
		return nil, err
	}
	enabled, _ := in.record["enabled"].(bool)
	return document{account: syntax.DID(text(in.record, "aggregatorDid")), record: in.raw,
		fields: map[string]any{"enabled": enabled}}, nil
}

// Service is a service that posts to communities.
type Service struct {
	Account
	Record json.RawMessage
}

// Service returns what an account says about itself as a service.
func (x *Index) Service(ctx context.Context, did syntax.DID) (s Service, ok bool, err error) {
	var record []byte
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT a.did, COALESCE(a.handle, ''), s.record FROM aggregator_service s JOIN account a ON a.id = s.account_id
		WHERE a.did = $1 AND a.active AND s.record IS NOT NULL`, did).Scan(&s.DID, &s.Handle, &record))
	s.Record = record
	return s, ok, err
}

// Authorized reports whether a community lets a service post: whether the
// record with the greatest key says so. Of accounts that are not active it is
// false.
func (x *Index) Authorized(ctx context.Context, community, service syntax.DID) (bool, error) {
	var enabled bool
	_, err := found(x.db.Read().QueryRowContext(ctx, `
		SELECT z.enabled FROM aggregator_authorization z JOIN account c ON c.id = z.community_id
		JOIN account s ON s.id = z.aggregator_id WHERE c.did = $1 AND s.did = $2 AND c.active AND s.active
		ORDER BY z.rkey DESC LIMIT 1`, community, service).Scan(&enabled))
	return enabled, err
}
