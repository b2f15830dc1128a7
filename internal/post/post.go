// Package post is the write path of posts: it checks what a member wants to
// say, has it written into the member's own repository, and applies the answer
// to the index, so that the writer sees it at once. It also cuts what the index
// lists into pages.
package post

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/record"
)

// Keys chooses record keys; agent.Agent does.
type Keys interface {
	Key(ctx context.Context, did syntax.DID, key string, request []byte) (syntax.TID, error)
}

// Config is what a Service needs.
type Config struct {
	Keys    Keys
	Records *record.Writer
	// Communities finds the community that a post is for.
	Communities *community.Resolver
}

// Service writes posts. It is safe for concurrent use.
type Service struct{ cfg Config }

// New checks cfg. It does no I/O.
func New(cfg Config) (*Service, error) {
	if cfg.Keys == nil || cfg.Records == nil || cfg.Communities == nil {
		return nil, errors.New("post: keys, records and communities are required")
	}
	return &Service{cfg}, nil
}

// CreateInput is a post to be. Limits are those of the lexicon
// social.coves.community.postv2.
type CreateInput struct {
	// Community is what community.Resolver understands.
	Community string
	Title     string // at most 300 graphemes, 3,000 bytes
	Content   string // at most 10,000 graphemes, 100,000 bytes
	// Facets, Embed and Labels are JSON of the data model; nil when absent.
	Facets, Embed, Labels json.RawMessage
	Langs                 []string // at most 3 language tags
	Tags                  []string // at most 8, each 64 graphemes, 640 bytes
	// Key is any text of at most 255 bytes that stays the same when the
	// request is repeated, within agent.KeyLife; the post is then there once.
	// Without it a repetition is another post.
	Key string
}

// Created is a post that is in its author's repository.
type Created struct {
	URI syntax.ATURI
	CID syntax.CID
}

// Create writes a post for actor. Errors for people are fault.Error: Invalid
// with the codes InvalidRequest, ContentEmpty or ContentTooLong, those of
// community.Resolver, Conflict for a key that was used for something else, and
// those of agent.Create.
func (s *Service) Create(ctx context.Context, actor agent.Actor, in CreateInput) (Created, error) {
	if err := in.check(); err != nil {
		return Created{}, err
	}
	to, err := s.cfg.Communities.Find(ctx, in.Community)
	if err != nil {
		return Created{}, err
	}
	fields, err := in.fields(to.DID)
	if err != nil {
		return Created{}, err
	}
	key, err := s.cfg.Keys.Key(ctx, actor.DID, in.Key, fields)
	if err != nil {
		return Created{}, err
	}
	what, err := newRecord(fields, key)
	if err != nil {
		return Created{}, err
	}
	done, err := s.cfg.Records.Create(ctx, actor, agent.Write{
		Collection: index.PostCollection, RKey: syntax.RecordKey(key), Record: what,
	}, to)
	if err != nil {
		return Created{}, unfit(err)
	}
	return Created{URI: done.URI, CID: done.CID}, nil
}

// unfit tells a person about a record that the index would not take.
func unfit(err error) error {
	if errors.Is(err, record.ErrUnfit) {
		return invalid(err, "The post has a part that does not fit its form. Check links, embeds, labels and languages.")
	}
	return err
}

// newRecord makes the record of the fields. Its time is that of its key, so
// that it is the same record at every attempt.
func newRecord(fields []byte, key syntax.TID) (map[string]any, error) {
	what, err := atdata.UnmarshalJSON(fields)
	if err != nil {
		return nil, invalid(err, "The post cannot be understood. Check facets, embed and labels.")
	}
	what["createdAt"] = key.Time().Format("2006-01-02T15:04:05.000000Z")
	return what, nil
}

func invalid(cause error, sentence string) error {
	return fault.Wrap(fault.Invalid, cause, sentence).WithCode("InvalidRequest")
}
