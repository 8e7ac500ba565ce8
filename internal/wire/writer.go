package wire

import (
	"math"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A Writer sends frames on one stream. Frames that are ready together share a
// message. A frame larger than a chunk travels in pieces, one in each message,
// so that all others pass between them.
//
// Two kinds of things are sent. What must arrive is queued by [Writer.Send],
// which never blocks; its callers keep it bounded. What is only the present
// state of something is not queued at all: the writer asks for it, through
// the pull function, each time the stream takes another message, so that a
// slow receiver gets the newest state and costs no memory.
type Writer struct {
	stream     Stream
	prompt     prompt // the same; nil if it is none
	chunkField protowire.Number
	pull       func(*Batch)
	bell       chan struct{} // one slot: something may be due
	room       chan struct{} // one slot: there may be room again
	crowd      atomic.Int64  // requests under way, see Expect
	coming     atomic.Int64  // see ExpectCallers
	turn       sync.Mutex    // of whoever sends; taken before mu

	mu         sync.Mutex    // guards what follows
	queue      []*Batch      // filled in order; the last one takes more frames
	large      []*largeFrame // begun; a piece of each in turn
	later      []*largeFrame // not begun
	begun      int           // bytes of the frames that are
	credit     int           // bytes of pieces that may be sent, see LimitPieces
	largeBytes int           // bytes of all large frames
	crowded    bool          // somebody waits in Room
	nextChunk  uint64
	finishing  bool
	free       *Batch // to be filled again; without a buffer
}

type largeFrame struct {
	id     uint64
	size   int
	head   []byte // what is to be sent of it, first this
	data   []byte
	handed *atomic.Bool
	after  []proto.Message // go out behind it
	done   func()
}

// NewRequestWriter returns the Writer of a follower. pull may be nil.
func NewRequestWriter(s Stream, pull func(*Batch)) *Writer {
	return newWriter(s, requestChunkField, pull)
}

// NewResponseWriter returns the Writer of a leader. pull may be nil.
func NewResponseWriter(s Stream, pull func(*Batch)) *Writer {
	return newWriter(s, responseChunkField, pull)
}

func newWriter(s Stream, chunkField protowire.Number, pull func(*Batch)) *Writer {
	w := &Writer{
		stream: s, chunkField: chunkField, pull: pull, bell: make(chan struct{}, 1), room: make(chan struct{}, 1),
		credit: math.MaxInt,
	}
	w.prompt, _ = s.(prompt)
	return w
}

// A prompt stream can tell how much it takes without waiting. Its methods are
// called by whoever may call SendMsg.
type prompt interface {
	Prompt() bool            // whether it may take anything
	SendNow(data []byte) int // how much of data it has taken; what is left has to be sent next
}

// Send queues frame. handed, if not nil, is set just before the frame, or the
// last piece of it, goes to the transport: while it is false the receiver
// cannot have the frame.
func (w *Writer) Send(frame proto.Message, handed *atomic.Bool) {
	if size := proto.Size(frame); size > chunkSize {
		encoded, err := proto.Marshal(frame)
		if err == nil {
			w.sendLarge(&largeFrame{data: encoded, handed: handed})
		}
		return
	}
	w.mu.Lock()
	b := w.tailLocked()
	b.Add(frame)
	if handed != nil {
		b.handed = append(b.handed, handed)
	}
	w.mu.Unlock()
	w.Wake()
}

// SendAfter queues frame like [Writer.Send], but so that it does not pass the
// frame that was sent with first, which may be a large one on its way.
func (w *Writer) SendAfter(first *atomic.Bool, frame proto.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, queue := range [][]*largeFrame{w.large, w.later} {
		for _, l := range queue {
			if l.handed == first {
				l.after = append(l.after, frame)
				return
			}
		}
	}
	w.tailLocked().Add(frame)
	w.Wake()
}

// IsLarge reports whether [Writer.SendValue] sends this in pieces.
func IsLarge(head, data []byte) bool { return len(head)+len(data) > chunkSize }

// SendValue sends a frame that is encoded already, all but data at its end, from
// within pull. A small one is added to b at once. For a large one it returns
// true; done is then called, from [Writer.Run], when the last piece has gone to
// the transport. Large data is not copied; neither part may change any more.
func (w *Writer) SendValue(b *Batch, head, data []byte, done func()) (large bool) {
	if !IsLarge(head, data) {
		b.addParts(head, data)
		return false
	}
	w.sendLarge(&largeFrame{head: head, data: data, done: done})
	return true
}

func (w *Writer) sendLarge(l *largeFrame) {
	l.size = len(l.head) + len(l.data)
	w.mu.Lock()
	w.nextChunk++
	l.id = w.nextChunk
	w.later = append(w.later, l)
	w.largeBytes += l.size
	w.beginLocked()
	w.mu.Unlock()
	w.Wake()
}

// Queued returns how many messages wait to be sent, those in pieces included.
// What pull has to give is not among them.
func (w *Writer) Queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) + len(w.large) + len(w.later)
}

// Wake makes the writer call pull soon.
func (w *Writer) Wake() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// Expect tells the writer that n more requests are under way, or fewer when n
// is negative. While there are several, more frames are probably about to come,
// and the writer lets their goroutines run before it sends: a message with many
// frames costs little more than one with a single frame.
func (w *Writer) Expect(n int64) { w.crowd.Add(n) }

// Finish makes Run return once everything queued so far was sent, pieces without
// waiting for the receiver, who may have said its last. pull is not called any
// more.
func (w *Writer) Finish() {
	w.mu.Lock()
	w.finishing = true
	w.credit = math.MaxInt
	w.mu.Unlock()
	w.Wake()
}

// addChunkLocked appends the next piece of the large frame whose turn it is.
func (w *Writer) addChunkLocked(b *Batch) (done func()) {
	l := w.large[0]
	head, piece := l.head, l.data[:min(pieceSize, len(l.data))]
	l.head, l.data = nil, l.data[len(piece):]
	w.large = w.large[1:]
	b.addChunk(w.chunkField, l.id, l.size, head, piece)
	w.credit -= len(head) + len(piece)
	if len(l.data) > 0 {
		w.large = append(w.large, l)
		return nil
	}
	w.begun -= l.size
	w.largeBytes -= l.size
	w.sentLocked()
	w.beginLocked()
	if l.handed != nil {
		b.handed = append(b.handed, l.handed)
	}
	for _, frame := range l.after {
		w.tailLocked().Add(frame)
	}
	return l.done
}

func (w *Writer) tailLocked() *Batch {
	if n := len(w.queue); n > 0 && !w.queue[n-1].Full() {
		return w.queue[n-1]
	}
	b := w.batchLocked()
	w.queue = append(w.queue, b)
	return b
}
