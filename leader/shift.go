package leader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/clusterclient/clusterclient/internal/wire"
)

const (
	// reliefAfter is how often the leader looks whether a handler that runs
	// where its call was received is still the same. What is behind it waits
	// twice as long at most.
	reliefAfter = 500 * time.Microsecond

	// replyAfter is how much time, about, handlers may take before the
	// replies of those that are done go out.
	replyAfter = 100 * time.Microsecond

	// yieldEvery is how many frames of a batch are taken before others have
	// their turn, as they have after each batch. A follower that floods would
	// otherwise keep a processor until the scheduler takes it away, which is
	// after 10 ms, and a call of another one goes through several hands.
	yieldEvery = 64

	// spareCalls is how many calls are made at once. One that a handler keeps as
	// its context, beyond its end, keeps the others.
	spareCalls = 16

	// sampleEvery is one in how many runs is timed.
	sampleEvery = 16
)

// A shift is the time in which one goroutine receives what a session's
// follower sends. Calls whose handlers have proven quick it runs itself: a
// goroutine for each would cost more than most handlers do.
//
//	            a quick handler                 returns
//	receiving ------------------> in a handler ---------> receiving
//	                                   |
//	                                   | takes longer than it ought to, or
//	                                   v ends its goroutine
//	                               relieved: another goroutine goes on
//	                               receiving, and the call is one like any
//	                               other that has a goroutine of its own
type shift struct {
	s        *session
	relieved bool
	admitted bool          // the leader counts one call for all that run here
	running  *call         // its handler runs here now
	turn     uint64        // of running
	spare    []call        // empty
	last     *method       // that was called
	runs     uint          // of handlers
	ran      int           // of those, in this batch
	now      time.Time     // when one was last timed; zero if none was in this batch
	spent    time.Duration // in handlers, about, since the writer was woken
}

// here is the call whose handler runs on the goroutine that is on shift.
type here struct {
	call  atomic.Pointer[call]
	turn  atomic.Uint64 // odd while the handler runs
	seen  atomic.Uint64 // turn at the last tick
	armed atomic.Bool   // there will be another tick
	timer *time.Timer
}

// begin notes that c runs from now on.
func (h *here) begin(c *call) (turn uint64) {
	h.call.Store(c)
	turn = h.turn.Add(1)
	if !h.armed.Load() && h.armed.CompareAndSwap(false, true) {
		h.timer.Reset(reliefAfter)
	}
	return turn
}

// end notes that the call of a turn is over; it is false when the shift was
// relieved of it.
func (h *here) end(turn uint64) bool { return h.turn.CompareAndSwap(turn, turn+1) }

// running returns the call that runs now.
func (h *here) running() *call {
	if h.turn.Load()%2 == 0 {
		return nil
	}
	return h.call.Load()
}

// tick relieves a shift that has not come out of a handler since the last
// one. It runs only while there are calls.
func (s *session) tick() {
	h := &s.here
	turn := h.turn.Load()
	again := turn == h.seen.Swap(turn)
	if again && turn%2 == 1 {
		s.relieve(turn)
	} else if again {
		h.armed.Store(false)
		if h.turn.Load() == turn || !h.armed.CompareAndSwap(false, true) {
			return
		}
	}
	h.timer.Reset(reliefAfter)
}

// relieve makes another goroutine go on receiving, while that which was on
// shift has the call of a turn to finish; unless that is over.
func (s *session) relieve(turn uint64) {
	c := s.here.call.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.here.end(turn) {
		return
	}
	c.in.Keep() // its batch will be given back
	s.in.Leave()
	s.calls[c.in.ID] = c
	s.w.Expect(1)
	s.w.Wake()
	go s.receive()
}

// receive is one shift.
func (s *session) receive() {
	sh := &shift{s: s}
	defer sh.abandoned()
	err := sh.receive()
	if sh.relieved {
		return
	}
	s.in.Close()
	switch {
	case errors.Is(err, io.EOF):
		s.tookLeave.Store(true)
		s.w.Finish() // what was asked for before is answered
	default:
		s.cancel(err)
	}
	s.end(err)
}

// takeLarge has a call run that came in pieces.
func (s *session) takeLarge(f *wire.Call) {
	f.Keep()
	s.startCall(f, nil)
}

// broken ends the session, since err is wrong with what the follower says.
func (s *session) broken(err error) { s.cancel(fmt.Errorf("%w: %w", ErrBroken, err)) }

// abandoned finds somebody else to receive when a handler has ended the
// goroutine that is on shift.
func (sh *shift) abandoned() {
	if sh.running != nil {
		sh.s.relieve(sh.turn)
		sh.s.leave(sh.running)
	}
}

// receive takes the follower's frames until the stream fails or somebody else
// does it.
func (sh *shift) receive() error {
	r := sh.s.in
	take, handle := sh.take, sh.s.handle // one of each, not for each frame
	for {
		for more, frames := true, 1; more; frames++ {
			var err error
			more, err = r.Request(take, handle)
			if sh.relieved {
				return nil
			}
			if err != nil {
				sh.rest()
				sh.s.broken(err)
				return err
			}
			if frames%yieldEvery == 0 {
				runtime.Gosched()
			}
		}
		sh.rest()
		runtime.Gosched()
		if err := sh.s.w.Room(sh.s.ctx); err != nil {
			return err
		}
		if err := r.Receive(); err != nil {
			return err
		}
	}
}

// rest ends what was begun with a batch.
func (sh *shift) rest() {
	if !sh.admitted {
		return
	}
	sh.admitted, sh.now = false, time.Time{}
	sh.s.l.finish(nil)
	sh.s.here.call.Store(nil)
	if alone := sh.ran == 1; alone {
		sh.s.w.SendNow()
	} else {
		sh.s.w.Wake()
	}
	sh.ran = 0
}

// take runs a call, or has it run.
func (sh *shift) take(f *wire.Call) {
	m := sh.last
	if m == nil || m.name != f.Method {
		m = sh.s.l.methods.unary[f.Method]
		sh.last = m
	}
	if m == nil || f.Oneway || !m.alone() || len(f.Payload) > sh.s.l.cfg.Limits.Message || !m.pace.quick.Load() || !sh.admit() {
		f.Keep()
		sh.s.startCall(f, nil)
		return
	}
	c := sh.call()
	c.begin(sh.s, f)
	c.method = m
	sh.run(c)
}

// call returns an empty call. Several are made at once.
func (sh *shift) call() *call {
	if len(sh.spare) == 0 {
		sh.spare = make([]call, spareCalls)
	}
	c := &sh.spare[0]
	sh.spare = sh.spare[1:]
	return c
}

// admit makes the leader wait, when it leaves, for what runs here; false when
// it is leaving already.
func (sh *shift) admit() bool {
	sh.admitted = sh.admitted || sh.s.l.begin(nil)
	return sh.admitted && sh.s.l.mayAct() == nil // a process may be stopped within a batch
}

// run runs the handler of c.
func (sh *shift) run(c *call) {
	s := sh.s
	timed := sh.runs%sampleEvery == 0
	sh.runs++
	sh.ran++
	if timed || sh.now.IsZero() {
		sh.now = time.Now()
	}
	if c.expired(sh.now) {
		c.answer(replyError(context.DeadlineExceeded))
		c.method.count(s.shard, c.code)
		return
	}
	sh.running, sh.turn = c, s.here.begin(c)
	var r wire.Reply
	c.run(&r)
	sh.running = nil
	r.ID = c.in.ID
	if !s.here.end(sh.turn) {
		sh.relieved = true
		c.method.pace.learn(paceLongest)
		c.answer(&r)
		s.leave(c)
		return
	}
	if timed {
		c.method.pace.learn(time.Since(sh.now))
	}
	c.method.count(s.shard, codes.Code(r.Code))
	if r.Code != 0 && c.lost(&r) {
		return
	}
	if r.ID != 0 {
		s.w.AddReply(&r)
	}
	sh.hurry(c.method)
}

// hurry has the replies sent that are there when handlers have taken long.
func (sh *shift) hurry(m *method) {
	sh.spent += time.Duration(m.pace.mean.Load())
	if sh.spent > replyAfter {
		sh.spent = 0
		sh.s.w.Wake()
	}
}
