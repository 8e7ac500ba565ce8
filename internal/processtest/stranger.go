package processtest

import (
	"fmt"
	"io"
	"net"
)

// listen is somebody else's server on the port, of the kind that c.Data says.
func (p *childProcess) listen(c Command) error {
	lis, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", c.Port)) //nolint:noctx // it does not block
	if err != nil {
		return err
	}
	p.keep(c.Tag, lis.Close)
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			p.emit(Event{Kind: "accepted", Tag: c.Tag})
			go strangers[c.Data](conn)
		}
	}()
	return nil
}

var strangers = map[string]func(net.Conn){
	"silent": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
	"closes": func(conn net.Conn) { _ = conn.Close() },
	"http": func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request")
		_ = conn.Close()
	},
}
