package main

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/debugpage"
)

// debugHandler shows the cluster from within, by a client of the
// supervisor's own that only follows. A program that is a worker itself would
// mount debugpage.Handler(client) and be done.
func debugHandler(s *supervisor) http.Handler {
	var page atomic.Pointer[http.Handler]
	s.spawn(func(ctx context.Context) error {
		client, err := clusterclient.CreateContext(ctx, "configcenter", s.port,
			clusterclient.WithRole(clusterclient.FollowerOnly), clusterclient.WithIdentity(s.etcd.endpoint))
		if err != nil {
			page.Store(new(failed(err)))
			return nil // the workers say it, too
		}
		defer client.Close()
		page.Store(new(http.Handler(debugpage.Handler(client))))
		<-ctx.Done()
		return nil
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := page.Load(); h != nil {
			(*h).ServeHTTP(w, r)
			return
		}
		w.Header().Set("Refresh", "1")
		http.Error(w, "joining the cluster", http.StatusServiceUnavailable)
	})
}

// failed answers everything with why there is no page.
func failed(err error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	})
}
