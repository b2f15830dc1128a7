package post

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// VoteInput is a vote to be.
type VoteInput struct {
	// Subject is a post, in either form, or a comment.
	Subject Ref
	Up      bool
	// Key is as in CreateInput. Without it a repetition takes the vote back.
	Key string
}

// Vote votes, takes back what the actor has voted the same way before, or turns
// it around. Created is empty when there is no vote now. However many requests
// come at once, each sees what those before it have done; of several records on
// one subject one is left. Errors for people are fault.Error: Invalid
// (InvalidSubject), NotFound with PostNotFound or CommentNotFound, Forbidden with
// Banned or Blocked, Conflict for a key that was used for something else,
// Unavailable, and those of agent.Create and agent.Delete.
func (s *Service) Vote(ctx context.Context, actor agent.Actor, in VoteInput) (Created, error) {
	subject, err := s.votedOn(ctx, in.Subject)
	if err != nil {
		return Created{}, err
	}
	request := fmt.Sprintf("vote %q %q %t", in.Subject.URI, in.Subject.CID, in.Up)
	tid, err := s.cfg.Agent.Key(ctx, actor.DID, in.Key, []byte(request))
	if err != nil {
		return Created{}, err
	}
	turn, err := s.turn(ctx, actor.DID, subject.URI)
	if err != nil {
		return Created{}, err
	}
	defer turn.end(ctx)
	b := ballot{s: s, actor: actor, turn: turn, subject: subject, in: in, tid: tid}
	return b.cast(context.WithoutCancel(ctx))
}

// Withdraw takes back what the actor has voted. Errors: Invalid
// (InvalidSubject), NotFound (VoteNotFound), Unavailable, and those of
// agent.Delete.
func (s *Service) Withdraw(ctx context.Context, actor agent.Actor, uri string) error {
	at, err := parseURI(uri)
	if err == nil {
		at, err = s.byDID(ctx, at)
	}
	if err != nil {
		return badSubject(err)
	}
	subject, ok, err := s.cfg.Index.Subject(ctx, at)
	if err != nil {
		return err
	}
	if !ok {
		return gone("VoteNotFound", nil)
	}
	turn, err := s.turn(ctx, actor.DID, subject.URI)
	if err != nil {
		return err
	}
	defer turn.end(ctx)
	b := ballot{s: s, actor: actor, turn: turn, subject: subject}
	ctx = context.WithoutCancel(ctx)
	votes, err := s.cfg.Index.VotesOf(ctx, actor.DID, subject.URI)
	if err != nil {
		return err
	}
	if len(votes) == 0 {
		return gone("VoteNotFound", nil)
	}
	return b.remove(ctx, votes)
}

// votedOn finds what is voted on.
func (s *Service) votedOn(ctx context.Context, ref Ref) (index.Subject, error) {
	subject, ok, err := s.subject(ctx, ref)
	if err != nil {
		return index.Subject{}, badSubject(err)
	}
	switch {
	case ok:
		return subject, nil
	case syntax.ATURI(ref.URI).Collection() == index.CommentCollection:
		return index.Subject{}, gone("CommentNotFound", nil)
	case isPost(ref.URI):
		return index.Subject{}, postNotFound(nil)
	}
	return index.Subject{}, badSubject(invalid(nil, "Only posts and comments can be voted on."))
}

// badSubject gives malformed references their name.
func badSubject(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Invalid {
		return f.WithCode("InvalidSubject")
	}
	return err
}

// ballot is one request to vote, whose turn it is.
type ballot struct {
	s       *Service
	actor   agent.Actor
	turn    *turn
	subject index.Subject
	in      VoteInput
	tid     syntax.TID
}

// cast decides what the request does, once, and does it.
func (b ballot) cast(ctx context.Context) (Created, error) {
	votes, err := b.s.cfg.Index.VotesOf(ctx, b.actor.DID, b.subject.URI)
	if err != nil {
		return Created{}, err
	}
	choice, err := b.s.choose(ctx, b, len(votes) > 0 && votes[0].Up == b.in.Up)
	if err != nil || choice.done {
		return choice.result, err
	}
	var created Created
	if choice.withdraws {
		err = b.remove(ctx, votes)
	} else {
		created, err = b.write(ctx, votes)
	}
	if err != nil {
		return Created{}, err
	}
	return created, b.s.chosen(ctx, b, created)
}

// write makes a record and removes the others. The one with the greatest key
// counts, so those that are older go last; there is always one that counts.
// That an older one could not be removed changes nothing for the member: the
// next vote on the subject tries again.
func (b ballot) write(ctx context.Context, votes []index.Vote) (Created, error) {
	if !b.subject.Visible {
		return Created{}, gone(map[bool]string{true: "CommentNotFound", false: "PostNotFound"}[b.subject.IsComment()], nil)
	}
	if err := b.s.mayTakePart(ctx, b.actor.DID, b.subject.Community, b.subject.Author); err != nil {
		return Created{}, err
	}
	var older, newer []index.Vote // newer: of a client whose clock is ahead of ours
	for _, v := range votes {
		switch key := syntax.TID(v.URI.RecordKey()); {
		case key < b.tid:
			older = append(older, v)
		case key > b.tid:
			newer = append(newer, v)
		}
	}
	if err := b.remove(ctx, newer); err != nil {
		return Created{}, err
	}
	direction := map[bool]string{true: "up", false: "down"}[b.in.Up]
	record := map[string]any{"$type": string(index.VoteCollection), "direction": direction, "subject": strong(b.subject.URI, b.in.Subject.CID)}
	if err := b.turn.prolong(ctx); err != nil {
		return Created{}, err
	}
	done, err := b.s.cfg.Records.Create(ctx, b.actor, dated(record, b.tid))
	if err != nil {
		return Created{}, unfit(err)
	}
	if err := b.remove(ctx, older); err != nil {
		b.s.log.WarnContext(ctx, "older vote is not removed yet", "did", b.actor.DID, "subject", b.subject.URI, "error", err)
	}
	return Created{URI: done.URI, CID: done.CID}, nil
}

func (b ballot) remove(ctx context.Context, votes []index.Vote) error {
	for _, v := range votes {
		if err := b.turn.prolong(ctx); err != nil {
			return err
		}
		if err := b.s.cfg.Records.Delete(ctx, b.actor, agent.Delete{Collection: index.VoteCollection, RKey: v.URI.RecordKey()}); err != nil {
			return err
		}
	}
	return nil
}
