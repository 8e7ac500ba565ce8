package leader

import (
	"time"

	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// adoptLongest is how long after the beginning of a term registrations of the
// term before may hold up withdrawals, while their owners are there.
const adoptLongest = 30 * time.Second

// inheritedFrom returns a registration of another leadership.
func inheritedFrom(rec *clusterclientv1.Record) (regID, *registration) {
	owner := peerFrom(rec.GetOwner(), Origin{UID: -1, Started: rec.GetOwner().GetStarted()})
	return regID{owner.Instance, rec.GetRegistration()}, &registration{
		peer: rec.GetOwner(), stored: true, inherited: true, size: proto.Size(rec),
		reg: Registration{Owner: owner, ID: rec.GetRegistration(), Key: rec.GetKey(), Data: rec.GetData()},
	}
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
		case r.inherited && rs.absent[id.owner] == nil:
			adopting = true
		}
	}
	return alive && time.Since(rs.since[owner]) < absentLongest || adopting && time.Since(rs.began) < adoptLongest
}

// listed takes the list of what the owner that s is of has announced. It alone
// knows: who told this leader of what the list has not may have been away, or
// have died, when that was withdrawn, and nobody is to wait for it to be
// announced again.
func (rs *registrations) listed(s *session, f *clusterclientv1.Registrations) {
	announced, unsettled := setOf(f.GetAnnounced()), setOf(f.GetUnsettled())
	var gone []*registration
	rs.mu.Lock()
	s.list = &list{announced, unsettled}
	for id, r := range rs.byID {
		if id.owner != s.peer.Instance || !r.inherited || announced[id.id] {
			continue
		}
		r.inherited = false
		if !unsettled[id.id] {
			r.stored = false
			rs.forgetLocked(id)
			gone = append(gone, r)
		}
	}
	rs.mu.Unlock()
	for _, r := range gone {
		rs.tellAll(r)
	}
}

// A list is what an owner has said that it announces, and that it may.
type list struct{ announced, unsettled map[uint64]bool }

func setOf(ids []uint64) map[uint64]bool {
	set := make(map[uint64]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// learn takes a record of the leader before that this leader was not told of.
// An owner that is there knows better, and has listed it, or does so soon, if it
// still announces it. It may die before it announces it again.
func (rs *registrations) learn(rec *clusterclientv1.Record) {
	id, r := inheritedFrom(rec)
	rs.mu.Lock()
	if rs.over || rs.byID[id] != nil || rs.fullLocked(rec) {
		rs.mu.Unlock()
		return
	}
	rs.keepLocked(id, r)
	rs.mu.Unlock()
	owner := rs.l.sessionOf(id.owner) // looked at last, since one that comes later lists its own
	if owner != nil && !rs.isListed(owner, id, r) {
		return
	}
	rs.tellAll(r)
	if owner == nil || !rs.l.hasSession(id.owner) { // it may have died meanwhile
		rs.startGrace(id.owner)
	}
}

// isListed reports whether the owner of r, which s is of, has listed it, or has
// listed nothing so far, and forgets r otherwise.
func (rs *registrations) isListed(s *session, id regID, r *registration) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	switch {
	case rs.byID[id] != r || !r.inherited || s.list == nil || s.list.announced[id.id]:
		return true
	case s.list.unsettled[id.id]:
		r.inherited = false
		return true
	}
	rs.forgetLocked(id)
	return false
}

// unlist notes that the owner that s is of takes a registration back.
func (rs *registrations) unlist(s *session, id uint64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if s.list != nil {
		delete(s.list.announced, id)
		delete(s.list.unsettled, id)
	}
}
