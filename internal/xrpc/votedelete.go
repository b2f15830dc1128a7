package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/post"
)

type voteDeleteInput struct {
	Subject post.Ref `json:"subject"`
}

// voteDelete answers social.coves.feed.vote.delete: takes back what whoever
// asks has voted. Which version they voted on does not matter.
func (s *Server) voteDelete(w http.ResponseWriter, r *http.Request, who caller) error {
	var in voteDeleteInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if err := s.cfg.Posts.Withdraw(r.Context(), actor, in.Subject.URI); err != nil {
		return err
	}
	return write(w, emptyView{})
}
