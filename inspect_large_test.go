package clusterclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// lengthyHello says as much of whoever leads name as a hello may.
func lengthyHello(name string) *clusterclientv1.RequestFrame {
	f := helloFrame(1)
	h := f.GetHello()
	h.Name, h.Candidate = name, true
	h.Identity = append(bytes.Repeat([]byte{1}, 20<<10), name...)
	h.Peer.Instance = append(bytes.Repeat([]byte{2}, 10<<10), name...)
	h.Peer.Program, h.Peer.Build, h.Peer.Address = strings.Repeat("p", 10<<10), strings.Repeat("ü", 5<<10), strings.Repeat("a", 10<<10)
	return f
}

// TestReportOfLengthyMembers has a process that leads many names, and says much
// of itself each time. A report has little of each, and tells them apart.
func TestReportOfLengthyMembers(t *testing.T) {
	const names, most = 100, 2 << 10
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		first := newRawPeer(t, cluster)
		for i := range names {
			p := first
			if i > 0 {
				p = first.another(t)
			}
			p.say(t, lengthyHello(fmt.Sprint("name", i)))
			lead := false
			for !lead { // it may have to wait a moment
				lead = p.hear(t).GetLead() != nil
			}
			p.say(t, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Report{Report: &clusterclientv1.Report{Term: 1, Address: strings.Repeat("b", 60<<10)}}})
		}
		synctest.Wait()
		tool := clusterclient.WithNetwork(cluster.Network.Host())
		found, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Query{}, tool)
		require.NoError(t, err)
		require.Len(t, found.Names, names+1)
		identities, instances := map[string]bool{}, map[string]bool{}
		for _, n := range found.Names {
			if n.Name == clustertest.Name {
				continue
			}
			require.True(t, strings.HasSuffix(n.Leader.Address, "b…"), "the end of what is left out")
			identities[n.Identity], instances[n.Leader.Instance] = true, true
		}
		require.Len(t, identities, names)
		require.Len(t, instances, names)
		report, err := json.Marshal(found)
		require.NoError(t, err)
		require.Less(t, len(report), names*most)
	})
}

// TestReportOfALengthyFollower has one that follows.
func TestReportOfALengthyFollower(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		lead := cluster.Start()
		p, f := newRawPeer(t, cluster), lengthyHello(clustertest.Name)
		f.GetHello().Identity = nil
		p.say(t, f)
		require.NotNil(t, p.hear(t).GetWelcome())
		l, err := lead.Inspect(t.Context(), inspect.Query{Followers: true})
		require.NoError(t, err)
		report, err := json.Marshal(l)
		require.NoError(t, err)
		require.Less(t, len(report), 4<<10)
	})
}
