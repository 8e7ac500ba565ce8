package archtest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// A bubble that is opened without internal/bubble crashes the race detector now
// and then.
func TestBubblesAreOpenedInOnePlace(t *testing.T) {
	const root, place = "../..", "internal/bubble"
	err := walk(root, func(name string, _ fs.DirEntry) error {
		if !strings.HasSuffix(name, ".go") || path.Dir(name) == place {
			return nil
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		if strings.Contains(string(source), "synctest."+"Test(") {
			t.Errorf("%s opens a bubble by itself, not by %s", name, place)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
