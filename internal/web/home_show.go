package web

import "net/http"

// homeShow answers GET /: what this place is, or what a member subscribes to.
func (s *Server) homeShow(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	if v.viewer() != nil {
		return s.homeFeed(w, r, v)
	}
	return s.show(w, r, v, http.StatusOK, "home_show", "", nil)
}
