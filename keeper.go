package clusterclient

import (
	"context"
	"errors"
	"sync"

	"github.com/clusterclient/clusterclient/internal/backoff"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A keeper makes sure that newcomers find a leader which does not own the
// port: it reports to the owner, to the next one when that is gone, and takes
// the port itself when nobody has it.
type keeper struct {
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

func newKeeper(c *Client, srv *server, m mandate) *keeper {
	k := &keeper{c: c, srv: srv, bell: make(chan struct{}, 1), first: m.by, owner: m.owner || m.lis == nil}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// close ends run and gives the appointment back.
func (k *keeper) close() {
	k.closing.Do(func() {
		k.cancel()
		if k.first != nil {
			k.first.close()
		}
	})
}

// wake makes the keeper report a term that has grown.
func (k *keeper) wake() {
	select {
	case k.bell <- struct{}{}:
	default:
	}
}

// start makes the keeper run, if it does not.
func (k *keeper) start() {
	k.begun.Do(func() { k.running.Go(k.run) })
}

// wait returns when, after close, it does not run any more.
func (k *keeper) wait() { k.running.Wait() }

// run reports until the leadership ends or the port is this leader's own.
func (k *keeper) run() {
	if k.owner {
		return
	}
	retry := backoff.Backoff{Min: claimRetryFirst, Max: claimRetryLongest}
	s, err, lost := k.first, error(nil), 0
	if s != nil {
		err = k.send(s, k.srv.term())
	}
	for {
		if s != nil && err == nil {
			err = k.stay(s)
		}
		if s != nil {
			s.close()
		}
		if k.ctx.Err() != nil || k.beaten(err) || k.takePort() {
			return
		}
		s, err = k.c.dialSession(k.ctx, k.c.address, k.c.hello(), k.report(k.srv.term()))
		if lost++; !errors.Is(err, errHelloLost) || lost > 1 { // once may be an owner that has just died
			_ = retry.Wait(k.ctx)
		}
	}
}

// beaten reports whether err says that somebody leads in a higher term, and
// ends this leadership then.
func (k *keeper) beaten(err error) bool {
	r, ok := errors.AsType[*rejectedError](err)
	if !ok || r.reject.GetCode() != clusterclientv1.Code_CODE_LEADERSHIP_TAKEN {
		return false
	}
	k.srv.supersede(r.reject.GetTerm())
	return true
}

// takePort makes this leader the owner of the port if nobody has it.
func (k *keeper) takePort() bool {
	lis, err := k.c.opts.network.Listen(k.ctx, k.c.address)
	if err != nil {
		return false
	}
	if k.srv.listen(lis) {
		k.c.log.Debug("taking over the port", "address", k.c.address)
		k.srv.dir.own()
		k.srv.tenure.ownsPort()
	}
	return true
}

// stay reports again when the term grows, and returns why the session with
// the owner has ended.
func (k *keeper) stay(s *session) error {
	ended := make(chan error, 1)
	go func() { // ends with the session
		for {
			f, err := s.answer(false)
			if r := f.GetReject(); err == nil && r != nil {
				err = k.c.rejection(r)
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
		case <-k.ctx.Done():
			s.close()
			return errors.Join(context.Cause(k.ctx), <-ended)
		case <-k.bell:
			if err := k.send(s, k.srv.term()); err != nil {
				s.close()
				return errors.Join(err, <-ended)
			}
		}
	}
}

func (k *keeper) send(s *session, term uint64) error {
	return s.stream.Send(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{k.report(term)}})
}

func (k *keeper) report(term uint64) *clusterclientv1.RequestFrame {
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Report{Report: &clusterclientv1.Report{
		Term: term, Address: k.c.status.servedAt(),
	}}}
}
