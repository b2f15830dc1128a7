package post

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/markup"
)

// Limits of the embeds' lexicons.
const (
	maxImages   = 8
	maxAltBytes = 1_000
)

// The types of embeds.
const (
	embedImages   = "social.coves.embed.images"
	embedVideo    = "social.coves.embed.video"
	embedExternal = "social.coves.embed.external"
	embedPost     = "social.coves.embed.post"
)

// place is where something is embedded.
type place struct {
	name   string
	embeds []string
}

var (
	inPost    = place{"post", []string{embedImages, embedVideo, embedExternal, embedPost}}
	inComment = place{"comment", []string{embedImages, embedPost}}
)

// pictures are the parts of an embed that have limits of their own.
type pictures []struct {
	Alt string `json:"alt"`
}

func (p pictures) check() error {
	if len(p) > maxImages {
		return invalid(nil, fmt.Sprintf("There can be %d pictures at most.", maxImages))
	}
	for _, one := range p {
		if len(one.Alt) > maxAltBytes {
			return fault.New(fault.Invalid, fmt.Sprintf("The description of a picture is too long: at most %d bytes.", maxAltBytes)).
				WithCode("ContentTooLong")
		}
	}
	return nil
}

// checkEmbed refuses what must not be embedded there and what leads out of the
// web. The rest is the lexicon's business, and that of the member's server,
// which has the files and knows their sizes.
func checkEmbed(raw json.RawMessage, in place) error {
	if isAbsent(raw) {
		return nil
	}
	var embed struct {
		Type     string   `json:"$type"`
		Images   pictures `json:"images"`
		External struct {
			URI     string   `json:"uri"`
			Images  pictures `json:"images"`
			Sources []struct {
				URI string `json:"uri"`
			} `json:"sources"`
		} `json:"external"`
	}
	if err := json.Unmarshal(raw, &embed); err != nil {
		return invalid(err, "What is embedded cannot be understood.")
	}
	if !slices.Contains(in.embeds, embed.Type) {
		return invalid(nil, fmt.Sprintf("A %s cannot embed this: %.100q.", in.name, embed.Type))
	}
	if err := errors.Join(embed.Images.check(), embed.External.Images.check()); err != nil {
		return err
	}
	if embed.Type != embedExternal {
		return nil
	}
	addresses := []string{embed.External.URI}
	for _, source := range embed.External.Sources {
		addresses = append(addresses, source.URI)
	}
	for _, address := range addresses {
		if _, ok := markup.WebAddress(address); !ok {
			return invalid(nil, "An embedded link must be an address that begins with https:// or http://.")
		}
	}
	return nil
}

// blueskyPost is the type of posts of Bluesky, which can be quoted, too.
const blueskyPost syntax.NSID = "app.bsky.feed.post"

// settleQuote makes sure that what a record quotes is there and says what the
// member has seen, and names it by its own URI. Errors: Invalid
// (InvalidRequest), NotFound (PostNotFound), Unavailable.
func (s *Service) settleQuote(ctx context.Context, record map[string]any) error {
	embed, _ := record["embed"].(map[string]any)
	if embed["$type"] != embedPost {
		return nil
	}
	ref, _ := embed["post"].(map[string]any)
	text, _ := ref["uri"].(string)
	said, _ := ref["cid"].(string)
	uri, err := parseURI(text)
	if err != nil {
		return err
	}
	switch uri.Collection() {
	case index.PostCollection, index.LegacyPostCollection, blueskyPost:
	default:
		return invalid(nil, "Only posts can be quoted.")
	}
	found, is, err := s.quoted(ctx, uri)
	if err != nil {
		return err
	}
	if string(is) != said {
		return invalid(nil, "The post that you quote has changed in the meantime. Look at it again, and then decide.")
	}
	ref["uri"] = string(found)
	return nil
}

// quoted finds a post, here or at its author's server.
func (s *Service) quoted(ctx context.Context, uri syntax.ATURI) (syntax.ATURI, syntax.CID, error) {
	if uri.Collection() != blueskyPost {
		subject, ok, err := s.cfg.Index.Subject(ctx, uri)
		switch {
		case err != nil:
			return "", "", err
		case ok && subject.Visible:
			return subject.URI, subject.CID, nil
		case ok && subject.CID != "" || uri.Collection() == index.LegacyPostCollection:
			return "", "", postNotFound(nil)
		}
	}
	did, err := uri.Authority().AsDID()
	if err != nil {
		return "", "", invalid(err, "A quoted post must be named by the DID of its author.")
	}
	read, err := s.cfg.Agent.Read(ctx, did, uri.Collection(), uri.RecordKey())
	if isElsewhere(err) {
		return "", "", fault.Wrap(fault.Unavailable, err, "The server of the post that you quote does not answer. Please try again in a minute.")
	}
	if err != nil {
		return "", "", postNotFound(err)
	}
	return uri, read.CID, nil
}
