package clusterclient_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// The promise to a caller, over random histories of calls and of the cluster:
// see madeCall.broken.
func TestCallHistories(t *testing.T) {
	eachHistory(t, 2, 1, func(m *turmoil) {
		m.gentle = m.r.IntN(3) == 0
		h := &callHistory{turmoil: m, over: make(map[*clustertest.Node]bool)}
		m.up.Methods = h.register
		m.ends = func(n *clustertest.Node) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.over[n] = true
		}
		m.begin()
		h.run()
	})
}

// A callHistory is what callers in a cluster are answered.
type callHistory struct {
	*turmoil

	mu     sync.Mutex // guards what follows, and what calls and jobs change
	calls  []*madeCall
	jobs   []*job
	shared *job // the newest that calls may share
	over   map[*clustertest.Node]bool
}

// An order is the argument of a call: what its handler is to do.
type order struct {
	ID   int
	Work time.Duration
	End  ending
}

// An ending is how a handler ends.
type ending int

const (
	answers ending = iota
	refuses
	panics
)

// register has methods of each policy, all with the same handler.
func (h *callHistory) register(r *leader.Registry) {
	for method, opts := range policies {
		leader.Handle(r, method, h.work, opts...)
	}
}

// policies are the methods by the options of each.
var policies = map[string][]leader.MethodOption{
	"once":    nil,
	"quick":   {leader.Quick()},
	"again":   {leader.Idempotent()},
	"limited": {leader.Limit(3)},
	"shared":  {leader.Coalesce(), leader.Idempotent()},
}

// work does as it is told, and returns what the order's caller is to be told.
func (h *callHistory) work(ctx context.Context, o order) (int, error) {
	run := h.begun(o.ID)
	select {
	case <-time.After(o.Work):
	case <-ctx.Done():
	}
	h.mu.Lock()
	run.ended = time.Now()
	h.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case o.End == refuses:
		return 0, status.Errorf(codes.Aborted, "refused %d", o.ID)
	case o.End == panics:
		panic("asked to")
	}
	return o.ID, nil
}

func (h *callHistory) begun(id int) *handlerRun {
	run := &handlerRun{began: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jobs[id].runs = append(h.jobs[id].runs, run)
	return run
}

func (h *callHistory) run() {
	for range stepsEach {
		h.step()
	}
	h.calm()
	h.rest()
	h.mu.Lock()
	defer h.mu.Unlock()
	ends := make(map[string]int)
	for _, c := range h.calls {
		c.over = c.over || h.stops.hit(c.node, c.began, c.ended)
		require.NoError(h.t, c.broken(h.rough), "%v", c)
		ends[c.outcome()]++
	}
	for _, j := range h.jobs {
		require.NoError(h.t, j.broken(h.rough), "job of %v", j.calls)
	}
	h.t.Logf("calls by how they ended: %v; gentle: %v, %d terms", ends, h.gentle, h.leader().Status().Term)
}

// step is one thing that happens.
func (h *callHistory) step() {
	switch n := h.r.IntN(1000); {
	case n < 700:
		h.call(h.nodes[h.r.IntN(len(h.nodes))])
	case n < 960:
		time.Sleep(time.Duration(h.r.IntN(100)) * time.Millisecond)
	case n < 980:
		time.Sleep(time.Duration(h.r.IntN(10)) * time.Second)
	default:
		h.upheaval()
	}
}

// call has a node make a call.
func (h *callHistory) call(n *clustertest.Node) {
	c := &madeCall{
		node: n, method: pick(h.r, "once", "quick", "again", "limited", "shared"), oneway: h.r.IntN(8) == 0,
		began: time.Now(), timeout: 30 * time.Second,
	}
	c.job = h.job(c.method)
	c.job.calls = append(c.job.calls, c)
	limited := h.r.IntN(4) == 0
	if limited {
		c.timeout = time.Duration(h.r.IntN(3000)) * time.Millisecond
	}
	ctx, cancel := c.context(context.WithoutCancel(h.t.Context()), limited)
	if h.r.IntN(8) == 0 {
		c.cancelled = c.began.Add(time.Duration(h.r.IntN(2000)) * time.Millisecond)
		time.AfterFunc(time.Until(c.cancelled), cancel)
	}
	h.calls = append(h.calls, c)
	go func() {
		defer cancel()
		h.make(ctx, c)
	}()
}

// context returns one with the call's deadline, unless it has the one that all
// calls have.
func (c *madeCall) context(ctx context.Context, limited bool) (context.Context, context.CancelFunc) {
	if limited {
		return context.WithDeadline(ctx, c.deadline())
	}
	return context.WithCancel(ctx)
}

// job returns a new one, or the newest of a method whose calls may share one.
func (h *callHistory) job(method string) *job {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.shared; method == "shared" && last != nil && h.r.IntN(2) == 0 {
		return last
	}
	j := &job{order: order{ID: len(h.jobs), End: pick(h.r, answers, answers, answers, answers, refuses, panics)}}
	switch h.r.IntN(4) {
	case 0:
		j.Work = time.Duration(h.r.IntN(8000)) * time.Millisecond
	case 1:
		j.Work = time.Duration(h.r.IntN(100)) * time.Millisecond
	}
	h.jobs = append(h.jobs, j)
	if method == "shared" {
		h.shared = j
	}
	return j
}

func (h *callHistory) make(ctx context.Context, c *madeCall) {
	var answer int
	var err error
	if c.oneway {
		err = c.node.InvokeOneway(ctx, c.method, c.job.order)
	} else {
		answer, err = clusterclient.Invoke[order, int](ctx, c.node.Client, c.method, c.job.order)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.ended, c.answer, c.err, c.over = time.Now(), answer, err, h.over[c.node]
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }
