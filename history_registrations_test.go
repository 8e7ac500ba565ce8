package clusterclient_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// cutAfter is how long no byte moves on a session until the leader cuts it off.
const cutAfter = 30 * time.Second

var errNotNow = errors.New("not now")

// The promise to a registrant, over random histories of registrations, of the
// upstream and of the cluster: see announced.
func TestRegistrationHistories(t *testing.T) {
	eachHistory(t, 2, 1, func(m *turmoil) {
		h := &registrationHistory{turmoil: m, byKey: make(map[string]*announced)}
		switch m.r.IntN(3) {
		case 0:
			m.gentle = true
		case 1:
			m.keeps = true
		}
		m.orderly = !m.gentle
		m.ends = h.nodeEnds
		m.begin()
		h.run()
	})
}

// A registrationHistory is what an upstream is told of registrations.
type registrationHistory struct {
	*turmoil
	all    []*announced
	byKey  map[string]*announced
	seen   int       // events of the upstream that were looked at
	looked time.Time // when that was
	fails  bool
}

func (h *registrationHistory) run() {
	for range stepsEach {
		h.step()
		h.look()
	}
	h.calm()
	h.refuse(false)
	h.rest()
	for _, a := range h.all {
		if a.closing {
			h.closeOne(a)
		}
	}
	h.rest()
	h.look()
	left := make(map[string]string)
	for _, r := range h.up.Registrations() {
		left[r.Key] = string(r.Data)
	}
	for _, a := range h.all {
		data, there := left[a.key]
		require.NoError(h.t, a.unsettled(data, there, h.rough), "%v, %q is registered: %v", a, data, there)
	}
	h.t.Logf("%d registrations, %d are left, %d events; gentle: %v, one leader: %v, %d terms", len(h.all), len(left), h.seen, h.gentle, h.keeps, h.leader().Status().Term)
}

// step is one thing that happens.
func (h *registrationHistory) step() {
	switch n := h.r.IntN(1000); {
	case n < 100:
		h.register(h.nodes[h.r.IntN(len(h.nodes))])
	case n < 300 && len(h.all) > 0:
		h.update(h.all[h.r.IntN(len(h.all))])
	case n < 360 && len(h.all) > 0:
		h.closeOne(h.all[h.r.IntN(len(h.all))])
	case n < 930:
		time.Sleep(time.Duration(h.r.IntN(200)) * time.Millisecond)
	case n < 960:
		time.Sleep(time.Duration(h.r.IntN(20)) * time.Second)
	case n < 970 && !h.gentle:
		h.refuse(!h.fails)
	default:
		h.upheaval()
	}
}

func (h *registrationHistory) refuse(fails bool) {
	h.fails = fails
	if h.isRough(); fails {
		h.up.FailRegister(errNotNow)
	} else {
		h.up.FailRegister(nil)
	}
}

// look checks what the upstream was told since the last time.
func (h *registrationHistory) look() {
	events := h.up.RegistrationHistory()
	for _, e := range events[h.seen:] {
		a := h.byKey[e.Key]
		require.NoError(h.t, a.broken(e, h.away(a.node)), "%v: %+v", a, e)
	}
	h.seen, h.looked = len(events), time.Now()
	for _, a := range h.all {
		a.noted()
	}
}

// away reports whether the node may have been without a session for longer than
// the grace before something happened that was not seen when it was looked last:
// by its own fault, or since whoever leads was stopped for so long that it lost
// its sessions. Nobody can tell in memory whether a process lives.
func (h *registrationHistory) away(n *clustertest.Node) bool {
	since, now := h.looked.Add(-longEnough), time.Now()
	return h.stops.hit(n, since, now) || h.stalls.hit(n, since, now) ||
		slices.ContainsFunc(h.stops, func(s stop) bool {
			to := cmp.Or(s.to, now)
			return to.Sub(s.from) >= cutAfter && !to.Before(since)
		})
}

func (h *registrationHistory) register(n *clustertest.Node) {
	a := &announced{node: n, key: "r" + strconv.Itoa(len(h.all)), busy: true, made: time.Now()}
	h.all, h.byKey[a.key] = append(h.all, a), a
	ctx := context.WithoutCancel(h.t.Context())
	go func() {
		reg, err := n.Register(ctx, a.key, a.data(0))
		a.mu.Lock()
		defer a.mu.Unlock()
		a.busy, a.reg, a.failed = false, reg, err != nil
		if err == nil {
			a.there = true
		}
	}()
}

func (h *registrationHistory) update(a *announced) {
	reg, version, ok := a.beginUpdate()
	if !ok {
		return
	}
	ctx := context.WithoutCancel(h.t.Context())
	go func() {
		err := reg.Update(ctx, a.data(version))
		a.mu.Lock()
		defer a.mu.Unlock()
		a.busy = false
		if err == nil {
			a.acked = version
		} else {
			a.doubt = true
		}
	}()
}

func (h *registrationHistory) closeOne(a *announced) {
	reg, ok := a.beginClose()
	if !ok {
		return
	}
	go func() {
		err := reg.Close()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.closed, a.failed = err == nil, err != nil
	}()
}

func (h *registrationHistory) nodeEnds(n *clustertest.Node) {
	for _, a := range h.all {
		if a.node == n {
			a.end(n.Role() == clusterclient.RoleLeader && h.unheard(a.made))
		}
	}
}

// unheard reports whether nobody but who leads can have heard of what happened
// then: of those that could lead, there is only one that has been stopped since
// before.
func (h *registrationHistory) unheard(then time.Time) bool {
	return len(h.nodes) == h.stays+2 && h.stopped != nil && !h.stops[len(h.stops)-1].from.After(then)
}
