// Package httpserver is what every HTTP surface stands on: handlers that
// return errors, middleware, limits, listeners, readiness and a graceful
// stop. It knows no surface and no rule of the domain.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
)

// HandlerFunc answers a request or returns why it could not. One that returns
// an error has written nothing; the surface's Renderer turns it into an answer.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Renderer writes the answer for an error in the manner of one surface: a
// page, or the JSON of a protocol. Status gives the usual status. It must show
// only what fault.From(err) has for people, and does not log.
type Renderer func(w http.ResponseWriter, r *http.Request, err error)

// Middleware wraps a handler.
type Middleware func(http.Handler) http.Handler

// Chain wraps h so that the first middleware sees a request first.
func Chain(h http.Handler, middleware ...Middleware) http.Handler {
	for i := len(middleware) - 1; i >= 0; i-- {
		h = middleware[i](h)
	}
	return h
}

// PanicError is what a handler's panic becomes. It is an internal error.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the value and the stack, for the log.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Handler makes an http.Handler of h. An error, or a panic, is noted for the
// line that AccessLog writes (its only mention in the log) and rendered. When
// the answer had begun, the connection is cut instead, so that nobody takes
// half an answer for a whole one. Render finds Retry-After set, and bodies
// over their limit turned into a fault with code PayloadTooLarge.
func Handler(render func(w http.ResponseWriter, r *http.Request, err error), h HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, rec := observe(w, r)
		defer rec.route(r) // after the muxes inside, which know better
		if err := call(h, w, r); err != nil {
			rec.fail(w, r, render, err)
		}
	})
}

// call runs h and returns a panic as an error. http.ErrAbortHandler passes: it
// asks for the connection to be cut.
func call(h HandlerFunc, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h(w, r)
}

// fail notes err and answers with it.
func (rec *record) fail(w http.ResponseWriter, r *http.Request, render Renderer, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		err = fault.Wrap(fault.Invalid, err,
			fmt.Sprintf("What was sent is larger than the %d bytes that are accepted here.", tooLarge.Limit)).
			WithCode("PayloadTooLarge")
	}
	rec.err = err
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		rec.gone = true // nobody is left to answer
		return
	}
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Type", "Etag", "Last-Modified"} {
		header.Del(name) // what the handler had prepared for success
	}
	header.Set("Cache-Control", "no-store")
	if wait := fault.From(err).RetryAfter; wait > 0 {
		header.Set("Retry-After", retryAfter(wait))
	}
	render(w, r, err)
}

// retryAfter returns whole seconds, at least one (RFC 9110, section 10.2.3).
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(int(math.Ceil(max(1, wait.Seconds()))))
}

var statuses = map[fault.Kind]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.Limited:         http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
}

// Status returns the HTTP status that fits err: by its fault's kind, with 413
// for a body over its limit and 405 for ErrMethodNotAllowed.
func Status(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrMethodNotAllowed):
		return http.StatusMethodNotAllowed
	}
	if status, ok := statuses[fault.KindOf(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// RenderText is the Renderer for where no surface is responsible: the public
// sentence as plain text.
func RenderText(w http.ResponseWriter, _ *http.Request, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(Status(err))
	fmt.Fprintln(w, fault.From(err).Public)
}
