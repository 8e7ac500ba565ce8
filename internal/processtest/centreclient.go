package processtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// A centreClient is the leader's connection to the centre, in a child process.
type centreClient struct {
	conn net.Conn
	term func() uint64 // that the process leads in, 0 if that is not known; may be nil
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
func openCentre(ctx context.Context, address string, term func() uint64) (*centreClient, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
	if err != nil {
		return nil, err
	}
	c := &centreClient{
		conn: conn, term: term, done: make(chan struct{}),
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
			w.updates = append(w.updates, leader.Update{Data: bytes.Repeat(m.Data, max(1, m.Times)), Version: m.Version, Deleted: m.Deleted})
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
	if c.term != nil && m.changes() {
		m.Term = c.term() // which takes a look at the disk
	}
	m.Sent = time.Now().UnixNano()
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

func (c *centreClient) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}
