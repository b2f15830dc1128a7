package web

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/login"
)

// signInFinish answers GET /oauth/callback: a browser comes back from a
// member's server. Signed in or not, it leads to where the member came from;
// after an error the sign-in form says what happened.
func (s *Server) signInFinish(w http.ResponseWriter, r *http.Request) error {
	if err := visited(w, r); err != nil {
		return err
	}
	out, err := s.cfg.SignIn.Callback(r.Context(), login.Callback{
		Query: r.URL.Query(), Cookies: r.Cookies(), Token: s.cfg.Cookies.Device(r),
		Addr: httpserver.ClientAddr(r), UserAgent: r.UserAgent(),
	})
	for _, cookie := range out.Cookies {
		http.SetCookie(w, cookie)
	}
	if out.App != "" { // its page says how it ended
		if err == nil {
			redirect(w, r, out.ReturnTo)
		}
		return err
	}
	if err != nil {
		return s.callbackFailed(err, out)
	}
	switch {
	case out.Result != login.Declined:
		redirect(w, r, out.ReturnTo)
	case out.Upgrade:
		redirect(w, r, addNotice(out.ReturnTo, noticeKept))
	default:
		redirect(w, r, addNotice(out.ReturnTo, noticeDeclined))
	}
	return nil
}

// callbackFailed shows the error above the sign-in form, so that trying again
// is one click. Nothing is wrong with what was typed, so nothing is beside it.
func (s *Server) callbackFailed(err error, out login.Outcome) error {
	f := fault.From(err)
	if f.Kind == fault.Internal {
		return err
	}
	return &formError{err, func(w http.ResponseWriter, r *http.Request, status int) error {
		v, lookup := s.visitor(w, r)
		if lookup != nil {
			return errors.Join(err, lookup)
		}
		data := newSignInPage(cmp.Or(out.Identifier, out.DID.String()), out.ReturnTo)
		data.Trouble = f.Public
		return s.showSignIn(w, r, v, status, data)
	}}
}
