package gate

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/internal/peercred"
)

const (
	// maxHandshakes is how many TLS handshakes run at once. Each takes tens of
	// KiB, of whoever has said hello as a client does, until his certificate is
	// found good or not.
	maxHandshakes = 16

	// handshakeTurn is how long one may take while others wait for their turn.
	// Between processes of one host it takes milliseconds.
	handshakeTurn = 250 * time.Millisecond
)

// A Crew bounds how many TLS handshakes run at once: all others wait for their
// turn, with what they say left unread. It has nothing to do with who is let in.
//
//	arrives ──▶ waiting ──▶ inside ──▶ gone
//	               │           └─▶ cut: it takes long, and others wait
//	               └─▶ shown out
//
// Origins take turns: the next one to begin is of an origin that has fewest
// inside, and the one that is cut of an origin that has most. So those who say
// hello and no more keep nobody out who comes from elsewhere; and of one origin
// everybody is as likely to be the next, however many there are before him.
//
// A nil Crew has no bound.
type Crew struct {
	mu      sync.Mutex // guards what follows
	inside  []*handshake
	waiting []*handshake
	alarm   *time.Timer // nil before anybody had to wait
}

// A handshake is one that waits for its turn or has it.
type handshake struct {
	from  origin
	conn  net.Conn
	turn  chan struct{} // closed when it may begin
	began time.Time     // guarded by Crew.mu, as is cut
	cut   bool
}

// An origin is what somebody who comes again has in common with himself: the
// user, where the system tells, or else the host.
type origin struct {
	uid  int
	host string
}

func originOf(p peercred.Peer, conn net.Conn) origin {
	if p.Told() {
		return origin{uid: p.UID}
	}
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		host = conn.RemoteAddr().Network()
	}
	return origin{uid: peercred.Nobody, host: host}
}

// enter waits for a turn, which ends with leave. It fails when ctx ends first.
func (c *Crew) enter(ctx context.Context, conn net.Conn, from origin) (*handshake, error) {
	if c == nil {
		return nil, nil
	}
	h := &handshake{from: from, conn: conn, turn: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, h)
	c.mu.Unlock()
	c.settle()
	select {
	case <-h.turn:
		return h, nil
	case <-ctx.Done():
		_ = c.leave(h)
		return nil, context.Cause(ctx)
	}
}

var errCut = errors.New("its TLS handshake has not ended in " + handshakeTurn.String() + ", and others wait for theirs")

// leave ends a turn, or the wait for it. It returns an error if the turn was
// cut short.
func (c *Crew) leave(h *handshake) error {
	if c == nil {
		return nil
	}
	is := func(other *handshake) bool { return other == h }
	c.mu.Lock()
	c.inside = slices.DeleteFunc(c.inside, is)
	c.waiting = slices.DeleteFunc(c.waiting, is)
	cut := h.cut
	c.mu.Unlock()
	c.settle()
	if cut {
		return errCut
	}
	return nil
}

// settle gives out the turns that there are, and cuts those that take long while
// others wait. One that is cut keeps its place until it has left.
func (c *Crew) settle() {
	c.mu.Lock()
	for len(c.waiting) > 0 && len(c.inside) < maxHandshakes {
		c.beginLocked()
	}
	late := c.cutLocked()
	c.mu.Unlock()
	for _, h := range late {
		_ = h.conn.Close()
	}
}

func (c *Crew) countLocked() map[origin]int {
	counts := make(map[origin]int)
	for _, h := range c.inside {
		counts[h.from]++
	}
	return counts
}

// beginLocked gives a turn to somebody of an origin that has fewest.
func (c *Crew) beginLocked() {
	counts := c.countLocked()
	var next []int
	for i, h := range c.waiting {
		switch {
		case len(next) == 0 || counts[h.from] < counts[c.waiting[next[0]].from]:
			next = append(next[:0], i)
		case counts[h.from] == counts[c.waiting[next[0]].from]:
			next = append(next, i)
		}
	}
	i := next[rand.IntN(len(next))]
	h := c.waiting[i]
	c.waiting = slices.Delete(c.waiting, i, i+1)
	c.inside = append(c.inside, h)
	h.began = time.Now()
	close(h.turn)
}

// cutLocked chooses as many as there are waiting of those whose time is over,
// and sets the alarm for the others.
func (c *Crew) cutLocked() (late []*handshake) {
	counts := c.countLocked()
	wanted := len(c.waiting)
	var rest []*handshake
	for _, h := range c.inside { // the one that began first in front
		if h.cut {
			wanted--
			counts[h.from]--
		} else {
			rest = append(rest, h)
		}
	}
	for ; wanted > 0; wanted-- {
		h := mostOf(rest, counts)
		if h == nil {
			break
		}
		h.cut = true
		counts[h.from]--
		late, rest = append(late, h), slices.DeleteFunc(rest, func(other *handshake) bool { return other == h })
	}
	c.watchLocked(wanted > 0, rest)
	return late
}

// mostOf returns the one of an origin that has most, and of those the one that
// began first, among those whose time is over; nil if there is none.
func mostOf(inside []*handshake, counts map[origin]int) (most *handshake) {
	for _, h := range inside {
		if time.Since(h.began) >= handshakeTurn && (most == nil || counts[h.from] > counts[most.from]) {
			most = h
		}
	}
	return most
}

// watchLocked has settle called when the time of the first one is over.
func (c *Crew) watchLocked(wanted bool, inside []*handshake) {
	switch {
	case !wanted || len(inside) == 0:
		if c.alarm != nil {
			c.alarm.Stop()
		}
	case c.alarm == nil:
		c.alarm = time.AfterFunc(time.Until(inside[0].began.Add(handshakeTurn)), c.settle)
	default:
		c.alarm.Reset(time.Until(inside[0].began.Add(handshakeTurn)))
	}
}
