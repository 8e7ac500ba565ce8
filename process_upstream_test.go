package clusterclient_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// centreMessage is what a centre and its clients tell each other, one JSON
// object a line.
type centreMessage struct {
	ID      int    `json:"id,omitempty"` // of the request; also of the watch, in what is reported to it
	Op      string `json:"op,omitempty"`
	Key     string `json:"key,omitempty"`
	Data    []byte `json:"data,omitempty"`
	Version string `json:"version,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Reg     uint64 `json:"reg,omitempty"`
	Count   int    `json:"count,omitempty"`
	Err     string `json:"err,omitempty"`
}

// A centre is a config centre behind a real TCP port, served by the test's own
// process: what it counts is what a server sees of a cluster. All fields are
// guarded by world.mu; a change wakes waitFor.
type centre struct {
	w   *world
	lis net.Listener

	values  map[string]centreMessage
	version int

	conns     map[*centreConn]struct{}
	accepted  int            // connections there have been
	watches   map[string]int // under way, by key
	started   map[string]int // there have been, by key
	held      bool           // nobody's open is answered
	openErr   string         // everybody's open fails with this
	announced map[announceID]centreMessage
	history   []announceEvent
	runs      map[string][]string // who ran the handler for each call, by call
}

type announceID struct {
	owner string
	reg   uint64
}

// announceEvent is a registration, or the end of one.
type announceEvent struct {
	at        time.Time
	key, data string
	present   bool
}

type centreConn struct {
	c       *centre
	conn    net.Conn
	bell    chan struct{} // one slot
	out     []centreMessage
	opening *centreMessage // the open that is not answered yet
	watches map[int]string // id to key
	closed  bool
}

func newCentre(t *testing.T, w *world) *centre {
	lis, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{
		w: w, lis: lis,
		values: map[string]centreMessage{}, conns: map[*centreConn]struct{}{},
		watches: map[string]int{}, started: map[string]int{},
		announced: map[announceID]centreMessage{}, runs: map[string][]string{},
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			served.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = lis.Close()
		w.mu.Lock()
		for cc := range c.conns {
			_ = cc.conn.Close()
		}
		w.mu.Unlock()
		served.Wait()
	})
	return c
}

func (c *centre) serve(conn net.Conn) {
	cc := &centreConn{c: c, conn: conn, bell: make(chan struct{}, 1), watches: map[int]string{}}
	c.w.change(func() {
		c.accepted++
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
		c.w.change(func() { cc.handle(m) })
	}
	c.w.change(func() {
		delete(c.conns, cc)
		for _, key := range cc.watches {
			c.watches[key]--
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
		cc.c.w.mu.Lock()
		out, closed := cc.out, cc.closed
		cc.out = nil
		cc.c.w.mu.Unlock()
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
		cc.opening = &m
		cc.answerOpen()
	case "watch":
		cc.watches[m.ID] = m.Key
		c.watches[m.Key]++
		c.started[m.Key]++
		v, ok := c.values[m.Key]
		v.ID, v.Deleted = m.ID, !ok || v.Deleted
		cc.send(v)
	case "unwatch":
		if key, ok := cc.watches[m.ID]; ok {
			delete(cc.watches, m.ID)
			c.watches[key]--
		}
	case "publish":
		c.set(m.Key, string(m.Data))
		cc.send(reply)
	case "register":
		c.announced[announceID{m.Owner, m.Reg}] = m
		c.history = append(c.history, announceEvent{time.Now(), m.Key, string(m.Data), true})
		cc.send(reply)
	case "deregister":
		delete(c.announced, announceID{m.Owner, m.Reg})
		c.history = append(c.history, announceEvent{time.Now(), m.Key, string(m.Data), false})
		cc.send(reply)
	case "ran":
		c.runs[m.Key] = append(c.runs[m.Key], m.Owner)
		reply.Count = len(c.runs[m.Key])
		cc.send(reply)
	}
}

func (cc *centreConn) answerOpen() {
	if cc.opening == nil || cc.c.held {
		return
	}
	cc.send(centreMessage{ID: cc.opening.ID, Err: cc.c.openErr})
	cc.opening = nil
}

// set makes data the value of key; w.mu is held.
func (c *centre) set(key, data string) {
	c.version++
	v := centreMessage{Key: key, Data: []byte(data), Version: strconv.Itoa(c.version)}
	c.values[key] = v
	for cc := range c.conns {
		for id, k := range cc.watches {
			if k == key {
				v.ID = id
				cc.send(v)
			}
		}
	}
}

// Set makes data the value of key.
func (c *centre) Set(key, data string) { c.w.change(func() { c.set(key, data) }) }

// Hold keeps everybody who opens the centre waiting, or lets them go on.
func (c *centre) Hold(held bool) {
	c.w.change(func() {
		c.held = held
		for cc := range c.conns {
			cc.answerOpen()
		}
	})
}

// FailOpen makes opening the centre fail, or work again with "".
func (c *centre) FailOpen(text string) { c.w.change(func() { c.openErr = text }) }

// has reports whether key is announced; w.mu is held.
func (c *centre) has(key string) bool {
	for _, m := range c.announced {
		if m.Key == key {
			return true
		}
	}
	return false
}

// A centreClient is the leader's connection to the centre, in a child process.
type centreClient struct {
	conn net.Conn
	done chan struct{} // closed when the connection has ended
	send sync.Mutex

	mu      sync.Mutex // guards what follows
	next    int
	waiting map[int]chan centreMessage
	watches map[int]*centreWatch
}

type centreWatch struct {
	bell    chan struct{} // one slot
	updates []leader.Update
}

var (
	_ leader.Publisher = (*centreClient)(nil)
	_ leader.Registrar = (*centreClient)(nil)
	_ leader.Service   = (*centreClient)(nil)
)

var errCentreLost = errors.New("connection to the centre lost")

// openCentre connects to the centre at address.
func openCentre(ctx context.Context, address string) (leader.Upstream, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
	if err != nil {
		return nil, err
	}
	c := &centreClient{
		conn: conn, done: make(chan struct{}),
		waiting: map[int]chan centreMessage{}, watches: map[int]*centreWatch{},
	}
	go c.receive()
	if _, err := c.request(ctx, centreMessage{Op: "open", Owner: strconv.Itoa(os.Getpid())}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *centreClient) receive() {
	defer close(c.done)
	in := json.NewDecoder(bufio.NewReader(c.conn))
	for {
		var m centreMessage
		if err := in.Decode(&m); err != nil {
			return
		}
		c.mu.Lock()
		if w := c.watches[m.ID]; w != nil {
			w.updates = append(w.updates, leader.Update{Data: m.Data, Version: m.Version, Deleted: m.Deleted})
			select {
			case w.bell <- struct{}{}:
			default:
			}
		}
		if reply := c.waiting[m.ID]; reply != nil {
			delete(c.waiting, m.ID)
			reply <- m
		}
		c.mu.Unlock()
	}
}

func (c *centreClient) write(m centreMessage) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.send.Lock()
	defer c.send.Unlock()
	_, err = c.conn.Write(append(line, '\n'))
	return err
}

// request sends m and waits for the answer.
func (c *centreClient) request(ctx context.Context, m centreMessage) (centreMessage, error) {
	reply := make(chan centreMessage, 1)
	c.mu.Lock()
	c.next++
	m.ID = c.next
	c.waiting[m.ID] = reply
	c.mu.Unlock()
	if err := c.write(m); err != nil {
		return m, err
	}
	select {
	case m = <-reply:
	case <-c.done:
		return m, errCentreLost
	case <-ctx.Done():
		return m, context.Cause(ctx)
	}
	if m.Err != "" {
		return m, errors.New(m.Err)
	}
	return m, nil
}

func (c *centreClient) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	w := &centreWatch{bell: make(chan struct{}, 1)}
	c.mu.Lock()
	c.next++
	id := c.next
	c.watches[id] = w
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watches, id)
	}()
	if err := c.write(centreMessage{ID: id, Op: "watch", Key: key}); err != nil {
		return err
	}
	for {
		select {
		case <-w.bell:
		case <-c.done:
			return errCentreLost
		case <-ctx.Done():
			_ = c.write(centreMessage{ID: id, Op: "unwatch"}) // the centre sees a lost connection, too
			return ctx.Err()
		}
		c.mu.Lock()
		updates := w.updates
		w.updates = nil
		c.mu.Unlock()
		for _, u := range updates {
			sink(u)
		}
	}
}

func (c *centreClient) Publish(ctx context.Context, key string, data []byte) error {
	_, err := c.request(ctx, centreMessage{Op: "publish", Key: key, Data: data})
	return err
}

func (c *centreClient) Register(ctx context.Context, r leader.Registration) error {
	_, err := c.request(ctx, centreMessage{Op: "register", Key: r.Key, Data: r.Data, Owner: r.Owner.Instance, Reg: r.ID})
	return err
}

func (c *centreClient) Deregister(ctx context.Context, r leader.Registration) error {
	_, err := c.request(ctx, centreMessage{Op: "deregister", Key: r.Key, Data: r.Data, Owner: r.Owner.Instance, Reg: r.ID})
	return err
}

// ran tells the centre that this process runs the handler for call and
// returns how many have so far.
func (c *centreClient) ran(ctx context.Context, call string) (int, error) {
	m, err := c.request(ctx, centreMessage{Op: "ran", Key: call, Owner: strconv.Itoa(os.Getpid())})
	return m.Count, err
}

// whoami is the result of the methods that the centre's client offers.
type whoami struct {
	Handler int    // pid of the process that ran the handler
	Caller  int    // pid that the handler was told
	Call    string // the argument
	Count   int    // how many handlers have been started for the call
}

// RegisterMethods offers "once", which answers; "block", which answers when its
// caller gives up; and "steady", idempotent, which blocks the first time that
// it is run for a call and answers the second time.
func (c *centreClient) RegisterMethods(r *leader.Registry) {
	handler := func(block func(count int) bool) func(context.Context, string) (whoami, error) {
		return func(ctx context.Context, call string) (whoami, error) {
			n, err := c.ran(ctx, call)
			if err != nil {
				return whoami{}, err
			}
			if block(n) {
				<-ctx.Done()
				return whoami{}, ctx.Err()
			}
			caller, _ := leader.CallerFrom(ctx)
			return whoami{Handler: os.Getpid(), Caller: caller.PID, Call: call, Count: n}, nil
		}
	}
	leader.Handle(r, "once", handler(func(int) bool { return false }))
	leader.Handle(r, "block", handler(func(int) bool { return true }))
	leader.Handle(r, "steady", handler(func(n int) bool { return n == 1 }), leader.Idempotent())
}

func (c *centreClient) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}
