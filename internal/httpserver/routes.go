package httpserver

import (
	"errors"
	"net/http"

	"github.com/atoll-social/atoll/internal/fault"
)

// ErrMethodNotAllowed is in the error that Routes renders for a known path
// with a method that it does not take; its status is 405.
var ErrMethodNotAllowed = errors.New("method not allowed")

// Routes serves a mux, notes which pattern was matched, and renders what the
// mux itself would answer in plain text: unknown paths and wrong methods.
func Routes(mux *http.ServeMux, render Renderer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, rec := observe(w, r)
		if own, pattern := mux.Handler(r); pattern == "" {
			if err := refusal(own, w, r); err != nil {
				rec.fail(w, r, render, err)
				return
			}
		}
		defer rec.route(r)
		mux.ServeHTTP(w, r)
	})
}

// refusal returns the error behind an answer that the mux makes by itself, nil
// for its redirects.
func refusal(own http.Handler, w http.ResponseWriter, r *http.Request) error {
	answer := &discarded{header: http.Header{}}
	own.ServeHTTP(answer, r)
	switch answer.status {
	case http.StatusNotFound:
		return fault.New(fault.NotFound, "There is nothing at this address.")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", answer.header.Get("Allow"))
		return fault.Wrap(fault.Invalid, ErrMethodNotAllowed, "This address does not take requests of this kind.").
			WithCode("MethodNotAllowed")
	}
	return nil
}

// discarded is an answer of which only status and headers matter.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }
