package web

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/telemetry"
)

var errNoPage = fault.New(fault.NotFound, "There is no page at this address.")

// formError is an error whose page is the form that it came from, with what was
// typed and what is wrong with it. It is returned like any other, so that it is
// logged once and has its status from the one place.
type formError struct {
	error
	show func(w http.ResponseWriter, r *http.Request, status int) error
}

// Unwrap returns the error without its page.
func (e *formError) Unwrap() error { return e.error }

// headings name each status in a few words. Statuses follow from the kind of
// a fault in one place, httpserver.Status.
var headings = map[int]string{
	http.StatusBadRequest:            "That did not make sense here",
	http.StatusUnauthorized:          "Sign in first",
	http.StatusForbidden:             "Not allowed",
	http.StatusNotFound:              "Nothing at this position",
	http.StatusMethodNotAllowed:      "Not this way",
	http.StatusConflict:              "Something changed in between",
	http.StatusRequestEntityTooLarge: "Too much at once",
	http.StatusTooManyRequests:       "A moment, please",
	http.StatusInternalServerError:   "Something went wrong here",
	http.StatusServiceUnavailable:    "Not reachable just now",
}

// RenderFault answers a request with a page that says what happened and what to
// do. It is the httpserver.Renderer of this surface, also for what never came
// to one of its handlers.
func (s *Server) RenderFault(w http.ResponseWriter, r *http.Request, err error) {
	status := httpserver.Status(err)
	var form *formError
	if errors.As(err, &form) && form.show(w, r, status) == nil {
		return
	}
	if status == http.StatusTooManyRequests {
		s.renderFault(w, r, err, page{Quiet: true}) // whoever floods us gets no look-ups
		return
	}
	v, lookup := s.visitor(w, r)
	if lookup == nil && v.viewer() != nil && asksWho(err) {
		if s.chooseAccount(w, r, v, err) == nil {
			return
		}
	}
	s.renderFault(w, r, err, page{Viewer: v.viewer(), Quiet: lookup != nil})
}

// renderFault shows err on p.
func (s *Server) renderFault(w http.ResponseWriter, r *http.Request, err error, p page) {
	status := httpserver.Status(err)
	data := s.faultData(r, err, status)
	if p.Viewer != nil {
		if data.Grant = newGrantForm(err, p.Viewer.DID, s.cameFrom(r)); data.Grant != nil {
			data.Heading, data.What = "One more permission", permissionMissing
			httpserver.FormsLeadElsewhere(w.Header())
		}
	}
	p.Title, p.Path, p.Back, p.Data = data.Heading, r.URL.Path, s.back(r), data
	if s.pages.write(w, status, "fault_show", p) != nil {
		httpserver.RenderText(w, r, err)
	}
}

func (s *Server) faultData(r *http.Request, err error, status int) faultPage {
	f := fault.From(err)
	data := faultPage{
		Heading: headings[status], What: f.Public, Status: status,
		RequestID: telemetry.RequestID(r.Context()), Links: faultLinks(s.back(r), status),
	}
	if data.Heading == "" {
		data.Heading = headings[http.StatusInternalServerError]
	}
	if f.Code == "InvalidCursor" {
		data.What = "This link led on from a page that is not there any more. Begin again with the first."
		data.Links = append([]link{{URL: r.URL.Path, Text: "Back to the beginning"}}, link{URL: "/", Text: "Home", Plain: true})
	}
	if f.RetryAfter > 0 {
		data.Do = "Try again in " + duration(f.RetryAfter) + "."
	}
	return data
}

// faultLinks offers the way on: signing in where that helps, else the way home.
func faultLinks(back string, status int) []link {
	if status == http.StatusUnauthorized {
		return []link{{URL: signInURL(back), Text: "Sign in"}, {URL: "/", Text: "Home", Plain: true}}
	}
	return []link{{URL: "/", Text: "Home"}, {URL: "/discover", Text: "Discover", Plain: true}}
}

// duration says how long, in whole units that people use.
func duration(d time.Duration) string {
	unit, n := "second", int(math.Ceil(d.Seconds()))
	if d >= 2*time.Minute {
		unit, n = "minute", int(math.Ceil(d.Minutes()))
	}
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
