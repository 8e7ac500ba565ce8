package clusterclient_test

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// The promise to a subscriber, over random histories of the upstream and of the
// cluster: what a subscription yields is a subsequence of what the upstream
// reported, in order, begins with the newest known value, with revisions that
// strictly grow, no value twice in a row, and ends with the upstream's value.
// Nothing is told again, as if it had been lost.
func TestDelivery(t *testing.T) {
	eachHistory(t, 30, 0, func(m *turmoil) { newHistory(m).run() })
}

// A history is what subscriptions in a cluster are told.
type history struct {
	*turmoil
	ctx context.Context // ends the readers

	reports map[string][]report // by key
	version int
	readers []*reader
}

// A reader is a subscription that is being read.
type reader struct {
	yields
	node *clustertest.Node
	key  string
	rest time.Duration // between two values, at most
	lent bool          // data is valid until the next value only
	over bool          // closed, or its process has ended
	done chan struct{}

	value func() (follower.Value, bool) // of the subscription
	close func()                        // likewise
}

func newHistory(m *turmoil) *history {
	h := &history{turmoil: m, reports: make(map[string][]report)}
	for _, key := range []string{"a", "b", "c"} {
		h.reports[key] = []report{{deleted: true}}
	}
	m.ends = h.readersEnd
	m.begin()
	return h
}

// readersEnd says of the readers in a node that nothing more is owed to them.
func (h *history) readersEnd(n *clustertest.Node) {
	for _, r := range h.readers {
		r.over = r.over || r.node == n
	}
}

func (h *history) run() {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	h.ctx = ctx
	for range stepsEach {
		h.step()
	}
	h.settle()
	for _, r := range h.readers {
		if !r.over {
			v, ok := r.value()
			require.True(h.t, ok, "no value of %q is known", r.key)
			require.False(h.t, v.Stale, "the value of %q is stale", r.key)
		}
	}
	cancel()
	for _, r := range h.readers {
		<-r.done
		require.NoError(h.t, r.broken(h.reports[r.key], !r.over), "a subscription of %q", r.key)
	}
	for _, n := range h.nodes {
		require.Zero(h.t, n.Stats().Resyncs, "values were told again")
	}
	h.tell()
}

// tell logs how much there was to get wrong.
func (h *history) tell() {
	reports, yielded := 0, 0
	for _, all := range h.reports {
		reports += len(all)
	}
	for _, r := range h.readers {
		yielded += len(r.values)
	}
	h.t.Logf("%d values reported, %d yielded by %d subscriptions, %d terms", reports, yielded, len(h.readers), h.leader().Status().Term)
}

// settle ends all trouble and waits until everybody has heard of it.
func (h *history) settle() {
	h.up.FailWatches(nil)
	h.up.Hang(false)
	h.calm()
	for key := range h.reports {
		h.set(key)
		h.observe(h.nodes[1], key)
	}
	h.rest()
}

// step is one thing that happens.
func (h *history) step() {
	key := string(rune('a' + h.r.IntN(3)))
	switch n := h.r.IntN(1000); {
	case n < 560:
		h.set(key)
	case n < 595:
		h.report(key, report{deleted: true})
	case n < 615:
		h.version++
		h.report(key, report{version: strconv.Itoa(h.version)})
	case n < 640: // the version goes back
		before := h.reports[key]
		h.report(key, before[h.r.IntN(len(before))])
	case n < 648:
		h.up.FailWatches([]error{nil, nil, nil, errOpen}[h.r.IntN(4)])
	case n < 656:
		h.up.Hang(h.r.IntN(4) == 0)
	case n < 674:
		h.observe(h.nodes[h.r.IntN(len(h.nodes))], key)
	case n < 680:
		h.observeAll(h.nodes[h.r.IntN(len(h.nodes))])
	case n < 700:
		h.unobserve()
	case n < 975:
		time.Sleep(time.Duration(h.r.IntN(200)) * time.Millisecond)
	case n < 985:
		time.Sleep(time.Duration(h.r.IntN(20)) * time.Second)
	default:
		h.upheaval()
	}
}

func (h *history) set(key string) {
	h.version++
	v := strconv.Itoa(h.version)
	h.report(key, report{data: v, version: v})
}

// report makes r the upstream's value.
func (h *history) report(key string, r report) {
	h.reports[key] = append(h.reports[key], r)
	if r.deleted {
		h.up.Delete(key)
	} else {
		h.up.SetVersion(key, r.data, r.version)
	}
}

// observe has one more subscription of the node read.
func (h *history) observe(n *clustertest.Node, key string) {
	opts, lent := h.options()
	r := h.newReader(n, key, lent, make(chan struct{}))
	sub := mustSubscribe(h.t, n, key, opts...)
	r.value, r.close = sub.Value, func() { _ = sub.Close() }
	h.readers = append(h.readers, r)
	go h.read(sub.Values(h.ctx), h.pauses(), map[string]*reader{key: r}, r.done)
}

// observeAll has one goroutine read all keys.
func (h *history) observeAll(n *clustertest.Node) {
	done, of := make(chan struct{}), make(map[string]*reader)
	opts, lent := h.options()
	for _, key := range slices.Sorted(maps.Keys(h.reports)) {
		of[key] = h.newReader(n, key, lent, done)
	}
	subs, err := n.SubscribeAll(h.t.Context(), slices.Collect(maps.Keys(of)), opts...)
	require.NoError(h.t, err)
	for key, r := range of {
		r.value, r.close = func() (follower.Value, bool) { return subs.Value(key) }, func() { subs.Remove(key) }
	}
	for _, key := range slices.Sorted(maps.Keys(of)) {
		h.readers = append(h.readers, of[key])
	}
	go h.read(subs.Values(h.ctx), h.pauses(), of, done)
}

func (h *history) newReader(n *clustertest.Node, key string, lent bool, done chan struct{}) *reader {
	r := &reader{node: n, key: key, lent: lent, done: done}
	for _, other := range h.readers {
		if v, ok := other.value(); ok && other.node == n && other.key == key && !other.over {
			r.known = v.Revision
		}
	}
	if h.r.IntN(2) == 0 {
		r.rest = time.Duration(h.r.IntN(5000)) * time.Millisecond
	}
	return r
}

// options says whether they make data be lent.
func (h *history) options() (opts []follower.SubscribeOption, lent bool) {
	if h.r.IntN(3) == 0 {
		opts = append(opts, follower.WithStates())
	}
	if lent = h.r.IntN(2) == 0; lent {
		opts = append(opts, follower.ReuseData())
	}
	return opts, lent
}

func (h *history) pauses() *rand.Rand { return rand.New(rand.NewPCG(h.r.Uint64(), 0)) }

// read gives each value to the reader of its key, which are all of one
// goroutine.
func (h *history) read(values iter.Seq2[follower.Value, error], pauses *rand.Rand, of map[string]*reader, done chan struct{}) {
	defer close(done)
	for v, err := range values {
		if err != nil {
			return
		}
		r, lent := of[v.Key], v.Data
		if r.lent {
			v.Data = bytes.Clone(lent)
		}
		r.values = append(r.values, v)
		if r.rest > 0 {
			time.Sleep(time.Duration(pauses.Int64N(int64(r.rest))))
		}
		if !bytes.Equal(v.Data, lent) {
			h.t.Errorf("the data of %q became %q while it was being read", v.Data, lent)
		}
	}
}

// unobserve closes one of the subscriptions.
func (h *history) unobserve() {
	if len(h.readers) == 0 {
		return
	}
	if r := h.readers[h.r.IntN(len(h.readers))]; !r.over {
		r.over = true
		r.close()
	}
}
