package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/rawio"
)

const (
	loadFlat  = "as fast as it goes"
	loadPaced = "1,000 updates a second"

	pacedRate  = 1000
	valueBytes = 1000

	// ackEvery is how many updates a subscriber lets pass before it says how
	// far it is; window is how far the source may be ahead of the slowest.
	// No key is updated twice within a window, so that a subscriber which
	// merges has nothing to merge.
	ackEvery = 64
	window   = 800
)

// A fanPeer is one way to bring the updates of many keys to many processes.
type fanPeer interface {
	// source runs in the process where updates arise. update may be called
	// from one goroutine; it must not wait for subscribers for ever.
	source(broker string, keys int) (address string, update func(key int, value []byte) error, stop func() error, err error)

	// subscribe runs in each subscriber's process, and returns when no update
	// can be missed any more. got is safe for concurrent use.
	subscribe(address string, keys int, got func(value []byte)) (stop func() error, err error)
}

// Names of peers. The gRPC stream encodes for each subscriber, and has one
// reader anyhow.
const (
	grpcStream          = "grpc-go stream"
	oursReusing         = "clusterclient, memory reused"
	oursOneReader       = "clusterclient, one reader"
	oursOneReaderReuses = "clusterclient, one reader, memory reused"
	natsOneReader       = "NATS, one reader"
)

// fanPeers are in the order in which they take turns.
var fanPeers = []string{ours, oursReusing, oursOneReader, oursOneReaderReuses, natsPeer, natsOneReader, grpcStream}

func fanPeerNamed(name string) (fanPeer, error) {
	switch name {
	case ours:
		return clusterFan{}, nil
	case oursOneReader:
		return clusterFan{oneReader: true}, nil
	case oursReusing:
		return clusterFan{opts: []follower.SubscribeOption{follower.ReuseData()}}, nil
	case oursOneReaderReuses:
		return clusterFan{oneReader: true, opts: []follower.SubscribeOption{follower.ReuseData()}}, nil
	case natsPeer:
		return natsFan{}, nil
	case natsOneReader:
		return natsFan{oneReader: true}, nil
	case grpcStream:
		return grpcFan{}, nil
	}
	return nil, fmt.Errorf("there is no peer %q", name)
}

// fanoutScenario brings values of 1,000 bytes to every subscriber.
func fanoutScenario(l *lab) error {
	var sets []*fanSet
	for _, name := range fanPeers {
		s, err := l.startFan(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		sets = append(sets, s)
	}
	var variants []variant
	for _, s := range sets {
		variants = append(variants, variant{loadFlat, s.name, func(d time.Duration) ([]measurement, error) {
			r, err := s.measure(l, updateWork{Duration: d})
			if err != nil {
				return nil, err
			}
			return append([]measurement{
				{"deliveries per second", "/s", float64(r.latencies.total()) / r.Elapsed.Seconds()},
				{"share delivered", "%", 100 * float64(r.latencies.total()) / float64(r.Updates*len(s.subscribers))},
			}, r.processor()...), nil
		}})
	}
	for _, s := range sets {
		variants = append(variants, variant{loadPaced, s.name, func(d time.Duration) ([]measurement, error) {
			r, err := s.measure(l, updateWork{Duration: 2 * d, Rate: pacedRate})
			if err != nil {
				return nil, err
			}
			return append(latencies(&r.latencies), r.processor()...), nil
		}})
	}
	if err := l.interleave(variants); err != nil {
		return err
	}
	ends := map[string]*process{"leader": sets[0].source, "follower": sets[0].subscribers[0]}
	return l.profiled("fanout", ends, func() error {
		_, err := sets[0].measure(l, updateWork{Duration: profileSlices * l.size.slice})
		return err
	})
}

// A fanSet is a source's process and those of its subscribers.
type fanSet struct {
	name        string
	source      *process
	subscribers []*process
	senders     []*process // the source and, where there is one, the broker
}

// fanTarget is what a process has to know to take part.
type fanTarget struct {
	Peer        string `json:"peer"`
	Address     string `json:"address,omitempty"`
	Acks        string `json:"acks,omitempty"` // where subscribers say how far they are
	Keys        int    `json:"keys"`
	Subscribers int    `json:"subscribers"`
}

func (l *lab) startFan(name string) (*fanSet, error) {
	at := fanTarget{Peer: name, Keys: l.size.keys, Subscribers: l.size.subscriber}
	s := &fanSet{name: name}
	if name == natsPeer || name == natsOneReader {
		broker, err := l.start("broker", target{Peer: natsPeer}, &at.Address)
		if err != nil {
			return nil, err
		}
		s.senders = append(s.senders, broker)
	}
	var err error
	if s.source, err = l.start("source", at, &at); err != nil {
		return nil, err
	}
	s.senders = append(s.senders, s.source)
	for range at.Subscribers {
		p, err := l.start("subscriber", at, nil)
		if err != nil {
			return nil, err
		}
		s.subscribers = append(s.subscribers, p)
	}
	return s, nil
}

// updateWork says how to update; updateResult is what came of it.
type updateWork struct {
	Duration time.Duration `json:"duration"`
	Rate     int           `json:"rate,omitempty"` // a second; 0 is as fast as subscribers keep up
}

type updateResult struct {
	Updates int           `json:"updates"`
	Elapsed time.Duration `json:"elapsed"` // until the last one was delivered

	latencies histogram
	sent      time.Duration // processor time of the source and the broker
	received  time.Duration // processor time of all subscribers
}

// processor is what a delivery costs, which depends less than its time does on
// what else the machine has to do.
func (r *updateResult) processor() []measurement {
	each := func(d time.Duration) float64 {
		return float64(d.Nanoseconds()) / 1e3 / float64(max(1, r.latencies.total()))
	}
	return []measurement{
		{"processor time per delivery", "µs", each(r.sent + r.received)},
		{"processor time per delivery, of the sending side", "µs", each(r.sent)},
	}
}

func (s *fanSet) measure(l *lab, w updateWork) (r *updateResult, err error) {
	r = new(updateResult)
	if _, err := takeAll(l, s.subscribers); err != nil { // what was there before does not count
		return nil, err
	}
	if err := s.use(l, r, -1); err != nil {
		return nil, err
	}
	if err := s.source.do(l.ctx, "update", w, r); err != nil {
		return nil, err
	}
	if err := s.use(l, r, 1); err != nil {
		return nil, err
	}
	taken, err := takeAll(l, s.subscribers)
	for _, h := range taken {
		r.latencies.merge(h)
	}
	return r, err
}

// use adds the processor time used so far, or takes it off, to what r has.
func (s *fanSet) use(l *lab, r *updateResult, sign time.Duration) error {
	sent, err := usage(l, s.senders)
	if err != nil {
		return err
	}
	received, err := usage(l, s.subscribers)
	r.sent += sign * sent
	r.received += sign * received
	return err
}

// takeAll takes from each process what it has counted.
func takeAll(l *lab, procs []*process) ([]*histogram, error) {
	return all(procs, func(_ int, p *process) (*histogram, error) {
		h := new(histogram)
		return h, p.do(l.ctx, "take", none{}, h)
	})
}

// A value says which update it is, and when it arose.
const stampBytes = 40

func newValue(seq int64) []byte {
	v := make([]byte, valueBytes)
	n := copy(v, fmt.Appendf(nil, "%020d%020d", seq, time.Now().UnixNano()))
	for i := n; i < len(v); i++ {
		v[i] = '.'
	}
	return v
}

func readValue(v []byte) (seq, at int64, err error) {
	if len(v) < stampBytes {
		return 0, 0, fmt.Errorf("a value has %d bytes", len(v))
	}
	return number(v[:stampBytes/2]), number(v[stampBytes/2 : stampBytes]), nil
}

// number reads digits, without the allocation that strconv needs for its
// errors.
func number(digits []byte) int64 {
	var n int64
	for _, d := range digits {
		n = 10*n + int64(d-'0')
	}
	return n
}

// A source updates keys in turn and knows how far its subscribers are.
type source struct {
	keys   int
	update func(key int, value []byte) error
	seq    int64

	mu    sync.Mutex
	acked []int64 // by subscriber
	bell  chan struct{}
}

func startSource(at fanTarget) (role, error) {
	p, err := fanPeerNamed(at.Peer)
	if err != nil {
		return role{}, err
	}
	s := &source{keys: at.Keys, acked: make([]int64, at.Subscribers), bell: make(chan struct{}, 1)}
	acks, err := listenLoopback()
	if err != nil {
		return role{}, err
	}
	go s.accept(acks)
	var stop func() error
	if at.Address, s.update, stop, err = p.source(at.Address, at.Keys); err != nil {
		return role{}, err
	}
	at.Acks = acks.Addr().String()
	return role{info: at, close: stop, ops: map[string]op{"update": opOf(s.run)}}, nil
}

func (s *source) accept(acks net.Listener) {
	for i := range s.acked {
		conn, err := acks.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var b [8]byte
			for {
				if _, err := io.ReadFull(conn, b[:]); err != nil {
					return
				}
				s.mu.Lock()
				s.acked[i] = max(s.acked[i], int64(binary.BigEndian.Uint64(b[:])))
				s.mu.Unlock()
				select {
				case s.bell <- struct{}{}:
				default:
				}
			}
		}()
	}
}

// run updates for some time and waits until subscribers have it all.
func (s *source) run(w updateWork) (updateResult, error) {
	start, first := time.Now(), s.seq
	for n := 1; time.Since(start) < w.Duration; n++ {
		s.seq++
		if err := s.update(int(s.seq)%s.keys, newValue(s.seq)); err != nil {
			return updateResult{}, err
		}
		if w.Rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(w.Rate))))
		}
		if err := s.await(s.seq - min(window, int64(s.keys)-ackEvery)); err != nil {
			return updateResult{}, err
		}
	}
	if err := s.await(s.seq / ackEvery * ackEvery); err != nil {
		return updateResult{}, err
	}
	return updateResult{Updates: int(s.seq - first), Elapsed: time.Since(start)}, nil
}

// await waits until every subscriber is as far as seq.
func (s *source) await(seq int64) error {
	for s.slowest() < seq {
		select {
		case <-s.bell:
		case <-time.After(startTimeout):
			return fmt.Errorf("a subscriber got no further than update %d, not to %d", s.slowest(), seq)
		}
	}
	return nil
}

func (s *source) slowest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := s.acked[0]
	for _, a := range s.acked {
		least = min(least, a)
	}
	return least
}

// A subscriber counts what it gets, and says now and then how far it is.
type subscriber struct {
	counted atomic.Pointer[histogram]
	block   atomic.Int64 // the last one that was acknowledged
	acks    net.Conn     // nil when nobody wants to know
}

func startSubscriber(at fanTarget) (role, error) {
	p, err := fanPeerNamed(at.Peer)
	if err != nil {
		return role{}, err
	}
	s := newSubscriber()
	acks, err := dialLoopback(at.Acks)
	if err != nil {
		return role{}, err
	}
	s.acks = rawio.Wrap(acks) // else to acknowledge costs more than much of what is measured
	stop, err := p.subscribe(at.Address, at.Keys, s.got)
	return role{close: stop, ops: map[string]op{"take": opOf(s.take)}}, err
}

func newSubscriber() *subscriber {
	s := new(subscriber)
	s.counted.Store(new(histogram))
	return s
}

func (s *subscriber) got(value []byte) {
	seq, at, err := readValue(value)
	if err != nil || seq == 0 {
		return // the value that a key has before its first update
	}
	s.counted.Load().record(time.Since(time.Unix(0, at)))
	block, last := seq/ackEvery, s.block.Load()
	if s.acks != nil && block > last && s.block.CompareAndSwap(last, block) {
		_, _ = s.acks.Write(binary.BigEndian.AppendUint64(nil, uint64(block*ackEvery)))
	}
}

// take returns what was counted since it was called last.
func (s *subscriber) take(none) (*histogram, error) {
	return s.counted.Swap(new(histogram)), nil
}
