package wire

import "context"

const (
	// maxQueue is how many batches wait to be sent before Room makes whoever
	// asks for more wait, too.
	maxQueue = 512

	// maxLarge is how many bytes of large frames may be under way at once: of
	// those that a sender has begun, and of what a receiver has to put
	// together. One frame may always be.
	maxLarge = 4 * MaxFrame
)

// Room blocks while very much is queued, because the other end does not take
// it, and until ctx ends. Whoever receives requests calls it before the next
// ones: a peer that asks and asks, and never reads, waits for itself.
func (w *Writer) Room(ctx context.Context) error {
	for {
		w.mu.Lock()
		w.crowded = len(w.queue) > maxQueue || w.largeBytes > maxLarge
		crowded := w.crowded
		w.mu.Unlock()
		if !crowded {
			return nil
		}
		select {
		case <-w.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sentLocked wakes Room when something of what is queued has left.
func (w *Writer) sentLocked() {
	if w.crowded {
		w.crowded = false
		select {
		case w.room <- struct{}{}:
		default:
		}
	}
}

// beginLocked lets large frames begin that wait to, as many as the receiver
// can put together at once.
func (w *Writer) beginLocked() {
	for len(w.later) > 0 && (len(w.large) == 0 || w.begun+w.later[0].size <= maxLarge) {
		l := w.later[0]
		w.later[0] = nil
		w.later = w.later[1:]
		w.large = append(w.large, l)
		w.begun += l.size
	}
}
