package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A page of the docs has what the run found out between two comments:
//
//	<!-- bench: fanout -->
//	…
//	<!-- bench: end -->
//
// fragments says how each of the names is written. Nobody else writes there.
var fragment = regexp.MustCompile(`(?s)<!-- bench: (\w+) -->\n.*?<!-- bench: end -->\n`)

// fragments are by the names in the pages.
func fragments() map[string]func(*report) string {
	const rate = "calls per second"
	calls := []string{ours, grpcUnary, oursStub, oursTCP, grpcStream, oursJSON, netRPC, oursLocal, natsPeer, rawTCP}
	return map[string]func(*report) string{
		"summary": (*report).summary,
		"goals":   (*report).goals,
		"invoke": byPeer("invoke", "way to call", (*series).cell, calls,
			column{"p50, 1 in flight, µs", loadOne, "p50"}, column{"p99, 1 in flight, µs", loadOne, "p99"},
			column{"64 in flight, /s", loadSome, rate}, column{"512 in flight, /s", loadMany, rate}, column{"4 callers × 512, /s", loadCallers, rate}),
		"invokerange": byPeer("invoke", "way to call", (*series).span, calls,
			column{"1 in flight p50, µs", loadOne, "p50"}, column{"512 in flight, /s", loadMany, rate}),
		"fanout": byPeer("fanout", "way to deliver", (*series).cell, fanPeers,
			column{"deliveries per second, as fast as it goes", loadFlat, "deliveries per second"},
			column{"share delivered, %", loadFlat, "share delivered"}, column{"processor time of one, µs", loadFlat, "processor time per delivery"},
			column{"of it the sending side's, µs", loadFlat, "processor time per delivery, of the sending side"},
			column{"p50, 1,000 updates a second, µs", loadPaced, "p50"}, column{"p99, µs", loadPaced, "p99"},
			column{"processor time of one, µs", loadPaced, "processor time per delivery"}),
		"etcd": byPeer("etcd", "way to watch", (*series).cell, []string{ours, etcdDirect, etcdProxy},
			column{"p50, µs", loadEtcd, "p50"}, column{"p99, µs", loadEtcd, "p99"},
			column{"processor time, cores", loadEtcd, "processor time"}, column{"share delivered, %", loadEtcd, "share delivered"},
			column{"connections at etcd", loadEtcd, "connections at etcd"}, column{"watchers at etcd", loadEtcd, "watchers at etcd"}),
		"takeover":  byLoad("takeover"),
		"isolation": byLoad("isolation"),
		"growth":    byLoad("growth"),
		"memory":    byLoad("memory"),
		"metrics":   byLoad("metrics"),
		"node":      byLoad("node"),
	}
}

// fillAll fills pages, separated by commas.
func (r *report) fillAll(pages string) error {
	if pages == "" {
		return nil
	}
	var failed error
	for page := range strings.SplitSeq(pages, ",") {
		failed = errors.Join(failed, r.fill(page))
	}
	return failed
}

// fill puts the figures into a page, and redraws the charts that it shows.
// Figures of scenarios that were not measured stay what they were.
func (r *report) fill(page string) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	filled, err := r.fillIn(string(old))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	var charts error
	for name, draw := range r.charts() {
		if at := shown(filled, name); at != "" {
			charts = errors.Join(charts, os.WriteFile(filepath.Join(filepath.Dir(page), at), []byte(draw()), 0o644))
		}
	}
	return errors.Join(charts, os.WriteFile(page, []byte(filled), 0o644))
}

// shown returns where a page says that a picture is, relative to the page; empty
// when it does not show it.
func shown(page, name string) string {
	link := regexp.MustCompile(`\]\((\S*/` + regexp.QuoteMeta(name) + `)\)`).FindStringSubmatch(page)
	if link == nil {
		return ""
	}
	return filepath.FromSlash(link[1])
}

func (r *report) fillIn(page string) (string, error) {
	var unknown error
	all := fragments()
	filled := fragment.ReplaceAllStringFunc(page, func(old string) string {
		name := fragment.FindStringSubmatch(old)[1]
		write, ok := all[name]
		if !ok {
			unknown = errors.Join(unknown, fmt.Errorf("there are no figures called %q", name))
			return old
		}
		text := write(r)
		if text == "" {
			return old
		}
		return "<!-- bench: " + name + " -->\n" + text + "<!-- bench: end -->\n"
	})
	return filled, unknown
}

// loadReport reads what save wrote, and judges it by the goals of today.
func loadReport(file string) (*report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	r.Targets = nil
	r.finish()
	return r, nil
}

// A column is a figure of each peer.
type column struct{ title, load, metric string }

// byPeer writes a row for each peer.
func byPeer(scenario, what string, cell func(*series) string, peers []string, columns ...column) func(*report) string {
	return func(r *report) string {
		t := table{{what}}
		for _, c := range columns {
			t[0] = append(t[0], c.title)
		}
		for _, peer := range peers {
			row, found := []string{peer}, false
			for _, c := range columns {
				s := r.find(scenario, c.load, peer, c.metric)
				row, found = append(row, cell(s)), found || s != nil
			}
			if found {
				t = append(t, row)
			}
		}
		return t.String()
	}
}

// byLoad writes a row for each figure of each load, and a column for each peer.
func byLoad(scenario string) func(*report) string {
	return func(r *report) string {
		t := table{{"load", "figure"}}
		at := map[string]int{}
		for _, g := range r.groups() {
			if g.scenario != scenario {
				continue
			}
			for _, s := range g.series {
				if at[s.Peer] == 0 {
					at[s.Peer] = len(t[0])
					t[0] = append(t[0], s.Peer)
				}
			}
		}
		for _, g := range r.groups() {
			if g.scenario != scenario {
				continue
			}
			row := make([]string, len(t[0]))
			for i := range row {
				row[i] = (*series)(nil).cell()
			}
			row[0], row[1] = g.load, strings.TrimSuffix(g.metric+", "+g.unit, ", ")
			for _, s := range g.series {
				row[at[s.Peer]] = s.cell()
			}
			t = append(t, row)
		}
		return t.String()
	}
}

// goals writes which were reached.
func (r *report) goals() string {
	t := table{{"goal", "measured", "wanted", "met"}}
	for _, v := range r.Targets {
		t = append(t, []string{v.What, v.Measured, v.Goal, v.word()})
	}
	return t.String()
}

// summary is what a newcomer wants to know first; empty when a part of it was
// not measured.
func (r *report) summary() string {
	const rate = "calls per second"
	own, unary, nats := r.find("invoke", loadMany, ours, rate), r.find("invoke", loadMany, grpcUnary, rate), r.find("invoke", loadMany, natsPeer, rate)
	local, paced := r.find("invoke", loadOne, oursLocal, "p50"), r.find("fanout", loadPaced, ours, "p99")
	killed := r.find("takeover", killLoad(8), ours, "p50")
	for _, s := range []*series{own, unary, nats, local, paced, killed} {
		if s == nil {
			return ""
		}
	}
	return fmt.Sprintf("On %d cores, both ends and everybody else on them: %s calls a second from one follower (%.1f× grpc-go unary, %.1f×\n"+
		"NATS), %.1f µs for a call within the leader's process; an update reaches the last of %d followers in %.2f ms at the 99th\n"+
		"percentile; %.0f ms from `kill -9` of the leader until the last of 8 followers has a fresh value of the next one.\n",
		r.Machine.Cores, figure(own.Median), own.Median/unary.Median, own.Median/nats.Median,
		local.Median, subscribers, paced.Median/1000, killed.Median)
}

// cell is the median, and a mark when it is too noisy to trust.
func (s *series) cell() string {
	switch {
	case s == nil:
		return "–"
	case s.Noisy:
		return figure(s.Median) + " (!)"
	}
	return figure(s.Median)
}

// span is from least to greatest.
func (s *series) span() string {
	if s == nil {
		return "–"
	}
	return figure(s.Min) + " – " + figure(s.Max)
}

// A table has its header first.
type table [][]string

// String is empty for a table without rows.
func (t table) String() string {
	if len(t) == 1 {
		return ""
	}
	var b strings.Builder
	for i, row := range t {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}
