package web

import "net/http"

// homeShow answers GET /: what this place is, or the way on for a member.
func (s *Server) homeShow(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	return s.show(w, r, v, http.StatusOK, "home_show", "", nil)
}
