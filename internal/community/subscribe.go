package community

import (
	"context"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// What a member may ask to see of a community: from the best of it only to all.
const (
	leastVisibility   = 1
	mostVisibility    = 5
	defaultVisibility = 3
)

// Subscribe makes actor follow the community that text names, or changes how
// much of it they see: visibility is from 1 to 5, numbers outside are taken as
// the nearer end, and nil leaves what was, 3 at first. However often and at
// once it is called, there is one record. Errors: those of Resolver.Find,
// NotFound (CommunityNotFound) for what is no community or is not to be seen,
// and those of agent.Put.
func (s *Service) Subscribe(ctx context.Context, actor agent.Actor, text string, visibility *int) (Record, error) {
	id, err := s.cfg.Names.Community(ctx, text)
	if err != nil {
		return Record{}, err
	}
	done, err := s.take(ctx, actor, stand{index.SubscriptionCollection, id.DID, func(record map[string]any) {
		subscribing(record, visibility)
	}})
	if err != nil {
		return Record{}, err
	}
	if err := s.letIn(context.WithoutCancel(ctx), id.DID, actor.DID); err != nil {
		s.log.ErrorContext(ctx, "posts of a new member wait for the next look", "did", actor.DID, "community", id.DID, "error", err)
	}
	return done, nil
}

// letIn has what a new member posted before decided anew; mostly there is nothing.
func (s *Service) letIn(ctx context.Context, community, person syntax.DID) error {
	var n int
	err := s.cfg.DB.Read().QueryRowContext(ctx, `SELECT count(*) FROM community_review WHERE community = $1 AND author = $2`,
		community, person).Scan(&n)
	if err != nil || n == 0 {
		return err
	}
	return s.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return s.lookAgain(ctx, tx, community, person) })
}

// subscribing writes into the record of a subscription what a member wants.
func subscribing(record map[string]any, visibility *int) {
	delete(record, "endedAt")
	is, ok := record["contentVisibility"].(int64)
	if visibility != nil {
		is, ok = int64(*visibility), true
	}
	if !ok {
		is = defaultVisibility
	}
	record["contentVisibility"] = min(max(is, leastVisibility), mostVisibility)
}

// Unsubscribe removes every subscription of actor to the community that text
// names; not to follow it is success. Errors: those of Resolver.Find and of
// agent.Delete.
func (s *Service) Unsubscribe(ctx context.Context, actor agent.Actor, text string) error {
	return s.leaveNamed(ctx, actor, index.SubscriptionCollection, text, s.cfg.Names.Find)
}

// datetime writes a time in the form that the protocol prefers.
func datetime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
