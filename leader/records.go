package leader

import (
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// introduceAfter is how old a leadership is before candidates are told of the
// registrations of the one before, which they know from that. Until then they
// come all at once, and wait for other things.
const introduceAfter = 50 * time.Millisecond

// open lets candidates that join be told of the registrations: those of the
// leadership before, which are inherited, in a while.
func (rs *registrations) open(inherited bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if !inherited {
		rs.opened = true
		return
	}
	rs.soon = time.AfterFunc(introduceAfter, func() {
		rs.mu.Lock()
		rs.opened = true
		rs.mu.Unlock()
		for _, s := range rs.l.allSessions() {
			rs.introduce(s)
		}
	})
}

// introduce tells a candidate that has joined of every registration, unless all
// candidates are told later.
func (rs *registrations) introduce(s *session) {
	if !s.candidate {
		return
	}
	rs.mu.Lock()
	if !rs.opened {
		rs.mu.Unlock()
		return
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
	s.addDue(&recordsTold{})
}

// recordsTold ends the records that a session begins with.
type recordsTold struct {
	inQueue bool // guarded by session.mu
}

func (d *recordsTold) queued() *bool { return &d.inQueue }

func (d *recordsTold) appendTo(b *wire.Batch) {
	b.Add(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_RecordsTold{RecordsTold: &clusterclientv1.RecordsTold{}}})
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
	if w := d.r.witnesses; w != nil {
		rec.Confirm = w.id
	}
	rs.mu.Unlock()
	if rec.GetWithdrawn() {
		d.s.mu.Lock()
		delete(d.s.records, d.r)
		d.s.mu.Unlock()
	}
	b.Add(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Record{Record: rec}})
}
