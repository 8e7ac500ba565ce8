package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Sizes in a chart, in pixels.
const (
	chartWidth = 760
	labelWidth = 190
	barsWidth  = 440
	rowHeight  = 26
	headHeight = 44
)

var notInFileNames = regexp.MustCompile(`[^a-z0-9]+`)

// draw writes a chart for each group, if there is a directory for them.
func (r *report) draw(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, draw := range r.charts() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(draw()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// charts are by the names of their files.
func (r *report) charts() map[string]func() string {
	charts := make(map[string]func() string)
	for _, g := range r.groups() {
		name := notInFileNames.ReplaceAllString(strings.ToLower(g.scenario+" "+g.load+" "+g.metric), "-")
		charts[name+".svg"] = g.chart
	}
	return charts
}

// chart draws a bar for each peer, with a line from the least to the greatest.
func (g group) chart() string {
	var b strings.Builder
	height := headHeight + rowHeight*len(g.series) + 10
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, height)
	title := fmt.Sprintf("%s, %s: %s (%s)", g.scenario, g.load, g.metric, g.unit)
	fmt.Fprintf(&b, `<text x="12" y="26" font-size="15" font-weight="bold">%s</text>`+"\n", html.EscapeString(title))
	var most float64
	for _, s := range g.series {
		most = max(most, s.Max)
	}
	if most == 0 {
		most = 1
	}
	at := func(v float64) float64 { return labelWidth + barsWidth*v/most }
	for i, s := range g.series {
		y := headHeight + rowHeight*i
		color := "#9aa5b1"
		if strings.HasPrefix(s.Peer, ours) {
			color = "#1f77b4"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+16, html.EscapeString(s.Peer))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="18" fill="%s"/>`, labelWidth, y+2, at(s.Median)-labelWidth, color)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222"/>`, at(s.Min), y+11, at(s.Max), y+11)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", at(s.Max)+8, y+16, figure(s.Median))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
