package clusterclient_test

import (
	"testing"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// The tests in the files called *_process_test.go and takeover_test.go run
// clients in processes of their own; see package processtest.

type (
	world         = processtest.World
	child         = processtest.Child
	command       = processtest.Command
	event         = processtest.Event
	clusterStatus = processtest.ClusterStatus
	whoami        = processtest.Whoami
)

func TestMain(m *testing.M) { processtest.Main(m) }
