package build

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	main := debug.Module{Path: "example.com/app", Version: "v9.9.9"}
	for name, test := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"this module's own program": {debug.BuildInfo{Main: debug.Module{Path: module, Version: "v1.2.3"}}, "v1.2.3"},
		"a program that requires it": {debug.BuildInfo{Main: main, Deps: []*debug.Module{
			{Path: "example.com/other", Version: "v0.1.0"}, {Path: module, Version: "v1.4.0"},
		}}, "v1.4.0"},
		"replaced by another version": {debug.BuildInfo{Main: main, Deps: []*debug.Module{
			{Path: module, Version: "v1.4.0", Replace: &debug.Module{Version: "v1.5.0"}},
		}}, "v1.5.0"},
		"replaced by a directory": {debug.BuildInfo{Main: main, Deps: []*debug.Module{
			{Path: module, Version: "v1.4.0", Replace: &debug.Module{Path: "../x"}},
		}}, "v1.4.0"},
		"without it": {debug.BuildInfo{Main: main}, ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, of(&test.info)) })
	}
}

func TestVersion(t *testing.T) {
	require.NotEmpty(t, Version())
	require.NotEmpty(t, Program())
}
