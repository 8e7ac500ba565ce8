package leader

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A session is one follower at this leader. The goroutine that serves its
// stream sends; another one receives.
type session struct {
	l         *Leader
	id        string
	peer      Peer
	proto     *clusterclientv1.Peer
	conn      any // see Origin
	candidate bool
	stream    wire.Stream
	moving    *wire.Moving // the same, of another process; nil for that of the leader
	w         *wire.Writer
	in        *wire.Receiver // of whoever is on shift
	here      here
	ctx       context.Context // ends with the session; calls run under it
	cancel    context.CancelCauseFunc
	ended     chan struct{}
	answers   bool      // understands inquiries
	probes    bool      // can tell whether it could reach the upstream
	succeeds  bool      // understands that it is to succeed
	witness   bool      // confirms records
	shard     int       // of the leader's tallies
	pulled    time.Time // when the writer pulled last; of whoever sends
	conflated atomic.Uint64
	told      wire.Checksum // of what the follower should have
	wishes    atomic.Uint64 // for keys, that were taken
	refused   atomic.Bool   // one of those
	tookLeave atomic.Bool   // the follower ended the session, in order
	list      *list         // of its registrations, nil until it has sent that; guarded by registrations.mu

	mu          sync.Mutex // guards what follows; see Leader.mu for the order
	subs        map[*key]*sub
	due         []due // what has something new for this follower, in order
	beatDue     bool
	leaving     *clusterclientv1.Leaving // still to be told
	parting     string                   // why the leader leaves, as it was told last
	calls       map[uint64]*call
	inquiries   map[uint64]chan []byte // under way; each channel has one slot
	nextInquiry uint64
	unanswered  int // inquiries
	probeID     uint64
	probed      chan *clusterclientv1.Probed // for the answer to the last probe; nil when that has come
	records     map[*registration]*recordDue
	tasks       map[uint64]*task // handed over, not acknowledged
	nextTask    uint64
	successor   *Successor // that it is; nil when it is none
}

// due is a piece of present state that a follower has to be told of. It is
// queued at most once at a time.
type due interface {
	// appendTo adds what the follower does not know yet.
	appendTo(b *wire.Batch)
	// queued returns the mark, guarded by session.mu, of being queued.
	queued() *bool
}

func newSession(l *Leader, stream wire.Stream, hello *clusterclientv1.Hello, from Origin) *session {
	s := &session{
		l: l, id: newSessionID(), stream: stream,
		peer: peerFrom(hello.GetPeer(), from), proto: recorded(hello.GetPeer(), from), conn: from.Conn, candidate: hello.GetCandidate(),
		ended: make(chan struct{}),
		subs:  make(map[*key]*sub),
		calls: make(map[uint64]*call), records: make(map[*registration]*recordDue),
		tasks: make(map[uint64]*task), inquiries: make(map[uint64]chan []byte),
		answers: can(hello, wire.FeatureInquiry), shard: int(l.joined.Add(1) % tallyShards),
		probes:   hello.GetCandidate() && can(hello, wire.FeatureProbe),
		witness:  hello.GetCandidate() && can(hello, wire.FeatureWitness),
		succeeds: hello.GetCandidate() && can(hello, wire.FeatureHandOver),
	}
	s.ctx, s.cancel = context.WithCancelCause(stream.Context())
	s.w = wire.NewResponseWriter(stream, s.pull)
	if can(hello, wire.FeatureCredit) {
		s.w.LimitPieces()
	}
	s.in = wire.NewReceiver(stream)
	s.in.Calls(s.takeLarge, s.broken)
	s.here.timer = time.AfterFunc(time.Hour, s.tick)
	s.here.timer.Stop()
	return s
}

// can reports whether the follower has an optional ability.
func can(hello *clusterclientv1.Hello, feature string) bool {
	return slices.Contains(hello.GetFeatures(), feature)
}

func (s *session) welcome(term uint64) {
	s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Welcome{Welcome: &clusterclientv1.Welcome{
		Protocol:          wire.Protocol,
		Term:              term,
		Leader:            s.l.cfg.Self,
		Session:           []byte(s.id),
		IdempotentMethods: s.l.methods.idempotent(),
		Features:          s.features(),
	}}}, nil)
}

// features are the optional abilities that the leader has for this follower.
func (s *session) features() []string {
	all := []string{wire.FeatureAdmission, wire.FeatureReturn}
	if s.moving != nil && s.l.cfg.Lanes {
		all = append(all, wire.FeatureLane)
	}
	return all
}

// run serves the session until its stream ends. The receiver, which ends when
// the stream does, undoes what it did.
func (s *session) run() error {
	s.l.regs.ownerJoined(s)
	s.l.regs.introduce(s)
	go s.receive()
	err := s.w.Run(s.ctx)
	s.cancel(err)
	return err
}

// end undoes all that the follower asked for. The error is what ended what it
// says.
func (s *session) end(err error) {
	s.mu.Lock()
	subs := s.subs
	s.subs = nil
	s.mu.Unlock()
	for _, c := range s.appendCalls(nil) {
		if !c.loose() {
			c.cancel()
		}
	}
	s.l.outlive(s)
	over := s.l.ctx.Err() != nil // the others are about to end, too
	for _, sb := range subs {
		if over {
			sb.key.leaveHeld(sb)
		}
		sb.key.leave(sb)
	}
	s.l.dismiss(s, err)
	close(s.ended)
}

// handle takes one frame. It does not block.
func (s *session) handle(f *clusterclientv1.RequestFrame) {
	switch k := f.GetKind().(type) {
	case *clusterclientv1.RequestFrame_Subscribe:
		s.subscribe(k.Subscribe)
		s.wishes.Add(1)
	case *clusterclientv1.RequestFrame_Unsubscribe:
		s.unsubscribe(s.l.key(k.Unsubscribe.GetKey()))
		s.wishes.Add(1)
	case *clusterclientv1.RequestFrame_Restate:
		s.restate()
	case *clusterclientv1.RequestFrame_Ack:
		s.acknowledge(k.Ack.GetIds())
	case *clusterclientv1.RequestFrame_Returned:
		s.takeReturned(k.Returned)
	case *clusterclientv1.RequestFrame_Finding:
		s.takeFinding(k.Finding)
	case *clusterclientv1.RequestFrame_Taken:
		s.w.Taken(k.Taken.GetBytes())
	case *clusterclientv1.RequestFrame_Probed:
		s.takeProbed(k.Probed)
	case *clusterclientv1.RequestFrame_Prepared:
		s.takeAnswer(k.Prepared.GetId(), f)
	case *clusterclientv1.RequestFrame_Succeeded:
		s.takeAnswer(k.Succeeded.GetId(), f)
	case *clusterclientv1.RequestFrame_Cancel:
		s.cancelCall(k.Cancel.GetId())
	case *clusterclientv1.RequestFrame_Publish:
		if s.within(k.Publish.GetId(), k.Publish.GetKey(), len(k.Publish.GetData())) {
			s.startPublish(k.Publish)
		}
	case *clusterclientv1.RequestFrame_Register:
		if s.within(k.Register.GetId(), k.Register.GetKey(), len(k.Register.GetData())) {
			s.startRegister(k.Register)
		}
	case *clusterclientv1.RequestFrame_Deregister:
		s.startDeregister(k.Deregister)
	case *clusterclientv1.RequestFrame_Admit:
		s.admitStream(k.Admit)
	case *clusterclientv1.RequestFrame_Registrations:
		s.l.regs.listed(s, k.Registrations)
	case *clusterclientv1.RequestFrame_Noted:
		s.l.regs.noted(s, k.Noted.GetId())
	case *clusterclientv1.RequestFrame_Record:
		if s.candidate {
			s.l.regs.learn(k.Record)
		}
	}
}

func (s *session) subscribe(f *clusterclientv1.Subscribe) {
	if f.GetKey() == "" {
		s.reply(&wire.Reply{ID: f.GetId(), Code: int32(codes.InvalidArgument), Message: "a key of 0 bytes"})
		return
	}
	k := s.l.key(f.GetKey())
	s.mu.Lock()
	sb, keys := s.subs[k], len(s.subs)
	s.mu.Unlock()
	if sb != nil {
		if !s.groupsFit(f, k) {
			return
		}
		k.resume(sb, f.GetKnown())
	} else if !s.mayJoin(f, k, keys) {
		return
	} else {
		sb = &sub{s: s}
		if !s.l.join(sb, f, k) {
			return
		}
		s.mu.Lock()
		s.subs[sb.key] = sb
		s.mu.Unlock()
	}
	sb.key.setGroups(sb, f.GetGroups(), f.GetId())
}

func (s *session) unsubscribe(k *key) {
	s.mu.Lock()
	sb := s.subs[k]
	delete(s.subs, k)
	s.mu.Unlock()
	if sb != nil {
		k.leave(sb)
	}
}

// restate ends the subscriptions, whose keys the follower has counted
// otherwise. Memberships stay: their end would hand tasks to others.
func (s *session) restate() {
	s.mu.Lock()
	subs := slices.Collect(maps.Values(s.subs))
	s.mu.Unlock()
	for _, sb := range subs {
		if !sb.key.isMember(sb) {
			s.unsubscribe(sb.key)
		}
	}
}

// addDue queues d and wakes the writer.
func (s *session) addDue(d due) {
	s.mu.Lock()
	if q := d.queued(); !*q {
		*q = true
		s.due = append(s.due, d)
	}
	s.mu.Unlock()
	s.w.Wake()
}

func (s *session) dueBeat() {
	s.mu.Lock()
	s.beatDue = true
	s.mu.Unlock()
	s.w.Wake()
}

func (s *session) dueLeaving(f *clusterclientv1.Leaving) {
	s.mu.Lock()
	if f.Last && s.parting != "" {
		// The one before may not have been sent yet. Other sessions have f, too.
		f = proto.CloneOf(f)
		f.Reason = s.parting
	}
	s.leaving, s.parting = f, f.GetReason()
	s.mu.Unlock()
	s.w.Wake()
}

// pull fills a batch with what the follower has to know.
func (s *session) pull(b *wire.Batch) {
	s.pullControl(b)
	s.pulled = time.Now()
	for first := true; first || !b.Laden(); first = false { // one at least, however many replies there are
		s.mu.Lock()
		if len(s.due) == 0 {
			s.due = nil // so that a burst does not keep its memory
			s.mu.Unlock()
			return
		}
		d := s.due[0]
		s.due[0] = nil
		s.due = s.due[1:]
		*d.queued() = false
		s.mu.Unlock()
		d.appendTo(b)
	}
}

// pullControl adds what is short and must not wait behind values.
func (s *session) pullControl(b *wire.Batch) {
	s.mu.Lock()
	beat, leaving := s.beatDue, s.leaving
	s.beatDue, s.leaving = false, nil
	s.mu.Unlock()
	if beat {
		b.Add(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Heartbeat{Heartbeat: s.heartbeat()}})
	}
	if leaving != nil {
		b.Add(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Leaving{Leaving: leaving}})
	}
}

// heartbeat returns what the follower is to hear now. The wishes are looked at
// before what they change.
func (s *session) heartbeat() *clusterclientv1.Heartbeat {
	f := s.l.heartbeat()
	if wishes := s.wishes.Load(); !s.refused.Load() {
		f.Told = s.told.ToProto(wishes)
	}
	return f
}

// reply answers a request, unless that wants no answer.
func (s *session) reply(r *wire.Reply) {
	if r.ID != 0 {
		s.w.SendReply(r)
	}
}

// clean makes text fit for a string on the wire.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func (s *session) String() string { return fmt.Sprintf("pid %d", s.peer.PID) }
