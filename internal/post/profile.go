package post

import (
	"context"
	"maps"
	"strings"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/media"
)

// Limits of social.coves.actor.profile.
const (
	nameGraphemes, nameBytes = 64, 640
	bioGraphemes, bioBytes   = 256, 2_560
)

// Picture is an image as JSON carries it.
type Picture struct {
	// Base64 is the file. null takes the picture away; empty text keeps it, as
	// clients send it for fields that were not filled in.
	Base64 Change[string]
	MIME   string // what the sender takes it for; may be empty
}

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
	if err := checkText("name", in.DisplayName.Value, nameGraphemes, nameBytes); err != nil {
		return Created{}, err
	}
	if strings.ContainsAny(in.DisplayName.Value, "\n\r\t") {
		return Created{}, invalid(nil, "The name must be a single line.")
	}
	if err := checkText("text about you", in.Bio.Value, bioGraphemes, bioBytes); err != nil {
		return Created{}, err
	}
	change := map[string]any{}
	into(change, "displayName", in.DisplayName)
	into(change, "bio", in.Bio)
	if err := s.pictures(ctx, actor, in, change); err != nil {
		return Created{}, err
	}
	for try := 1; ; try++ {
		done, err := s.profileOnce(ctx, actor, change)
		if !isStale(err) || try == maxEdits {
			return done, err
		}
	}
}

// into notes a text in a change of a record, nil where it is taken away.
func into(change map[string]any, name string, c Change[string]) {
	switch value := strings.TrimSpace(c.Value); {
	case !c.Sent:
	case value == "":
		change[name] = nil
	default:
		change[name] = value
	}
}

// pictures stores what was sent, when all of it is in order.
func (s *Service) pictures(ctx context.Context, actor agent.Actor, in ProfileInput, change map[string]any) error {
	checked := map[string]media.Image{}
	for name, sent := range map[string]struct {
		Picture
		use media.Use
	}{"avatar": {in.Avatar, media.Avatar}, "banner": {in.Banner, media.Banner}} {
		switch {
		case sent.Base64.Null:
			change[name] = nil
		case sent.Base64.Value != "":
			var err error
			checked[name], err = s.look(ctx, func() (media.Image, error) {
				return media.CheckBase64(sent.use, sent.Base64.Value, sent.MIME)
			})
			if err != nil {
				return err
			}
		}
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

// profileOnce reads the profile, changes it and writes it back, as long as
// nobody has changed it in between.
func (s *Service) profileOnce(ctx context.Context, actor agent.Actor, change map[string]any) (Created, error) {
	const key = "self"
	put := agent.Put{Write: agent.Write{Collection: index.PersonCollection, RKey: key}, Swap: agent.SwapNone}
	is, err := s.cfg.Agent.Read(ctx, actor.DID, index.PersonCollection, key)
	switch {
	case isMissing(err):
		put.Record = map[string]any{"$type": string(index.PersonCollection), "createdAt": s.cfg.Now().UTC().Format(recordTime)}
	case err != nil:
		return Created{}, err
	default:
		put.Record, put.Swap = maps.Clone(is.Record), agent.SwapCID(is.CID)
	}
	if bio, sent := change["bio"]; sent && bio != put.Record["bio"] {
		delete(put.Record, "bioFacets") // they belong to the text
	}
	for name, value := range change {
		if value == nil {
			delete(put.Record, name)
		} else {
			put.Record[name] = value
		}
	}
	if cid, err := agent.RecordCID(put.Record); err != nil || cid == is.CID {
		return Created{URI: recordAt(actor.DID, index.PersonCollection, key), CID: cid}, err
	}
	done, err := s.cfg.Records.Put(ctx, actor, put)
	return Created{URI: done.URI, CID: done.CID}, unfit(err)
}
