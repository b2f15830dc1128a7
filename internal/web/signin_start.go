package web

import (
	"net/http"
	"strings"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/login"
)

// signInStart answers POST /oauth/login, the sign-in form, and GET /oauth/login
// with ?handle=, by which other clients begin. It leads to the member's own
// server. It changes nothing for anybody who is signed in.
func (s *Server) signInStart(w http.ResponseWriter, r *http.Request) error {
	if err := visited(w, r); err != nil {
		return err
	}
	values, err := r.URL.Query(), error(nil)
	if r.Method == http.MethodPost {
		values, err = readForm(w, r, smallForm)
	}
	if err != nil {
		return err
	}
	identifier, returnTo := values.Get("handle"), s.returnTo(values)
	if identifier == "" && r.Method != http.MethodPost {
		redirect(w, r, signInURL(returnTo))
		return nil
	}
	started, err := s.cfg.SignIn.Start(r.Context(), login.Start{
		Identifier: identifier, ReturnTo: returnTo, Addr: httpserver.ClientAddr(r), Cookies: r.Cookies(),
	})
	if err != nil {
		return s.signInAgain(err, identifier, returnTo)
	}
	for _, cookie := range started.Cookies {
		http.SetCookie(w, cookie)
	}
	redirect(w, r, started.URL)
	return nil
}

// signInAgain makes an error of a sign-in show the form, filled in. What is
// wrong with the name that was typed stands beside it, everything else on top.
func (s *Server) signInAgain(err error, identifier, returnTo string) error {
	kind := fault.KindOf(err)
	if kind == fault.Internal {
		return err
	}
	return &formError{err, func(w http.ResponseWriter, r *http.Request, status int) error {
		v, lookup := s.visitor(w, r)
		if lookup != nil {
			return lookup
		}
		if len(identifier) > maxIdentifier || !cleanText(identifier) {
			identifier = ""
		}
		data := newSignInPage(identifier, returnTo)
		what := fault.From(err).Public
		if kind == fault.Invalid || kind == fault.NotFound {
			data.Account.Wrong, data.Account.Focus = what, true
		} else {
			data.Trouble = what
		}
		return s.showSignIn(w, r, v, status, data)
	}}
}

// visited refuses what is no visit where GET begins or ends something. Whoever
// only wants to know what is behind a link must not use it up, and another
// site's picture or frame with this address must not spend the sign-ins of
// whoever looks at it (Fetch Metadata, section 2.1). Browsers that do not say
// what a request is for are let through.
func visited(w http.ResponseWriter, r *http.Request) error {
	switch {
	case r.Method == http.MethodHead:
		w.Header().Set("Allow", "GET")
		return fault.Wrap(fault.Invalid, httpserver.ErrMethodNotAllowed, "This address does not take requests of this kind.").
			WithCode("MethodNotAllowed")
	case r.Method != http.MethodGet:
		return nil // a form, of which Origins judges where it came from
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	ahead := strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
	if dest != "" && dest != "document" || ahead {
		return fault.New(fault.Forbidden, "This address is for opening as a page of its own, so nothing was done.").WithCode("NotAVisit")
	}
	return nil
}
