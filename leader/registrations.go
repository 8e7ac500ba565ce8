package leader

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// absentLongest is how long a registration outlives its owner's session
	// when the owner's process lives.
	absentLongest = 30 * time.Second

	// adoptLongest is how long after the beginning of a term registrations of
	// the term before may hold up withdrawals, while their owners are there.
	adoptLongest = 30 * time.Second

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
	absent map[string]*time.Timer // grace of owners without a session
	since  map[string]time.Time   // when those were last there
	over   bool
	began  time.Time
}

type regID struct {
	owner string // Peer.Instance
	id    uint64
}

type registration struct {
	peer   *clusterclientv1.Peer
	begun  bool         // the upstream may have it; guarded by registrations.mu, as are the others
	stored bool         // the upstream has it
	heir   bool         // it is from another term, and was not announced in this one
	reg    Registration // newest acknowledged, or else the first
}

// counts reports whether the next leader has to know of r, to withdraw it if
// its owner is gone.
func (r *registration) counts() bool { return r.begun || r.stored }

func newRegistrations(l *Leader, known []*clusterclientv1.Record) *registrations {
	rs := &registrations{l: l, byID: make(map[regID]*registration), absent: make(map[string]*time.Timer), since: make(map[string]time.Time), began: time.Now()}
	for _, rec := range known {
		owner := peerFrom(rec.GetOwner(), Origin{UID: -1, Started: rec.GetOwner().GetStarted()})
		rs.byID[regID{owner.Instance, rec.GetRegistration()}] = &registration{
			peer: rec.GetOwner(), stored: true, heir: true,
			reg: Registration{Owner: owner, ID: rec.GetRegistration(), Key: rec.GetKey(), Data: rec.GetData()},
		}
		rs.startGrace(owner.Instance)
	}
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

// waitsLocked reports whether owner's registrations must stay a little longer,
// though it has not come back: its process lives, and is only busy or stopped;
// or what others have announced in the term before is still being announced
// again, and nothing is withdrawn before that, lest the two cross.
func (rs *registrations) waitsLocked(owner string) bool {
	alive, adopting := false, false
	for id, r := range rs.byID {
		switch {
		case id.owner == owner:
			alive = alive || rs.l.cfg.Alive != nil && rs.l.cfg.Alive(r.reg.Owner)
		case r.heir && rs.absent[id.owner] == nil:
			adopting = true
		}
	}
	return alive && time.Since(rs.since[owner]) < absentLongest || adopting && time.Since(rs.began) < adoptLongest
}

func (rs *registrations) ownerJoined(s *session) {
	rs.mu.Lock()
	if t := rs.absent[s.peer.Instance]; t != nil {
		t.Stop()
		delete(rs.absent, s.peer.Instance)
		delete(rs.since, s.peer.Instance)
	}
	all := make([]*registration, 0, len(rs.byID))
	for _, r := range rs.byID {
		if r.counts() {
			all = append(all, r)
		}
	}
	rs.mu.Unlock()
	for _, r := range all {
		rs.tell(s, r)
	}
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
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.over || rs.absent[owner] == nil {
		return
	}
	if rs.waitsLocked(owner) {
		rs.absent[owner].Reset(waitsEvery)
		return
	}
	delete(rs.absent, owner)
	delete(rs.since, owner)
	for id, r := range rs.byID {
		if id.owner != owner {
			continue
		}
		rs.l.log.Info("withdrawing a registration, its process is gone", "key", r.reg.Key, "pid", r.reg.Owner.PID)
		reg := r.reg
		r.heir = false // nobody waits for it to be announced again, others' withdrawals neither
		rs.l.work.Go(func() {
			retryUntil(rs.l.ctx, func(ctx context.Context) error {
				if err := rs.l.mayAct(); err != nil {
					return err
				}
				turn := rs.turns.take(id)
				defer turn.end()
				if err := turn.wait(ctx); err != nil {
					return err
				}
				return rs.withdraw(ctx, reg)
			})
		})
	}
}

func (s *session) startRegister(f *clusterclientv1.Register) {
	c := newCall(s, &wire.Call{ID: f.GetId(), Method: "register", Deadline: f.GetDeadline()})
	c.turn = s.l.regs.turns.take(regID{s.peer.Instance, f.GetRegistration()})
	s.start(c, func(c *call) {
		c.upstream(func() error {
			if err := c.turn.wait(c); err != nil {
				return err
			}
			return s.l.regs.register(c, s, f)
		})
	})
}

func (s *session) startDeregister(f *clusterclientv1.Deregister) {
	c := newCall(s, &wire.Call{ID: f.GetId(), Method: "deregister", Deadline: f.GetDeadline()})
	c.turn = s.l.regs.turns.take(regID{s.peer.Instance, f.GetRegistration()})
	s.start(c, func(c *call) {
		c.upstream(func() error {
			if err := c.turn.wait(c); err != nil {
				return err
			}
			return s.l.regs.withdraw(c, Registration{Owner: s.peer, ID: f.GetRegistration(), Key: f.GetKey()})
		})
	})
}

// register announces what f says upstream and keeps it. Candidates are told
// before the upstream is: this leader and the owner may die before it answers.
// One that has failed is kept, too, until its owner takes it back or is gone: it
// may have reached the upstream all the same.
//
// It is called in the registration's turn, as is withdraw.
func (rs *registrations) register(ctx context.Context, s *session, f *clusterclientv1.Register) error {
	up, ok := rs.l.up.(Registrar)
	if !ok {
		return status.Error(codes.Unimplemented, "the upstream cannot register")
	}
	id := regID{s.peer.Instance, f.GetRegistration()}
	reg := Registration{Owner: s.peer, ID: id.id, Key: f.GetKey(), Data: f.GetData()}
	rs.mu.Lock()
	r := rs.byID[id]
	first := r == nil
	if first {
		r = &registration{peer: s.proto, reg: reg, begun: true}
		rs.byID[id] = r
	}
	rs.mu.Unlock()
	if first {
		rs.tellAll(r)
	}
	if err := up.Register(ctx, reg); err != nil {
		return err
	}
	rs.mu.Lock()
	r.reg, r.stored, r.heir = reg, true, false
	rs.mu.Unlock()
	if !first {
		rs.tellAll(r)
	}
	if !rs.l.hasSession(id.owner) { // it died meanwhile
		rs.startGrace(id.owner)
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
	rs.mu.Unlock()
	if r == nil {
		return up.Deregister(ctx, reg)
	}
	rs.mu.Lock()
	if r.stored {
		reg = r.reg
	}
	rs.mu.Unlock()
	if err := up.Deregister(ctx, reg); err != nil {
		return err
	}
	rs.mu.Lock()
	r.begun, r.stored = false, false
	delete(rs.byID, id)
	rs.mu.Unlock()
	rs.tellAll(r)
	return nil
}

// tellAll lets every candidate know of r's present state.
func (rs *registrations) tellAll(r *registration) {
	for _, s := range rs.l.allSessions() {
		rs.tell(s, r)
	}
}

func (rs *registrations) tell(s *session, r *registration) {
	if s.candidate {
		s.addDue(s.recordDue(r))
	}
}

// recordDue returns the one recordDue of this session for r.
func (s *session) recordDue(r *registration) *recordDue {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.records[r]
	if d == nil {
		d = &recordDue{s: s, r: r}
		s.records[r] = d
	}
	return d
}

// recordDue tells one candidate of one registration.
type recordDue struct {
	s       *session
	r       *registration
	inQueue bool // guarded by session.mu
}

func (d *recordDue) queued() *bool { return &d.inQueue }

func (d *recordDue) appendTo(b *wire.Batch) {
	rs := d.s.l.regs
	rs.mu.Lock()
	rec := &clusterclientv1.Record{
		Owner: d.r.peer, Registration: d.r.reg.ID, Key: d.r.reg.Key, Data: d.r.reg.Data, Withdrawn: !d.r.counts(),
	}
	rs.mu.Unlock()
	if rec.GetWithdrawn() {
		d.s.mu.Lock()
		delete(d.s.records, d.r)
		d.s.mu.Unlock()
	}
	b.Add(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Record{Record: rec}})
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
	for _, t := range rs.absent {
		t.Stop()
	}
}
