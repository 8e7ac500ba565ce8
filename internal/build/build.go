// Package build tells which program and which version of the library this is.
package build

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
)

const module = "github.com/clusterclient/clusterclient"

// version is set by a build that has no version of its own:
//
//	go build -ldflags "-X github.com/clusterclient/clusterclient/internal/build.version=v1.2.3"
var version string

// Version returns the version of the library in this process, "(devel)" when
// the build does not know it.
var Version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(version, "(devel)")
	}
	return cmp.Or(version, of(info), "(devel)")
})

// of returns the version that the go command recorded.
func of(info *debug.BuildInfo) string {
	if info.Main.Path == module {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path != module {
			continue
		}
		if dep.Replace != nil {
			return cmp.Or(dep.Replace.Version, dep.Version)
		}
		return dep.Version
	}
	return ""
}

// Program returns the name of the executable.
var Program = sync.OnceValue(func() string {
	if len(os.Args) == 0 {
		return ""
	}
	return filepath.Base(os.Args[0])
})
