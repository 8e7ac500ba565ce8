package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A style says how to set words off from others.
type style struct{ colour bool }

// styleOf returns colours for a terminal alone.
func styleOf(out io.Writer, no bool) style {
	f, ok := out.(*os.File)
	if !ok || no || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return style{}
	}
	info, err := f.Stat()
	return style{colour: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// A tone is how good a word is.
type tone string

const (
	plain tone = ""
	good  tone = "32" // green
	poor  tone = "33" // yellow
	bad   tone = "31" // red
	faint tone = "2"
	bold  tone = "1"
)

func (s style) set(text string, t tone) string {
	if !s.colour || t == plain || text == "" {
		return text
	}
	return "\x1b[" + string(t) + "m" + text + "\x1b[0m"
}

// A cell is one field of a table.
type cell struct {
	text string
	tone tone
}

func c(text string) cell { return cell{text: text} }

// table prints rows under a heading, with columns as wide as they need to be.
func (a *app) table(heading []string, rows [][]cell) {
	head := make([]cell, len(heading))
	for i, h := range heading {
		head[i] = cell{h, faint}
	}
	rows = append([][]cell{head}, rows...)
	widths := make([]int, len(heading))
	for _, row := range rows {
		for i := range row {
			row[i].text = printable(row[i].text)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, f := range row {
			line.WriteString(a.style.set(f.text, f.tone))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(f.text)+2))
			}
		}
		a.print("%s\n", strings.TrimRight(line.String(), " "))
	}
}

// printable replaces what a terminal would take for an order, such as a line feed
// or an escape in a key.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// document prints v as indented JSON.
func (a *app) document(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// line prints v as one line of JSON.
func (a *app) line(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// age is how long ago t was, as people say it.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := now.Sub(t)
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
