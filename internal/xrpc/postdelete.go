package xrpc

import (
	"context"
	"net/http"

	"github.com/atoll-social/atoll/internal/agent"
)

type uriInput struct {
	URI string `json:"uri"`
}

// emptyView is the answer of procedures that have nothing to say.
type emptyView struct{}

// postDelete answers social.coves.community.post.delete: removes a post of
// whoever asks.
func (s *Server) postDelete(w http.ResponseWriter, r *http.Request, who caller) error {
	return s.remove(w, r, who, s.cfg.Posts.Delete)
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request, who caller,
	remove func(ctx context.Context, actor agent.Actor, uri string) error) error {
	var in uriInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if err := remove(r.Context(), actor, in.URI); err != nil {
		return err
	}
	return write(w, emptyView{})
}
