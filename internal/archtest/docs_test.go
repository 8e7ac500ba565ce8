package archtest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile(`\bTest[A-Z]\w*`)
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
)

// promisesWithoutTest returns what is wrong with a page that lists promises, one
// for each item of a list, with the tests that hold them.
func promisesWithoutTest(page string, exists map[string]bool) (wrong []string) {
	for item := range strings.SplitSeq(page, "\n- ") {
		first, _, _ := strings.Cut(item, "\n\n")
		if !testName.MatchString(first) && !strings.HasPrefix(item, "#") {
			wrong = append(wrong, "no test is named: "+first)
		}
		for _, name := range testName.FindAllString(item, -1) {
			if !exists[name] {
				wrong = append(wrong, "there is no "+name+": "+first)
			}
		}
	}
	return wrong
}

// Each promise of the delivery contract, and of the page on security, names
// tests that exist.
func TestPromisesHaveTests(t *testing.T) {
	const root = "../.."
	exists := make(map[string]bool)
	err := walk(root, func(name string, _ fs.DirEntry) error {
		if !strings.HasSuffix(path.Base(name), "_test.go") {
			return nil
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		for _, found := range testFunc.FindAllSubmatch(source, -1) {
			exists[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"delivery.md", "security.md"} {
		page, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range promisesWithoutTest(string(page), exists) {
			t.Error("docs/"+name+":", wrong)
		}
	}
}

func TestPromisesWithoutTestAreFound(t *testing.T) {
	page := "# Title\n\n- One. `TestOne`\n- Two.\n- Three. `TestOne`,\n  `TestThree`\n\nText.\n\n- Four. `TestOne`\n"
	got := promisesWithoutTest(page, map[string]bool{"TestOne": true})
	want := []string{"no test is named: Two.", "there is no TestThree: Three. `TestOne`,\n  `TestThree`"}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("found %q, want %q", got, want)
	}
}
