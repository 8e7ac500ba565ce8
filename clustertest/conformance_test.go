package clustertest_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/clustertest/upstreamtest"
	"github.com/clusterclient/clusterclient/leader"
)

// What is told of adapters holds for the one that tests are made with.
func TestConformance(t *testing.T) {
	for _, starts := range []bool{false, true} {
		t.Run("starts "+strconv.FormatBool(starts), func(t *testing.T) {
			upstreamtest.Run(t, func(*testing.T) upstreamtest.Harness {
				up := clustertest.NewUpstream()
				up.Starts = starts
				return harness{up}
			})
		})
	}
}

// A harness reaches an Upstream by its side door.
type harness struct{ *clustertest.Upstream }

var (
	_ upstreamtest.Restarter = harness{}
	_ upstreamtest.Directory = harness{}
)

func (h harness) Set(_ context.Context, key string, data []byte) error {
	h.Upstream.Set(key, string(data))
	return nil
}

func (h harness) Delete(_ context.Context, key string) error {
	h.Upstream.Delete(key)
	return nil
}

func (h harness) Get(_ context.Context, key string) (data []byte, exists bool, err error) {
	value, exists := h.Value(key)
	return []byte(value), exists, nil
}

func (h harness) Announced(_ context.Context, r leader.Registration) (data []byte, exists bool, err error) {
	for _, have := range h.Registrations() {
		if have.Key == r.Key {
			return have.Data, true, nil
		}
	}
	return nil, false, nil
}

func (h harness) Stop(context.Context) error {
	h.fail(errors.New("the upstream is down"))
	return nil
}

func (h harness) Start(context.Context) error {
	h.fail(nil)
	return nil
}

func (h harness) fail(err error) {
	h.FailOpen(err)
	h.FailWatches(err)
	h.FailPublish(err)
	h.FailRegister(err)
}
