package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newPage serves the page of a supervisor with two workers.
func newPage(t *testing.T) (*supervisor, *httptest.Server) {
	t.Helper()
	s := newTestSupervisor(t, 2)
	srv := httptest.NewServer(pageHandler(s))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return s, srv
}

// do makes a request and returns the status and the body.
func do(t *testing.T, method, url, body string, header ...string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	req.Host = req.Header.Get("Host")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// events opens the stream and returns a function that reads on in it until
// holds is true.
func events(t *testing.T, url string) (until func(what string, holds func(snapshot) bool) snapshot) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type = %q, want text/event-stream", got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return func(what string, holds func(snapshot) bool) snapshot {
		t.Helper()
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var snap snapshot
			if err := json.Unmarshal([]byte(data), &snap); err != nil {
				t.Fatalf("event %q: %v", data, err)
			}
			if holds(snap) {
				return snap
			}
		}
		t.Fatalf("%s: the stream ended: %v", what, lines.Err())
		return snapshot{}
	}
}

// The page shows what happens, and what it does happens.
func TestPage(t *testing.T) {
	s, srv := newPage(t)
	until := events(t, srv.URL)
	two := tour{s: s, workers: 2}
	before, _ := until("join", func(snap snapshot) bool { return two.settled(snap) && allKnown(snap) }).leader()

	post := func(path, body string) {
		t.Helper()
		if status, text := do(t, http.MethodPost, srv.URL+path, body); status != http.StatusNoContent {
			t.Fatalf("POST %s %s = %d %s, want 204", path, body, status, text)
		}
	}
	post("/value", `{"value":"from the page"}`)
	two.values = []string{"from the page"}
	until("set", two.allSee)

	post("/kill", fmt.Sprintf(`{"pid":%d}`, before.PID))
	one := tour{s: s, workers: 1, values: two.values}
	after, _ := until("kill", one.allSee).leader()
	if after.Term <= before.Term {
		t.Errorf("term after the kill = %d, want more than %d", after.Term, before.Term)
	}

	post("/start", `{}`)
	until("start", two.allSee)
}

func TestPageRefuses(t *testing.T) {
	_, srv := newPage(t)
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		want                     int
	}{
		{name: "stranger's pid", method: http.MethodPost, path: "/kill", body: `{"pid":1}`, want: http.StatusConflict},
		{name: "no JSON", method: http.MethodPost, path: "/value", body: "x", want: http.StatusBadRequest},
		{name: "large", method: http.MethodPost, path: "/value", body: `{"value":"` + strings.Repeat("x", largestBody) + `"}`, want: http.StatusBadRequest},
		{name: "wrong method", method: http.MethodGet, path: "/kill", want: http.StatusNotFound},
		{name: "other site", method: http.MethodPost, path: "/start", body: "{}", header: []string{"Sec-Fetch-Site", "cross-site"}, want: http.StatusForbidden},
		{name: "other name", method: http.MethodGet, path: "/", header: []string{"Host", "example.org"}, want: http.StatusForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, text := do(t, test.method, srv.URL+test.path, test.body, test.header...)
			if status != test.want {
				t.Errorf("%s %s = %d %s, want %d", test.method, test.path, status, text, test.want)
			}
		})
	}
}

// What the page needs comes from the program: it works without a network.
func TestPageAssets(t *testing.T) {
	_, srv := newPage(t)
	for path, want := range map[string]string{
		"/": "<!doctype html>", "/page.js": "EventSource", "/style.css": "prefers-color-scheme", "/icon.svg": "<svg",
	} {
		status, text := do(t, http.MethodGet, srv.URL+path, "")
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("GET %s = %d, %d bytes, want 200 and %q", path, status, len(text), want)
		}
		if strings.Contains(strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, ""), "//www") || strings.Contains(text, "https:") {
			t.Errorf("GET %s refers to another host", path)
		}
	}
}
