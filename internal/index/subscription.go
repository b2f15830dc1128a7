package index

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// SubscriptionCollection is the record type of subscriptions to communities.
const SubscriptionCollection syntax.NSID = "social.coves.community.subscription"

// What a subscription may ask to see of a community, and what it asks for when
// it does not say.
const (
	leastVisible, mostVisible = 1, 5
	defaultVisible            = 3
)

func subscriptionKind() kind {
	x := box{table: "subscription", count: countSubscription}
	return kind{nsid: SubscriptionCollection, key: isTID, read: readSubscription, apply: x.apply, quiet: true, quietRefs: true, slim: true}
}

func readSubscription(in input) (value, error) {
	did, err := syntax.ParseDID(text(in.record, "subject"))
	if err != nil {
		return nil, err
	}
	s := stand{account: did, value: defaultVisible}
	if n, ok := in.record["contentVisibility"].(int64); ok {
		s.value = min(max(n, leastVisible), mostVisible)
	}
	if _, ended := in.record["endedAt"]; ended {
		s.value = 0
	}
	return s, nil
}

func countSubscription(b *batch, p pair, before, after int64) {
	n := int64(b2i(after > 0) - b2i(before > 0))
	b.person(p.account, func(t *accountTally) { t.subscriptions += n })
	b.person(p.subject, func(t *accountTally) { t.subscribers += n })
}

// Subscription is what an account follows.
type Subscription struct {
	Community syntax.DID
	URI       syntax.ATURI
	// Visibility is from 1, only the best, to 5, everything.
	Visibility int
}

// Subscriptions lists what an account follows, in no particular order.
func (x *Index) Subscriptions(ctx context.Context, did syntax.DID) ([]Subscription, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT c.did, s.tid, s.value FROM account a
		JOIN subscription s ON s.account_id = a.id JOIN account c ON c.id = s.subject_id
		WHERE a.did = $1 AND s.value > 0 AND s.tid = (
		    SELECT max(o.tid) FROM subscription o WHERE o.subject_id = s.subject_id AND o.account_id = s.account_id)`, did)
	if err != nil {
		return nil, err
	}
	var out []Subscription
	err = each(rows, func() error {
		var s Subscription
		var tid int64
		err := rows.Scan(&s.Community, &tid, &s.Visibility)
		s.URI = recordURI(did, SubscriptionCollection, tidText(tid))
		out = append(out, s)
		return err
	})
	return out, err
}
