package etcd_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/clusterclient/clusterclient/clustertest/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Harness { return newServer(t) })
}
