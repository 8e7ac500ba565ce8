package wire

import (
	"errors"
	"io"
	"net"

	"google.golang.org/grpc/mem"

	"github.com/clusterclient/clusterclient/internal/rawio"
)

// A lane carries batches over a connection of its own. In each direction its
// bytes are those of one SessionRequest or SessionResponse that does not end:
// as messages are merged by putting one behind the other, nothing has to say
// where a batch begins.
type lane struct {
	conn net.Conn
	size int    // of the next buffer; the receiver's own, as is
	rest []byte // what has come of the next frame
}

func newLane(conn net.Conn) *lane { return &lane{conn: conn, size: smallBuffer} }

// send returns when the system has the batch.
func (l *lane) send(b *Batch) error {
	*b.buf = append(*b.buf, b.piece...) // which costs less than to write twice
	_, err := l.conn.Write(*b.buf)
	b.release()
	return err
}

// sendNow returns how much of data the system has taken, without waiting.
func (l *lane) sendNow(data []byte) int {
	if w, ok := l.conn.(rawio.NowWriter); ok {
		return w.WriteNow(data)
	}
	return 0
}

// errMoves is what receive returns when the other end has moved on.
var errMoves = errors.New("wire: the other end goes on elsewhere")

// receive waits for frames and fills f with those that have come. Any other error
// than errMoves is the connection's.
func (l *lane) receive(f *Frames) error {
	buf := l.begin()
	for {
		n, moves := whole(*buf)
		switch {
		case n > 0:
			l.rest = append(l.rest[:0], (*buf)[n:]...)
			*buf = (*buf)[:n]
			f.data, f.hold = *buf, mem.NewBuffer(buf, frames)
			return nil
		case moves:
			frames.Put(buf)
			return errMoves
		}
		var err error
		if buf, err = l.read(buf); err != nil {
			frames.Put(buf)
			return err
		}
	}
}

// begin returns a buffer that begins with what came last time.
func (l *lane) begin() *[]byte {
	buf := frames.Get(max(l.size, len(l.rest)))
	*buf = append((*buf)[:0], l.rest...)
	l.rest = l.rest[:0]
	return buf
}

// read reads what there is behind buf, into a larger one if that is full.
func (l *lane) read(buf *[]byte) (*[]byte, error) {
	have := len(*buf)
	if have == cap(*buf) {
		larger := frames.Get(2 * have)
		*larger = append((*larger)[:0], *buf...)
		frames.Put(buf)
		buf = larger
	}
	n, err := l.conn.Read((*buf)[have:cap(*buf)])
	*buf = (*buf)[:have+n]
	switch {
	case n == 0 && err == nil:
		return buf, io.ErrNoProgress
	case n == 0:
		return buf, err
	case n > smallBuffer || have+n == cap(*buf): // there may be more
		l.size = laneBuffer
	default: // whoever waits for a long time has little memory
		l.size = smallBuffer
	}
	return buf, nil
}

// whole returns how much of b is frames that have come whole, and whether the
// other end moves behind them. All of b is when something is wrong with it, which
// whoever takes the frames will find.
func whole(b []byte) (n int, moves bool) {
	for n < len(b) {
		if b[n] == movesTag {
			return n, true
		}
		_, size := cut(b[n:])
		switch {
		case size == truncated && missing(b[n:]) <= MaxFrame:
			return n, false
		case size < 0:
			return len(b), false
		}
		n += size
	}
	return n, false
}
