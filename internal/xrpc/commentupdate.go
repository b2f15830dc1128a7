package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/post"
)

type commentUpdateInput struct {
	URI  string `json:"uri"`
	Swap string `json:"swapRecord"`
	said
}

// commentUpdate answers social.coves.community.comment.update: changes what was
// sent of a comment of whoever asks.
func (s *Server) commentUpdate(w http.ResponseWriter, r *http.Request, who caller) error {
	var in commentUpdateInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	swap, err := swapOf(in.Swap)
	if err != nil {
		return err
	}
	done, err := s.cfg.Posts.UpdateComment(r.Context(), actor, post.CommentUpdate{
		URI: in.URI, Content: in.Content, Facets: in.Facets, Embed: in.Embed, Labels: in.Labels, Langs: in.Langs, Swap: swap,
	})
	if err != nil {
		return err
	}
	return write(w, recordView(done))
}
