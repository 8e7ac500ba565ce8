package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		childMain(spec)
		return
	}
	os.Exit(m.Run())
}

// tinySize shows that everything works, and nothing else. It has as many keys
// as it takes for their memory to be more than what two readings differ by.
var tinySize = size{
	rounds: 1, slice: 60 * time.Millisecond, limit: time.Minute,
	callers: 2, subscriber: 3, keys: 200, manyKeys: someKeys,
	takeover: []int{2}, takeovers: 2, large: 1 << 20,
}

// TestScenarios runs each scenario once, small, with its processes.
func TestScenarios(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // without node; npm would need the network
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			rep := newReport(tinySize.rounds)
			if err := measure(t.Context(), tinySize, rep, []scenario{s}, ""); err != nil {
				t.Fatalf("measure(%s) = %v, want nil", s.name, err)
			}
			rep.finish()
			if s.name == "node" {
				if len(rep.Skipped) != 1 || len(rep.Series) != 0 {
					t.Fatalf("skipped %q and measured %d series, want node to be skipped", rep.Skipped, len(rep.Series))
				}
				return
			}
			if len(rep.Series) == 0 {
				t.Fatal("nothing was measured")
			}
			for _, s := range rep.Series {
				if len(s.Values) != tinySize.rounds {
					t.Errorf("%v: values %v, want %d of them", s.seriesID, s.Values, tinySize.rounds)
				}
				if s.Median < 0 {
					t.Errorf("%v: values %v, want none negative", s.seriesID, s.Values)
				}
				short := s.Unit == "MiB/s" || s.Unit == "/s" || strings.Contains(s.Metric, "processor time")
				if s.Median == 0 && !short { // on a slow machine the time may be too short for one
					t.Errorf("%v: median 0", s.seriesID)
				}
			}
		})
	}
}

// TestChildEndsWithItsParent holds that a child leaves when its orders end,
// and that one which fails says why.
func TestChildEndsWithItsParent(t *testing.T) {
	text, err := specOf("server", target{Peer: netRPC})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := serveOrders(text, strings.NewReader(`{"op":"usage"}`), &out); err != nil {
		t.Errorf("serveOrders = %v, want nil", err)
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d answers, want 2: %s", n, &out)
	}
	out.Reset()
	if err := serveOrders(`{"role":"nobody"}`, strings.NewReader(""), &out); err != nil {
		t.Errorf("serveOrders = %v, want nil", err)
	}
	if !strings.Contains(out.String(), `there is no role`) {
		t.Errorf("answer %s, want it to say that there is no such role", &out)
	}
}

// TestFailedScenarioLeavesNoProcess kills a child behind the lab's back.
func TestFailedScenarioLeavesNoProcess(t *testing.T) {
	l := newLab(t.Context(), "test", tinySize, newReport(1), "")
	var address string
	p, err := l.start("server", target{Peer: rawTCP}, &address)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.do(t.Context(), "usage", none{}, nil); err == nil {
		t.Error("an order to a dead process = nil, want an error")
	}
	if err := l.stop(); err != nil {
		t.Errorf("stop = %v, want nil", err)
	}
	<-p.done
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := 1; i <= 1000; i++ {
		h.record(time.Duration(i) * time.Microsecond)
	}
	data, err := json.Marshal(&h)
	if err != nil {
		t.Fatal(err)
	}
	var read histogram
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[float64]float64{0.5: 500, 0.99: 990, 1: 1000} {
		if got := micros(read.percentile(p)); got < want*0.99 || got > want*1.01 {
			t.Errorf("percentile(%v) = %v µs, want %v", p, got, want)
		}
	}
	if got := new(histogram).percentile(0.5); got != 0 {
		t.Errorf("percentile of nothing = %v, want 0", got)
	}
}

func TestReport(t *testing.T) {
	r := newReport(5)
	for _, v := range []float64{10, 11, 12, 13, 100} {
		r.add(seriesID{"invoke", loadMany, ours, "calls per second", "/s"}, v)
		r.add(seriesID{"invoke", loadMany, grpcUnary, "calls per second", "/s"}, 1)
	}
	for _, v := range []float64{1, 5, 9, 20, 30} {
		r.add(seriesID{"invoke", loadMany, natsPeer, "calls per second", "/s"}, v)
	}
	r.skip("something, as it is not there")
	r.finish()
	var b strings.Builder
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12.0", "10.0 – 100", "1.33", "TOO NOISY", "12.00×", "≥ 12×", "yes", "skipped: something"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, &b)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	if err := r.save(file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var read report
	if err := json.Unmarshal(data, &read); err != nil || len(read.Series) != 3 || len(read.Targets) != 2 {
		t.Errorf("JSON has %d series and %d targets, %v; want 3 and 2", len(read.Series), len(read.Targets), err)
	}
	if err := r.draw(dir); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "invoke-512-in-flight-calls-per-second.svg"))
	if err != nil || !bytes.Contains(svg, []byte("grpc-go unary")) {
		t.Errorf("chart %.100s, %v; want one with grpc-go unary", svg, err)
	}
}

func TestChoose(t *testing.T) {
	if s, err := choose("etcd,invoke"); err != nil || len(s) != 2 || s[0].name != "etcd" {
		t.Errorf("choose = %v, %v; want etcd and invoke", s, err)
	}
	if _, err := choose("nothing"); err == nil {
		t.Error("choose(nothing) = nil, want an error")
	}
}
