package httpserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/telemetry"
)

// logged runs h behind the middleware that every surface has and returns the
// answer and the lines of the log.
func logged(t *testing.T, h http.Handler, r *http.Request) (*httptest.ResponseRecorder, []map[string]any) {
	t.Helper()
	var out bytes.Buffer
	logger, err := telemetry.NewLogger(telemetry.LogConfig{Level: "debug", Format: "json", Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				t.Errorf("panic got out: %v", v)
			}
		}()
		httpserver.Chain(h, httpserver.RequestID, httpserver.AccessLog(logger),
			httpserver.Recover(httpserver.RenderText)).ServeHTTP(w, r)
	}()
	var lines []map[string]any
	for line := range bytes.Lines(out.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		lines = append(lines, m)
	}
	return w, lines
}

func handlerReturning(err error) http.Handler {
	return httpserver.Handler(httpserver.RenderText, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Content-Length", "5")
		return err
	})
}

func TestAnErrorIsRenderedOnceAndLoggedOnce(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.0.0.1: refused")
	tests := []struct {
		name   string
		err    error
		status int
		level  string
	}{
		{"plain error", fmt.Errorf("load page: %w", secret), 500, "ERROR"},
		{"internal", fault.Wrap(fault.Internal, secret, "Sorry."), 500, "ERROR"},
		{"invalid", fault.Wrap(fault.Invalid, secret, "Sorry."), 400, "INFO"},
		{"unauthenticated", fault.Wrap(fault.Unauthenticated, secret, "Sorry."), 401, "INFO"},
		{"forbidden", fault.Wrap(fault.Forbidden, secret, "Sorry."), 403, "INFO"},
		{"not found", fmt.Errorf("x: %w", fault.Wrap(fault.NotFound, secret, "Sorry.")), 404, "INFO"},
		{"conflict", fault.Wrap(fault.Conflict, secret, "Sorry."), 409, "INFO"},
		{"limited", fault.Wrap(fault.Limited, secret, "Sorry."), 429, "INFO"},
		{"unavailable", fault.Wrap(fault.Unavailable, secret, "Sorry."), 503, "WARN"},
		{"too large", fmt.Errorf("read form: %w", errors.Join(secret, &http.MaxBytesError{Limit: 9})), 413, "INFO"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, lines := logged(t, handlerReturning(test.err), httptest.NewRequest(http.MethodGet, "/", nil))
			if w.Code != test.status || strings.Contains(w.Body.String(), "10.0.0.1") {
				t.Errorf("answer = %d %q, want %d without the cause", w.Code, w.Body, test.status)
			}
			if got := w.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" || w.Header().Get("Content-Length") != "" {
				t.Errorf("headers of the unwritten answer stayed: %v", w.Header())
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("an error may be cached")
			}
			if len(lines) != 1 || lines[0]["level"] != test.level || !strings.Contains(fmt.Sprint(lines[0]["error"]), "10.0.0.1") {
				t.Errorf("log = %v, want one line at %s with the cause", lines, test.level)
			}
			if id := w.Header().Get("X-Request-Id"); id == "" || lines[0]["request_id"] != id {
				t.Errorf("request id of the answer %q, of the log %v; want the same", id, lines[0]["request_id"])
			}
		})
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	t.Parallel()
	boom := func(http.ResponseWriter, *http.Request) { panic("boom with DPoP Zx9kQ2vLw8") }
	for name, h := range map[string]http.Handler{
		"handler": httpserver.Handler(httpserver.RenderText, func(http.ResponseWriter, *http.Request) error { panic("boom with DPoP Zx9kQ2vLw8") }),
		"plain":   http.HandlerFunc(boom),
	} {
		w, lines := logged(t, h, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "boom") {
			t.Errorf("%s: answer = %d %q, want 500 without the panic", name, w.Code, w.Body)
		}
		text := fmt.Sprint(lines)
		if len(lines) != 1 || !strings.Contains(text, "boom") || !strings.Contains(text, "handler_test.go") || strings.Contains(text, "Zx9k") {
			t.Errorf("%s: log = %v, want one line with panic and stack, without the secret", name, lines)
		}
	}
}

func TestHalfAnAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	h := httpserver.Chain(httpserver.Handler(httpserver.RenderText, func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "half")
		return errors.New("lost the rest")
	}), httpserver.AccessLog(logger), httpserver.Recover(httpserver.RenderText))
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("reading half an answer succeeded, want a broken connection")
	}
	server.Close()
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "lost the rest") {
		t.Errorf("log = %q, want one line with the error", &out)
	}
}

func TestRetryAfterIsInWholeSeconds(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		time.Millisecond: "1", 1500 * time.Millisecond: "2", time.Minute: "60", 0: "",
	} {
		w, _ := logged(t, handlerReturning(httpserver.Limited(wait)), httptest.NewRequest(http.MethodGet, "/", nil))
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("Retry-After for %s = %q, want %q", wait, got, want)
		}
	}
}

func TestAClientThatLeftIsNotAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
	_, lines := logged(t, handlerReturning(fmt.Errorf("query: %w", ctx.Err())), r)
	if len(lines) != 1 || lines[0]["level"] != "INFO" || lines[0]["status"] != 499.0 {
		t.Errorf("log = %v, want one line at INFO with status 499", lines)
	}
}

// Paths can be personal links and queries carry codes: neither is logged.
func TestTheAccessLogHasTheRouteOnly(t *testing.T) {
	t.Parallel()
	inner := http.NewServeMux()
	inner.Handle("GET /api/{what}", httpserver.Handler(httpserver.RenderText, func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, "hello")
		return err
	}))
	mux := http.NewServeMux()
	mux.Handle("/", httpserver.Recover(httpserver.RenderText)(inner))
	r := httptest.NewRequest(http.MethodGet, "/api/Canary1?code=Canary2", nil)
	r.Header.Set("User-Agent", "Canary3")
	r.Header.Set("X-Request-Id", "Canary4")
	w, lines := logged(t, httpserver.Routes(mux, httpserver.RenderText), r)
	if len(lines) != 1 {
		t.Fatalf("log = %v, want one line", lines)
	}
	got := lines[0]
	for _, key := range []string{"time", "took", "request_id"} {
		if got[key] == nil {
			t.Errorf("line has no %s", key)
		}
		delete(got, key)
	}
	want := map[string]any{
		"level": "INFO", "msg": "request", "method": "GET", "route": "GET /api/{what}",
		"status": 200.0, "bytes": 5.0, "addr": "192.0.2.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	if id := w.Header().Get("X-Request-Id"); len(id) < 26 || strings.Contains(id, "Canary") {
		t.Errorf("request id = %q, want a fresh one", id)
	}
}

func TestRoutesRendersWhatTheMuxWouldAnswer(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /page", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /dir/", func(http.ResponseWriter, *http.Request) {})
	h := httpserver.Routes(mux, func(w http.ResponseWriter, _ *http.Request, err error) {
		w.WriteHeader(httpserver.Status(err))
		_, _ = io.WriteString(w, "rendered "+fault.From(err).Code)
	})
	for _, test := range []struct {
		method, path string
		status       int
		body, allow  string
	}{
		{"GET", "/page", 200, "", ""},
		{"GET", "/none", 404, "rendered ", ""},
		{"DELETE", "/page", 405, "rendered MethodNotAllowed", "GET, HEAD, POST"},
		{"GET", "/dir", 307, "", ""},
	} {
		w, _ := logged(t, h, httptest.NewRequest(test.method, test.path, nil))
		if w.Code != test.status || !strings.HasPrefix(w.Body.String(), test.body) || w.Header().Get("Allow") != test.allow {
			t.Errorf("%s %s = %d %q, Allow %q; want %d %q, %q", test.method, test.path,
				w.Code, w.Body, w.Header().Get("Allow"), test.status, test.body, test.allow)
		}
	}
}
