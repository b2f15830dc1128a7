package httpserver

import (
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/telemetry"
)

// RequestID gives every request an id of its own, in its context (so that log
// lines carry it) and in the X-Request-Id header of the answer. An id that
// comes in is not taken over: it would let strangers write into the log.
func RequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := rand.Text()
		w.Header().Set("X-Request-Id", id)
		next.ServeHTTP(w, r.WithContext(telemetry.WithRequestID(r.Context(), id)))
	})
}

// AccessLog writes one line for each request when it has ended, with its error
// if there was one: internal errors at level error, unavailable parts at warn,
// all else at info. Neither path nor query is logged, only the route.
func AccessLog(logger *slog.Logger) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, r, rec := observe(w, r)
			defer func() { rec.log(logger, r) }()
			next.ServeHTTP(w, r)
		})
	}
}

func (rec *record) log(logger *slog.Logger, r *http.Request) {
	attrs := []slog.Attr{
		slog.String("method", methodName(r.Method)),
		slog.String("route", rec.routeName()),
		slog.Int("status", rec.finalStatus()),
		slog.Duration("took", time.Since(rec.start)),
		slog.Int64("bytes", rec.bytes),
		slog.String("addr", ClientAddr(r).String()),
	}
	level := slog.LevelInfo
	if rec.quiet {
		level = slog.LevelDebug
	}
	if rec.err != nil {
		kind := fault.KindOf(rec.err)
		attrs = append(attrs, slog.String("kind", kind.String()), slog.Any("error", rec.err))
		switch {
		case rec.gone:
		case kind == fault.Internal:
			level = slog.LevelError
		case kind == fault.Unavailable:
			level = slog.LevelWarn
		}
	}
	logger.LogAttrs(r.Context(), level, "request", attrs...)
}

// methodName bounds what a client can put into logs and labels.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// Recover answers panics of handlers that are not made by Handler.
func Recover(render Renderer) Middleware {
	return func(next http.Handler) http.Handler {
		return Handler(render, func(w http.ResponseWriter, r *http.Request) error {
			next.ServeHTTP(w, r)
			return nil
		})
	}
}

// MaxBody bounds request bodies. Reading more than limit bytes fails with
// *http.MaxBytesError, at once when the declared length is over it, which
// Handler answers with 413. A route may set a lower limit of its own.
func MaxBody(limit int64) Middleware {
	return MaxBodyOf(func(*http.Request) int64 { return limit })
}

// MaxBodyOf is MaxBody where the limit depends on the request.
func MaxBodyOf(limitOf func(r *http.Request) int64) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limit := limitOf(r)
			switch {
			case r.Body == nil || r.Body == http.NoBody:
			case r.ContentLength > limit:
				r.Body = &refusedBody{limit}
			default:
				r.Body = http.MaxBytesReader(innermost(w), r.Body, limit)
			}
			next.ServeHTTP(w, r)
		})
	}
}

type refusedBody struct{ limit int64 }

func (b *refusedBody) Read([]byte) (int, error) { return 0, &http.MaxBytesError{Limit: b.limit} }
func (b *refusedBody) Close() error             { return nil }

// innermost finds the server's own writer, which MaxBytesReader tells to close
// the connection after the answer.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapped, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapped.Unwrap()
	}
}

// Timeouts gives slow clients read for sending their body and write for
// taking the answer, counted from the request's headers. A handler may take
// longer than read once it has the body. One that streams lifts the second
// with http.ResponseController.SetWriteDeadline.
func Timeouts(read, write time.Duration) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			// Unsupported only by test recorders.
			_ = control.SetWriteDeadline(time.Now().Add(write))
			if r.Body != nil && r.Body != http.NoBody {
				_ = control.SetReadDeadline(time.Now().Add(read))
			}
			next.ServeHTTP(w, r)
		})
	}
}

// LocalhostRedirect sends readers at host localhost to 127.0.0.1, keeping the
// port. A development client is redirected to 127.0.0.1 after signing in, and
// cookies set for localhost would be missing there. Only GET and HEAD are
// redirected: other requests belong to programs.
func LocalhostRedirect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, err := net.SplitHostPort(r.Host)
		if err != nil {
			host, port = r.Host, ""
		}
		if !strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") ||
			(r.Method != http.MethodGet && r.Method != http.MethodHead) {
			next.ServeHTTP(w, r)
			return
		}
		target := "http://127.0.0.1"
		if port != "" {
			target = "http://" + net.JoinHostPort("127.0.0.1", port)
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, target+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
}
