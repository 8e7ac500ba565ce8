// Package hclogslog joins the two kinds of loggers: a program that logs with
// log/slog gives clusterclient.WithLogger what [New] returns, and a handler that
// a program has for hclog serves log/slog by [Handler].
package hclogslog

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// levelTrace is below slog.LevelDebug, as Trace is below Debug.
const levelTrace = slog.LevelDebug - 4

// New returns a logger that logs to h. The names of hclog become the attribute
// "logger", its trace level is below slog.LevelDebug, and which levels are
// logged is for h to say. It is safe for concurrent use, as h is.
func New(h slog.Handler) hclog.Logger { return &logger{h: slog.New(h)} }

type logger struct {
	h    *slog.Logger
	name string
	args []any
}

var _ hclog.Logger = (*logger)(nil)

// levelOf returns the level of slog; false for one at which nothing is logged.
func levelOf(l hclog.Level) (slog.Level, bool) {
	switch l {
	case hclog.Trace:
		return levelTrace, true
	case hclog.Debug:
		return slog.LevelDebug, true
	case hclog.Warn:
		return slog.LevelWarn, true
	case hclog.Error:
		return slog.LevelError, true
	case hclog.Off:
		return 0, false
	case hclog.NoLevel, hclog.Info:
	}
	return slog.LevelInfo, true
}

func (l *logger) enabled(level hclog.Level) bool {
	s, ok := levelOf(level)
	return ok && l.h.Enabled(context.Background(), s)
}

// Log logs at level.
func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	s, ok := levelOf(level)
	if !ok || !l.h.Enabled(context.Background(), s) {
		return
	}
	all := slices.Concat(l.args, args)
	if l.name != "" {
		all = slices.Concat([]any{"logger", l.name}, all)
	}
	l.h.Log(context.Background(), s, msg, all...)
}

func (l *logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *logger) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l *logger) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l *logger) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l *logger) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l *logger) IsError() bool { return l.enabled(hclog.Error) }

func (l *logger) ImpliedArgs() []any { return l.args }
func (l *logger) Name() string       { return l.name }

func (l *logger) With(args ...any) hclog.Logger {
	return &logger{h: l.h, name: l.name, args: slices.Concat(l.args, args)}
}

func (l *logger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l *logger) ResetNamed(name string) hclog.Logger {
	return &logger{h: l.h, name: name, args: l.args}
}

// SetLevel does nothing: the handler says what is logged.
func (l *logger) SetLevel(hclog.Level) {}

// GetLevel returns the lowest level that the handler logs.
func (l *logger) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error} {
		if l.enabled(level) {
			return level
		}
	}
	return hclog.Off
}

// StandardLogger returns one whose lines are logged as Info.
func (l *logger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(o), "", 0)
}

// StandardWriter returns one that logs what is written as Info.
func (l *logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return writer{l} }

type writer struct{ l *logger }

func (w writer) Write(p []byte) (int, error) {
	w.l.Info(string(bytes.TrimRight(p, " \t\r\n")))
	return len(p), nil
}
