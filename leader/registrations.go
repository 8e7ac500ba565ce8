package leader

import (
	"bytes"
	"cmp"
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/patience"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// absentLongest is how long a registration outlives its owner's session
	// when the owner's process lives.
	absentLongest = 30 * time.Second

	// waitsEvery is how often it is looked whether either is over.
	waitsEvery = 500 * time.Millisecond
)

// registrations is what the cluster's processes announce upstream through
// this leader. A registration belongs to a client; when the client's session
// ends without a Deregister it gets some time to come back, then what it
// announced is withdrawn. Every candidate knows all registrations, so that
// the next leader withdraws those whose owner died together with this one.
type registrations struct {
	l     *Leader
	turns turns

	mu     sync.Mutex // guards what follows
	byID   map[regID]*registration
	held   map[string]holding     // what that is of each owner
	absent map[string]*time.Timer // grace of owners without a session
	since  map[string]time.Time   // when those were last there
	over   bool
	began  time.Time
	opened bool        // who joins is told of all of them at once
	soon   *time.Timer // until then; nil without any

	withdrawals withdrawals // of those whose owner did not come back

	inherited  int  // bytes of the records of the leader before in byID
	complained bool // that there are too many

	asked   uint64                   // for witnesses so far
	waiting map[uint64]*registration // for those
}

type regID struct {
	owner string // Peer.Instance
	id    uint64
}

type registration struct {
	peer      *clusterclientv1.Peer
	begun     bool         // the upstream may have it; guarded by registrations.mu, as are the others
	stored    bool         // the upstream has it
	inherited bool         // it is from another term, and its owner is to announce it in this one
	doomed    bool         // its owner did not come back: it is being withdrawn, unless it is announced after all
	size      int          // of the record of the leader before, in bytes
	reg       Registration // newest acknowledged, or else the first

	witnesses *witnesses // that are waited for; nil when none are
}

// counts reports whether the next leader has to know of r, to withdraw it if
// its owner is gone.
func (r *registration) counts() bool { return r.begun || r.stored }

func newRegistrations(l *Leader, known []*clusterclientv1.Record) *registrations {
	rs := &registrations{l: l, byID: make(map[regID]*registration), held: make(map[string]holding), absent: make(map[string]*time.Timer), since: make(map[string]time.Time), began: time.Now(), waiting: make(map[uint64]*registration)}
	for _, rec := range known {
		id, r := inheritedFrom(rec)
		rs.keepLocked(id, r) // nobody else has it yet
		rs.startGrace(id.owner)
	}
	rs.open(len(known) > 0)
	return rs
}

// startGrace withdraws what owner announced unless it is back in time.
func (rs *registrations) startGrace(owner string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.over || rs.absent[owner] != nil {
		return
	}
	rs.since[owner] = time.Now()
	rs.absent[owner] = time.AfterFunc(registrationGrace, func() { rs.graceOver(owner) })
}

func (rs *registrations) ownerJoined(s *session) {
	rs.mu.Lock()
	if t := rs.absent[s.peer.Instance]; t != nil {
		t.Stop()
		delete(rs.absent, s.peer.Instance)
		delete(rs.since, s.peer.Instance)
	}
	rs.mu.Unlock()
}

func (rs *registrations) ownerLeft(owner string) {
	if rs.l.hasSession(owner) {
		return
	}
	rs.mu.Lock()
	owns := false
	for id := range rs.byID {
		owns = owns || id.owner == owner
	}
	rs.mu.Unlock()
	if owns {
		rs.startGrace(owner)
	}
}

// graceOver withdraws what owner announced: it did not come back.
func (rs *registrations) graceOver(owner string) {
	back := rs.l.hasSession(owner) // since before the grace began, maybe
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.over || rs.absent[owner] == nil {
		return
	}
	if !back && rs.waitsLocked(owner) {
		rs.absent[owner].Reset(waitsEvery)
		return
	}
	delete(rs.absent, owner)
	delete(rs.since, owner)
	if back {
		return
	}
	for id, r := range rs.byID {
		if id.owner != owner {
			continue
		}
		rs.l.log.Info("withdrawing a registration, its process is gone", "key", r.reg.Key, "pid", r.reg.Owner.PID)
		rs.doomLocked(id, r)
	}
}

// notWithdrawn tells of a registration of a process that is gone which stays
// upstream.
func (rs *registrations) notWithdrawn(reg Registration, err error) {
	if err == nil || rs.l.ctx.Err() != nil {
		return
	}
	if times, due := rs.l.repeats.Due("withdraw " + reg.Key); due {
		rs.l.log.Warn("registration not withdrawn, trying again", "key", reg.Key, "pid", reg.Owner.PID, "error", err, "times", times)
	}
}

// withdrawDoomed withdraws r, unless its owner has come back meanwhile and has
// announced it again.
func (rs *registrations) withdrawDoomed(ctx context.Context, id regID, r *registration) error {
	turn := rs.turns.take(id)
	defer turn.end()
	if err := cmp.Or(turn.wait(ctx), rs.l.mayAct()); err != nil {
		return err
	}
	rs.mu.Lock()
	doomed, reg := r.doomed, r.reg
	rs.mu.Unlock()
	if !doomed {
		return nil
	}
	return patience.Run("Deregister", func() error { return rs.withdraw(ctx, reg) })
}

func (s *session) startRegister(f *clusterclientv1.Register) {
	c := newCall(s, &wire.Call{ID: f.GetId(), Method: "register", Deadline: f.GetDeadline()})
	c.turn = s.l.regs.turns.take(regID{s.peer.Instance, f.GetRegistration()})
	s.start(c, func(c *call) {
		c.upstream(func() error { return s.l.regs.register(c, s, f) })
	})
}

func (s *session) startDeregister(f *clusterclientv1.Deregister) {
	c := newCall(s, &wire.Call{ID: f.GetId(), Method: "deregister", Deadline: f.GetDeadline()})
	c.turn = s.l.regs.turns.take(regID{s.peer.Instance, f.GetRegistration()})
	s.start(c, func(c *call) {
		c.upstream(func() error { return s.l.regs.deregister(c, s, f) })
	})
}

// register announces what f says upstream and keeps it. Candidates know of it
// before the upstream does: this leader and the owner may die before it answers.
// One that has failed is kept, too, until its owner takes it back or is gone: it
// may have reached the upstream all the same.
//
// It is called in the registration's turn, as is withdraw.
func (rs *registrations) register(ctx context.Context, s *session, f *clusterclientv1.Register) error {
	up, ok := rs.l.up.(Registrar)
	if !ok {
		return status.Error(codes.Unimplemented, "the upstream cannot register")
	}
	reg := Registration{Owner: s.peer, ID: f.GetRegistration(), Key: f.GetKey(), Data: f.GetData()}
	w := rs.l.witnesses(reg.Owner)
	rs.mu.Lock()
	r, first, err := rs.knowLocked(s, reg, w)
	if err == nil {
		r.doomed = false
	}
	rs.mu.Unlock()
	if err != nil {
		return err
	}
	if first {
		rs.tellNew(r)
		rs.awaitWitnesses(ctx, r)
	}
	if err := up.Register(ctx, reg); err != nil {
		return err
	}
	rs.mu.Lock()
	known := first || r.counts() && r.reg.Key == reg.Key && bytes.Equal(r.reg.Data, reg.Data)
	rs.replaceLocked(regID{reg.Owner.Instance, reg.ID}, r, reg)
	r.stored, r.inherited = true, false
	rs.mu.Unlock()
	if !known { // as it is now, to all, if only by the leader before
		rs.tellAll(r)
	}
	return nil
}

// knowLocked returns the registration that reg, of the owner that s is of, is
// about, unless that is over a limit. If it is new, w, if not nil, are those that
// are to say that they know of it, and tellNew is to be called.
func (rs *registrations) knowLocked(s *session, reg Registration, w *witnesses) (r *registration, first bool, err error) {
	if err := rs.exceededLocked(s, reg); err != nil {
		return nil, false, err
	}
	id := regID{reg.Owner.Instance, reg.ID}
	if r = rs.byID[id]; r != nil {
		return r, false, nil
	}
	r = &registration{peer: s.proto, reg: reg, begun: true, witnesses: w}
	rs.keepLocked(id, r)
	rs.askLocked(r)
	return r, true, nil
}

// tellNew tells candidates of a registration that is new.
func (rs *registrations) tellNew(r *registration) {
	rs.tellAll(r)
	if owner := r.reg.Owner.Instance; !rs.l.hasSession(owner) { // it died meanwhile
		rs.startGrace(owner)
	}
}

// deregister withdraws what f says. One that this leader had not heard of is
// kept if that fails: its owner may die before it tries again.
func (rs *registrations) deregister(ctx context.Context, s *session, f *clusterclientv1.Deregister) error {
	reg := Registration{Owner: s.peer, ID: f.GetRegistration(), Key: f.GetKey()}
	rs.unlist(s, reg.ID)
	if failed := rs.withdraw(ctx, reg); failed != nil {
		rs.mu.Lock()
		r, first, over := rs.knowLocked(s, reg, nil)
		rs.mu.Unlock()
		if over == nil && first {
			rs.tellNew(r)
		}
		return failed
	}
	return nil
}

// withdraw takes a registration back; one that is not there is no error. What
// this leader does not know of may be upstream all the same.
func (rs *registrations) withdraw(ctx context.Context, reg Registration) error {
	up, ok := rs.l.up.(Registrar)
	if !ok {
		return nil
	}
	id := regID{reg.Owner.Instance, reg.ID}
	rs.mu.Lock()
	r := rs.byID[id]
	if r != nil && r.stored {
		reg = r.reg
	}
	rs.mu.Unlock()
	if err := up.Deregister(ctx, reg); err != nil || r == nil {
		return err
	}
	rs.mu.Lock()
	r.begun, r.stored = false, false
	rs.forgetLocked(id)
	rs.mu.Unlock()
	rs.tellAll(r)
	return nil
}

func (rs *registrations) count() int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return len(rs.byID)
}

// stop ends the graces; what was announced is left to the next leader.
func (rs *registrations) stop() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.over = true
	if rs.soon != nil {
		rs.soon.Stop()
	}
	for _, t := range rs.absent {
		t.Stop()
	}
	rs.withdrawals.stop()
}
