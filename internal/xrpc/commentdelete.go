package xrpc

import "net/http"

// commentDelete answers social.coves.community.comment.delete: removes a
// comment of whoever asks.
func (s *Server) commentDelete(w http.ResponseWriter, r *http.Request, who caller) error {
	return s.remove(w, r, who, s.cfg.Posts.DeleteComment)
}
