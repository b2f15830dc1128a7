package xrpc

import "net/http"

// subjectInput names a person.
type subjectInput struct {
	Subject string `json:"subject"`
}

// blockUser answers social.coves.actor.blockUser: whoever asks sees nothing of
// a person any more.
func (s *Server) blockUser(w http.ResponseWriter, r *http.Request, who caller) error {
	var in subjectInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	done, err := s.cfg.Communities.BlockUser(r.Context(), actor, in.Subject)
	if err != nil {
		return err
	}
	return write(w, newBlockView(done))
}
