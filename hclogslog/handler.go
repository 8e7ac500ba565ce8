package hclogslog

import (
	"context"
	"log/slog"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// Handler returns a handler that logs to l. Groups become prefixes of the keys,
// with dots between. The time of a record is left to l. It is safe for
// concurrent use, as l is.
func Handler(l hclog.Logger) slog.Handler { return &handler{l: l} }

type handler struct {
	l      hclog.Logger
	prefix string // of keys
}

// hclogLevel returns the level of hclog.
func hclogLevel(l slog.Level) hclog.Level {
	switch {
	case l < slog.LevelDebug:
		return hclog.Trace
	case l < slog.LevelInfo:
		return hclog.Debug
	case l < slog.LevelWarn:
		return hclog.Info
	case l < slog.LevelError:
		return hclog.Warn
	}
	return hclog.Error
}

// Enabled reports whether the logger logs at the level.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	return h.l.GetLevel() != hclog.Off && hclogLevel(l) >= h.l.GetLevel()
}

// Handle logs one record.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var args []any
	r.Attrs(func(a slog.Attr) bool {
		args = flat(args, h.prefix, a)
		return true
	})
	h.l.Log(hclogLevel(r.Level), r.Message, args...)
	return nil
}

// WithAttrs returns a handler that adds attrs.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var args []any
	for _, a := range attrs {
		args = flat(args, h.prefix, a)
	}
	return &handler{l: h.l.With(args...), prefix: h.prefix}
}

// WithGroup returns a handler that puts what comes later in a group.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{l: h.l, prefix: h.prefix + name + "."}
}

// flat appends the keys and values of a, those in groups one by one.
func flat(args []any, prefix string, a slog.Attr) []any {
	v := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
		return args
	case v.Kind() != slog.KindGroup:
		return append(args, prefix+a.Key, v.Any())
	case a.Key != "":
		prefix += a.Key + "."
	}
	for member := range slices.Values(v.Group()) {
		args = flat(args, prefix, member)
	}
	return args
}
