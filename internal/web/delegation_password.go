package web

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/keyring"
)

// wrongPassword is what to say of a password that was not kept: beside the field,
// or on top of the page.
type wrongPassword struct{ field, trouble string }

// delegationGive answers POST /account/delegation/password: the member gives an
// app password, which is kept once their own server has taken it.
func (s *Server) delegationGive(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	password := keyring.NewSecret(form.Get("password"))
	form.Del("password") // no page shows it again
	v, account, err := s.actor(w, r, form)
	if err != nil {
		return err
	}
	if err := s.cfg.Writes.Spend(account.DID.String()); err != nil {
		return err
	}
	err = s.cfg.Passwords.Give(r.Context(), account.DID, password)
	if err == nil {
		redirect(w, r, delegationPath)
		return nil
	}
	f := fault.From(err)
	if f.Kind == fault.Internal {
		return err
	}
	wrong := &wrongPassword{trouble: f.Public}
	if f.Kind == fault.Invalid {
		wrong = &wrongPassword{field: f.Public}
	}
	return s.showDelegation(w, r, v, account, httpserver.Status(err), wrong)
}

// delegationRemove answers POST /account/delegation/password/remove.
func (s *Server) delegationRemove(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	_, account, err := s.leaver(w, r, form) // also when the session is over
	if err != nil {
		return err
	}
	if err := s.cfg.Passwords.Remove(r.Context(), account.DID); err != nil {
		return err
	}
	redirect(w, r, delegationPath)
	return nil
}

// delegationRoutes are the pages about how Atoll writes for a member.
func (s *Server) delegationRoutes() map[string]httpserver.HandlerFunc {
	if s.cfg.Standings == nil || s.cfg.Passwords == nil {
		return nil
	}
	return map[string]httpserver.HandlerFunc{
		"GET " + delegationPath:                       s.delegationShow,
		"POST " + delegationPath + "/password":        s.delegationGive,
		"POST " + delegationPath + "/password/remove": s.delegationRemove,
	}
}
