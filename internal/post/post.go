// Package post is the write path of posts: it checks what a member wants to
// say, has it written into the member's own repository, and applies the answer
// to the index, so that the writer sees it at once. It also cuts what the index
// lists into pages.
package post

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// Directory answers who an account is; identity.Directory does.
type Directory interface {
	Lookup(ctx context.Context, id syntax.AtIdentifier) (*sdk.Identity, error)
	PDS(ident *sdk.Identity) (string, error)
}

// Agent writes records; agent.Agent does.
type Agent interface {
	Key(ctx context.Context, did syntax.DID, key string, request []byte) (syntax.TID, error)
	Create(ctx context.Context, actor agent.Actor, w agent.Write) (agent.Done, error)
}

// Config is what a Service needs.
type Config struct {
	DB        *store.DB
	Index     *index.Index
	Agent     Agent
	Directory Directory
	Logger    *slog.Logger
}

// Service writes posts. It is safe for concurrent use.
type Service struct {
	cfg Config
	log *slog.Logger
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil || cfg.Index == nil || cfg.Agent == nil || cfg.Directory == nil || cfg.Logger == nil {
		return nil, errors.New("post: database, index, agent, directory and logger are required")
	}
	return &Service{cfg: cfg, log: cfg.Logger.With("component", "post")}, nil
}

// CreateInput is a post to be. Limits are those of the lexicon
// social.coves.community.postv2.
type CreateInput struct {
	// Community is its DID or its handle, which may begin with @ or !.
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
// with the codes InvalidRequest, ContentEmpty or ContentTooLong, NotFound with
// CommunityNotFound (ErrCommunity is in those about the community), Conflict for a key that was used for something else, and
// those of agent.Create.
func (s *Service) Create(ctx context.Context, actor agent.Actor, in CreateInput) (Created, error) {
	if err := in.check(); err != nil {
		return Created{}, err
	}
	community, err := s.community(ctx, in.Community)
	if err != nil {
		return Created{}, err
	}
	fields, err := in.fields(community.DID)
	if err != nil {
		return Created{}, err
	}
	key, err := s.cfg.Agent.Key(ctx, actor.DID, in.Key, fields)
	if err != nil {
		return Created{}, err
	}
	record, err := newRecord(fields, key)
	if err != nil {
		return Created{}, err
	}
	// What we would not index we do not write either.
	if _, err := s.prepare(actor.DID, key, key, record); err != nil {
		return Created{}, err
	}
	done, err := s.cfg.Agent.Create(ctx, actor, agent.Write{
		Collection: index.PostCollection, RKey: syntax.RecordKey(key), Record: record,
	})
	if err != nil {
		return Created{}, err
	}
	s.apply(context.WithoutCancel(ctx), actor.DID, key, done, record, community)
	return Created{URI: done.URI, CID: done.CID}, nil
}

// newRecord makes the record of the fields. Its time is that of its key, so
// that it is the same record at every attempt.
func newRecord(fields []byte, key syntax.TID) (map[string]any, error) {
	record, err := atdata.UnmarshalJSON(fields)
	if err != nil {
		return nil, invalid(err, "The post cannot be understood. Check facets, embed and labels.")
	}
	record["createdAt"] = key.Time().Format("2006-01-02T15:04:05.000000Z")
	return record, nil
}

// prepare makes the commit that the index is to apply.
func (s *Service) prepare(author syntax.DID, rev, key syntax.TID, record map[string]any) (index.Commit, error) {
	cid, err := agent.RecordCID(record)
	if err != nil {
		return index.Commit{}, err
	}
	commit, drops := s.cfg.Index.Prepare(author, rev, []index.Op{{
		Action: index.Create, Collection: index.PostCollection, RKey: syntax.RecordKey(key), CID: cid, Record: record,
	}})
	for _, d := range drops {
		return index.Commit{}, invalid(fmt.Errorf("%s: %w", d.Reason, d.Err),
			"The post has a part that does not fit its form. Check links, embeds, labels and languages.")
	}
	return commit, nil
}

// lookTimeout bounds looking up names that are only for show.
const lookTimeout = 2 * time.Second

// apply puts what the server has answered into the index, where it is before
// the stream brings it. When that fails the stream still will, so the member
// is told that the post is written, which it is.
func (s *Service) apply(ctx context.Context, author syntax.DID, key syntax.TID, done agent.Done,
	record map[string]any, community index.Identity) {
	if done.Rev == "" {
		return
	}
	commit, err := s.prepare(author, done.Rev, key, record)
	people := append(s.author(ctx, author), community)
	if err == nil {
		err = s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
			if _, err := s.cfg.Index.Apply(ctx, tx, []index.Commit{commit}); err != nil {
				return err
			}
			for _, id := range people {
				if err := s.cfg.Index.Identify(ctx, tx, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		s.log.ErrorContext(ctx, "post is written but not indexed yet", "uri", done.URI, "error", err)
	}
}

// author is who writes, so that the page shows the name at once. The agent has
// just asked, so the answer is at hand; otherwise it is found out in the
// background.
func (s *Service) author(ctx context.Context, did syntax.DID) []index.Identity {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	ident, err := s.cfg.Directory.Lookup(ctx, did.AtIdentifier())
	if err != nil {
		return nil
	}
	return []index.Identity{s.identity(ident)}
}

// identity is what the index keeps of an answer.
func (s *Service) identity(ident *sdk.Identity) index.Identity {
	id := index.Identity{DID: ident.DID, Handle: ident.Handle}
	if ident.Handle.IsInvalidHandle() {
		id.Handle, id.Unchecked = "", true // the background look-up tells why
	}
	if origin, err := s.cfg.Directory.PDS(ident); err == nil {
		id.PDS = origin
	}
	return id
}

func invalid(cause error, sentence string) error {
	return fault.Wrap(fault.Invalid, cause, sentence).WithCode("InvalidRequest")
}
