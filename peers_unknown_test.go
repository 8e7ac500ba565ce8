package clusterclient_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// inUnknown is inBubble on a host that tells nobody who is at the other end.
func inUnknown(t *testing.T, test func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster), opts ...clusterclient.Option) {
	t.Helper()
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Network.Unknown = true
		up.Set("k", "v")
		test(t, up, cluster)
	}, opts...)
}

// Where the system does not tell who is at the other end, those are let in and
// believed who share a runtime directory, and nothing has to be set for it.
func TestUnknownPeersOfOneDirectory(t *testing.T) {
	inUnknown(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		var log bytes.Buffer
		leads := cluster.Start(logged(&log))
		follows := cluster.Start(logged(&log))
		sub := mustSubscribe(t, follows, "k")
		mustYield(t, sub, "v")

		path := filepath.Join(cluster.Network.Dir, "secret")
		secret, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, secret, 32)
		if info, err := os.Lstat(path); runtime.GOOS != "windows" {
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode())
		}
		require.NotContains(t, log.String(), string(secret))

		leads.Kill()
		up.Set("k", "w")
		mustYield(t, sub, "w")
		require.Equal(t, clusterclient.RoleLeader, follows.Role())
		mustYield(t, mustSubscribe(t, cluster.Start(), "k"), "w")
		require.Zero(t, follows.Status().Refused)
	})
}

// All others are refused, and told what to do; so is whoever holds the port.
func TestUnknownPeersOfOtherDirectories(t *testing.T) {
	const todo = "; give all processes the same runtime directory or the same WithSecret"
	own := func(t *testing.T) clusterclient.Option {
		return clusterclient.WithRuntimeDir(filepath.Join(t.TempDir(), "own"))
	}
	none := clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir)
	for name, tt := range map[string]struct {
		leads, follows func(t *testing.T) clusterclient.Option
		want           string
	}{
		"each has its own": {own, own, "127.0.0.1:17777: a process of an unknown user does not know the secret in this user's runtime directory" + todo},
		"one has none": {
			own, func(*testing.T) clusterclient.Option { return none },
			"127.0.0.1:17777: somebody is at the other end, the system does not tell which user, and there is no secret to ask for: switched off" + todo,
		},
		"the leader has none": {
			func(*testing.T) clusterclient.Option { return none }, own,
			"the other end refuses: a process of an unknown user wants proof of the secret in this user's runtime directory, which the leader cannot read: switched off" + todo,
		},
		"users are named": {
			own, func(*testing.T) clusterclient.Option { return clusterclient.WithPeers(os.Geteuid()) },
			"the system does not tell which user: ", /* and why */
		},
	} {
		t.Run(name, func(t *testing.T) {
			inUnknown(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
				leads := cluster.Start(tt.leads(t))
				for _, role := range []clusterclient.Option{asFollower, clusterclient.WithRole(clusterclient.Compete)} {
					start := time.Now()
					_, err := cluster.TryStart(clustertest.Name, tt.follows(t), role, clusterclient.WithMaxWait(time.Hour))
					require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
					require.ErrorContains(t, err, tt.want)
					require.ErrorContains(t, err, "WithSecret")
					require.NotContains(t, err.Error(), "\n")
					require.Less(t, time.Since(start), time.Minute, "fake time")
				}
				mustYield(t, mustSubscribe(t, leads, "k"), "v")
			})
		})
	}
}

// A secret that somebody could have read or replaced is not used.
func TestUnknownPeersWhoseSecretIsOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows")
	}
	for name, spoil := range map[string]func(t *testing.T, path string){
		"is open to other users": func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o644)) },
		"is a symbolic link": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+"-elsewhere"))
			require.NoError(t, os.Symlink(path+"-elsewhere", path))
		},
		"is not of user 0": func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			require.NoError(t, os.Chown(path, stranger, -1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inUnknown(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
				cluster.Start()
				mustYield(t, mustSubscribe(t, cluster.Start(asFollower), "k"), "v")
				path := filepath.Join(cluster.Network.Dir, "secret")
				spoil(t, path)
				_, err := cluster.TryStart(clustertest.Name, asFollower, clusterclient.WithMaxWait(time.Hour))
				require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
				require.ErrorContains(t, err, path)
				require.ErrorContains(t, err, name)
				require.ErrorContains(t, err, "; remove it, and a new one is made; give all processes the same runtime directory")
				require.NoError(t, os.Remove(path))
				mustYield(t, mustSubscribe(t, cluster.Start(asFollower), "k"), "v")
			})
		})
	}
}

// With a secret of the program's own the directory does not matter.
func TestUnknownPeersWithASecret(t *testing.T) {
	inUnknown(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		n, err := cluster.TryStartAs(stranger, clustertest.Name)
		require.NoError(t, err)
		mustYield(t, mustSubscribe(t, n, "k"), "v")
	}, clusterclient.WithSecret(someSecret), clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir))
}
