package clusterclient_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/clustertest"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// granted returns the term in which a candidate for a name, who knows of some
// term, is to lead it, and leaves the name.
func (p *rawPeer) granted(t *testing.T, name string, known uint64) uint64 {
	t.Helper()
	s, f := p.another(t), helloFrame(1)
	f.GetHello().Name, f.GetHello().KnownTerm = name, known
	f.GetHello().Candidate, f.GetHello().LeaderLost = true, true
	s.say(t, f)
	term := s.hear(t).GetLead().GetTerm()
	require.NotZero(t, term, name)
	s.end(t)
	return term
}

// The owner of the port knows the terms of so many names and of no more, and
// forgets no name that somebody leads.
func TestTermsThatAreTooMany(t *testing.T) {
	const most, others, leaders = 4096, 4000, 200
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		p := newRawPeer(t, cluster)
		p.say(t, helloFrame(1)) // so that the connection stays
		require.NotNil(t, p.hear(t).GetWelcome())
		var lead []*rawPeer
		for i := range leaders {
			s, f := p.another(t), helloFrame(1)
			f.GetHello().Name = fmt.Sprint("led ", i)
			s.say(t, f, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Report{Report: &clusterclientv1.Report{Term: 100, Address: portAddress}}})
			synctest.Wait()
			lead = append(lead, s)
		}
		for i := range others {
			require.EqualValues(t, 101, p.granted(t, fmt.Sprint(i), 100))
		}
		forgotten := 0
		for i := range others {
			term := p.granted(t, fmt.Sprint(i), 0) // which takes the place of another one if it was forgotten
			if term == 1 {
				forgotten++
				continue
			}
			require.EqualValues(t, 102, term)
		}
		require.GreaterOrEqual(t, forgotten, others+leaders-most)
		for i, s := range lead {
			s.end(t)
			require.EqualValues(t, 101, p.granted(t, fmt.Sprint("led ", i), 0))
		}
	})
}
