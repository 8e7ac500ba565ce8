package wire

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"github.com/clusterclient/clusterclient/internal/large"
)

// Run sends until the stream fails, ctx ends or [Writer.Finish] was called and
// nothing is left. It is called once.
func (w *Writer) Run(ctx context.Context) error {
	var others large.Courtesy
	for {
		if w.crowd.Load() > 1 {
			runtime.Gosched()
		}
		what, err := w.sendNext()
		switch {
		case err != nil:
			return errors.Join(err, context.Cause(ctx))
		case what == theLast:
			return nil
		case what == aPiece:
			others.Yield()
		case what == nothing:
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-w.bell:
			}
		}
	}
}

// sent says what was sent.
type sent int

const (
	nothing sent = iota // for nothing is due
	aBatch
	aPiece  // of a large frame, in a batch
	theLast // before
)

// sendNext sends the next batch, and waits until the stream has taken it.
func (w *Writer) sendNext() (sent, error) {
	w.turn.Lock()
	defer w.turn.Unlock()
	b, done, finished := w.next()
	defer w.recycle(b)
	what := aBatch
	switch {
	case b.empty() && finished:
		return theLast, nil
	case b.empty():
		return nothing, nil
	case len(b.piece) > 0:
		what = aPiece
	}
	b.markHanded()
	err := w.stream.SendMsg(b)
	if err == nil && done != nil {
		done()
	}
	return what, err
}

// SendNow sends what is due from the goroutine that calls, if that takes no
// waiting, and else has the writer do it. Somebody who is alone has it sooner, for
// nobody needs to be woken; many are better off when their frames share a batch.
func (w *Writer) SendNow() {
	if w.prompt == nil || !w.turn.TryLock() {
		w.Wake()
		return
	}
	defer w.turn.Unlock()
	if !w.prompt.Prompt() || w.isLong() || !w.sendPrompt() {
		w.Wake()
	}
}

// isLong reports whether the writer has more to do than to send a batch.
func (w *Writer) isLong() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finishing || len(w.large) > 0
}

// sendPrompt sends a batch. It is false when something is left.
func (w *Writer) sendPrompt() bool {
	b, _ := w.take()
	if b.empty() {
		w.recycle(b)
		return true
	}
	full := b.Full() // there may be more for it
	b.markHanded()
	if n := w.prompt.SendNow(*b.buf); n < len(*b.buf) {
		w.putBack(b, n)
		return false
	}
	w.recycle(b)
	return !full && w.Queued() == 0
}

// putBack makes what is left of b, of which n bytes were sent, the next to be
// sent.
func (w *Writer) putBack(b *Batch, n int) {
	*b.buf = append((*b.buf)[:0], (*b.buf)[n:]...)
	clear(b.handed) // whoever asked has been told
	b.handed = b.handed[:0]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = slices.Insert(w.queue, 0, b)
}

// recycle takes back a batch that was sent, or was empty.
func (w *Writer) recycle(b *Batch) {
	b.release()
	clear(b.handed)
	b.handed, b.piece = b.handed[:0], nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = b
}

// next returns the batch to send now, empty when nothing is due, and what to
// call when it was sent.
func (w *Writer) next() (b *Batch, done func(), finished bool) {
	b, finishing := w.take()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.large) > 0 && w.credit > 0 {
		done = w.addChunkLocked(b)
	}
	return b, done, finishing && len(w.queue) == 0 && len(w.large) == 0
}

// take returns the first batch of the queue, or a new one, with what the pull
// function has to add, unless the writer is finishing.
func (w *Writer) take() (b *Batch, finishing bool) {
	w.mu.Lock()
	if len(w.queue) > 0 {
		b = w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		w.sentLocked()
	} else {
		b = w.batchLocked()
	}
	finishing = w.finishing
	w.mu.Unlock()
	if w.pull != nil && !finishing {
		w.pull(b)
	}
	return b, finishing
}

// batchLocked returns an empty batch.
func (w *Writer) batchLocked() *Batch {
	b := w.free
	if b == nil {
		b = new(Batch)
	}
	w.free = nil
	b.buf = buffers.Get(batchSize)
	return b
}
