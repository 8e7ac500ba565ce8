// Package archtest holds the module to its import rules: imports point one
// way, the core has few dependencies, and adapters live in modules of their
// own.
//
// It reads the sources instead of asking the go command for packages, so that
// files for every operating system and files with build tags count too.
package archtest

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module  = "github.com/clusterclient/clusterclient"
	testify = "github.com/stretchr/testify"
)

// mayImport says for each tree of the core into which other trees its imports
// point. A tree is a top directory with all below it, but for what is a tree
// below it, and "." is the root package. A package may always import its own
// tree.
var mayImport = map[string][]string{
	".":        {"leader", "follower", "inspect", "codec", "proto", "internal"},
	"leader":   {"inspect", "codec", "proto", "internal"},
	"follower": {"inspect", "codec", "proto", "internal"},
	"inspect":  {},
	"codec":    {"internal"},
	"proto":    {},
	"internal": {"inspect", "codec", "proto"},

	// Nothing of the library imports these.
	"clustertest": {".", "leader", "follower", "codec", "proto", "internal"},
	"cmd":         {".", "leader", "follower", "inspect", "codec", "proto", "internal"},
	"metrics":     {".", "inspect"},
	"debugpage":   {".", "inspect", "leader"},
	"health":      {"."},
	"hclogslog":   {},

	// What tests alone use: bubbles, and clients in processes of their own.
	"internal/bubble":      {},
	"internal/processtest": {".", "leader", "follower", "codec", "proto", "internal"},
	"internal/soak":        {"codec", "proto", "internal", "internal/processtest"},
}

// forTests are the trees that tests may import, and that nothing else does.
var forTests = []string{"clustertest", "internal/bubble", "internal/processtest", "internal/soak"}

// dependencies are the modules that the core requires, no more and no fewer.
var dependencies = []string{
	"github.com/hashicorp/go-hclog",
	testify,
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
}

// moduleDirs returns the directories under root that hold a module.
func moduleDirs(root string) ([]string, error) {
	var dirs []string
	err := walk(root, func(name string, d fs.DirEntry) error {
		if d.Name() == "go.mod" {
			dirs = append(dirs, path.Dir(name))
		}
		return nil
	})
	return dirs, err
}

// walk calls visit for each file that the go command would look at under
// root, with its slash-separated name relative to root.
func walk(root string, visit func(name string, d fs.DirEntry) error) error {
	return fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return visit(name, d)
		case name != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")), d.Name() == "testdata":
			return fs.SkipDir
		}
		return nil
	})
}

// importBreaks returns what is wrong with the imports of the module in root,
// and the trees that it found there.
func importBreaks(root string) (breaks, trees []string, err error) {
	dirs, err := moduleDirs(root)
	if err != nil {
		return nil, nil, err
	}
	nested := slices.DeleteFunc(dirs, func(dir string) bool { return dir == "." })
	found := make(map[string]bool)
	err = walk(root, func(name string, _ fs.DirEntry) error {
		if path.Ext(name) != ".go" || slices.ContainsFunc(nested, func(dir string) bool { return strings.HasPrefix(name, dir+"/") }) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		found[tree(path.Dir(name))] = true
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := importBreak(name, imported); why != "" {
				breaks = append(breaks, fmt.Sprintf("%s imports %s: %s", name, imported, why))
			}
		}
		return nil
	})
	return breaks, slices.Sorted(maps.Keys(found)), err
}

// importBreak returns which rule file breaks by importing imported, and ""
// when it breaks none.
func importBreak(file, imported string) string {
	from := tree(path.Dir(file))
	allowed, known := mayImport[from]
	test := strings.HasSuffix(file, "_test.go")
	switch {
	case !known:
		return fmt.Sprintf("tree %s has no rule", from)
	case within(imported, module):
		to := tree(strings.TrimPrefix(strings.TrimPrefix(imported, module), "/"))
		if to == from || slices.Contains(allowed, to) || test && slices.Contains(forTests, to) {
			return ""
		}
		return fmt.Sprintf("%s must not import %s", from, to)
	case within(imported, testify):
		if test || from == "clustertest" {
			return ""
		}
		return "testify is for tests and clustertest"
	case !strings.Contains(strings.Split(imported, "/")[0], "."):
		return "" // the standard library
	case slices.ContainsFunc(dependencies, func(dep string) bool { return within(imported, dep) }):
		return ""
	}
	return "not a dependency of the core"
}

// tree returns the tree of a package directory: the longest one that has a
// rule, else its top directory, and "." for the root.
func tree(dir string) string {
	dir = path.Clean(dir)
	for name := dir; name != "."; name = path.Dir(name) {
		if _, ok := mayImport[name]; ok {
			return name
		}
	}
	top, _, _ := strings.Cut(dir, "/")
	return top
}

// within reports whether the package is the tree's root or below it.
func within(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

// A goMod is the part of `go mod edit -json` that the rules speak of.
type goMod struct {
	Require []struct {
		Path     string
		Indirect bool
	}
	Replace []struct{ Old struct{ Path string } }
}

// requireBreaks returns what is wrong with the requirements of the core.
func requireBreaks(mod goMod) []string {
	var breaks, direct []string
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		direct = append(direct, r.Path)
		if !slices.Contains(dependencies, r.Path) {
			breaks = append(breaks, "requires "+r.Path)
		}
	}
	for _, dep := range dependencies {
		if !slices.Contains(direct, dep) {
			breaks = append(breaks, "does not require "+dep)
		}
	}
	for _, r := range mod.Replace {
		breaks = append(breaks, "replaces "+r.Old.Path) // users would not get the replacement
	}
	return breaks
}

func readGoMod(t *testing.T, dir string) goMod {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod goMod
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	return mod
}

const root = "../.."

func TestImports(t *testing.T) {
	breaks, trees, err := importBreaks(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaks {
		t.Error(b)
	}
	for _, want := range []string{".", "leader", "follower", "codec", "proto", "internal"} {
		if !slices.Contains(trees, want) {
			t.Errorf("no Go files of tree %s found; is the test looking in the right place?", want)
		}
	}
}

func TestRequirements(t *testing.T) {
	for _, b := range requireBreaks(readGoMod(t, root)) {
		t.Errorf("go.mod %s", b)
	}
}

// TestModuleList checks the list that drives make and CI, since a module that
// is not on it is not tested.
func TestModuleList(t *testing.T) {
	dirs, err := moduleDirs(root)
	if err != nil {
		t.Fatal(err)
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return tree(dir) == "tools" })
	data, err := os.ReadFile(filepath.Join(root, "modules.txt"))
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Fields(string(data))
	for _, dir := range dirs {
		if !slices.Contains(listed, dir) {
			t.Errorf("module %s is not in modules.txt", dir)
		}
	}
	for _, dir := range listed {
		if !slices.Contains(dirs, dir) {
			t.Errorf("modules.txt lists %s, which has no go.mod", dir)
		}
	}
}

// TestImportsFindsBreaks plants one file in an otherwise empty module.
func TestImportsFindsBreaks(t *testing.T) {
	tests := []struct {
		file, imported, want string
	}{
		{"client.go", module + "/leader", ""},
		{"client.go", module + "/follower", ""},
		{"client.go", module + "/internal/errs", ""},
		{"client.go", "google.golang.org/grpc/codes", ""},
		{"client.go", "github.com/hashicorp/go-hclog", ""},
		{"client.go", "net/http", ""},
		{"client_test.go", module + "/clustertest", ""},
		{"client_test.go", testify + "/require", ""},
		{"leader/a_test.go", module + "/leader", ""},
		{"leader/a_test.go", module + "/clustertest", ""},
		{"clustertest/a.go", testify + "/require", ""},
		{"clustertest/a.go", module, ""},
		{"internal/wire/a.go", module + "/internal/errs", ""},
		{"cmd/clusterctl/main.go", module, ""},
		{"client_test.go", module + "/internal/processtest", ""},
		{"internal/processtest/a.go", module, ""},
		{"internal/processtest/a.go", module + "/internal/errs", ""},

		{"leader/a.go", module + "/follower", "leader must not import follower"},
		{"leader/sub/a.go", module + "/follower/sub", "leader must not import follower"},
		{"leader/a_test.go", module + "/follower", "leader must not import follower"},
		{"follower/a.go", module + "/leader", "follower must not import leader"},
		{"follower/a_windows.go", module + "/leader", "follower must not import leader"},
		{"leader/a.go", module, "leader must not import ."},
		{"follower/a.go", module, "follower must not import ."},
		{"internal/wire/a.go", module + "/leader", "internal must not import leader"},
		{"internal/wire/a.go", module, "internal must not import ."},
		{"codec/a.go", module + "/follower", "codec must not import follower"},
		{"proto/clusterclient/v1/a.go", module + "/internal/errs", "proto must not import internal"},
		{"client.go", module + "/clustertest", ". must not import clustertest"},
		{"client.go", module + "/upstream/etcd", ". must not import upstream"},
		{"client_test.go", module + "/upstream/etcd", ". must not import upstream"},
		{"client.go", module + "/examples/configcenter", ". must not import examples"},
		{"clustertest/a.go", module + "/bench", "clustertest must not import bench"},
		{"leader/a.go", testify + "/require", "testify is for tests and clustertest"},
		{"client.go", "go.etcd.io/etcd/client/v3", "not a dependency of the core"},
		{"client_test.go", "go.uber.org/goleak", "not a dependency of the core"},
		{"client.go", "google.golang.org/grpcfoo", "not a dependency of the core"},
		{"client.go", module + "/internal/processtest", ". must not import internal/processtest"},
		{"internal/wire/a.go", module + "/internal/processtest", "internal must not import internal/processtest"},
		{"plugins/a.go", "fmt", "tree plugins has no rule"},

		// Not part of the core module.
		{"upstream/etcd/a.go", "go.etcd.io/etcd/client/v3", ""},
		{"leader/testdata/a.go", module + "/follower", ""},
	}
	for _, test := range tests {
		t.Run(test.file+" imports "+test.imported, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "go.mod", "module "+module+"\n")
			write(t, dir, "upstream/etcd/go.mod", "module "+module+"/upstream/etcd\n")
			write(t, dir, test.file, fmt.Sprintf("package p\n\nimport _ %q\n", test.imported))
			var want []string
			if test.want != "" {
				want = []string{fmt.Sprintf("%s imports %s: %s", test.file, test.imported, test.want)}
			}
			if got, _, err := importBreaks(dir); err != nil || !slices.Equal(got, want) {
				t.Errorf("importBreaks = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestRequirementsFindsBreaks(t *testing.T) {
	const good = "require (\n" +
		"github.com/hashicorp/go-hclog v1.0.0\n" +
		"github.com/stretchr/testify v1.0.0\n" +
		"google.golang.org/grpc v1.0.0\n" +
		"google.golang.org/protobuf v1.0.0\n" +
		"golang.org/x/net v0.1.0 // indirect\n)\n"
	tests := []struct {
		name, mod string
		want      []string
	}{
		{"good", good, nil},
		{"one more", good + "require golang.org/x/sync v0.1.0\n", []string{"requires golang.org/x/sync"}},
		{"one less", strings.Replace(good, "google.golang.org/grpc v1.0.0\n", "", 1), []string{"does not require google.golang.org/grpc"}},
		{"indirect", strings.Replace(good, "grpc v1.0.0", "grpc v1.0.0 // indirect", 1), []string{"does not require google.golang.org/grpc"}},
		{"replaced", good + "replace google.golang.org/grpc => ../grpc\n", []string{"replaces google.golang.org/grpc"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "go.mod", "module "+module+"\n\ngo 1.26.0\n\n"+test.mod)
			if got := requireBreaks(readGoMod(t, dir)); !slices.Equal(got, test.want) {
				t.Errorf("requireBreaks = %q, want %q", got, test.want)
			}
		})
	}
}

// write makes a file, and the directories above it, under dir.
func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
