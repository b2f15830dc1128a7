package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/telemetry"
)

func newLogger(t *testing.T, format string) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	logger, err := telemetry.NewLogger(telemetry.LogConfig{Level: "debug", Format: format, Output: &out})
	if err != nil {
		t.Fatalf("NewLogger(%s) = %v", format, err)
	}
	return logger, &out
}

type stringer struct{ secret string }

func (s stringer) String() string { return "token=" + s.secret }

type valuer struct{ secret string }

func (v valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("password", v.secret), slog.Any("inner", stringer(v)))
}

type textMarshaler struct{ secret string }

func (m textMarshaler) MarshalText() ([]byte, error) { return []byte("Bearer " + m.secret), nil }

type named string

type account struct {
	Name     string
	Password string
	Nested   []map[string]any
}

// TestNothingSecretIsLogged puts one secret into every place of a log line
// that can hold it.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	const secret = "Zx9kQ2vLw8Rt"
	request, err := http.NewRequest(http.MethodGet, "https://a.example/cb?code="+secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "DPoP "+secret)
	request.AddCookie(&http.Cookie{Name: "any", Value: secret})
	attrs := map[string]slog.Attr{
		"key":             slog.String("access_token", secret),
		"key in capitals": slog.String("Refresh-Token", secret),
		"error":           slog.Any("err", fmt.Errorf("refused: %w", errors.New("Bearer "+secret))),
		"joined error":    slog.Any("err", errors.Join(errors.New("x"), errors.New("DPoP "+secret))),
		"stringer":        slog.Any("value", stringer{secret}),
		"valuer":          slog.Any("value", valuer{secret}),
		"marshaler":       slog.Any("value", textMarshaler{secret}),
		"bytes":           slog.Any("body", []byte(secret)),
		"bytes of key":    slog.Any("cookie", []byte(secret)),
		"named string":    slog.Any("value", named("password="+secret)),
		"struct":          slog.Any("account", account{Name: "x", Password: secret}),
		"pointer":         slog.Any("account", &account{Password: secret}),
		"nested":          slog.Any("account", account{Nested: []map[string]any{{"email": []string{secret}}}}),
		"header":          slog.Any("header", request.Header),
		"request":         slog.Any("request", request),
		"url":             slog.Any("url", request.URL),
		"url by value":    slog.Any("url", *request.URL),
		"values":          slog.Any("form", url.Values{"client_assertion": {secret}}),
		"slice":           slog.Any("list", []string{"a", "DPoP " + secret}),
		"group":           slog.Group("outer", slog.Group("inner", slog.String("secret", secret))),
		"group of secret": slog.Group("cookie", slog.String("value", secret)),
		"raw json":        slog.Any("raw", json.RawMessage(`{"password":"`+secret+`"}`)),
		"key itself":      slog.Int("Bearer "+secret, 1),
	}
	for name, attr := range attrs {
		for _, format := range []string{"text", "json"} {
			t.Run(name+" as "+format, func(t *testing.T) {
				t.Parallel()
				logger, out := newLogger(t, format)
				ctx := context.Background()
				logger.LogAttrs(ctx, slog.LevelInfo, "message", attr)
				logger.With(attr).InfoContext(ctx, "message")
				logger.WithGroup("g").With(attr).WithGroup("h").InfoContext(ctx, "message", attr)
				logger.WithGroup("password").InfoContext(ctx, "message", "value", secret)
				logger.InfoContext(ctx, "message with DPoP "+secret)
				if text := out.String(); strings.Contains(text, secret) || strings.Count(text, "\n") != 5 {
					t.Errorf("the log has the secret, or not 5 lines:\n%s", text)
				}
			})
		}
	}
}

func TestValuesThatMisbehaveDoNotBreakTheLine(t *testing.T) {
	t.Parallel()
	logger, out := newLogger(t, "json")
	var missing *stringer
	logger.Info("message", "nil stringer", missing, "func", func() {}, "nil", nil, "ok", 1)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("line %q: %v", out, err)
	}
	if line["ok"] != 1.0 {
		t.Errorf("line = %v, want ok=1 after the bad values", line)
	}
}

func TestRequestIDIsAddedOutsideOfGroups(t *testing.T) {
	t.Parallel()
	logger, out := newLogger(t, "json")
	ctx := telemetry.WithRequestID(context.Background(), "id1")
	logger.With("component", "x").WithGroup("g").With("a", 1).InfoContext(ctx, "message", "b", 2)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("line %q: %v", out, err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "message", "component": "x", "request_id": "id1",
		"g": map[string]any{"a": 1.0, "b": 2.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

// The handler keeps the rules of slog handlers (package testing/slogtest).
func TestHandlerKeepsTheRules(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	handler := telemetry.NewHandler(slog.NewJSONHandler(&out, nil))
	results := func() []map[string]any {
		var lines []map[string]any
		for line := range bytes.Lines(out.Bytes()) {
			var m map[string]any
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			lines = append(lines, m)
		}
		return lines
	}
	if err := slogtest.TestHandler(handler, results); err != nil {
		t.Error(err)
	}
}

func TestNewLoggerNamesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, cfg := range []telemetry.LogConfig{{Level: "loud"}, {Format: "xml"}} {
		if _, err := telemetry.NewLogger(cfg); err == nil || !strings.Contains(err.Error(), cfg.Level+cfg.Format) {
			t.Errorf("NewLogger(%+v) = %v, want an error that names it", cfg, err)
		}
	}
	logger, out := newLogger(t, "")
	logger.Debug("seen")
	if !strings.Contains(out.String(), "seen") {
		t.Errorf("debug line missing at level debug: %q", out)
	}
}

func TestRegistryHasRuntimeAndProcess(t *testing.T) {
	t.Parallel()
	families, err := telemetry.NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, family := range families {
		names[family.GetName()] = true
	}
	for _, want := range []string{"go_goroutines", "process_start_time_seconds", "go_build_info"} {
		if !names[want] {
			t.Errorf("metric %s is missing", want)
		}
	}
}

func BenchmarkRedact(b *testing.B) {
	for b.Loop() {
		telemetry.Redact("GET /xrpc/social.coves.feed.getDiscover")
	}
}
