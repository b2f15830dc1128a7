package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/login"
)

// grantForm asks a member for permissions that their session lacks (S36). Its
// answer leads to their own server, so a page that shows it calls
// httpserver.FormsLeadElsewhere.
type grantForm struct {
	Acting      string   // DID of who is asked
	Scope       string   // what is missing, separated by spaces
	Permissions []string // the same in words
	ReturnTo    string
	Apart       bool // opens in a tab of its own, so that what was typed here stays
}

// permissionMissing stands above the form, which says which one.
const permissionMissing = "This takes a permission that you have not given, so nothing was done yet."

// newGrantForm makes the form for an error that says which permissions are
// missing; nil for every other error.
func newGrantForm(err error, acting, returnTo string) *grantForm {
	var lacking *agent.Error
	if !errors.As(err, &lacking) || lacking.Kind != agent.NeedsScope || len(lacking.Scopes) == 0 || acting == "" {
		return nil
	}
	return &grantForm{
		Acting: acting, Scope: strings.Join(lacking.Scopes, " "), Permissions: permissions(lacking.Scopes), ReturnTo: returnTo,
	}
}

// signInUpgrade answers POST /oauth/upgrade: the member wants to give the
// permissions that their session lacks, and is led to their own server for it.
// Until they come back nothing changes.
func (s *Server) signInUpgrade(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	_, account, err := s.actor(w, r, form)
	if err != nil {
		return err
	}
	started, err := s.cfg.SignIn.Upgrade(r.Context(), login.Upgrade{
		DID: account.DID, SessionID: account.SessionID, Scope: form.Get("scope"), ReturnTo: s.returnTo(form),
		Addr: httpserver.ClientAddr(r), Cookies: r.Cookies(),
	})
	if err != nil {
		return err
	}
	for _, cookie := range started.Cookies {
		http.SetCookie(w, cookie)
	}
	redirect(w, r, started.URL)
	return nil
}

// cameFrom is the page of ours that a form was sent from, as far as the browser
// says so; otherwise where back leads.
func (s *Server) cameFrom(r *http.Request) string {
	if r.Method == http.MethodPost && strings.HasPrefix(r.Referer(), s.cfg.Origin+"/") {
		return login.ReturnTo(r.Referer(), s.cfg.Origin)
	}
	return s.back(r)
}
