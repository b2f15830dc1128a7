package community

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
)

// CreateInput is a community to be.
type CreateInput struct {
	// Name is the first part of its handle; see account.CheckName.
	Name string
	Profile
	// Key is any text of at most 255 bytes that stays the same when the request
	// is repeated, within agent.KeyLife; the community is then there once.
	Key string
}

// Created is a community as it was written.
type Created struct {
	URI    syntax.ATURI // of its profile
	CID    syntax.CID
	DID    syntax.DID
	Handle syntax.Handle
}

// Create makes a community with an account of its own on this instance's PDS.
// hostedBy is this instance, createdBy the actor. Errors for people are
// fault.Error: Forbidden (CommunityCreationRestricted) where the actor may not
// or nothing is hosted, Invalid (InvalidRequest, ContentTooLong,
// RequestTooLarge), Conflict (NameTaken, or a key that was used for something
// else), and those of account.Manager.Provision.
func (s *Service) Create(ctx context.Context, actor agent.Actor, in CreateInput) (Created, error) {
	if why := s.Closed(actor.DID); why != "" {
		return Created{}, restricted(why)
	}
	if err := account.CheckName(in.Name); err != nil {
		return Created{}, named(err)
	}
	change, err := in.change()
	if err != nil {
		return Created{}, err
	}
	pictures, err := s.look(ctx, in.Profile, change)
	if err != nil {
		return Created{}, err
	}
	key, err := s.cfg.Agent.Key(ctx, actor.DID, in.Key, fingerprint(in.Name, change, pictures))
	if err != nil {
		return Created{}, err
	}
	profile := map[string]any{
		"$type": index.CommunityCollection.String(), "name": in.Name, "createdBy": actor.DID.String(),
		"hostedBy": s.cfg.Instance.String(), "visibility": "public", "createdAt": datetime(key.Time()),
	}
	record.Merge(profile, change)
	if err := s.fits(actor.DID, profile); err != nil {
		return Created{}, err
	}
	hosted, err := s.cfg.Hosting.Provision(ctx, account.Request{
		Name: in.Name, CreatedBy: actor.DID, Key: key.String(), Record: profile})
	if err != nil {
		return Created{}, named(err)
	}
	out := Created{URI: hosted.URI, CID: hosted.CID, DID: hosted.DID, Handle: hosted.Handle}
	s.cfg.Records.Wrote(ctx, agent.Done{URI: hosted.URI, CID: hosted.CID, Rev: hosted.Rev},
		agent.Write{Collection: index.CommunityCollection, RKey: self, Record: profile})
	return s.decorate(ctx, out, pictures)
}

// decorate adds pictures to a community that is there. Where that fails the
// same request may be sent again under its key.
func (s *Service) decorate(ctx context.Context, c Created, pictures map[string]media.Image) (Created, error) {
	if len(pictures) == 0 {
		return c, nil
	}
	change := map[string]any{}
	if err := s.hang(ctx, c.DID, pictures, change); err != nil {
		return Created{}, fault.Wrap(fault.Unavailable, err,
			fmt.Sprintf("The community %s is there, but its pictures could not be stored. Add them in its settings.", c.Handle))
	}
	done, err := s.revise(ctx, c.DID, change)
	if err != nil {
		return Created{}, err
	}
	c.CID = done.CID
	return c, nil
}

// revise changes the profile of a community that is hosted here.
func (s *Service) revise(ctx context.Context, community syntax.DID, change map[string]any) (agent.Done, error) {
	at := pds.Place{Collection: index.CommunityCollection, RKey: self}
	done, err := s.cfg.Records.Revise(ctx, agent.Actor{DID: community}, at, func(is map[string]any) (map[string]any, error) {
		if is == nil {
			return nil, fault.New(fault.NotFound, "This community has no profile any more.").WithCode("CommunityNotFound")
		}
		_, marked := change["descriptionFacets"]
		if text, sent := change["description"]; sent && !marked && text != is["description"] {
			delete(is, "descriptionFacets") // they belong to the text that goes
		}
		record.Merge(is, change)
		is["hostedBy"] = s.cfg.Instance.String()
		return is, nil
	})
	return done, unfit(err)
}

// fingerprint is what a request asks for.
func fingerprint(name string, change map[string]any, pictures map[string]media.Image) []byte {
	sums := map[string][]byte{}
	for field, picture := range pictures {
		sum := sha256.Sum256(picture.Body)
		sums[field] = sum[:]
	}
	raw, err := json.Marshal([]any{"community", name, change, sums}) // map keys are sorted
	if err != nil {
		return []byte(name) // what cannot be encoded is refused as a record
	}
	return raw
}

func restricted(sentence string) error {
	return fault.New(fault.Forbidden, sentence).WithCode("CommunityCreationRestricted")
}

// ErrName is in errors about the name of a community to be.
var ErrName = errors.New("name")

// named gives what a name has wrong the error's name of the protocol.
func named(err error) error {
	var about *account.Error
	if errors.As(err, &about) && (about.Reason == account.BadName || about.Reason == account.Taken) {
		f := fault.From(err)
		return fmt.Errorf("%w: %w", ErrName, f.WithCode(cmp.Or(f.Code, "InvalidRequest")))
	}
	if f := fault.From(err); f.Kind == fault.Invalid && f.Code == "" {
		return f.WithCode("InvalidRequest")
	}
	return err
}
