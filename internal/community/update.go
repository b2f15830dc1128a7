package community

import (
	"cmp"
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
)

// UpdateInput is what is to become of a community.
type UpdateInput struct {
	Community string // as for Resolver
	// Name is empty, or the name that the community has.
	Name string
	Profile
}

// Update changes what was sent of a community's profile and keeps the rest. Of
// many at once each is applied. Those may who look after the community with the
// role admin, and its creator. Errors for people are fault.Error: those of
// Resolver.Find, Forbidden (NotAuthorized), Invalid (InvalidRequest,
// ContentTooLong, RequestTooLarge), Conflict (InvalidSwap) when other processes
// keep changing it, and those of agent.Upload and agent.Put.
func (s *Service) Update(ctx context.Context, actor agent.Actor, in UpdateInput) (Created, error) {
	change, err := in.change()
	if err != nil {
		return Created{}, err
	}
	id, err := s.cfg.Names.Find(ctx, in.Community)
	if err != nil {
		return Created{}, err
	}
	if err := s.govern(ctx, actor.DID, id.DID, Settings); err != nil {
		return Created{}, err
	}
	if known, ok, err := s.cfg.Index.Community(ctx, id.DID); err != nil || ok && in.Name != "" && in.Name != known.Name {
		return Created{}, cmp.Or(err, error(invalid(nil,
			"The name of a community is part of its handle and cannot be changed here. Change the display name.")))
	}
	pictures, err := s.look(ctx, in.Profile, change)
	if err != nil {
		return Created{}, err
	}
	if err := s.hang(ctx, id.DID, pictures, change); err != nil {
		return Created{}, err
	}
	done, err := s.revise(ctx, id.DID, change)
	if err != nil {
		return Created{}, err
	}
	handle := id.Handle
	if handle == "" {
		handle = syntax.HandleInvalid
	}
	return Created{URI: done.URI, CID: done.CID, DID: id.DID, Handle: handle}, nil
}
