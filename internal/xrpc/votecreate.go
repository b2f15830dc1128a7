package xrpc

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/post"
)

type voteCreateInput struct {
	Subject   post.Ref `json:"subject"`
	Direction string   `json:"direction"`
}

// voteCreate answers social.coves.feed.vote.create: votes, turns a vote around,
// or takes it back when it is the same again; uri and cid are "" then.
func (s *Server) voteCreate(w http.ResponseWriter, r *http.Request, who caller) error {
	var in voteCreateInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if in.Direction != "up" && in.Direction != "down" {
		return invalid(nil, "The direction of a vote is up or down.")
	}
	done, err := s.cfg.Posts.Vote(r.Context(), actor, post.VoteInput{
		Subject: in.Subject, Up: in.Direction == "up", Key: r.Header.Get(IdempotencyHeader),
	})
	if err != nil {
		return err
	}
	return write(w, recordView(done))
}
