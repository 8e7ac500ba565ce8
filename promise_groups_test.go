package clusterclient_test

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// groupHolds is how many updates a member has at most that it has not dealt
// with.
const groupHolds = 8

// handedOut is what the members of a queue group were given of the updates, which
// are numbered from 1.
type handedOut struct {
	left int // members that are gone

	mu      sync.Mutex // guards what follows
	updates []update
	newest  map[*groupMember]int // that it was given
	late    int                  // updates that came after newer ones

	unheard func(g *handOut, again time.Time) bool // of what leaders missed
}

// An update is one of the upstream, and who was given it.
type update struct {
	reported time.Time
	given    []handOut
}

// A handOut is an update as one member was given it.
type handOut struct {
	to *groupMember
	at time.Time
}

// next returns the number of one more update.
func (o *handedOut) next() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.updates = append(o.updates, update{reported: time.Now()})
	return len(o.updates) - 1
}

// give notes that m was given update n.
func (o *handedOut) give(m *groupMember, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.updates[n].given = append(o.updates[n].given, handOut{m, time.Now()})
	if n < o.newest[m] {
		o.late++
	}
	o.newest[m] = max(n, o.newest[m])
}

// again counts the updates that were given more than once.
func (o *handedOut) again() (n int) {
	for _, u := range o.updates {
		if len(u.given) > 1 {
			n++
		}
	}
	return n
}

// broken returns what of the promise does not hold for update n: that it was
// given to exactly one member, or again if that had died before it had dealt with
// it, or the leader could not hear that it had. Leaders that die, at one of the rough moments, take updates with them, but
// not the newest, which they may have handed out already.
func (o *handedOut) broken(n int, leadersLive bool, rough []time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := &o.updates[n]
	if len(u.given) == 0 {
		last := n >= len(o.updates)-2 // the one before came when all had settled
		lost := !leadersLive && !last && slices.ContainsFunc(rough, func(r time.Time) bool { return r.After(u.reported.Add(-longEnough)) })
		return when(!lost, "was given to nobody")
	}
	for i, g := range u.given[1:] {
		if before := u.given[i]; !before.undone(g.at) && !o.unheard(&before, g.at) && (leadersLive || !o.wasNewest(n, rough)) {
			return fmt.Errorf("was given at %v, and again %v later", before.at, g.at.Sub(before.at))
		}
	}
	return nil
}

// undone reports whether whoever was given the update may have died before it had
// dealt with it.
func (g *handOut) undone(by time.Time) bool {
	ended := g.to.ended
	return g.to.frail || !ended.IsZero() && !ended.After(by) && !g.at.Add(g.to.rest).Before(ended)
}

// wasNewest reports whether update n was the newest at a rough moment, or became
// that before there was another leader.
func (o *handedOut) wasNewest(n int, rough []time.Time) bool {
	return slices.ContainsFunc(rough, func(r time.Time) bool {
		replaced := n+1 < len(o.updates) && o.updates[n+1].reported.Before(r)
		return !replaced && o.updates[n].reported.Before(r.Add(longEnough))
	})
}
