package post

import (
	"context"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
)

// Limits of social.coves.actor.profile.
const (
	nameGraphemes, nameBytes = 64, 640
	bioGraphemes, bioBytes   = 256, 2_560
)

// Picture is an image as JSON carries it.
type Picture = record.Picture

// ProfileInput is what is to become of a profile.
type ProfileInput struct {
	DisplayName    Change[string] // at most 64 graphemes, 640 bytes
	Bio            Change[string] // at most 256 graphemes, 2,560 bytes
	Avatar, Banner Picture        // media.Avatar, media.Banner
}

// UpdateProfile changes how the actor presents themselves and keeps what was not
// sent. Errors for people are fault.Error: Invalid with InvalidRequest,
// ContentTooLong or RequestTooLarge, Conflict (InvalidSwap) when somebody else
// keeps changing it, and those of agent.Upload and agent.Put.
func (s *Service) UpdateProfile(ctx context.Context, actor agent.Actor, in ProfileInput) (Created, error) {
	if err := record.CheckLine("name", in.DisplayName.Value, nameGraphemes, nameBytes); err != nil {
		return Created{}, err
	}
	if err := record.CheckText("text about you", in.Bio.Value, bioGraphemes, bioBytes); err != nil {
		return Created{}, err
	}
	change := map[string]any{}
	record.SetText(change, "displayName", in.DisplayName)
	record.SetText(change, "bio", in.Bio)
	if err := s.pictures(ctx, actor, in, change); err != nil {
		return Created{}, err
	}
	done, err := s.cfg.Records.Revise(ctx, actor, pds.Place{Collection: index.PersonCollection, RKey: "self"},
		func(is map[string]any) (map[string]any, error) { return s.profile(is, change), nil })
	return Created{URI: done.URI, CID: done.CID}, unfit(err)
}

// profile is the record to be. Facets belong to the text.
func (s *Service) profile(is, change map[string]any) map[string]any {
	if is == nil {
		is = map[string]any{"$type": string(index.PersonCollection), "createdAt": s.cfg.Now().UTC().Format(recordTime)}
	}
	if bio, sent := change["bio"]; sent && bio != is["bio"] {
		delete(is, "bioFacets")
	}
	record.Merge(is, change)
	return is
}

// pictures stores what was sent, when all of it is in order.
func (s *Service) pictures(ctx context.Context, actor agent.Actor, in ProfileInput, change map[string]any) error {
	checked, err := s.studio.Pictures(ctx, map[string]record.Sent{
		"avatar": {Picture: in.Avatar, Use: media.Avatar}, "banner": {Picture: in.Banner, Use: media.Banner}}, change)
	if err != nil {
		return err
	}
	for name, picture := range checked {
		blob, err := s.store(ctx, actor, picture)
		if err != nil {
			return err
		}
		change[name] = blob
	}
	return nil
}
