package telemetry

import (
	"context"
	"log/slog"
	"slices"
)

// NewHandler wraps inner: secrets in messages and attributes are replaced (see
// Redact and the list of keys in value.go), whatever type they hide in, and the
// request id of the context is added as request_id, outside of all groups.
func NewHandler(inner slog.Handler) slog.Handler { return &handler{inner: inner} }

// handler keeps open groups itself, because inner could no longer put
// request_id outside of them.
type handler struct {
	inner  slog.Handler // holds the attributes from before the first group
	groups []group      // open ones, outermost first
}

// group is one open WithGroup with the redacted attributes given inside.
type group struct {
	name  string
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	attrs := make([]slog.Attr, 0, r.NumAttrs()+1)
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, cleanAttr(a, h.secretGroup(), 0))
		return true
	})
	for _, g := range slices.Backward(h.groups) {
		inside := slices.Concat(g.attrs, attrs)
		attrs = []slog.Attr{{Key: g.name, Value: slog.GroupValue(inside...)}}
	}
	clean := slog.NewRecord(r.Time, r.Level, Redact(r.Message), r.PC)
	clean.AddAttrs(attrs...)
	if id := RequestID(ctx); id != "" {
		clean.AddAttrs(slog.String("request_id", id))
	}
	return h.inner.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = cleanAttr(a, h.secretGroup(), 0)
	}
	if len(h.groups) == 0 {
		return &handler{inner: h.inner.WithAttrs(clean)}
	}
	groups := slices.Clone(h.groups)
	last := &groups[len(groups)-1]
	last.attrs = slices.Concat(last.attrs, clean)
	return &handler{inner: h.inner, groups: groups}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{inner: h.inner, groups: append(slices.Clone(h.groups), group{name: name})}
}

// secretGroup reports whether all that is logged here is inside a group whose
// name says that it is secret.
func (h *handler) secretGroup() bool {
	return slices.ContainsFunc(h.groups, func(g group) bool { return isSecretKey(g.name) })
}
