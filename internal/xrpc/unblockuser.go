package xrpc

import "net/http"

// unblockUser answers social.coves.actor.unblockUser.
func (s *Server) unblockUser(w http.ResponseWriter, r *http.Request, who caller) error {
	var in subjectInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if err := s.cfg.Communities.UnblockUser(r.Context(), actor, in.Subject); err != nil {
		return err
	}
	return write(w, successView{true})
}
