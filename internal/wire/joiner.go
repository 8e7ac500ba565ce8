package wire

import (
	"bytes"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/clusterclient/clusterclient/internal/large"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// maxBehind is how many bytes wait to be joined before the receiver waits, too.
const maxBehind = 8 << 20

// A joiner puts the large frames of one stream together, in a goroutine of its
// own: to find memory for 64 MiB takes longer than a reply that comes behind
// the first chunk may wait.
//
// Nothing but replies, or calls, may pass a large frame that is complete. What
// comes while one is not taken yet therefore goes the same way.
type joiner struct {
	take func(frame []byte) error // gets frames in order; those that came in chunks alone in their memory
	wg   sync.WaitGroup

	failed func(error) // called once

	// Of the goroutine.
	chunks Assembler
	others large.Courtesy

	mu      sync.Mutex
	left    map[uint64]uint64 // bytes to come, by frame
	queue   []joining
	bytes   int // in queue
	ordered int // complete frames in queue
	running bool
	err     error
	less    sync.Cond // the queue is shorter
}

// joining is a chunk, or a frame that must not pass one.
type joining struct {
	chunk
	frame []byte     // nil for a chunk
	hold  mem.Buffer // of the chunk's data; nil when that is the collector's
	last  bool       // completes a frame
}

// Calls makes take get the calls that r receives in pieces, in a goroutine of
// r's own. The function for all that is not a call is called there, too, for what
// comes behind a large frame. The next frame may be long in coming: that one does
// not decode failed is told at once.
func (r *Receiver) Calls(take func(*Call), failed func(error)) { r.calls, r.failed = take, failed }

// Replies makes take get the replies that r receives in pieces, in a goroutine of
// r's own, instead of the function for all others.
func (r *Receiver) Replies(take func(*Reply)) { r.replies = take }

// requestChunk takes a piece of a follower's frame.
func (r *Receiver) requestChunk(c chunk, hold mem.Buffer, call func(*Call), other func(*clusterclientv1.RequestFrame)) error {
	if r.calls == nil || r.alone {
		whole, err := r.assembler.Add(c)
		if err != nil || whole == nil {
			return err
		}
		return r.request(whole, nil, call, other)
	}
	if r.joiner == nil {
		inner := &Receiver{calls: r.calls, alone: true}
		r.joiner = newJoiner(func(frame []byte) error { return inner.request(frame, nil, r.calls, other) }, r.failed)
	}
	return r.joiner.add(c, hold)
}

// responseChunk takes a piece of a leader's frame. Where it is values that are
// large, they are joined beside the goroutine that receives.
func (r *Receiver) responseChunk(c chunk, hold mem.Buffer, reply func(*Reply), other func(*clusterclientv1.ResponseFrame)) error {
	r.taken += len(c.data)
	if r.values == nil || r.alone {
		whole, err := r.assembler.Add(c)
		if err != nil || whole == nil {
			return err
		}
		return r.response(whole, nil, reply, other)
	}
	if r.joiner == nil {
		inner := &Receiver{values: r.values, alone: true}
		if r.replies != nil {
			reply = r.replies
		}
		r.joiner = newJoiner(func(frame []byte) error { return inner.response(frame, nil, reply, other) }, func(error) {})
	}
	return r.joiner.add(c, hold)
}

// Close returns when what was received has been taken.
func (r *Receiver) Close() {
	if r.joiner != nil {
		r.joiner.wg.Wait()
	}
}

func newJoiner(take func([]byte) error, failed func(error)) *joiner {
	j := &joiner{take: take, failed: failed, left: make(map[uint64]uint64)}
	j.less.L = &j.mu
	return j
}

// add takes a chunk.
func (j *joiner) add(c chunk, hold mem.Buffer) error {
	if hold != nil {
		hold.Ref()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	left, ok := j.left[c.id]
	if !ok {
		left = c.size
	}
	left -= min(left, uint64(len(c.data)))
	j.left[c.id] = left
	if left == 0 || len(j.left) > maxOpen { // the Assembler refuses more
		delete(j.left, c.id)
	}
	return j.pushLocked(joining{chunk: c, hold: hold, last: left == 0})
}

// follow takes a frame if it must not pass those that came before. A nil
// joiner has none.
func (j *joiner) follow(frame []byte) (taken bool, err error) {
	if j == nil {
		return false, nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ordered == 0 {
		return false, j.err
	}
	return true, j.pushLocked(joining{frame: bytes.Clone(frame), last: true})
}

func (j *joiner) pushLocked(p joining) error {
	j.queue = append(j.queue, p)
	j.bytes += len(p.data) + len(p.frame)
	if p.last {
		j.ordered++
	}
	if !j.running {
		j.running = true
		j.wg.Go(j.run)
	}
	for j.bytes > maxBehind && j.err == nil {
		j.less.Wait()
	}
	return j.err
}

// run joins until there is nothing more to join.
func (j *joiner) run() {
	for {
		j.mu.Lock()
		if len(j.queue) == 0 {
			j.queue, j.running = nil, false
			j.mu.Unlock()
			return
		}
		p := j.queue[0]
		j.queue[0] = joining{}
		j.queue = j.queue[1:]
		failed := j.err != nil
		j.mu.Unlock()

		var err error
		if !failed {
			if err = j.join(p); err != nil {
				j.failed(err)
			}
		}
		if p.hold != nil {
			p.hold.Free()
		}
		j.others.Yield()
		j.mu.Lock()
		j.bytes -= len(p.data) + len(p.frame)
		if p.last {
			j.ordered--
		}
		if err != nil {
			j.err = err
		}
		j.less.Signal()
		j.mu.Unlock()
	}
}

func (j *joiner) join(p joining) error {
	if p.frame != nil {
		return j.take(p.frame)
	}
	whole, err := j.chunks.Add(p.chunk)
	if err != nil || whole == nil {
		return err
	}
	return j.take(whole)
}
