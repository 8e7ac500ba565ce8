package clusterclient_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// A directory that cannot be used keeps nobody from working.
func TestRuntimeDirUnusable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows")
	}
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		dir := filepath.Join(t.TempDir(), "open")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, 0o755))
		var log bytes.Buffer
		n := cluster.Start(clusterclient.WithRuntimeDir(dir), clusterclient.WithLogger(hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})))
		mustYield(t, mustSubscribe(t, n, "k"), "v")
		require.Empty(t, n.Status().RuntimeDir)
		require.Contains(t, n.Status().RuntimeDirTrouble, "chmod 700 "+dir)
		require.NoError(t, n.Close())
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("[WARN]")), "warnings: %s", log.String())
		require.Contains(t, log.String(), "chmod 700 "+dir)
	})
}

func TestRuntimeDirInStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		require.Equal(t, cluster.Network.Dir, cluster.Start().Status().RuntimeDir)
		own := filepath.Join(t.TempDir(), "own")
		require.Equal(t, own, cluster.Start(clusterclient.WithRuntimeDir(own)).Status().RuntimeDir)
		off := cluster.Start(clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir)).Status()
		require.Empty(t, off.RuntimeDir)
		require.Equal(t, "switched off", off.RuntimeDirTrouble)
	})
}
