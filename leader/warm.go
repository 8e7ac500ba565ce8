package leader

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// warmAtOnce is how many keys the upstream may have to report for the first
	// time at the same moment.
	warmAtOnce = 64

	// warmMarks is how many updates of a key are remembered, by their marks.
	warmMarks = 1024

	// warmGroupWait is how long a watch that lags may take to come to where
	// queue groups have been, before it is begun anew, which may skip updates.
	warmGroupWait = 100 * time.Millisecond

	// warmUnclaimed is how long the leadership watches a warm key that nobody
	// has subscribed to yet.
	warmUnclaimed = 3 * time.Second
)

// A Warm is an upstream that is watched before its process leads. It does
// nothing to the upstream but watch.
//
//	        watch             take
//	(none) ──────▶ watched ──────────▶ the leader's
//	                │   ▲
//	                └───┘ settle: anew, if it is not known to be far enough
type Warm struct {
	source  source
	methods *Registry
	most    int // bytes of a value

	room chan struct{} // a slot for each key that was not heard of

	work sync.WaitGroup // runs; grows with mu held, and only before Close

	mu     sync.Mutex // guards what follows
	keys   map[string]*warmKey
	runs   map[*warmRun]struct{} // that have not ended
	closed bool
}

// NewWarm returns a Warm of up, which it does not close. It fails when up
// registers its methods wrongly.
func NewWarm(up Upstream, limits Limits, log hclog.Logger) (*Warm, error) {
	methods, err := methodsOf(up)
	if err != nil {
		return nil, err
	}
	w := &Warm{
		source: source{up, log}, methods: methods, most: limits.Message,
		room: make(chan struct{}, warmAtOnce), keys: make(map[string]*warmKey), runs: make(map[*warmRun]struct{}),
	}
	return w, nil
}

// Upstream returns the upstream.
func (w *Warm) Upstream() Upstream { return w.source.up }

// Watch begins to watch keys, and returns when each was heard of, or ctx has
// ended. It fails when there are keys and none of them could be watched.
func (w *Warm) Watch(ctx context.Context, keys []*clusterclientv1.WantedKey) error {
	for _, k := range keys {
		w.watch(ctx, k.GetKey(), k.GetGrouped())
	}
	good, bad := 0, error(nil)
	for _, k := range keys {
		if err := w.key(k.GetKey()).await(ctx); err != nil {
			bad = err
		} else {
			good++
		}
	}
	if good == 0 {
		return bad
	}
	return nil
}

// Settle makes sure that no key is behind what the leader before, whose watches
// have ended, has said of it, and returns when that is so, or ctx has ended.
// Keys that are behind then are left to the leadership, as if they had not been
// watched.
func (w *Warm) Settle(ctx context.Context, keys []*clusterclientv1.Inheritance) {
	var behind sync.WaitGroup
	for _, in := range keys {
		k := w.key(in.GetKey())
		switch {
		case k == nil:
			w.watch(ctx, in.GetKey(), true) // which begins now, and so is far enough
			behind.Go(func() { w.key(in.GetKey()).settled(ctx, in) })
		case !k.reached(in):
			behind.Go(func() { k.catchUp(ctx, in) })
		}
	}
	behind.Wait()
}

// watch begins to watch a key when there is room.
func (w *Warm) watch(ctx context.Context, name string, grouped bool) {
	k := &warmKey{w: w, name: name}
	w.mu.Lock()
	known := w.keys[name] != nil
	if !known {
		w.keys[name] = k
	}
	w.mu.Unlock()
	if !known {
		k.begin(ctx, grouped)
	}
}

func (w *Warm) key(name string) *warmKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keys[name]
}

// take gives a key to the leader; nil when it is not warm.
func (w *Warm) take(name string) *warmKey {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	k := w.keys[name]
	delete(w.keys, name)
	w.mu.Unlock()
	if k == nil || !k.isSettled() {
		return nil
	}
	return k
}

// rest ends the watches that the leader has not taken.
func (w *Warm) rest() {
	w.mu.Lock()
	rest := w.keys
	w.keys = make(map[string]*warmKey)
	w.mu.Unlock()
	for _, k := range rest {
		k.end()
	}
}

// add notes that r begins; false when it must not.
func (w *Warm) add(r *warmRun) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.runs[r] = struct{}{}
	w.work.Add(1)
	return true
}

// remove notes that r has ended, if it had begun.
func (w *Warm) remove(r *warmRun) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, begun := w.runs[r]; begun {
		delete(w.runs, r)
		w.work.Done()
	}
}

// Close ends all watches, and returns when they have ended.
func (w *Warm) Close() {
	w.mu.Lock()
	w.closed = true
	runs := slices.Collect(maps.Keys(w.runs))
	w.mu.Unlock()
	for _, r := range runs {
		r.halt()
	}
	w.work.Wait()
}
