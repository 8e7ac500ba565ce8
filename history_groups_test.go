package clusterclient_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// deposedAfter is how long a leader is silent until it is given up.
const deposedAfter = 10 * time.Second

// The promise to a queue group, over random histories of the upstream, of the
// members and of the cluster: see handedOut.broken.
func TestQueueGroupHistories(t *testing.T) {
	eachHistory(t, 2, 1, func(m *turmoil) {
		h := &groupHistory{turmoil: m, out: handedOut{updates: make([]update, 1), newest: make(map[*groupMember]int)}}
		switch m.r.IntN(3) {
		case 0:
			m.gentle, m.orderly = true, true
		case 1:
			m.keeps = true
		}
		m.ends, h.out.unheard = h.nodeEnds, h.unheard
		m.begin()
		h.run()
	})
}

// A groupHistory is what the members of a queue group are given.
type groupHistory struct {
	*turmoil
	ctx     context.Context // ends the members
	out     handedOut
	members []*groupMember
}

// A groupMember is a subscription that is read.
type groupMember struct {
	node *clustertest.Node
	sub  *follower.Subscription
	rest time.Duration // between two updates

	frail bool      // its network stalls
	ended time.Time // when its process has, if not in peace; zero before
	done  chan struct{}
}

func (h *groupHistory) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	h.ctx = ctx
	kept := mustSubscribe(h.t, h.nodes[1], "k") // what waits in a group stays while anybody wants the key
	h.enter(h.nodes[1])
	for range stepsEach {
		h.step()
	}
	h.calm()
	h.rest()
	h.report()
	h.rest()
	require.NoError(h.t, kept.Close())
	cancel()
	for _, m := range h.members {
		<-m.done
	}
	for n := 1; n < len(h.out.updates); n++ {
		require.NoError(h.t, h.out.broken(n, h.gentle || h.keeps, h.rough), "update %d of %d", n, len(h.out.updates)-1)
	}
	require.LessOrEqual(h.t, h.out.late, groupHolds*h.out.left, "updates that came after newer ones, when %d members have left", h.out.left)
	h.t.Logf("%d updates, %d members left, %d came late, %d again; gentle: %v, one leader: %v, %d terms", len(h.out.updates), h.out.left, h.out.late, h.out.again(), h.gentle, h.keeps, h.leader().Status().Term)
}

// step is one thing that happens.
func (h *groupHistory) step() {
	switch n := h.r.IntN(1000); {
	case n < 500:
		h.report()
	case n < 505:
		for range h.r.IntN(200) {
			h.report()
		}
	case n < 530:
		h.enter(h.nodes[h.r.IntN(len(h.nodes))])
	case n < 550 && len(h.members) > 1:
		h.closeMember(1 + h.r.IntN(len(h.members)-1))
	case n < 970:
		time.Sleep(time.Duration(h.r.IntN(200)) * time.Millisecond)
	case n < 980:
		time.Sleep(time.Duration(h.r.IntN(20)) * time.Second)
	default:
		h.upheaval()
	}
}

func (h *groupHistory) report() { h.up.Set("k", strconv.Itoa(h.out.next())) }

// enter makes a node a member, unless there are many.
func (h *groupHistory) enter(n *clustertest.Node) {
	if len(h.members) > 8 {
		return
	}
	sub, err := n.Subscribe(h.t.Context(), "k", follower.QueueGroup("g"))
	if err != nil {
		require.False(h.t, h.gentle, "Subscribe: %v", err)
		require.ErrorIs(h.t, err, context.DeadlineExceeded)
		return
	}
	m := &groupMember{node: n, sub: sub, rest: time.Duration(h.r.IntN(100)) * time.Millisecond, frail: n == h.nodes[0], done: make(chan struct{})}
	h.members = append(h.members, m)
	go h.read(m)
}

// closeMember closes a subscription. What it had yielded is dealt with.
func (h *groupHistory) closeMember(i int) {
	m := h.members[i]
	h.members = slices.Delete(h.members, i, i+1)
	h.out.left++
	require.NoError(h.t, m.sub.Close())
}

// nodeEnds takes away the members that a node has.
func (h *groupHistory) nodeEnds(n *clustertest.Node) {
	h.members = slices.DeleteFunc(h.members, func(m *groupMember) bool {
		if m.node == n {
			h.out.left++
			m.ended = time.Now()
		}
		return m.node == n
	})
}

// unheard reports whether an update, which is given again, was dealt with while
// its leader was stopped for so long that the member gave that up. The session
// took with it what the leader, which leads still, had not read.
func (h *groupHistory) unheard(g *handOut, again time.Time) bool {
	return slices.ContainsFunc(h.stops, func(s stop) bool {
		inTime := g.at.Add(g.to.rest).Before(s.from)
		lost := s.from.Add(deposedAfter)
		return g.at.Before(s.to) && !inTime && g.to.node != s.node && !s.to.Before(lost) && !again.Before(lost) && led(s.node, s.from, again)
	})
}

// led reports whether the node led all that time.
func led(n *clustertest.Node, from, to time.Time) bool {
	return slices.ContainsFunc(n.Stats().Terms, func(t clusterclient.Term) bool {
		return t.Role == clusterclient.RoleLeader && !t.Began.After(from) && (t.Ended.IsZero() || !t.Ended.Before(to))
	})
}

// read enters all that a member is given.
func (h *groupHistory) read(m *groupMember) {
	defer close(m.done)
	for v, err := range m.sub.Values(h.ctx) {
		if err != nil {
			return
		}
		n, err := strconv.Atoi(string(v.Data))
		if err != nil {
			h.t.Errorf("a member was given %q: %v", v.Data, err)
		}
		h.out.give(m, n)
		time.Sleep(m.rest)
	}
}
