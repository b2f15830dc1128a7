package community

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/record"
)

// Profile is what is to become of the profile of a community. What is not sent
// stays; what is sent empty goes.
type Profile struct {
	DisplayName record.Change[string] // at most 128 graphemes, 1,280 bytes, one line
	Description record.Change[string] // at most 1,000 graphemes, 10,000 bytes
	// DescriptionFacets belong to the description: where another one is sent
	// without any, the old ones go. JSON of the data model.
	DescriptionFacets record.Change[json.RawMessage]
	Visibility        record.Change[string]   // public, unlisted or private
	ModerationType    record.Change[string]   // moderator or sortition
	ContentWarnings   record.Change[[]string] // of nsfw, violence, spoilers
	Avatar, Banner    record.Picture          // media.Avatar, media.Banner
}

// Limits of social.coves.community.profile.
const (
	nameGraphemes, nameBytes               = 128, 1_280
	descriptionGraphemes, descriptionBytes = 1_000, 10_000
)

// change is what of the record is to change, without pictures; nil takes a
// field away. Errors: Invalid (InvalidRequest, ContentTooLong).
func (p Profile) change() (map[string]any, error) {
	change := map[string]any{}
	if err := record.CheckLine("display name", p.DisplayName.Value, nameGraphemes, nameBytes); err != nil {
		return nil, err
	}
	if err := record.CheckText("description", p.Description.Value, descriptionGraphemes, descriptionBytes); err != nil {
		return nil, err
	}
	record.SetText(change, "displayName", p.DisplayName)
	record.SetText(change, "description", p.Description)
	if err := setFacets(change, p.DescriptionFacets); err != nil {
		return nil, err
	}
	for _, w := range []struct {
		name, said string
		field      record.Change[string]
		words      []string
	}{
		{"visibility", "visibility", p.Visibility, []string{"public", "unlisted", "private"}},
		{"moderationType", "kind of moderation", p.ModerationType, []string{"moderator", "sortition"}},
	} {
		if w.field.Value != "" && !slices.Contains(w.words, w.field.Value) {
			return nil, invalid(nil, fmt.Sprintf("The %s must be one of: %s.", w.said, strings.Join(w.words, ", ")))
		}
		record.SetText(change, w.name, w.field)
	}
	return change, setWarnings(change, p.ContentWarnings)
}

func setFacets(change map[string]any, facets record.Change[json.RawMessage]) error {
	switch {
	case !facets.Sent:
		return nil
	case facets.Null:
		change["descriptionFacets"] = nil
		return nil
	}
	data, err := atdata.UnmarshalJSON(slices.Concat([]byte(`{"facets":`), facets.Value, []byte(`}`)))
	if err != nil {
		return invalid(err, "The facets of the description cannot be understood.")
	}
	list, ok := data["facets"].([]any)
	switch {
	case !ok:
		return invalid(nil, "The facets of the description must be a list.")
	case len(list) == 0:
		change["descriptionFacets"] = nil
	default:
		change["descriptionFacets"] = list
	}
	return nil
}

func setWarnings(change map[string]any, sent record.Change[[]string]) error {
	if !sent.Sent {
		return nil
	}
	var list []any
	for _, word := range []string{"nsfw", "violence", "spoilers"} {
		if slices.Contains(sent.Value, word) {
			list = append(list, word)
		}
	}
	for _, word := range sent.Value {
		if !slices.Contains(list, any(word)) {
			return invalid(nil, "A content warning must be nsfw, violence or spoilers.")
		}
	}
	change["contentWarnings"] = nil
	if len(list) > 0 {
		change["contentWarnings"] = list
	}
	return nil
}

// look checks the pictures of a profile; see record.Studio.
func (s *Service) look(ctx context.Context, p Profile, change map[string]any) (map[string]media.Image, error) {
	return s.studio.Pictures(ctx, map[string]record.Sent{
		"avatar": {Picture: p.Avatar, Use: media.Avatar}, "banner": {Picture: p.Banner, Use: media.Banner}}, change)
}

// hang stores pictures at the community's own server, and notes them in change.
func (s *Service) hang(ctx context.Context, community syntax.DID, pictures map[string]media.Image, change map[string]any) error {
	for name, picture := range pictures {
		blob, err := s.cfg.Agent.Upload(ctx, agent.Actor{DID: community}, agent.Upload{MIME: picture.MIME, Body: picture.Body})
		if err != nil {
			return fmt.Errorf("store the %s of %s: %w", name, community, err)
		}
		change[name] = blob
	}
	return nil
}

// fits checks a profile as the index does.
func (s *Service) fits(by syntax.DID, profile map[string]any) error {
	return unfit(s.cfg.Records.Check(by, agent.Write{Collection: index.CommunityCollection, RKey: self, Record: profile}))
}

// unfit tells a person about a profile that the index would not take.
func unfit(err error) error {
	if errors.Is(err, record.ErrUnfit) {
		return invalid(err, "Something in this does not fit its form. Check the links and marks in the description.")
	}
	return err
}

// self is the key of profiles.
const self = syntax.RecordKey("self")
