package web

import (
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/session"
)

// accountSwitch answers POST /account/switch: another account of this device
// becomes the active one. The page that it was pressed on may be old; as the
// member says outright who they want to be, only that counts.
func (s *Server) accountSwitch(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	did, err := syntax.ParseDID(form.Get("account"))
	if err != nil {
		return session.ErrNotHere
	}
	if err := s.cfg.Sessions.Switch(r.Context(), s.cfg.Cookies.Device(r), did); err != nil {
		return err
	}
	redirect(w, r, "/account")
	return nil
}
