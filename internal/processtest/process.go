package processtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// childProcess is what runs in a child: it does what stdin says, tells stdout
// what it sees, and ends when stdin does.
type childProcess struct {
	*teller

	creating sync.RWMutex // held for reading while a client is being created

	mu      sync.Mutex // guards what follows
	clients map[string]*clusterclient.Client
	terms   map[string]*termWatch
	closers map[string]func() error // by tag
}

func childMain() {
	p := &childProcess{teller: newTeller(), clients: map[string]*clusterclient.Client{}, terms: map[string]*termWatch{}, closers: map[string]func() error{}}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var c Command
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		if c.Op == "exit" {
			os.Exit(3)
		}
		go func() {
			e := Event{Kind: "done", ID: c.ID}
			e.fail(p.do(c, &e))
			p.tell(e)
		}()
	}
}

func (p *childProcess) client(name string) *clusterclient.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients[name]
}

func (p *childProcess) termsOf(name string) *termWatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.terms[name]
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
func (p *childProcess) do(c Command, e *Event) error {
	ctx, cancel := context.Background(), func() {}
	if c.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
	}
	defer cancel()
	switch c.Op {
	case "create":
		return p.create(c)
	case "tell": // what was seen, as with every answer
		return nil
	case "listen":
		return p.listen(c, e)
	case "strange":
		return p.strange(c)
	case "end": // a subscription, registration or loop
		return p.take(c.Tag)()
	case "close all, when terminated":
		return p.closeWhenTerminated()
	case "read": // a directory
		_, err := os.ReadDir(c.Data)
		return notPermitted(err)
	case "replace":
		return notPermitted(os.Rename(c.Data, c.Data+"-gone"))
	case "weigh":
		e.Data = weigh()
		return nil
	case "burn":
		burn(c.Timeout)
		return nil
	case "hang":
		hang()
		select {}
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
	case "measure":
		p99, err := measure(ctx, client, c)
		e.Data = p99.String()
		return err
	case "calls":
		p.calls(client, c)
	default:
		return fmt.Errorf("no operation %q", c.Op)
	}
	return nil
}

// notPermitted says of an error that it is what the test waits for, in the
// words of no system.
func notPermitted(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("not permitted: %w", err)
	}
	return err
}

func statusOf(st clusterclient.Status) ClusterStatus {
	return ClusterStatus{Role: st.Role.String(), Term: st.Term, LeaderPID: st.LeaderPID, Waiting: st.Waiting}
}

func (e *Event) set(v follower.Value) {
	e.Data, e.Rev, e.Version, e.Stale, e.Deleted = string(v.Data), v.Revision, v.Version, v.Stale, v.Deleted
	e.Origin = v.Origin.String()
	if v.Stale && v.Reason != nil {
		e.Reason = v.Reason.Error()
	}
}

// options are those of the client that c creates.
func (p *childProcess) options(c Command) ([]clusterclient.Option, error) {
	opts := []clusterclient.Option{
		clusterclient.WithRole(c.Policy),
		clusterclient.WithLogger(hclog.New(&hclog.LoggerOptions{Level: p.logLevel(), Output: os.Stderr})),
	}
	if c.Centre != "" {
		opts = append(opts, clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			if c.Lasting {
				return p.openLasting(ctx, c)
			}
			return openCentre(ctx, c.Centre, nil)
		}))
	}
	if c.Snapshot != "" {
		opts = append(opts, clusterclient.WithSnapshot(c.Snapshot))
	}
	if c.Address != "" {
		opts = append(opts, clusterclient.WithAddress(c.Address))
	}
	if c.RuntimeDir != "" {
		opts = append(opts, clusterclient.WithRuntimeDir(c.RuntimeDir))
	}
	if c.Calls > 0 || c.Message > 0 {
		opts = append(opts, clusterclient.WithLimits(clusterclient.Limits{Calls: c.Calls, Message: c.Message}))
	}
	if c.PerSecond > 0 {
		opts = append(opts, clusterclient.WithNetwork(slowNetwork(c.PerSecond)))
	}
	if c.BlindAfter > 0 {
		opts = append(opts, clusterclient.WithResignWhenBlind(c.BlindAfter, func(ctx context.Context) error {
			centre, err := openCentre(ctx, c.Centre, nil)
			if err != nil {
				return err
			}
			return centre.Close()
		}))
	}
	if c.MaxWait > 0 {
		opts = append(opts, clusterclient.WithMaxWait(c.MaxWait))
	}
	if c.Depose > 0 {
		stale := max(c.Depose/2, 2*time.Second)
		opts = append(opts, clusterclient.WithStaleAfter(stale), clusterclient.WithDeposeAfter(c.Depose))
	}
	return c.peers(opts)
}

// peers adds the options that say who belongs to the cluster.
func (c Command) peers(opts []clusterclient.Option) ([]clusterclient.Option, error) {
	if c.Identity != nil {
		opts = append(opts, clusterclient.WithIdentity(c.Identity...))
	}
	if c.Peers != nil {
		opts = append(opts, clusterclient.WithPeers(c.Peers...))
	}
	if c.Secret != "" {
		opts = append(opts, clusterclient.WithSecret([]byte(c.Secret)))
	}
	if c.TLS == (TLSFiles{}) {
		return opts, nil
	}
	config, err := c.TLS.config()
	return append(opts, clusterclient.WithTLS(config)), err
}

func (p *childProcess) create(c Command) error {
	opts, err := p.options(c)
	if err != nil {
		return err
	}
	p.creating.RLock()
	client, err := clusterclient.Create(c.Name, c.Port, opts...)
	if err != nil {
		p.creating.RUnlock()
		return err
	}
	terms := newTermWatch()
	p.mu.Lock()
	p.clients[c.Name], p.terms[c.Name] = client, terms
	p.mu.Unlock()
	p.creating.RUnlock()
	told := make(chan struct{}) // the first role is told before create is answered
	go func() {
		first := sync.OnceFunc(func() { close(told) })
		for st := range client.StatusChanges(context.Background()) {
			terms.set(st.Term)
			p.tell(Event{Kind: "role", Name: c.Name, Status: statusOf(st)})
			first()
		}
		terms.end()
	}()
	<-told
	return nil
}
