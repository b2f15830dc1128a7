package xrpc

import (
	"encoding/json"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/post"
)

// said is what posts and comments can change alike.
type said struct {
	Content post.Change[string]          `json:"content"`
	Facets  post.Change[json.RawMessage] `json:"facets"`
	Embed   post.Change[json.RawMessage] `json:"embed"`
	Langs   post.Change[[]string]        `json:"langs"`
	Labels  post.Change[json.RawMessage] `json:"labels"`
}

type postUpdateInput struct {
	URI   string                `json:"uri"`
	Title post.Change[string]   `json:"title"`
	Tags  post.Change[[]string] `json:"tags"`
	Swap  string                `json:"swapRecord"`
	said
}

// postUpdate answers social.coves.community.post.update: changes what was sent
// of a post of whoever asks.
func (s *Server) postUpdate(w http.ResponseWriter, r *http.Request, who caller) error {
	var in postUpdateInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	swap, err := swapOf(in.Swap)
	if err != nil {
		return err
	}
	done, err := s.cfg.Posts.Update(r.Context(), actor, post.UpdateInput{
		URI: in.URI, Title: in.Title, Content: in.Content, Facets: in.Facets, Embed: in.Embed, Labels: in.Labels,
		Langs: in.Langs, Tags: in.Tags, Swap: swap,
	})
	if err != nil {
		return err
	}
	return write(w, recordView(done))
}

// swapOf reads the version that a change is meant for; empty means any.
func swapOf(text string) (syntax.CID, error) {
	if text == "" {
		return "", nil
	}
	cid, err := syntax.ParseCID(text)
	if err != nil {
		return "", invalid(err, "swapRecord must be the CID of the version that is to be changed.")
	}
	return cid, nil
}
