package clusterclient_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// TestLeaseOnAFullDisk fills the disk that the lease is on. Nobody can take
// over by it then, so the leader goes on without.
func TestLeaseOnAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skipf("no disk of its own can be had: %v", err) // only root can
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Network.Dir = disk
		leads, book := startLogging(cluster)
		follows := cluster.Start()

		rubbish, err := os.Create(filepath.Join(disk, "rubbish"))
		require.NoError(t, err)
		_, err = io.Copy(rubbish, strings.NewReader(strings.Repeat("x", 1<<20)))
		require.True(t, errors.Is(err, syscall.ENOSPC), "filling the disk: %v", err)
		require.NoError(t, rubbish.Close())
		time.Sleep(time.Minute)
		require.NoError(t, follows.Publish(t.Context(), "k", []byte("v")))
		require.Equal(t, clusterclient.RoleLeader, leads.Role())
		require.Len(t, book.with("cannot be written"), 1, "warnings")

		require.NoError(t, os.Remove(rubbish.Name()))
		time.Sleep(2 * time.Second)
		leads.Freeze()
		time.Sleep(13 * time.Second)
		require.Equal(t, clusterclient.RoleLeader, follows.Role(), "the lease is not written again")
	})
}
