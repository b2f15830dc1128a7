package xrpc

import "net/http"

// unblockCommunity answers social.coves.community.unblockCommunity.
func (s *Server) unblockCommunity(w http.ResponseWriter, r *http.Request, who caller) error {
	var in communityInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if err := s.cfg.Communities.UnblockCommunity(r.Context(), actor, in.Community); err != nil {
		return err
	}
	return write(w, successView{true})
}
