package clusterclient

import (
	"context"
	"errors"
	"sync"

	"github.com/clusterclient/clusterclient/internal/backoff"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A reporter makes sure that newcomers find a leader which does not own the
// port: it reports to the owner, to the next one when that is gone, and takes
// the port itself when nobody has it.
type reporter struct {
	c    *Client
	srv  *server
	bell chan struct{} // one slot: the term has grown

	ctx    context.Context
	cancel context.CancelFunc
	first  *session // the appointment; nil without
	owner  bool     // this leader has the port, or needs none

	begun   sync.Once
	running sync.WaitGroup
	closing sync.Once
}

func newReporter(c *Client, srv *server, m mandate) *reporter {
	k := &reporter{c: c, srv: srv, bell: make(chan struct{}, 1), first: m.by, owner: m.owner || m.lis == nil}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// close ends run and gives the appointment back.
func (r *reporter) close() {
	r.closing.Do(func() {
		r.cancel()
		if r.first != nil {
			r.first.close()
		}
	})
}

// wake makes the reporter report a term that has grown.
func (r *reporter) wake() {
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// start makes the reporter run, if it does not.
func (r *reporter) start() {
	r.begun.Do(func() { r.running.Go(r.run) })
}

// wait returns when, after close, it does not run any more.
func (r *reporter) wait() { r.running.Wait() }

// run reports until the leadership ends or the port is this leader's own.
func (r *reporter) run() {
	if r.owner {
		return
	}
	retry := backoff.Backoff{Min: claimRetryFirst, Max: claimRetryLongest}
	s, err, lost := r.first, error(nil), 0
	if s != nil {
		err = r.send(s, r.srv.term())
	}
	for {
		if s != nil && err == nil {
			err = r.stay(s)
		}
		if s != nil {
			s.close()
		}
		if r.ctx.Err() != nil || r.beaten(err) || r.takePort() {
			return
		}
		s, err = r.c.dialSession(r.ctx, r.c.address, r.c.hello(), r.report(r.srv.term()))
		if lost++; !errors.Is(err, errHelloLost) || lost > 1 { // once may be an owner that has just died
			_ = retry.Wait(r.ctx)
		}
	}
}

// beaten reports whether err says that somebody leads in a higher term, and
// ends this leadership then.
func (r *reporter) beaten(err error) bool {
	rejected, ok := errors.AsType[*rejectedError](err)
	if !ok || rejected.reject.GetCode() != clusterclientv1.Code_CODE_LEADERSHIP_TAKEN {
		return false
	}
	r.srv.supersede(rejected.reject.GetTerm())
	return true
}

// takePort makes this leader the owner of the port if nobody has it.
func (r *reporter) takePort() bool {
	lis, err := r.c.opts.network.Listen(r.ctx, r.c.address)
	if err != nil {
		return false
	}
	if r.srv.listen(lis) {
		r.c.log.Debug("taking over the port", "address", r.c.address)
		r.srv.dir.own()
		r.srv.leaseHold.ownsPort()
	}
	return true
}

// stay reports again when the term grows, and returns why the session with
// the owner has ended.
func (r *reporter) stay(s *session) error {
	ended := make(chan error, 1)
	go func() { // ends with the session
		for {
			f, err := s.answer(false)
			if no := f.GetReject(); err == nil && no != nil {
				err = r.c.rejection(no)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-ended:
			return err
		case <-r.ctx.Done():
			s.close()
			return errors.Join(context.Cause(r.ctx), <-ended)
		case <-r.bell:
			if err := r.send(s, r.srv.term()); err != nil {
				s.close()
				return errors.Join(err, <-ended)
			}
		}
	}
}

func (r *reporter) send(s *session, term uint64) error {
	return s.stream.Send(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{r.report(term)}})
}

func (r *reporter) report(term uint64) *clusterclientv1.RequestFrame {
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Report{Report: &clusterclientv1.Report{
		Term: term, Address: r.c.status.servedAt(),
	}}}
}
