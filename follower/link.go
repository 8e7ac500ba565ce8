package follower

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A link is the session with one leader. It is made when the leader has said
// welcome and never used again once it is lost.
type link struct {
	f          *Follower
	w          *wire.Writer
	stream     wire.Stream
	conn       grpc.ClientConnInterface
	close      func()
	closeSend  func() error
	direct     func(*wire.Call) bool // may be nil
	leader     *clusterclientv1.Peer
	session    []byte
	idempotent map[string]bool
	admits     bool // streams, and has to be asked to
	takesBack  bool // what another leader has handed to members of queue groups
	streams    streams
	waiting    *waitlist
	gapSince   time.Time // when the link before this one was lost

	ctx     context.Context // ends, with the reason, when the link is lost
	lose    context.CancelCauseFunc
	leaving atomic.Bool                          // the leader takes no new calls
	leaves  atomic.Pointer[string]               // why
	next    atomic.Pointer[clusterclientv1.Peer] // who leads already, when this leader has handed over
	silence silence
	term    atomic.Uint64
	onTerm  func(uint64)
	held    wire.Checksum         // of all keys
	sight   atomic.Pointer[sight] // never nil; changed by receive alone
	onSight func(Sight)           // may be nil, as is onNamed
	onNamed func(successor []byte)
	onHand  func(*clusterclientv1.ResponseFrame) // may be nil
	onBusy  func(context.Context)                // nil when it was called, too
	batches atomic.Int64                         // received since the last heartbeat was handled

	doubt doubt // of the goroutine that handles frames

	mu      sync.Mutex // guards what follows
	due     []*key     // whose wanted state the leader has to be told; see addDueLocked
	wishes  uint64     // that were told
	restate bool       // the leader has to be told to forget them
	acks    []uint64
	left    uint64            // how many keys nobody wants any more that the leader may have served
	short   map[*key]shortage // keys that it did not, since they were too many
}

func newLink(f *Follower, lk Link) *link {
	l := &link{
		f: f, stream: lk.Stream, conn: lk.Conn, close: lk.Close, closeSend: lk.CloseSend, onTerm: lk.Term, onHand: lk.HandOver, onBusy: lk.Busy,
		leader: lk.Welcome.GetLeader(), session: lk.Welcome.GetSession(),
		idempotent: make(map[string]bool),
		waiting:    newWaitlist(),
		short:      make(map[*key]shortage),
	}
	for _, m := range lk.Welcome.GetIdempotentMethods() {
		l.idempotent[m] = true
	}
	l.admits = slices.Contains(lk.Welcome.GetFeatures(), wire.FeatureAdmission)
	l.takesBack = slices.Contains(lk.Welcome.GetFeatures(), wire.FeatureReturn)
	l.term.Store(lk.Welcome.GetTerm())
	l.onSight, l.onNamed = lk.Sight, lk.Named
	l.sight.Store(&sight{})
	l.ctx, l.lose = context.WithCancelCause(context.Background())
	l.silence.start(f)
	l.w = wire.NewRequestWriter(lk.Stream, l.pull)
	if lk.Direct != nil {
		l.direct = lk.Direct(l.takeReply)
	}
	return l
}

func (l *link) String() string {
	if a := l.leader.GetAddress(); a != "" {
		return fmt.Sprintf("pid %d at %s", l.leader.GetPid(), a)
	}
	return fmt.Sprintf("pid %d", l.leader.GetPid())
}

// run sends and receives until the stream fails, and returns why.
func (l *link) run() error {
	ctx, cancel := context.WithCancelCause(l.stream.Context())
	var sender sync.WaitGroup
	sender.Go(func() {
		err := l.w.Run(ctx)
		if err == nil { // the leader is leaving and wants to hear the last
			err = l.closeSend()
		}
		if err != nil {
			l.close()
		}
	})
	err := l.receive()
	if l.handing() == nil {
		l.silence.stop()
	}
	cancel(err)
	l.close()
	sender.Wait()
	return err
}

// receive takes the leader's frames until the stream fails.
func (l *link) receive() error {
	r := wire.NewReceiver(l.stream)
	defer r.Close()
	r.Values(l.takeValue)
	r.Replies(l.takeReply)
	var came replies
	reply, other := came.add, l.handle // one of each, not for each frame
	for {
		if err := r.Receive(); err != nil {
			return err
		}
		l.batches.Add(1)
		for more := true; more; {
			var err error
			if more, err = r.Response(reply, other); err != nil {
				l.takeReplies(&came)
				return err
			}
		}
		l.takeReplies(&came)
		r.TellTaken(l.w)
	}
}

// handle takes one frame. It does not block.
func (l *link) handle(f *clusterclientv1.ResponseFrame) {
	switch k := f.GetKind().(type) {
	case *clusterclientv1.ResponseFrame_Heartbeat:
		l.silence.end()
		if t := k.Heartbeat.GetTerm(); t > l.term.Load() {
			l.term.Store(t)
			l.onTerm(t)
		}
		l.compare(k.Heartbeat.GetTold())
		l.takeSight(k.Heartbeat.GetBlindness())
		l.f.crowd.Store(k.Heartbeat.GetFollowers())
		l.lookBusy()
	case *clusterclientv1.ResponseFrame_Leaving:
		reason := k.Leaving.GetReason()
		l.leaves.Store(&reason)
		l.leaving.Store(true)
		if successor := k.Leaving.GetSuccessor(); len(successor) > 0 && l.onNamed != nil {
			l.onNamed(successor)
		}
		if next := k.Leaving.GetNext(); next != nil {
			l.next.Store(next)
		}
		if k.Leaving.GetLast() {
			l.w.Finish() // what is queued later was certainly not started
		}
	case *clusterclientv1.ResponseFrame_State:
		l.f.withKey(k.State.GetKey(), func(key *key) { key.takeState(l, k.State) })
	case *clusterclientv1.ResponseFrame_Task:
		l.takeTask(k.Task)
	case *clusterclientv1.ResponseFrame_Progress:
		l.f.withKey(k.Progress.GetKey(), func(key *key) { key.takeProgress(k.Progress) })
	case *clusterclientv1.ResponseFrame_Inquiry:
		l.report(k.Inquiry)
	case *clusterclientv1.ResponseFrame_Probe:
		l.probe(k.Probe)
	case *clusterclientv1.ResponseFrame_Record:
		l.f.record(l, k.Record)
		if id := k.Record.GetConfirm(); id != 0 {
			l.w.Send(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Noted{Noted: &clusterclientv1.Noted{Id: id}}}, nil)
		}
	case *clusterclientv1.ResponseFrame_RecordsTold:
		l.f.recordsTold(l)
	case *clusterclientv1.ResponseFrame_Prepare, *clusterclientv1.ResponseFrame_Succeed:
		if l.onHand != nil {
			l.onHand(f)
		}
	}
}

// busyBatches is how many batches between two heartbeats are much.
const busyBatches = 50

// lookBusy tells whoever wants to know when there is much on the stream.
func (l *link) lookBusy() {
	busy := l.batches.Swap(0) >= busyBatches
	if tell := l.onBusy; busy && tell != nil {
		l.onBusy = nil
		l.f.goUnlessClosed(func() { tell(l.ctx) })
	}
}

// handing returns the link, if its leader has handed over: until the next
// leader speaks, what it said last holds on.
func (l *link) handing() *link {
	if l.next.Load() == nil {
		return nil
	}
	return l
}

// handedTo returns the link, if its leader has handed over to that of other.
func (l *link) handedTo(other *link) *link {
	if l == nil || string(l.next.Load().GetInstance()) != string(other.leader.GetInstance()) {
		return nil
	}
	return l
}

// vouches reports whether what the leader of a link that has ended said last
// still holds.
func (l *link) vouches() bool {
	_, silent := l.silence.silent()
	return !silent
}

// takeValue stores a value; nobody may want it any more.
func (l *link) takeValue(v *wire.Value) {
	f := l.f
	f.mu.Lock()
	k := f.roster.find(l, v.Number)
	if k == nil {
		k = f.keys[string(v.Key)]
		f.roster.note(l, v.Number, k, len(f.keys))
	}
	f.mu.Unlock()
	if k != nil {
		k.take(l, v)
	}
}

// takeTask gives an update to the queue group's members in this process.
func (l *link) takeTask(t *clusterclientv1.Task) {
	l.f.withKey(t.GetValue().GetKey(), func(k *key) {
		k.takeTask(t.GetGroup(), t.GetMember(), &task{link: l, id: t.GetId(), value: valueFrom(t.GetValue())})
	})
}

// dueKey makes the leader learn what this process wants of k.
func (l *link) dueKey(k *key) {
	if k.due.Swap(l) != l {
		l.mu.Lock()
		l.addDueLocked(k)
		l.mu.Unlock()
	}
}

// addDueLocked adds k to what the leader has to be told, and has the writer look.
func (l *link) addDueLocked(k *key) {
	l.due = append(l.due, k)
	l.w.Wake()
}

// ack tells the leader that a task was dealt with.
func (l *link) ack(id uint64) {
	l.mu.Lock()
	l.acks = append(l.acks, id)
	l.mu.Unlock()
	l.w.Wake()
}

// pull fills a batch with what the leader has to know.
func (l *link) pull(b *wire.Batch) {
	l.addAcks(b)
	l.addRestate(b)
	for first := true; first || !b.Full(); first = false { // one at least, however many calls there are
		k := l.nextDue()
		if k == nil {
			return
		}
		k.due.CompareAndSwap(l, nil) // what changes from now on makes it due again
		if k.isNew() {
			b.AddSubscribe(k.name)
		} else {
			l.addWish(b, k)
		}
	}
}

// nextDue takes a key from those that are due, and counts the wish.
func (l *link) nextDue() *key {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.due) == 0 {
		l.due = nil
		return nil
	}
	k := l.due[0]
	l.due[0] = nil
	l.due = l.due[1:]
	l.wishes++
	return k
}

// addWish adds what is wanted of k.
func (l *link) addWish(b *wire.Batch, k *key) {
	frame, behind, more := k.wanted(l)
	l.addAcks(b) // what was dealt with before a group was left, also by a key that there is another one of
	if frame == nil {
		l.mu.Lock()
		l.wishes--
		l.mu.Unlock()
		return
	}
	b.Add(frame)
	for _, frame := range behind {
		l.w.Send(frame, nil)
	}
	if more {
		l.dueKey(k)
	}
}

func (l *link) addAcks(b *wire.Batch) {
	l.mu.Lock()
	acks := l.acks
	l.acks = nil
	l.mu.Unlock()
	if len(acks) > 0 {
		b.Add(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Ack{Ack: &clusterclientv1.Ack{Ids: acks}}})
	}
}
