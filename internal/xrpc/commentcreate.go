package xrpc

import (
	"encoding/json"
	"net/http"

	"github.com/atoll-social/atoll/internal/post"
)

type commentCreateInput struct {
	Reply struct {
		Root   post.Ref `json:"root"`
		Parent post.Ref `json:"parent"`
	} `json:"reply"`
	Content string          `json:"content"`
	Facets  json.RawMessage `json:"facets"`
	Embed   json.RawMessage `json:"embed"`
	Langs   []string        `json:"langs"`
	Labels  json.RawMessage `json:"labels"`
}

// commentCreate answers social.coves.community.comment.create: writes a comment
// into the repository of whoever asks.
func (s *Server) commentCreate(w http.ResponseWriter, r *http.Request, who caller) error {
	var in commentCreateInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	created, err := s.cfg.Posts.CreateComment(r.Context(), actor, post.CommentInput{
		Root: in.Reply.Root, Parent: in.Reply.Parent, Content: in.Content, Facets: in.Facets, Embed: in.Embed,
		Langs: in.Langs, Labels: in.Labels, Key: r.Header.Get(IdempotencyHeader),
	})
	if err != nil {
		return err
	}
	return write(w, recordView(created))
}
