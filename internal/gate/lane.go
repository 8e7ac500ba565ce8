package gate

import (
	"fmt"
	"io"
	"net"

	"github.com/clusterclient/clusterclient/internal/rawio"
)

// lanePreface has the length of HTTP/2's own preface, in whose place it comes.
// The session follows it.
const lanePreface = "CLUSTERCLIENT-LANE1\r\n\r\n\n"

// sessionSize is how long the name of a session is.
const sessionSize = 16

// A Lane is a connection that was let in and does not speak HTTP/2: what is
// behind its preface belongs to a session that there is already.
type Lane struct {
	net.Conn
	Session [sessionSize]byte
}

// WriteNow writes what there is room for, see [rawio.NowWriter].
func (l *Lane) WriteNow(p []byte) int { return writeNow(l.Conn, p) }

// OpenLane makes a connection that was dialled a lane of session.
func OpenLane(conn net.Conn, session []byte) error {
	if len(session) != sessionSize {
		return fmt.Errorf("the name of a session has %d bytes, not %d", len(session), sessionSize)
	}
	_, err := conn.Write(append([]byte(lanePreface), session...))
	return err
}

// acceptLane is the accepting end of [OpenLane], once the preface has been read.
func acceptLane(conn net.Conn) (net.Conn, error) {
	l := &Lane{Conn: rawio.Wrap(conn)}
	if _, err := io.ReadFull(conn, l.Session[:]); err != nil {
		return nil, err
	}
	return l, nil
}
