package clusterclient

import (
	"strings"
	"time"

	"google.golang.org/grpc"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A visitor is a client that said hello and waits for an answer.
type visitor struct {
	s      *server
	stream grpc.BidiStreamingServer[clusterclientv1.SessionRequest, clusterclientv1.SessionResponse]
	hello  *clusterclientv1.Hello
	from   *peerConn // nil for one within this process
	told   string    // the last reason to wait
}

func (v *visitor) send(f *clusterclientv1.ResponseFrame) error {
	return v.stream.Send(&clusterclientv1.SessionResponse{Frames: []*clusterclientv1.ResponseFrame{f}})
}

// tellAfter is how long a visitor waits before it is told for what. At a
// takeover most have their answer by then, and all are busy.
const tellAfter = 50 * time.Millisecond

// wait returns when changed is closed. If that takes long it tells the visitor
// why there is no answer yet.
func (v *visitor) wait(reason string, changed <-chan struct{}) error {
	soon := time.NewTimer(tellAfter)
	defer soon.Stop()
	select {
	case <-changed:
		return nil
	case <-soon.C:
	case <-v.stream.Context().Done():
		return v.stream.Context().Err()
	case <-v.s.ctx.Done():
		return errStopped
	}
	return v.waitTold(reason, changed)
}

// waitTold is wait for a visitor that is to know why.
func (v *visitor) waitTold(reason string, changed <-chan struct{}) error {
	reason = clean(reason)
	if reason != v.told {
		v.told = reason
		err := v.send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Pending{
			Pending: &clusterclientv1.Pending{Reason: reason, Owner: v.s.c.self()},
		}})
		if err != nil {
			return err
		}
	}
	select {
	case <-changed:
		return nil
	case <-v.stream.Context().Done():
		return v.stream.Context().Err()
	case <-v.s.ctx.Done():
		return errStopped
	}
}

func (v *visitor) reject(r *clusterclientv1.Reject) error {
	v.s.c.rejected.count(r.GetCode(), v.hello.GetPeer())
	return v.send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Reject{Reject: r}})
}

// refuse rejects the visitor for what this process does or is.
func (v *visitor) refuse(code clusterclientv1.Code, message string) error {
	return v.reject(&clusterclientv1.Reject{Code: code, Message: clean(message), Holder: v.s.c.self()})
}

// clean makes an error of the upstream's fit for a string on the wire.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func mismatch(holder *clusterclientv1.Peer) *clusterclientv1.Reject {
	return &clusterclientv1.Reject{
		Code:    clusterclientv1.Code_CODE_IDENTITY_MISMATCH,
		Message: "leads this name with another identity; clients of another upstream need another name",
		Holder:  holder,
	}
}

// join makes the visitor a follower of this server's leader, once there is
// one.
func (v *visitor) join() error {
	if string(v.hello.GetIdentity()) != string(v.s.c.opts.identity) {
		return v.reject(mismatch(v.s.c.self()))
	}
	if v.hello.GetCandidate() && !v.hello.GetYields() {
		v.s.couldLead.Add(1)
		defer v.s.couldLead.Add(-1)
	}
	for {
		state, changed := v.s.getState()
		switch {
		case state.leaving:
			return v.refuse(clusterclientv1.Code_CODE_LEAVING, "is leaving")
		case state.failed != nil:
			return v.refuse(clusterclientv1.Code_CODE_UPSTREAM, "leads, but "+state.failed.Error())
		case state.leader != nil && v.knowsBetter(state.leader.Term()):
			return v.refuse(clusterclientv1.Code_CODE_LEAVING, "is leaving, another process leads in a higher term")
		case state.leader != nil:
			return endOfSession(state.leader.Serve(v.stream, v.hello, v.from.origin()))
		}
		if err := v.wait(state.waiting, changed); err != nil {
			return err
		}
	}
}

// knowsBetter reports whether the visitor has seen a leadership that has taken
// this one's place. One that it has seen elsewhere, where the lease is another
// one, only raises the term of this leadership.
func (v *visitor) knowsBetter(term uint64) bool {
	return v.hello.GetKnownTerm() >= term && string(v.hello.GetKnownLeader()) != string(v.s.c.instance) && v.s.leaseHold.renew(term) != nil
}
