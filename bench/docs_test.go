package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPagesHaveTheFigures holds the docs to the run whose figures are beside them.
func TestPagesHaveTheFigures(t *testing.T) {
	r, err := loadReport("../docs/performance/figures.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"../docs/performance.md", "../README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		filled, err := r.fillIn(string(text))
		if err != nil || filled != string(text) {
			t.Errorf("%s has other figures than figures.json, %v: run make bench-docs", page, err)
		}
		if !fragment.Match(text) {
			t.Errorf("%s has no figures", page)
		}
		for name, draw := range r.charts() {
			link := shown(string(text), name)
			if link == "" {
				continue
			}
			if chart, err := os.ReadFile(filepath.Join(filepath.Dir(page), link)); err != nil || string(chart) != draw() {
				t.Errorf("%s is not drawn from figures.json, %v: run make bench-docs", link, err)
			}
		}
	}
}

func TestFillIn(t *testing.T) {
	r := newReport(1)
	r.add(seriesID{"takeover", killLoad(8), ours, "p50", "ms"}, 12.34)
	r.finish()
	page := "before\n<!-- bench: takeover -->\nold\n<!-- bench: end -->\nbetween\n<!-- bench: etcd -->\nkept\n<!-- bench: end -->\n"
	got, err := r.fillIn(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "| kill -9, 8 followers | p50, ms | 12.3 |\n", "between\n", "kept\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "old") {
		t.Errorf("the page kept its old figures:\n%s", got)
	}
	if _, err := r.fillIn("<!-- bench: nothing -->\n<!-- bench: end -->\n"); err == nil {
		t.Error("fillIn with figures that nobody knows = nil, want an error")
	}
}

func TestShown(t *testing.T) {
	page := "![a](x/a.svg) and ![b](b/c/b.svg)"
	for name, want := range map[string]string{"a.svg": "x/a.svg", "b.svg": "b/c/b.svg", "c.svg": ""} {
		if got := shown(page, name); got != filepath.FromSlash(want) {
			t.Errorf("shown(%s) = %q, want %q", name, got, want)
		}
	}
}
