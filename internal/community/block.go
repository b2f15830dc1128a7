package community

import (
	"context"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// BlockCommunity keeps the community that text names from actor's sight. To
// have blocked it before is success. Errors: those of Resolver.Find and of
// agent.Put.
func (s *Service) BlockCommunity(ctx context.Context, actor agent.Actor, text string) (Record, error) {
	id, err := s.cfg.Names.Find(ctx, text)
	if err != nil {
		return Record{}, err
	}
	return s.take(ctx, actor, stand{index.CommunityBlockCollection, id.DID, as})
}

// UnblockCommunity ends that; not to have blocked it is success.
func (s *Service) UnblockCommunity(ctx context.Context, actor agent.Actor, text string) error {
	return s.leaveNamed(ctx, actor, index.CommunityBlockCollection, text, s.cfg.Names.Find)
}

// BlockUser keeps the person that text names from actor's sight. To have
// blocked them before is success. Errors: those of Resolver.Person and of
// agent.Put, Invalid (InvalidSubject) for oneself.
func (s *Service) BlockUser(ctx context.Context, actor agent.Actor, text string) (Record, error) {
	id, err := s.cfg.Names.Person(ctx, text)
	switch {
	case err != nil:
		return Record{}, err
	case id.DID == actor.DID:
		return Record{}, fault.New(fault.Invalid, "This is yourself. Name somebody else.").WithCode("InvalidSubject")
	}
	return s.take(ctx, actor, stand{index.PersonBlockCollection, id.DID, as})
}

// UnblockUser ends that; not to have blocked them is success.
func (s *Service) UnblockUser(ctx context.Context, actor agent.Actor, text string) error {
	return s.leaveNamed(ctx, actor, index.PersonBlockCollection, text, s.cfg.Names.Person)
}

// as leaves a record as it is: a block says no more than whom it is on.
func as(map[string]any) {}
