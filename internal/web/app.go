package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/login"
)

// Apps is the browser's part in signing an app in. It is login.Service.
type Apps interface {
	OpenApp(ctx context.Context, in login.OpenApp) (login.Started, error)
	AppRequest(ctx context.Context, id string, cookies []*http.Cookie) (login.AppRequest, error)
	ApproveApp(ctx context.Context, id, code string, cookies []*http.Cookie) error
	DeclineApp(ctx context.Context, id string, cookies []*http.Cookie) error
	AppOnThisMachine(ctx context.Context, id string, cookies []*http.Cookie) (string, error)
	StartAppRedirect(ctx context.Context, in login.AppRedirect) (login.Started, error)
}

// appRoutes are the addresses at which apps are signed in; none without Apps.
func (s *Server) appRoutes() map[string]httpserver.HandlerFunc {
	if s.cfg.Apps == nil {
		return nil
	}
	return map[string]httpserver.HandlerFunc{
		"GET /app/{id}":           s.appOpen,
		"GET /app/{id}/approve":   s.appShow,
		"POST /app/{id}/approve":  s.appApprove,
		"POST /app/{id}/decline":  s.appDecline,
		"POST /app/{id}/here":     s.appHere,
		"GET /oauth/mobile/login": s.mobileStart,
	}
}

// appPage is the data of app_approve.
type appPage struct {
	ID       string
	Name     string // what the app calls itself
	Account  person
	Origin   string // where it asked from; empty when unknown
	Asked    moment
	Loopback bool // it may be on this machine
	Code     field
}

// appEndPage is the data of app_end.
type appEndPage struct {
	Heading, What string
}

// appEndings say how the sign-in of an app ended.
var appEndings = map[login.HandOffState]appEndPage{
	login.StateDenied:    {"Not signed in", "You declined, so the app was not signed in. Nothing has changed."},
	login.StateWrongCode: {"Not signed in", "A wrong code was typed five times, so the app was not signed in. If it was you, start again in the app."},
	login.StateFailed:    {"Not signed in", "Your server did not finish the sign-in, so the app was not signed in. Start again in the app."},
	login.StateCancelled: {"Not signed in", "The app has given this sign-in up. Start again there, if you still want to."},
	login.StateExpired:   {"Too late", "This sign-in was not finished within 30 minutes. Start again in the app."},
}

// appDone is what the member sees in the end.
var appDone = appEndPage{"The app is signed in", "You can close this page and go on in the app. To end it, sign out there."}

// appOpen answers GET /app/{id}: the address that an app shows or opens. It binds
// the sign-in to this browser and leads on to the member's server.
func (s *Server) appOpen(w http.ResponseWriter, r *http.Request) error {
	if err := visited(w, r); err != nil {
		return err
	}
	id := r.PathValue("id")
	started, err := s.cfg.Apps.OpenApp(r.Context(), login.OpenApp{ID: id, Addr: httpserver.ClientAddr(r), Cookies: r.Cookies()})
	var ended *login.EndedError
	if errors.As(err, &ended) {
		redirect(w, r, login.ApprovePath(id))
		return nil
	}
	if err != nil {
		return err
	}
	for _, cookie := range started.Cookies {
		http.SetCookie(w, cookie)
	}
	redirect(w, r, started.URL)
	return nil
}

// appShow answers GET /app/{id}/approve: what the app wants and a field for the
// code that it shows, or how it ended.
func (s *Server) appShow(w http.ResponseWriter, r *http.Request) error {
	request, err := s.cfg.Apps.AppRequest(r.Context(), r.PathValue("id"), r.Cookies())
	if err != nil {
		return err
	}
	return s.showApp(w, r, http.StatusOK, request, "")
}

// showApp renders a request; wrong is what is wrong with the code that was typed.
func (s *Server) showApp(w http.ResponseWriter, r *http.Request, status int, request login.AppRequest, wrong string) error {
	w.Header().Set("Cache-Control", "no-store")
	p := page{Path: r.URL.Path, Back: "/", Quiet: true}
	if request.CodeWanted {
		if port := request.LoopbackPort; port != 0 { // the app on the browser's own machine
			httpserver.FormsLeadElsewhere(w.Header(), "http://127.0.0.1:"+strconv.Itoa(port))
		}
		p.Title, p.Data = "Sign an app in?", s.newAppPage(request, wrong)
		return s.pages.write(w, status, "app_approve", p)
	}
	data := appEndings[request.State]
	if request.Approved {
		data = appDone
	}
	p.Title, p.Data = data.Heading, data
	return s.pages.write(w, status, "app_end", p)
}

func (s *Server) newAppPage(request login.AppRequest, wrong string) appPage {
	return appPage{
		ID: request.ID, Name: request.Name, Account: person{DID: request.DID.String(), Handle: shownHandle(request.Handle)},
		Origin: request.Origin, Asked: momentOf(request.Asked, s.now()), Loopback: request.LoopbackPort != 0,
		Code: field{Name: "code", Label: "Code that the app shows", Wrong: wrong, Focus: wrong != "", Required: true, Literal: true, Autocomplete: "off",
			Hint: "Eight letters, such as BCDF-GHJK. Read it in the app itself: somebody who sends you a code wants to be signed in as you."},
	}
}

// appApprove answers POST /app/{id}/approve: the member has typed the code.
func (s *Server) appApprove(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	err = s.cfg.Apps.ApproveApp(r.Context(), id, form.Get("code"), r.Cookies())
	var wrong *login.WrongCodeError
	if errors.As(err, &wrong) {
		return &formError{err, func(w http.ResponseWriter, r *http.Request, status int) error {
			request, lookup := s.cfg.Apps.AppRequest(r.Context(), id, r.Cookies())
			if lookup != nil {
				return lookup
			}
			return s.showApp(w, r, status, request, triesLeft(wrong.TriesLeft))
		}}
	}
	return s.appDecided(w, r, err)
}

func triesLeft(n int) string {
	if n == 1 {
		return "That is not the code that the app shows. You can try once more."
	}
	return "That is not the code that the app shows. You can try " + countTimes(n) + " more."
}

func countTimes(n int) string {
	return [...]string{"no times", "once", "two times", "three times", "four times"}[min(n, 4)]
}

// appDecline answers POST /app/{id}/decline.
func (s *Server) appDecline(w http.ResponseWriter, r *http.Request) error {
	if _, err := readForm(w, r, smallForm); err != nil {
		return err
	}
	return s.appDecided(w, r, s.cfg.Apps.DeclineApp(r.Context(), r.PathValue("id"), r.Cookies()))
}

// appHere answers POST /app/{id}/here: the browser is led to the app on its own
// machine, which needs no code.
func (s *Server) appHere(w http.ResponseWriter, r *http.Request) error {
	if _, err := readForm(w, r, smallForm); err != nil {
		return err
	}
	to, err := s.cfg.Apps.AppOnThisMachine(r.Context(), r.PathValue("id"), r.Cookies())
	if err != nil {
		return s.appDecided(w, r, err)
	}
	redirect(w, r, to)
	return nil
}

// appDecided leads to the page that says how the sign-in ended.
func (s *Server) appDecided(w http.ResponseWriter, r *http.Request, err error) error {
	var ended *login.EndedError
	if err != nil && !errors.As(err, &ended) {
		return err
	}
	redirect(w, r, login.ApprovePath(r.PathValue("id")))
	return nil
}

// mobileStart answers GET /oauth/mobile/login, by which existing mobile clients
// begin: like /oauth/login, but the session goes to the app.
func (s *Server) mobileStart(w http.ResponseWriter, r *http.Request) error {
	if err := visited(w, r); err != nil {
		return err
	}
	query := r.URL.Query()
	started, err := s.cfg.Apps.StartAppRedirect(r.Context(), login.AppRedirect{
		Identifier: query.Get("handle"), RedirectURI: query.Get("redirect_uri"), Addr: httpserver.ClientAddr(r), Cookies: r.Cookies(),
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
