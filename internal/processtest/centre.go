package processtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// centreMessage is what a centre and its clients tell each other, one JSON
// object a line.
type centreMessage struct {
	ID      int    `json:"id,omitempty"` // of the request; also of the watch, in what is reported to it
	Op      string `json:"op,omitempty"`
	Key     string `json:"key,omitempty"`
	Data    []byte `json:"data,omitempty"`
	Times   int    `json:"times,omitempty"` // of a value: it is Data so many times; 0 for once
	Version string `json:"version,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Reg     uint64 `json:"reg,omitempty"`
	Count   int    `json:"count,omitempty"`
	Sent    int64  `json:"sent,omitempty"` // Unix nanoseconds
	Term    uint64 `json:"term,omitempty"` // of the leader that asks, if it is known
	Err     string `json:"err,omitempty"`
}

// changes reports whether the request is for something that only who leads may
// do.
func (m centreMessage) changes() bool {
	return m.Op == "publish" || m.Op == "register" || m.Op == "deregister"
}

// A Centre is a config centre behind a real TCP port: what it counts is what a
// server sees of a cluster. The board it was made with guards its fields, and
// is told of each change.
type Centre struct {
	Accepted int                 // connections there have been
	Watches  map[string]int      // under way, by key
	Started  map[string]int      // there have been, by key
	History  []Announcement      // registrations, and ends of them
	Runs     map[string][]string // who ran the handler for each call, by call

	board   *Board
	tell    func(CentreEvent) // what happens, in order; may be nil
	lis     net.Listener
	served  sync.WaitGroup
	values  map[string]centreMessage
	version int
	conns   map[*centreConn]struct{}
	held    bool   // nobody's open is answered
	openErr string // everybody's open fails with this
	present map[announceID]centreMessage
	herald  string // the key that has a new value whenever somebody opens the centre; "" for none
}

type announceID struct {
	owner string
	reg   uint64
}

// An Announcement is a registration, or the end of one.
type Announcement struct {
	At        time.Time
	Key, Data string
	Present   bool
}

type centreConn struct {
	c       *Centre
	n       int // counts the centre's connections
	pid     int // of the client, once it has said so
	conn    net.Conn
	bell    chan struct{} // one slot
	out     []centreMessage
	opening *centreMessage // the open that is not answered yet
	watches map[int]string // id to key
	closed  bool
}

// NewCentre starts a centre at address. tell, if not nil, is called with the
// board locked with all that happens, before any client gets to know of it.
// Close the centre in the end.
func NewCentre(b *Board, address string, tell func(CentreEvent)) (*Centre, error) {
	lis, err := net.Listen("tcp4", address) //nolint:noctx // it does not block
	if err != nil {
		return nil, err
	}
	if tell == nil {
		tell = func(CentreEvent) {}
	}
	c := &Centre{
		board: b, lis: lis, tell: tell,
		values: map[string]centreMessage{}, conns: map[*centreConn]struct{}{},
		Watches: map[string]int{}, Started: map[string]int{},
		present: map[announceID]centreMessage{}, Runs: map[string][]string{},
	}
	c.served.Go(c.accept)
	return c, nil
}

// Address is where the centre listens.
func (c *Centre) Address() string { return c.lis.Addr().String() }

func (c *Centre) accept() {
	for {
		conn, err := c.lis.Accept()
		if err != nil {
			return
		}
		c.served.Go(func() { c.serve(conn) })
	}
}

// Close ends the centre and all connections.
func (c *Centre) Close() {
	_ = c.lis.Close()
	c.board.Lock()
	for cc := range c.conns {
		_ = cc.conn.Close()
	}
	c.board.Unlock()
	c.served.Wait()
}

func (c *Centre) serve(conn net.Conn) {
	cc := &centreConn{c: c, conn: conn, bell: make(chan struct{}, 1), watches: map[int]string{}}
	c.board.Change(func() {
		c.Accepted++
		cc.n = c.Accepted
		c.conns[cc] = struct{}{}
	})
	var writer sync.WaitGroup
	writer.Go(cc.write)
	in := json.NewDecoder(bufio.NewReader(conn))
	for {
		var m centreMessage
		if err := in.Decode(&m); err != nil {
			break
		}
		c.board.Change(func() { cc.handle(m) })
	}
	c.board.Change(func() {
		delete(c.conns, cc)
		for _, key := range cc.watches {
			c.Watches[key]--
		}
		cc.closed = true
		cc.ring()
	})
	_ = conn.Close()
	writer.Wait()
}

// write sends what is queued until the connection is closed.
func (cc *centreConn) write() {
	enc := json.NewEncoder(cc.conn)
	for range cc.bell {
		cc.c.board.Lock()
		out, closed := cc.out, cc.closed
		cc.out = nil
		cc.c.board.Unlock()
		if closed {
			return
		}
		for _, m := range out {
			if enc.Encode(m) != nil {
				break // the reader finds out, too
			}
		}
	}
}

func (cc *centreConn) ring() {
	select {
	case cc.bell <- struct{}{}:
	default:
	}
}

func (cc *centreConn) send(m centreMessage) {
	cc.out = append(cc.out, m)
	cc.ring()
}

func (cc *centreConn) handle(m centreMessage) {
	c := cc.c
	switch reply := (centreMessage{ID: m.ID}); m.Op {
	case "open":
		cc.pid, _ = strconv.Atoi(m.Owner)
		cc.tell(m)
		if c.herald != "" {
			c.set(c.herald, fmt.Sprintf("opened %d", cc.n))
		}
		cc.opening = &m
		cc.answerOpen()
	case "watch":
		cc.watches[m.ID] = m.Key
		c.Watches[m.Key]++
		c.Started[m.Key]++
		v, ok := c.values[m.Key]
		v.ID, v.Deleted = m.ID, !ok || v.Deleted
		cc.send(v)
	case "unwatch":
		if key, ok := cc.watches[m.ID]; ok {
			delete(cc.watches, m.ID)
			c.Watches[key]--
		}
	case "publish":
		cc.tell(m)
		c.set(m.Key, string(m.Data))
		cc.send(reply)
	case "register":
		cc.tell(m)
		c.present[announceID{m.Owner, m.Reg}] = m
		c.History = append(c.History, Announcement{time.Now(), m.Key, string(m.Data), true})
		cc.send(reply)
	case "deregister":
		cc.tell(m)
		delete(c.present, announceID{m.Owner, m.Reg})
		c.History = append(c.History, Announcement{time.Now(), m.Key, string(m.Data), false})
		cc.send(reply)
	case "ran":
		c.Runs[m.Key] = append(c.Runs[m.Key], m.Owner)
		reply.Count = len(c.Runs[m.Key])
		cc.send(reply)
	}
}

// tell makes a client's request known.
func (cc *centreConn) tell(m centreMessage) {
	cc.c.tell(CentreEvent{
		Kind: m.Op, Conn: cc.n, PID: cc.pid, Sent: m.Sent, Term: m.Term,
		Key: m.Key, Data: string(m.Data), Owner: m.Owner, Reg: m.Reg,
	})
}

func (cc *centreConn) answerOpen() {
	if cc.opening == nil || cc.c.held {
		return
	}
	cc.send(centreMessage{ID: cc.opening.ID, Err: cc.c.openErr})
	cc.opening = nil
}

// set makes data the value of key; the board is locked.
func (c *Centre) set(key, data string) { c.put(centreMessage{Key: key, Data: []byte(data)}) }

// put makes v, in a version of its own, the value of its key; the board is
// locked.
func (c *Centre) put(v centreMessage) {
	c.version++
	v.Version = strconv.Itoa(c.version)
	c.values[v.Key] = v
	c.tell(CentreEvent{Kind: "set", Key: v.Key, Data: string(v.Data), Version: v.Version, Deleted: v.Deleted})
	for cc := range c.conns {
		for id, k := range cc.watches {
			if k == v.Key {
				v.ID = id
				cc.send(v)
			}
		}
	}
}

// Set makes data the value of key.
func (c *Centre) Set(key, data string) { c.board.Change(func() { c.set(key, data) }) }

// SetRepeated makes data, so many times, the value of key. To hand that to the
// leader costs as little as data does.
func (c *Centre) SetRepeated(key, data string, times int) {
	c.board.Change(func() { c.put(centreMessage{Key: key, Data: []byte(data), Times: times}) })
}

// Hold keeps everybody who opens the centre waiting, or lets them go on.
func (c *Centre) Hold(held bool) {
	c.board.Change(func() {
		c.held = held
		for cc := range c.conns {
			cc.answerOpen()
		}
	})
}

// FailOpen makes opening the centre fail, or work again with "".
func (c *Centre) FailOpen(text string) { c.board.Change(func() { c.openErr = text }) }

// Open returns how many connections there are; the board is locked.
func (c *Centre) Open() int { return len(c.conns) }

// Announced returns how many registrations there are; the board is locked.
func (c *Centre) Announced() int { return len(c.present) }

// Has reports whether key is announced; the board is locked.
func (c *Centre) Has(key string) bool {
	for _, m := range c.present {
		if m.Key == key {
			return true
		}
	}
	return false
}
