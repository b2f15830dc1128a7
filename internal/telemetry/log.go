// Package telemetry is what the program says about itself: a structured
// logger that lets no secret through, request ids, and the registry of
// metrics.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// LogConfig says what is logged and how.
type LogConfig struct {
	// Level is debug, info, warn or error; empty means info.
	Level string
	// Format is text or json; empty means text.
	Format string
	// Output takes the lines; nil means standard error.
	Output io.Writer
}

// NewLogger returns a logger whose lines carry the request id of their
// context and in which secrets are replaced by "[redacted]", wherever in a
// line they stand (see Redact). An unknown level or format is an error that
// names it.
func NewLogger(cfg LogConfig) (*slog.Logger, error) {
	level := slog.LevelInfo
	if cfg.Level != "" {
		if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
			return nil, fmt.Errorf("log level %q: must be debug, info, warn or error", cfg.Level)
		}
	}
	out := cfg.Output
	if out == nil {
		out = os.Stderr
	}
	options := &slog.HandlerOptions{Level: level}
	switch strings.ToLower(cfg.Format) {
	case "", "text":
		return slog.New(NewHandler(slog.NewTextHandler(out, options))), nil
	case "json":
		return slog.New(NewHandler(slog.NewJSONHandler(out, options))), nil
	}
	return nil, fmt.Errorf("log format %q: must be text or json", cfg.Format)
}

type requestIDKey struct{}

// WithRequestID returns a context whose log lines carry id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the request id of ctx, empty when there is none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
