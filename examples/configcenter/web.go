package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"time"
)

//go:embed web
var web embed.FS

// largestBody is more than a value that one types, and less than would hurt.
const largestBody = 16 << 10

// servePage serves the page until s ends, and returns its address.
func servePage(s *supervisor, o options) (url string, err error) {
	l, err := listenPage(s.ctx, o.http, o.httpSet)
	if err != nil {
		return "", err
	}
	srv := &http.Server{
		Handler: pageHandler(s), ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return s.ctx }, // ends the streams of events
	}
	s.spawn(func(context.Context) error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	s.spawn(func(ctx context.Context) error {
		<-ctx.Done()
		return srv.Shutdown(context.WithoutCancel(ctx))
	})
	return "http://" + l.Addr().String(), nil
}

// pageHandler serves the page, what it shows, and what it does. All that it
// does is refused to other sites' pages, which could reach it in the same
// browser.
func pageHandler(s *supervisor) http.Handler {
	assets, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(assets))
	mux.Handle("GET /debug/cluster/", debugHandler(s))
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { streamEvents(s, w, r) })
	mux.Handle("POST /value", action(func(ctx context.Context, req struct {
		Value string `json:"value"`
	},
	) error {
		return s.set(ctx, req.Value)
	}))
	mux.Handle("POST /kill", action(func(_ context.Context, req struct {
		PID int `json:"pid"`
	},
	) error {
		return s.kill(req.PID)
	}))
	mux.Handle("POST /start", action(func(context.Context, struct{}) error { return s.startWorker() }))
	return guard(http.NewCrossOriginProtection().Handler(mux))
}

// guard refuses requests under a name of somebody else's, which may point to
// this host, and keeps the page from loading anything that is not its own.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
			http.Error(w, "use an IP address or localhost", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// action decodes a request's JSON and carries it out.
func action[Req any](do func(context.Context, Req) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, largestBody)).Decode(&req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := do(r.Context(), req); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// streamEvents sends a snapshot, and another whenever something has changed.
// A page that is slow misses some, never the newest.
func streamEvents(s *supervisor, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	for {
		snap, changed := s.watch()
		data, err := json.Marshal(snap)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
			return
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
