package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/markup"
)

// Names finds accounts by what people call them. It is community.Resolver.
type Names interface {
	// Locate and LocatePerson are for reading: they ask the index first, and call
	// ask before they ask others.
	Locate(ctx context.Context, text string, ask func() error) (syntax.DID, error)
	LocatePerson(ctx context.Context, text string, ask func() error) (syntax.DID, error)
	Person(ctx context.Context, text string) (index.Identity, error)
}

// writer is who a form writes for, within what one account may write.
func (s *Server) writer(w http.ResponseWriter, r *http.Request, form url.Values) (agent.Actor, error) {
	_, account, err := s.actor(w, r, form)
	if err != nil {
		return agent.Actor{}, err
	}
	if err := s.cfg.Writes.Spend(account.DID.String()); err != nil {
		return agent.Actor{}, err
	}
	return agent.Actor{DID: account.DID, SessionID: account.SessionID}, nil
}

// Bounds of looking up who is mentioned: beyond them a mention is plain text.
const (
	maxMentions = 20
	mentionTime = 5 * time.Second
)

// written turns what was typed into a text and its facets. Other servers are
// asked who is mentioned, so that only members may have it done.
func (s *Server) written(ctx context.Context, typed string) (plain string, facets json.RawMessage, err error) {
	text := markup.Parse(typed)
	ctx, cancel := context.WithTimeout(ctx, mentionTime)
	defer cancel()
	dids := map[syntax.Handle]syntax.DID{}
	for _, handle := range mentions(text) {
		// Whoever cannot be found is not mentioned; the text says so by itself.
		if id, err := s.cfg.Names.Person(ctx, handle.String()); err == nil {
			dids[handle] = id.DID
		}
	}
	text.Resolve(dids)
	facets, err = text.JSON()
	return text.Plain, facets, err
}

// foreseen is written as far as it can be told without asking other servers;
// later are the handles that they will be asked about.
func (s *Server) foreseen(ctx context.Context, typed string) (plain string, facets json.RawMessage, later []syntax.Handle, err error) {
	text := markup.Parse(typed)
	dids := map[syntax.Handle]syntax.DID{}
	for _, handle := range mentions(text) {
		did, known, err := s.cfg.Index.ByHandle(ctx, handle)
		switch {
		case err != nil:
			return "", nil, nil, err
		case known:
			dids[handle] = did
		default:
			later = append(later, handle)
		}
	}
	text.Resolve(dids)
	facets, err = text.JSON()
	return text.Plain, facets, later, err
}

// mentions are the handles in a text that are looked up.
func mentions(text markup.Text) []syntax.Handle {
	all := text.Mentions()
	return all[:min(len(all), maxMentions)]
}
