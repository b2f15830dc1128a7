package httpserver

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/atoll-social/atoll/internal/fault"
)

// Origins decides whether a request that changes state came from our own
// pages. It belongs on every route that reads cookies.
type Origins struct {
	own        string
	protection *http.CrossOriginProtection
}

// NewOrigins takes the one origin under which browsers reach this server, such
// as "https://atoll.example" (a reverse proxy may pass another Host on).
func NewOrigins(own string) (*Origins, error) {
	o := &Origins{own: own, protection: http.NewCrossOriginProtection()}
	if err := o.protection.AddTrustedOrigin(own); err != nil {
		return nil, fmt.Errorf("own origin %q: %w", own, err)
	}
	return o, nil
}

var (
	errNoOrigin = errors.New("cookie without Origin and Sec-Fetch-Site")
	errForeign  = errors.New("cross-origin request")
)

const foreignText = "This request came from another site, so nothing was done. Open the page here and try again."

// Check returns a Forbidden fault for a request that may change state (any
// method but GET, HEAD and OPTIONS) and is not shown to be of the same origin.
// Browsers say where a request comes from; a program that says nothing is let
// through only if it carries no cookie.
func (o *Origins) Check(r *http.Request) error {
	if err := o.protection.Check(r); err != nil {
		return fault.Wrap(fault.Forbidden, errors.Join(errForeign, err), foreignText).WithCode("CrossOrigin")
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	// CrossOriginProtection takes the request's own host for ours, whatever the
	// scheme: a page that an attacker serves under our name by plain http would
	// pass in a browser that sends no Sec-Fetch-Site.
	if origin := r.Header.Get("Origin"); origin != "" && origin != o.own {
		return fault.Wrap(fault.Forbidden, errForeign, foreignText).WithCode("CrossOrigin")
	}
	unknown := r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == ""
	if unknown && len(r.Header.Values("Cookie")) > 0 {
		return fault.Wrap(fault.Forbidden, errNoOrigin, foreignText).WithCode("CrossOrigin")
	}
	return nil
}
