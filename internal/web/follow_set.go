package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
)

// Communities is what members do with communities. It is community.Service;
// tests of pages stand in for the members' servers behind it.
type Communities interface {
	Subscribe(ctx context.Context, actor agent.Actor, text string, visibility *int) (community.Record, error)
	Unsubscribe(ctx context.Context, actor agent.Actor, text string) error
	BlockCommunity(ctx context.Context, actor agent.Actor, text string) (community.Record, error)
	UnblockCommunity(ctx context.Context, actor agent.Actor, text string) error
	BlockUser(ctx context.Context, actor agent.Actor, text string) (community.Record, error)
	UnblockUser(ctx context.Context, actor agent.Actor, text string) error
	Explain(ctx context.Context, did syntax.DID) (string, error)
	Create(ctx context.Context, actor agent.Actor, in community.CreateInput) (community.Created, error)
	Update(ctx context.Context, actor agent.Actor, in community.UpdateInput) (community.Created, error)
	Closed(person syntax.DID) string
	WaitingPosts(ctx context.Context, actor agent.Actor, text string, limit int) ([]community.Waiting, error)
	Approve(ctx context.Context, actor agent.Actor, uri syntax.ATURI, seen syntax.CID, always bool) error
	Reject(ctx context.Context, actor agent.Actor, uri syntax.ATURI, code, reason string) error
	Policy(ctx context.Context, did syntax.DID) (community.Policy, error)
	SetPolicy(ctx context.Context, actor agent.Actor, text string, p community.Policy) error
	May(ctx context.Context, person, did syntax.DID, duty community.Duty) (bool, error)
}

// levelWords says what each level of a subscription does; package feed does it.
var levelWords = [...]string{
	1: "Only the best: the top tenth of the last 30 days there, lower on your page.",
	2: "What stands out: the top three in ten of the last 30 days there, a little lower on your page.",
	3: "Everything that was not voted down, in its own place.",
	4: "Everything that was not voted down, a little higher on your page.",
	5: "Everything, even what was voted down, higher on your page.",
}

// levelNames says the same in a few words.
var levelNames = [...]string{1: "only the best", 2: "what stands out", 3: "everything", 4: "everything, a little higher", 5: "even what was voted down"}

// followItem is the form that subscribes to a community.
type followItem struct {
	Acting, DID, Back string
	Level             int // 0: not subscribed
}

// levelItem is one of the levels, as the page explains them.
type levelItem struct {
	Level int
	Words string
}

// Levels are all that can be chosen.
func (followItem) Levels() []levelItem {
	var out []levelItem
	for level := 1; level < len(levelWords); level++ {
		out = append(out, levelItem{level, levelWords[level]})
	}
	return out
}

// Words says what the level does.
func (f followItem) Words() string { return levelWords[min(max(f.Level, 0), len(levelWords)-1)] }

// Short says what the level does in a few words.
func (f followItem) Short() string { return levelNames[min(max(f.Level, 0), len(levelNames)-1)] }

// followSet answers POST /subscriptions: subscribes, changes how much is seen,
// or unsubscribes.
func (s *Server) followSet(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return err
	}
	if form.Get("leave") == "yes" {
		err = s.cfg.Communities.Unsubscribe(r.Context(), actor, form.Get("community"))
	} else {
		var level int
		if level, err = strconv.Atoi(form.Get("level")); err != nil || level < 1 || level > 5 {
			return invalid(err, "How much you see is a number from 1 to 5.")
		}
		_, err = s.cfg.Communities.Subscribe(r.Context(), actor, form.Get("community"), &level)
	}
	if err != nil {
		return err
	}
	s.goBack(w, r, form)
	return nil
}

// blockItem is the form that blocks somebody or something.
type blockItem struct {
	Acting, DID, Back string
	Kind              string // "member" or "community"
	Blocked           bool
}

// blockSet answers POST /blocks.
func (s *Server) blockSet(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return err
	}
	if err := s.block(r.Context(), actor, form.Get("kind"), form.Get("subject"), form.Get("block") == "yes"); err != nil {
		return err
	}
	s.goBack(w, r, form)
	return nil
}

func (s *Server) block(ctx context.Context, actor agent.Actor, kind, subject string, on bool) (err error) {
	c := s.cfg.Communities
	switch {
	case kind == "member" && on:
		_, err = c.BlockUser(ctx, actor, subject)
	case kind == "member":
		err = c.UnblockUser(ctx, actor, subject)
	case kind == "community" && on:
		_, err = c.BlockCommunity(ctx, actor, subject)
	case kind == "community":
		err = c.UnblockCommunity(ctx, actor, subject)
	default:
		err = invalid(nil, "Members and communities can be blocked.")
	}
	return err
}

// blocks tells whether the viewer blocks somebody or something.
func (s *Server) blocks(ctx context.Context, viewer syntax.DID, collection syntax.NSID, subject syntax.DID) (bool, error) {
	if viewer == "" {
		return false, nil
	}
	stands, err := s.cfg.Index.Stands(ctx, collection, viewer, subject)
	return len(stands) > 0, err
}
