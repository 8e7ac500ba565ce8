package processtest

import (
	"context"
	"os"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/leader"
)

// redialTimeout bounds one attempt to reach the centre again.
const redialTimeout = 2 * time.Second

// A lastingCentre is an upstream that outlives its connection: it makes
// another one, like the client of a real config centre, when it needs it.
type lastingCentre struct {
	address string
	p       *childProcess
	name    string        // of the cluster
	turn    chan struct{} // one slot: who holds it may look at, and replace, current
	current *centreClient
}

var (
	_ leader.Publisher = (*lastingCentre)(nil)
	_ leader.Registrar = (*lastingCentre)(nil)
	_ leader.Service   = (*lastingCentre)(nil)
)

func (p *childProcess) openLasting(ctx context.Context, c Command) (leader.Upstream, error) {
	l := &lastingCentre{address: c.Centre, p: p, name: c.Name, turn: make(chan struct{}, 1)}
	var err error
	l.current, err = openCentre(ctx, l.address, l.term)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// term returns the term in which this process leads, and 0 if it does not, or
// does not know yet.
func (l *lastingCentre) term() uint64 {
	if c := l.p.client(l.name); c != nil {
		if st := c.Status(); st.Role == clusterclient.RoleLeader {
			return st.Term
		}
	}
	return 0
}

// client returns a connection that, as far as is known, works.
func (l *lastingCentre) client(ctx context.Context) (*centreClient, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	select {
	case <-l.current.done:
	default:
		return l.current, nil
	}
	ctx, cancel := context.WithTimeout(ctx, redialTimeout)
	defer cancel()
	next, err := openCentre(ctx, l.address, l.term)
	if err != nil {
		return nil, err
	}
	_ = l.current.conn.Close()
	l.current = next
	return next, nil
}

func (l *lastingCentre) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	return c.Watch(ctx, key, sink)
}

func (l *lastingCentre) Publish(ctx context.Context, key string, data []byte) error {
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	return c.Publish(ctx, key, data)
}

func (l *lastingCentre) Register(ctx context.Context, r leader.Registration) error {
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	return c.Register(ctx, r)
}

func (l *lastingCentre) Deregister(ctx context.Context, r leader.Registration) error {
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	return c.Deregister(ctx, r)
}

func (l *lastingCentre) Close() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	_ = l.current.Close() // it may be lost already
	return nil
}

// A Mark is the argument of the methods of a lasting centre.
type Mark struct {
	ID    string        // of the call
	Delay time.Duration // how long the handler takes
}

// RegisterMethods offers "mark", and "ping", which is idempotent. Both tell
// that they run before they do anything else.
func (l *lastingCentre) RegisterMethods(r *leader.Registry) {
	leader.Handle(r, "mark", l.run)
	leader.Handle(r, "ping", l.run, leader.Idempotent())
}

func (l *lastingCentre) run(ctx context.Context, m Mark) (Whoami, error) {
	caller, _ := leader.CallerFrom(ctx)
	who := Whoami{Handler: os.Getpid(), Caller: caller.PID, Call: m.ID, Term: l.term()}
	l.p.tell(Event{Kind: "ran", Result: who})
	select {
	case <-time.After(m.Delay):
		return who, nil
	case <-ctx.Done():
		return who, ctx.Err()
	}
}
