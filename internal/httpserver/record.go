package httpserver

import (
	"context"
	"net/http"
	"time"
)

// record is what is known about a request for its line in the log and for
// metrics. One request, one goroutine: it needs no lock.
type record struct {
	start   time.Time
	pattern string // of the mux; empty while none matched
	status  int    // zero until the answer begins
	bytes   int64
	err     error
	gone    bool // the client left before there was an answer
	quiet   bool // a probe: logged at debug only
}

type recordKey struct{}

// observe returns the record of r, and w and r with it. Middleware that is
// stacked shares one record and one wrapped writer.
func observe(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, *record) {
	if rec, ok := r.Context().Value(recordKey{}).(*record); ok {
		return w, r, rec
	}
	rec := &record{start: time.Now()}
	r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
	return &writer{ResponseWriter: w, rec: rec}, r, rec
}

// route notes the mux pattern of r; the innermost mux decides.
func (rec *record) route(r *http.Request) {
	if rec.pattern == "" {
		rec.pattern = r.Pattern
	}
}

// routeName is the pattern for logs and labels. Paths themselves are not
// logged: they are unbounded, and some are personal links.
func (rec *record) routeName() string {
	if rec.pattern == "" {
		return "unmatched"
	}
	return rec.pattern
}

// finalStatus is what the client saw; 499 when it had left.
func (rec *record) finalStatus() int {
	switch {
	case rec.gone:
		return 499
	case rec.status == 0:
		return http.StatusOK // net/http writes it for a handler that wrote nothing
	}
	return rec.status
}

// writer notes status and size.
type writer struct {
	http.ResponseWriter
	rec *record
}

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if w.rec.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.rec.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	if w.rec.status == 0 {
		w.rec.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.rec.bytes += int64(n)
	return n, err
}

// Flush implements http.Flusher, which libraries for streams ask for by type.
func (w *writer) Flush() {
	if w.rec.status == 0 {
		w.rec.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // unsupported only by test recorders
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
