package main

import (
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)

func testSnapshot() snapshot {
	value := state{Term: 2, Value: "hello", Known: true, Seen: now.Add(-7 * time.Second), Revision: "2.1"}
	leads, follows := value, value
	leads.Role, follows.Role = "leader", "follower"
	follows.Stale, follows.Since = true, now.Add(-61*time.Second)
	return snapshot{
		Key: "greeting", Endpoint: "127.0.0.1:2379", Port: 17777,
		Etcd:    figures{Connections: 1, Watchers: 1, Known: true},
		Workers: []row{{PID: 41, state: leads}, {PID: 42, state: follows}, {PID: 43}},
		Events:  []event{{ID: 1, At: now, Text: "41 leads, term 2"}},
	}
}

const want = `clusterclient: one connection to etcd for all processes of a host
page http://page   etcd 127.0.0.1:2379   cluster 127.0.0.1:17777   Ctrl-C ends

     PID  ROLE      TERM  REVISION  STATE    AGE  GREETING
      41  leader       2  2.1       fresh     7s  "hello"
      42  follower     2  2.1       stale   1m1s  "hello"
      43  starting     0            -             -

etcd counts 1 connection, 1 watcher for 3 workers

03:04:05  41 leads, term 2
`

func testScreen(out *strings.Builder, width, height int) *screen {
	return &screen{out: out, page: "http://page", size: func() (int, int) { return width, height }}
}

func TestScreen(t *testing.T) {
	var out strings.Builder
	s := testScreen(&out, 80, 24)
	if err := s.draw(testSnapshot(), now); err != nil {
		t.Fatal(err)
	}
	if got := strings.NewReplacer("\r", "", "\x1b[K", "", "\x1b[J", "").Replace(out.String()); got != want {
		t.Errorf("draw() wrote\n%s\nwant\n%s", got, want)
	}
	out.Reset()
	_ = s.draw(testSnapshot(), now)
	if !strings.HasPrefix(out.String(), "\x1b[11A") {
		t.Errorf("the second draw() begins with %q, want to go up 11 lines", out.String()[:8])
	}
}

func TestScreenFits(t *testing.T) {
	var out strings.Builder
	s := testScreen(&out, 20, 6)
	s.color = true
	_ = s.draw(testSnapshot(), now)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\x1b[J"), "\n")
	if len(lines) != 6 { // the last one is where the cursor stays
		t.Errorf("draw() wrote %d lines in a terminal of 6", len(lines))
	}
	if first := "\r\x1b[1mclusterclient: one c\x1b[0m\x1b[K"; lines[0] != first {
		t.Errorf("first line = %q, want %q", lines[0], first)
	}
}

func TestPlainRow(t *testing.T) {
	const want = `42 follower, term 2, greeting = "hello", revision 2.1, stale`
	if got := testSnapshot().Workers[1].String(); got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
}
