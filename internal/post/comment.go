package post

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// CommentInput is a comment to be. Limits are those of the lexicon
// social.coves.community.comment.
type CommentInput struct {
	// Root is the post, in either form, and Parent what is answered: the post or
	// a comment below it. Both pin the version that the author has seen.
	Root, Parent Ref
	Content      string // at most 3,000 graphemes, 30,000 bytes
	// Facets, Embed and Labels are JSON of the data model; nil when absent.
	Facets, Embed, Labels json.RawMessage
	Langs                 []string // at most 3 language tags
	// Key is as in CreateInput.
	Key string
}

// CreateComment writes a comment for actor. Errors for people are fault.Error:
// Invalid with InvalidRequest, ContentEmpty, ContentTooLong or InvalidReply,
// NotFound with RootNotFound, ParentNotFound or, for what is quoted,
// PostNotFound, Forbidden with Banned or Blocked, Conflict for a key that was used
// for something else, and those of agent.Create.
func (s *Service) CreateComment(ctx context.Context, actor agent.Actor, in CommentInput) (Created, error) {
	said := draft{content: in.Content, facets: in.Facets, embed: in.Embed, labels: in.Labels, langs: in.Langs}
	if err := said.checkComment(); err != nil {
		return Created{}, err
	}
	root, parent, err := s.reply(ctx, in)
	if err != nil {
		return Created{}, err
	}
	if err := s.mayTakePart(ctx, actor.DID, root.Community, root.Author, parent.Author); err != nil {
		return Created{}, err
	}
	asSent := map[string]any{"root": in.Root, "parent": in.Parent}
	fields, err := said.fields(index.CommentCollection, map[string]any{"reply": asSent, "content": in.Content})
	if err != nil {
		return Created{}, err
	}
	return s.create(ctx, actor, in.Key, fields, func(record map[string]any) {
		record["reply"] = map[string]any{"root": strong(root.URI, in.Root.CID), "parent": strong(parent.URI, in.Parent.CID)}
	})
}

func strong(uri syntax.ATURI, cid string) map[string]any {
	return map[string]any{"uri": string(uri), "cid": cid}
}

// reply finds the post and what is answered.
func (s *Service) reply(ctx context.Context, in CommentInput) (root, parent index.Subject, err error) {
	root, ok, err := s.subject(ctx, in.Root)
	switch {
	case err != nil:
		return root, parent, badReply(err)
	case !isPost(in.Root.URI):
		return root, parent, badReply(invalid(nil, "The root of a comment is a post."))
	case !ok || !root.Visible:
		return root, parent, gone("RootNotFound", nil)
	}
	parent, ok, err = s.subject(ctx, in.Parent)
	switch {
	case err != nil:
		return root, parent, badReply(err)
	case ok && parent.Root != "" && parent.Root != root.URI:
		return root, parent, badReply(invalid(nil, "What is answered belongs to another post."))
	case !ok || !parent.Visible:
		return root, parent, gone("ParentNotFound", nil)
	}
	return root, parent, nil
}

// isPost reports that a URI is that of a post, in either form.
func isPost(uri string) bool {
	collection := syntax.ATURI(uri).Collection()
	return collection == index.PostCollection || collection == index.LegacyPostCollection
}

// badReply gives malformed references their name.
func badReply(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Invalid {
		return f.WithCode("InvalidReply")
	}
	return err
}

// CommentUpdate is what is to become of a comment; see UpdateInput.
type CommentUpdate struct {
	URI                   string
	Content               Change[string]
	Facets, Embed, Labels Change[json.RawMessage]
	Langs                 Change[[]string]
	Swap                  syntax.CID
}

// UpdateComment changes a comment of the actor's own. Errors: those of Update,
// with CommentNotFound.
func (s *Service) UpdateComment(ctx context.Context, actor agent.Actor, in CommentUpdate) (Created, error) {
	e := edit{collection: index.CommentCollection, missing: "CommentNotFound", check: draft.checkComment, swap: in.Swap}
	e.common(in.Content, in.Facets, in.Embed, in.Labels, in.Langs)
	return s.edit(ctx, actor, in.URI, e)
}

// DeleteComment removes a comment of the actor's own; see Delete. Its answers
// keep their place.
func (s *Service) DeleteComment(ctx context.Context, actor agent.Actor, uri string) error {
	return s.remove(ctx, actor, uri, index.CommentCollection, "CommentNotFound")
}
