// Package post is the write path of what members say: posts, comments, votes,
// their profile and its pictures. It checks what is asked for and has it written
// into the member's own repository, where the index sees it at once.
package post

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/store"
)

// Agent chooses record keys, reads records and stores files; agent.Agent does.
type Agent interface {
	Key(ctx context.Context, did syntax.DID, key string, request []byte) (syntax.TID, error)
	Read(ctx context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error)
	Upload(ctx context.Context, actor agent.Actor, u agent.Upload) (atdata.Blob, error)
}

// Config is what a Service needs.
type Config struct {
	// DB holds the tables vote_turn and vote_request.
	DB      *store.DB
	Index   *index.Index
	Agent   Agent
	Records *record.Writer
	// Communities finds the community that a post is for.
	Communities *community.Resolver
	Logger      *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service writes for members. It is safe for concurrent use.
type Service struct {
	cfg    Config
	log    *slog.Logger
	studio *record.Studio
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil || cfg.Index == nil || cfg.Agent == nil || cfg.Records == nil || cfg.Communities == nil || cfg.Logger == nil {
		return nil, errors.New("post: database, index, agent, records, communities and logger are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, log: cfg.Logger.With("component", "post"), studio: record.NewStudio()}, nil
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

// Created is a record that is in its author's repository.
type Created struct {
	URI syntax.ATURI
	CID syntax.CID
}

// Create writes a post for actor. Errors for people are fault.Error: Invalid
// with the codes InvalidRequest, ContentEmpty or ContentTooLong, those of
// community.Resolver, NotFound with PostNotFound for what is quoted, Forbidden
// with Banned, Conflict for a key that was used for something else, and those of
// agent.Create.
func (s *Service) Create(ctx context.Context, actor agent.Actor, in CreateInput) (Created, error) {
	said := draft{title: in.Title, content: in.Content, facets: in.Facets, embed: in.Embed, labels: in.Labels, langs: in.Langs, tags: in.Tags}
	if err := said.checkPost(); err != nil {
		return Created{}, err
	}
	to, err := s.cfg.Communities.Community(ctx, in.Community)
	if err != nil {
		return Created{}, err
	}
	if err := s.mayTakePart(ctx, actor.DID, to.DID); err != nil {
		return Created{}, err
	}
	fields, err := said.fields(index.PostCollection, map[string]any{"community": to.DID})
	if err != nil {
		return Created{}, err
	}
	return s.create(ctx, actor, in.Key, fields, nil, to)
}

// create writes a record of fields, which are the request that may be repeated.
// settle changes the record before it is written; nil changes nothing.
func (s *Service) create(ctx context.Context, actor agent.Actor, key string, fields []byte,
	settle func(record map[string]any), people ...index.Identity) (Created, error) {
	what, err := atdata.UnmarshalJSON(fields)
	if err != nil {
		return Created{}, invalid(err, "This cannot be understood. Check facets, embed and labels.")
	}
	if settle != nil {
		settle(what)
	}
	if err := s.settleQuote(ctx, what); err != nil {
		return Created{}, err
	}
	// Before the key is tied to this request: it may come again, mended.
	if err := s.cfg.Records.Check(actor.DID, dated(what, syntax.NewTID(s.cfg.Now().UnixMicro(), 0))); err != nil {
		return Created{}, unfit(err)
	}
	tid, err := s.cfg.Agent.Key(ctx, actor.DID, key, fields)
	if err != nil {
		return Created{}, err
	}
	done, err := s.cfg.Records.Create(ctx, actor, dated(what, tid), people...)
	if err != nil {
		return Created{}, unfit(err)
	}
	return Created{URI: done.URI, CID: done.CID}, nil
}

// recordTime is how records have times, which are UTC.
const recordTime = "2006-01-02T15:04:05.000000Z"

// dated gives a record its key, and the time of that, so that it is the same
// record at every attempt.
func dated(what map[string]any, tid syntax.TID) agent.Write {
	what["createdAt"] = tid.Time().Format(recordTime)
	collection, _ := what["$type"].(string)
	return agent.Write{Collection: syntax.NSID(collection), RKey: syntax.RecordKey(tid), Record: what}
}

// unfit tells a person about a record that the index would not take, or that
// refers to a file which their server does not have.
func unfit(err error) error {
	var refused *pds.Error
	switch {
	case errors.Is(err, record.ErrUnfit):
		return invalid(err, "Something does not fit its form. Check links, embeds, labels and languages.")
	case errors.As(err, &refused) && refused.Name == "BlobNotFound":
		return invalid(err, "A picture is not at your server, or not any more. Upload it again.")
	}
	return err
}

func invalid(cause error, sentence string) error {
	return fault.Wrap(fault.Invalid, cause, sentence).WithCode("InvalidRequest")
}
