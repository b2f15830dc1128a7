package xrpc

import "net/http"

// communityInput names a community.
type communityInput struct {
	Community string `json:"community"`
}

// unsubscribe answers social.coves.community.unsubscribe: whoever asks follows
// a community no more.
func (s *Server) unsubscribe(w http.ResponseWriter, r *http.Request, who caller) error {
	var in communityInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	if err := s.cfg.Communities.Unsubscribe(r.Context(), actor, in.Community); err != nil {
		return err
	}
	return write(w, successView{true})
}
