package index

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Authorization is what a community says about a service that wants to post
// there: of several records about one service, that with the greatest key.
type Authorization struct {
	Community, Service Account
	URI                syntax.ATURI
	Enabled            bool
	Record             json.RawMessage
}

// Authorizations lists what communities say about a service, when of is a
// service, or what a community says about services: limit of them at most, those
// after the place where a page ended unless that is 0. next is such a place, 0 on
// the last page.
func (x *Index) Authorizations(ctx context.Context, of AuthorizationsOf, limit int, after int64) (list []Authorization, next int64, err error) {
	whose, other := "s", "z.community_id"
	if of.Community != "" {
		whose, other = "c", "z.aggregator_id"
	}
	query := `
		SELECT ` + other + `, c.did, COALESCE(c.handle, ''), s.did, COALESCE(s.handle, ''), z.rkey, z.enabled, z.record
		FROM aggregator_authorization z JOIN account c ON c.id = z.community_id JOIN account s ON s.id = z.aggregator_id
		WHERE ` + whose + `.did = $1 AND c.active AND s.active AND ` + other + ` > $2 AND z.rkey = (
		    SELECT max(o.rkey) FROM aggregator_authorization o
		    WHERE o.community_id = z.community_id AND o.aggregator_id = z.aggregator_id)`
	if of.Enabled {
		query += ` AND z.enabled`
	}
	did := of.Service
	if of.Community != "" {
		did = of.Community
	}
	rows, err := x.db.Read().QueryContext(ctx, query+` ORDER BY `+other+` LIMIT `+strconv.Itoa(limit+1), did, after)
	if err != nil {
		return nil, 0, fmt.Errorf("list authorizations of %s: %w", did, err)
	}
	var last int64
	err = each(rows, func() error {
		var a Authorization
		var at int64
		var rkey syntax.RecordKey
		var record []byte
		err := rows.Scan(&at, &a.Community.DID, &a.Community.Handle, &a.Service.DID, &a.Service.Handle, &rkey, &a.Enabled, &record)
		if len(list) == limit { // the one too many proves another page
			next = last
			return err
		}
		a.URI, a.Record = recordURI(a.Community.DID, AuthorizationCollection, rkey), record
		last, list = at, append(list, a)
		return err
	})
	return list, next, err
}

// AuthorizationsOf says which authorizations are wanted: of a service, or of a
// community.
type AuthorizationsOf struct {
	Service, Community syntax.DID // one of them
	Enabled            bool       // only those that let it post
}

// ServiceStats are how much a service is used.
type ServiceStats struct {
	Communities int64 // that let it post
	Posts       int64 // that it has written
}

// ServiceStats counts.
func (x *Index) ServiceStats(ctx context.Context, did syntax.DID) (s ServiceStats, err error) {
	_, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT COALESCE((SELECT posts FROM account_tally WHERE account_id = a.id), 0), (
		    SELECT count(*) FROM aggregator_authorization z WHERE z.aggregator_id = a.id AND z.enabled AND z.rkey = (
		        SELECT max(o.rkey) FROM aggregator_authorization o
		        WHERE o.community_id = z.community_id AND o.aggregator_id = z.aggregator_id))
		FROM account a WHERE a.did = $1`, did).Scan(&s.Posts, &s.Communities))
	return s, err
}
