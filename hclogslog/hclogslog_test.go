package hclogslog_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/hclogslog"
)

// plain is a handler without times.
func plain(to *bytes.Buffer, level slog.Level) slog.Handler {
	return slog.NewTextHandler(to, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

func TestNew(t *testing.T) {
	var out bytes.Buffer
	l := hclogslog.New(plain(&out, slog.LevelDebug)).Named("a").Named("b").With("k", "v")
	l.Trace("not logged")
	l.Debug("debug")
	l.Info("info", "n", 1)
	l.Warn("warn")
	l.Error("error")
	l.StandardLogger(nil).Print("line\n")
	require.Equal(t, `level=DEBUG msg=debug logger=a.b k=v
level=INFO msg=info logger=a.b k=v n=1
level=WARN msg=warn logger=a.b k=v
level=ERROR msg=error logger=a.b k=v
level=INFO msg=line logger=a.b k=v
`, out.String())
	require.Equal(t, hclog.Debug, l.GetLevel())
	require.False(t, l.IsTrace())
	require.True(t, l.IsDebug() && l.IsInfo() && l.IsWarn() && l.IsError())
	require.Equal(t, "c", l.ResetNamed("c").Name())
	require.Equal(t, []any{"k", "v"}, l.ImpliedArgs())
}

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(hclogslog.Handler(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info, DisableTime: true})))
	l.Debug("not logged")
	l.With("a", 1).WithGroup("g").With("b", 2).Info("info", "c", 3, slog.Group("h", "d", 4), slog.Group("", "e", 5))
	l.Warn("warn")
	l.Error("error")
	require.Equal(t, `[INFO]  info: a=1 g.b=2 g.c=3 g.h.d=4 g.e=5
[WARN]  warn
[ERROR] error
`, out.String())
}
