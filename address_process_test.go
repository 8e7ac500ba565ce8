//go:build linux

package clusterclient_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// The two ends of the wire between the host and a process apart, in the range
// that is meant for tests of networks.
const (
	nearEnd = "198.18.77.1"
	farEnd  = "198.18.77.2"
)

// joinNetworks joins the network of a process apart to this one's.
func joinNetworks(t *testing.T, far *child) {
	far.Do(command{Op: "read"}) // it is there
	pid := strconv.Itoa(far.PID)
	near := fmt.Sprintf("cc%d", far.PID)
	for _, words := range [][]string{
		{"ip", "link", "add", near, "type", "veth", "peer", "name", "far", "netns", pid},
		{"ip", "addr", "add", nearEnd + "/30", "dev", near},
		{"ip", "link", "set", near, "up"},
		{"nsenter", "-t", pid, "-n", "ip", "addr", "add", farEnd + "/30", "dev", "far"},
		{"nsenter", "-t", pid, "-n", "ip", "link", "set", "far", "up"},
	} {
		if out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil { //nolint:gosec // as above
			t.Skipf("no two networks here: %v: %v: %s", words, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", near).Run() }) //nolint:gosec // as above
}

// A process with another network, as a container or another host has, follows
// over an address of this one, with a secret; it is sent on to a leader beside
// the port, and finds the next leader.
func TestProcessFromAnotherNetwork(t *testing.T) {
	needsRoot(t)
	w := processtest.New(t)
	w.Centre.Set("k", "v")
	create := w.Creation()
	create.Address, create.Secret = nearEnd, "correct horse battery staple"
	far := w.SpawnApart()
	joinNetworks(t, far)
	owner, leads, next := w.Spawn(), w.Spawn(), w.Spawn()
	other := create
	other.Name = "other"
	owner.Must(other)
	leads.Must(create)
	next.Must(create)

	create.Centre, create.Policy = "", clusterclient.FollowerOnly
	far.Must(create)
	require.Equal(t, "v", far.Must(command{Op: "get", Key: "k"}).Data)
	require.Equal(t, far.PID, far.Must(command{Op: "invoke", Method: "quick"}).Result.Caller)
	owner.Kill()
	leads.Kill()
	w.WaitFor("the far process follows the next leader", func() bool { return next.Leads() && far.Follows(next) })
	w.Centre.Set("k", "w")
	require.Equal(t, "w", far.Must(command{Op: "get", Key: "k"}).Data)
}

// It cannot lead, and who has no secret is refused there as well.
func TestProcessFromAnotherNetworkThatMayNot(t *testing.T) {
	needsRoot(t)
	w := processtest.New(t)
	create := w.Creation()
	create.Address, create.Secret = nearEnd, "correct horse battery staple"
	far := w.SpawnApart()
	joinNetworks(t, far)
	e := far.Do(create)
	require.Contains(t, e.Err, "this host has no such address, so this process cannot lead; give it WithRole(FollowerOnly)")

	w.Spawn().Must(create)
	create.Centre, create.Policy, create.Secret = "", clusterclient.FollowerOnly, "incorrect horse battery staple"
	e = far.Do(create)
	require.Contains(t, e.Is, "refused", e.Err)
	require.Contains(t, e.Err, "does not know the secret of WithSecret")
}
