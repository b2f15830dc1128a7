package web

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/login"
)

// maxIdentifier bounds what is taken over into the sign-in form, in bytes.
const maxIdentifier = 2048

// signInShow answers GET /sign-in: the form, for a stranger or for a member who
// adds another account.
func (s *Server) signInShow(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	account := query.Get("handle")
	if len(account) > maxIdentifier || !cleanText(account) {
		account = ""
	}
	return s.showSignIn(w, r, v, http.StatusOK, newSignInPage(account, s.returnTo(query)))
}

// returnTo is where a sign-in leads in the end: a local path (S12). Existing
// clients call the parameter redirect.
func (s *Server) returnTo(values map[string][]string) string {
	for _, name := range []string{"return_to", "redirect"} {
		if v := values[name]; len(v) > 0 && v[0] != "" {
			return login.ReturnTo(v[0], s.cfg.Origin)
		}
	}
	return "/"
}

// showSignIn renders the form, whose answer leads to the member's own server.
func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, v visitor, status int, data signInPage) error {
	httpserver.FormsLeadElsewhere(w.Header())
	p := page{Title: "Sign in", Path: "/sign-in", Viewer: v.viewer(), Quiet: true, Notice: noticeOf(r), Data: data}
	if p.Viewer != nil {
		p.Title = "Add another account"
	}
	return s.pages.write(w, status, "signin_show", p)
}

func newSignInPage(account, returnTo string) signInPage {
	return signInPage{
		ReturnTo: returnTo,
		Account: field{Name: "handle", Label: "Handle, DID or server", Value: account, Required: true, Literal: true, Autocomplete: "username",
			Hint: "For example alice.bsky.social, or the address of your server such as https://pds.example.com."},
	}
}
