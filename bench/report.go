package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// tooNoisy is how far apart the quartiles of a series may be, relative to its
// median, for its figures to be trusted.
const tooNoisy = 0.25

// A seriesID says what was measured.
type seriesID struct {
	Scenario string `json:"scenario"`
	Load     string `json:"load"`
	Peer     string `json:"peer"`
	Metric   string `json:"metric"`
	Unit     string `json:"unit"`
}

// A series is one figure over the rounds.
type series struct {
	seriesID
	Values []float64 `json:"values"` // in the order of the rounds

	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Noise  float64 `json:"noise"` // between the quartiles, relative to the median
	Noisy  bool    `json:"noisy,omitempty"`
}

// A report is all that a run found out.
type report struct {
	Machine machine   `json:"machine"`
	Rounds  int       `json:"rounds"`
	Series  []*series `json:"series"`
	Targets []verdict `json:"targets"`
	Skipped []string  `json:"skipped,omitempty"`
}

func newReport(rounds int) *report { return &report{Machine: thisMachine(), Rounds: rounds} }

func (r *report) add(id seriesID, value float64) {
	s := r.find(id.Scenario, id.Load, id.Peer, id.Metric)
	if s == nil {
		s = &series{seriesID: id}
		r.Series = append(r.Series, s)
	}
	s.Values = append(s.Values, value)
}

func (r *report) find(scenario, load, peer, metric string) *series {
	i := slices.IndexFunc(r.Series, func(s *series) bool {
		return s.Scenario == scenario && s.Load == load && s.Peer == peer && s.Metric == metric
	})
	if i < 0 {
		return nil
	}
	return r.Series[i]
}

// skip says that something was not measured, and why.
func (r *report) skip(what string) { r.Skipped = append(r.Skipped, what) }

// finish computes what is computed from the rounds.
func (r *report) finish() {
	for _, s := range r.Series {
		s.summarize()
	}
	for _, t := range targets() {
		if v, ok := t.judge(r); ok {
			r.Targets = append(r.Targets, v)
		}
	}
}

func (s *series) summarize() {
	sorted := slices.Sorted(slices.Values(s.Values))
	s.Min, s.Max = sorted[0], sorted[len(sorted)-1]
	s.Median = quantile(sorted, 0.5)
	if s.Median != 0 {
		s.Noise = (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / s.Median
	}
	s.Noisy = s.Noise > tooNoisy
}

// quantile interpolates between the values next to share p of sorted.
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// A group is the series that are compared with each other.
type group struct {
	scenario, load, metric, unit string
	series                       []*series
}

func (r *report) groups() []group {
	var groups []group
	for _, s := range r.Series {
		i := slices.IndexFunc(groups, func(g group) bool {
			return g.scenario == s.Scenario && g.load == s.Load && g.metric == s.Metric
		})
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{s.Scenario, s.Load, s.Metric, s.Unit, nil})
		}
		groups[i].series = append(groups[i].series, s)
	}
	return groups
}

// own is the series of the group that the others are compared with.
func (g group) own() *series {
	for _, name := range []string{ours, oursJSON, metered} {
		if i := slices.IndexFunc(g.series, func(s *series) bool { return s.Peer == name }); i >= 0 {
			return g.series[i]
		}
	}
	return nil
}

// print writes the tables.
func (r *report) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%d rounds; ratio: clusterclient ÷ peer, by medians; noise: between the quartiles ÷ median\n", r.Machine, r.Rounds)
	for _, g := range r.groups() {
		g.print(&b)
	}
	if len(r.Targets) > 0 {
		b.WriteString("\ntarget\tmeasured\tgoal\tmet\n")
	}
	for _, v := range r.Targets {
		fmt.Fprintf(&b, "  %s\t%s\t%s\t%s\n", v.What, v.Measured, v.Goal, v.word())
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "\nskipped: %s\n", s)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := io.WriteString(tw, b.String())
	return errors.Join(err, tw.Flush())
}

func (g group) print(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s, %s: %s\tmedian %s\tmin – max\tratio\tnoise\n", g.scenario, g.load, g.metric, g.unit)
	own := g.own()
	for _, s := range g.series {
		ratio := ""
		if own != nil && own != s && s.Median != 0 {
			ratio = fmt.Sprintf("%.2f", own.Median/s.Median)
		}
		noise := fmt.Sprintf("%.0f %%", 100*s.Noise)
		if s.Noisy {
			noise += "  TOO NOISY"
		}
		fmt.Fprintf(b, "  %s\t%s\t%s – %s\t%s\t%s\n", s.Peer, figure(s.Median), figure(s.Min), figure(s.Max), ratio, noise)
	}
}

// figure writes three digits that count, and thousands as k.
func figure(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e5:
		return fmt.Sprintf("%.0f k", v/1e3)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// save writes the report as JSON, if there is a file for it.
func (r *report) save(file string) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
