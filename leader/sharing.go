package leader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// A question is what identical calls of one method have in common.
type question [sha256.Size]byte

func questionOf(in *wire.Call) (q question) {
	h := sha256.New()
	_, _ = h.Write([]byte(in.Codec))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(in.Payload)
	h.Sum(q[:0])
	return q
}

// A sharing lets identical calls of one method share runs of its handler, and
// their results.
type sharing struct {
	mu      sync.Mutex // guards what follows; taken before a call's mutex
	runs    map[question]*sharedRun
	results results
}

// A sharedRun is one run of the handler.
type sharedRun struct {
	sharing  *sharing
	question question
	call     *call                 // of nobody; the handler's context
	waiting  map[*call]func() bool // those who get the reply; stops watching their contexts
}

func newSharing() *sharing { return &sharing{runs: make(map[question]*sharedRun)} }

// startShared answers c with a kept result, or has it wait for a run of the
// handler that is under way or begins now.
func (s *session) startShared(c *call) (taken bool) {
	if refusal := s.enter(c); refusal != nil {
		c.answer(refusal)
		c.in.Release()
		return false
	}
	if err := c.late(); err != nil { // nobody is to run the handler for it
		c.answer(replyError(err))
		s.leave(c)
	} else if r, ok := c.method.shared.join(c); ok {
		c.answerShared(&r)
		s.leave(c)
	}
	return true
}

// join returns the reply to c if that is known.
func (sh *sharing) join(c *call) (r wire.Reply, ok bool) {
	q := questionOf(c.in)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r, ok = sh.results.get(q, time.Now()); ok {
		return r, true
	}
	run := sh.runs[q]
	if run == nil {
		run = &sharedRun{sharing: sh, question: q, call: c.shadow(), waiting: make(map[*call]func() bool)}
		if !c.s.l.begin(run.call) {
			run.call.in.Release()
			return wire.Reply{NotStarted: true}, true
		}
		sh.runs[q] = run
		go run.do()
	}
	run.waiting[c] = c.AfterFunc(func() { run.drop(c) })
	return wire.Reply{}, false
}

// shadow returns a call like c that has no caller: nobody waits for its reply,
// and no session or deadline ends it.
func (c *call) shadow() *call {
	shadow := newCall(c.s, c.in)
	shadow.method = c.method
	shadow.in.Keep()
	shadow.in.ID, shadow.deadline, shadow.in.Oneway = 0, 0, true
	return shadow
}

// do runs the handler.
func (run *sharedRun) do() {
	c := run.call
	var r wire.Reply
	defer func() { run.end(&r) }() // also when the handler ends the goroutine
	if refusal := c.enters(); refusal != nil {
		r = *refusal
		return
	}
	defer c.leaves()
	c.run(&r)
}

// end gives everybody the reply.
func (run *sharedRun) end(r *wire.Reply) {
	sh := run.sharing
	sh.mu.Lock()
	if sh.runs[run.question] == run {
		delete(sh.runs, run.question)
	}
	waiting := run.waiting
	run.waiting = nil
	if codes.Code(r.Code) == codes.OK {
		sh.results.put(run.question, r, time.Now())
	}
	sh.mu.Unlock()
	for c, stop := range waiting {
		stop()
		c.answerShared(r)
		c.s.leave(c)
	}
	run.call.s.l.finish(run.call)
	run.call.in.Release()
}

// drop answers a caller whose context has ended. The last one takes the run
// with it.
func (run *sharedRun) drop(c *call) {
	sh := run.sharing
	sh.mu.Lock()
	_, waits := run.waiting[c]
	delete(run.waiting, c)
	last := waits && len(run.waiting) == 0
	if last && sh.runs[run.question] == run {
		delete(sh.runs, run.question)
	}
	sh.mu.Unlock()
	if !waits {
		return
	}
	if last {
		run.call.endWith(context.Canceled)
	}
	c.answer(replyError(c.Err()))
	c.s.leave(c)
}

// answerShared answers with a reply that others get as well. Where it does not
// cross a stream it is copied: the handler may go on using its own bytes.
func (c *call) answerShared(r *wire.Reply) {
	own := *r
	if c.direct != nil {
		own.Payload = bytes.Clone(r.Payload)
	}
	c.answer(&own)
}
