package clusterclient_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// A command is what the test tells a child, one JSON object a line. Each is
// answered by an event of kind "done" with its ID.
type command struct {
	ID   int    `json:"id"`
	Op   string `json:"op"`
	Name string `json:"name,omitempty"` // of the cluster
	Tag  string `json:"tag,omitempty"`  // of a subscription, registration or loop

	// For create.
	Port     int                      `json:"port,omitempty"`
	Centre   string                   `json:"centre,omitempty"` // address; "" for none
	Policy   clusterclient.RolePolicy `json:"policy,omitempty"`
	Identity []string                 `json:"identity,omitempty"`
	MaxWait  time.Duration            `json:"max_wait,omitempty"`

	Key     string        `json:"key,omitempty"`
	Group   string        `json:"group,omitempty"`
	Data    string        `json:"data,omitempty"`
	Method  string        `json:"method,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// An event is something that a child saw, one JSON object a line.
type event struct {
	At   int64  `json:"at"` // Unix nanoseconds
	Kind string `json:"kind"`
	ID   int    `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	Tag  string `json:"tag,omitempty"`

	Status clusterStatus `json:"status,omitzero"` // kind "role", and answer to "status"

	Data    string            `json:"data,omitempty"` // kind "value"
	Rev     follower.Revision `json:"rev,omitzero"`
	Stale   bool              `json:"stale,omitempty"`
	Deleted bool              `json:"deleted,omitempty"`

	Result whoami `json:"result,omitzero"` // answer to "invoke", and kind "call"

	Err string   `json:"err,omitempty"`
	Is  []string `json:"is,omitempty"` // what errors.Is finds in the error
}

// clusterStatus is what the tests look at of a clusterclient.Status.
type clusterStatus struct {
	Role      string `json:"role,omitempty"`
	Term      uint64 `json:"term,omitempty"`
	LeaderPID int    `json:"leader_pid,omitempty"`
	Waiting   string `json:"waiting,omitempty"`
}

var sentinels = map[string]error{
	"closed": clusterclient.ErrClosed, "no leader": clusterclient.ErrNoLeader,
	"taken": clusterclient.ErrLeadershipTaken, "identity": clusterclient.ErrIdentityMismatch,
	"foreign": clusterclient.ErrForeignListener, "unknown": clusterclient.ErrOutcomeUnknown,
	"deadline": context.DeadlineExceeded,
}

func (e *event) fail(err error) {
	if err == nil {
		return
	}
	e.Err = err.Error()
	for name, s := range sentinels {
		if errors.Is(err, s) {
			e.Is = append(e.Is, name)
		}
	}
}

// childProcess is what runs in a child: it does what stdin says, tells stdout
// what it sees, and ends when stdin does.
type childProcess struct {
	out sync.Mutex

	mu      sync.Mutex // guards what follows
	clients map[string]*clusterclient.Client
	closers map[string]func() error // by tag
}

func childMain() {
	p := &childProcess{clients: map[string]*clusterclient.Client{}, closers: map[string]func() error{}}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		if c.Op == "exit" {
			os.Exit(3)
		}
		go func() {
			e := event{Kind: "done", ID: c.ID}
			e.fail(p.do(c, &e))
			p.emit(e)
		}()
	}
}

// emit writes e, which is one line, at once.
func (p *childProcess) emit(e event) {
	if e.At == 0 {
		e.At = time.Now().UnixNano()
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	p.out.Lock()
	defer p.out.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func (p *childProcess) client(name string) *clusterclient.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients[name]
}

func (p *childProcess) keep(tag string, closer func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closers[tag] = closer
}

func (p *childProcess) take(tag string) func() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer delete(p.closers, tag)
	return p.closers[tag]
}

// do does what c says.
func (p *childProcess) do(c command, e *event) error {
	ctx, cancel := context.Background(), func() {}
	if c.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
	}
	defer cancel()
	switch c.Op {
	case "create":
		return p.create(c)
	case "listen":
		return p.listen(c)
	case "end": // a subscription, registration or loop
		return p.take(c.Tag)()
	case "panic":
		go panic("as told")
		select {}
	}
	client := p.client(c.Name)
	if client == nil {
		return fmt.Errorf("%s: no client called %q", c.Op, c.Name)
	}
	switch c.Op {
	case "close":
		return client.Close()
	case "resign":
		return client.Resign(ctx)
	case "status":
		e.Status = statusOf(client.Status())
	case "subscribe":
		return p.subscribe(ctx, client, c)
	case "get":
		v, err := client.Get(ctx, c.Key)
		e.set(v)
		return err
	case "publish":
		return client.Publish(ctx, c.Key, []byte(c.Data))
	case "register":
		r, err := client.Register(ctx, c.Key, []byte(c.Data))
		if err == nil {
			p.keep(c.Tag, r.Close)
		}
		return err
	case "invoke":
		return client.Invoke(ctx, c.Method, c.Data, &e.Result)
	case "oneway":
		return client.InvokeOneway(ctx, c.Method, c.Data)
	case "loop":
		p.loop(client, c)
	default:
		return fmt.Errorf("no operation %q", c.Op)
	}
	return nil
}

func statusOf(st clusterclient.Status) clusterStatus {
	return clusterStatus{Role: st.Role.String(), Term: st.Term, LeaderPID: st.LeaderPID, Waiting: st.Waiting}
}

func (e *event) set(v follower.Value) {
	e.Data, e.Rev, e.Stale, e.Deleted = string(v.Data), v.Revision, v.Stale, v.Deleted
}

func (p *childProcess) create(c command) error {
	opts := []clusterclient.Option{
		clusterclient.WithRole(c.Policy),
		clusterclient.WithLogger(hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: os.Stderr})),
	}
	if c.Centre != "" {
		opts = append(opts, clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			return openCentre(ctx, c.Centre)
		}))
	}
	if c.Identity != nil {
		opts = append(opts, clusterclient.WithIdentity(c.Identity...))
	}
	if c.MaxWait > 0 {
		opts = append(opts, clusterclient.WithMaxWait(c.MaxWait))
	}
	client, err := clusterclient.Create(c.Name, c.Port, opts...)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.clients[c.Name] = client
	p.mu.Unlock()
	told := make(chan struct{}) // the first role is told before create is answered
	go func() {
		first := sync.OnceFunc(func() { close(told) })
		for st := range client.StatusChanges(context.Background()) {
			p.emit(event{Kind: "role", Name: c.Name, Status: statusOf(st)})
			first()
		}
	}()
	<-told
	return nil
}

// subscribe tells every value, and, once in each term, when the value was
// confirmed in it.
func (p *childProcess) subscribe(ctx context.Context, client *clusterclient.Client, c command) error {
	var opts []follower.SubscribeOption
	if c.Group != "" {
		opts = append(opts, follower.QueueGroup(c.Group))
	}
	sub, err := client.Subscribe(ctx, c.Key, opts...)
	if err != nil {
		return err
	}
	p.keep(c.Tag, sub.Close)
	go func() {
		for v, err := range sub.Values(context.Background()) {
			e := event{Kind: "value", Tag: c.Tag}
			e.set(v)
			if err != nil {
				e.Kind = "over"
				e.fail(err)
			}
			p.emit(e)
		}
	}()
	if c.Group == "" {
		go p.confirm(client, sub, c.Tag)
	}
	return nil
}

// confirm tells when a value is first held fresh in each term. Nothing tells
// that a value which is the same as before is fresh again, so this looks every
// millisecond, from the start of the term on.
func (p *childProcess) confirm(client *clusterclient.Client, sub *follower.Subscription, tag string) {
	var told uint64
	for st := range client.StatusChanges(context.Background()) {
		for st.Term > told && client.Status().Term == st.Term {
			v, ok := sub.Value()
			if ok && !v.Stale && v.Revision.Term == st.Term {
				e := event{Kind: "confirmed", Tag: tag}
				e.set(v)
				p.emit(e)
				told = st.Term
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// loop calls a method, one call after the other, and tells how each went,
// until it is ended or the client is closed.
func (p *childProcess) loop(client *clusterclient.Client, c command) {
	end, ended := make(chan struct{}), make(chan struct{})
	p.keep(c.Tag, func() error {
		close(end)
		<-ended
		return nil
	})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
			}
			e := event{Kind: "call", Tag: c.Tag}
			call := fmt.Sprintf("%d %s %d", os.Getpid(), c.Tag, i)
			err := client.Invoke(context.Background(), c.Method, call, &e.Result)
			e.Data = call
			e.fail(err)
			p.emit(e)
			if errors.Is(err, clusterclient.ErrClosed) {
				return
			}
		}
	}()
}

// listen is somebody else's server on the port, of the kind that c.Data says.
func (p *childProcess) listen(c command) error {
	lis, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", c.Port))
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
			p.emit(event{Kind: "accepted", Tag: c.Tag})
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
