package xrpc

import (
	"encoding/json"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/post"
)

// IdempotencyHeader makes repeating a call safe for 24 hours.
const IdempotencyHeader = "Idempotency-Key"

type postCreateInput struct {
	Community string          `json:"community"`
	Title     string          `json:"title"`
	Content   string          `json:"content"`
	Facets    json.RawMessage `json:"facets"`
	Embed     json.RawMessage `json:"embed"`
	Langs     []string        `json:"langs"`
	Labels    json.RawMessage `json:"labels"`
	Tags      []string        `json:"tags"`
}

type recordView struct {
	URI syntax.ATURI `json:"uri"`
	CID syntax.CID   `json:"cid"`
}

// postCreate answers social.coves.community.post.create: writes a post into
// the repository of whoever asks.
func (s *Server) postCreate(w http.ResponseWriter, r *http.Request, who caller) error {
	var in postCreateInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if in.Community, err = s.admit(r, who, in.Community); err != nil {
		return err
	}
	created, err := s.cfg.Posts.Create(r.Context(), actor, post.CreateInput{
		Community: in.Community, Title: in.Title, Content: in.Content, Facets: in.Facets, Embed: in.Embed,
		Langs: in.Langs, Labels: in.Labels, Tags: in.Tags, Key: r.Header.Get(IdempotencyHeader),
	})
	if err != nil {
		return err
	}
	return write(w, recordView(created))
}
