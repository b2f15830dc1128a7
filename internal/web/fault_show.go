package web

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/telemetry"
)

var errNoPage = fault.New(fault.NotFound, "There is no page at this address.")

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
	v, lookup := s.visitor(w, r)
	var switched *session.SwitchedError
	if lookup == nil && v.viewer() != nil && (errors.As(err, &switched) || errors.Is(err, session.ErrNoActor)) {
		if s.chooseAccount(w, r, v, err) == nil {
			return
		}
	}
	status := httpserver.Status(err)
	data := faultData(r, err, status)
	p := page{Title: data.Heading, Path: r.URL.Path, Viewer: v.viewer(), Anyone: lookup != nil, Data: data}
	if s.pages.write(w, status, "fault_show", p) != nil {
		httpserver.RenderText(w, r, err)
	}
}

func faultData(r *http.Request, err error, status int) faultPage {
	f := fault.From(err)
	data := faultPage{
		Heading: headings[status], What: f.Public, Status: status,
		RequestID: telemetry.RequestID(r.Context()), Links: faultLinks(r, status),
	}
	if data.Heading == "" {
		data.Heading = headings[http.StatusInternalServerError]
	}
	if f.RetryAfter > 0 {
		data.Do = "Try again in " + duration(f.RetryAfter) + "."
	}
	return data
}

// faultLinks offers the way on: sign-in where that helps, else the way home.
func faultLinks(r *http.Request, status int) []link {
	home := link{URL: "/", Text: "Home"}
	switch {
	case status == http.StatusUnauthorized && r.Method == http.MethodGet:
		home.Plain = true
		return []link{{URL: signInURL(r.URL.Path), Text: "Sign in"}, home}
	case status == http.StatusUnauthorized:
		home.Plain = true
		return []link{{URL: signInURL(""), Text: "Sign in"}, home}
	}
	return []link{home, {URL: "/discover", Text: "Discover", Plain: true}}
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
