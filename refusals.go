package clusterclient

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/internal/peercred"
)

const (
	// refusalLogEvery is how often the refusal of one peer is logged.
	refusalLogEvery = time.Minute

	// maxRefusalPeers is how many peers are told apart. They are users, or
	// processes of which the system tells, so there are few.
	maxRefusalPeers = 256
)

// refusals counts those who were not let in. It logs each peer once a minute,
// however often it comes.
type refusals struct {
	log hclog.Logger

	mu    sync.Mutex // guards what follows
	total uint64
	peers map[int]*refusedPeer // by uid
}

// A refusedPeer is a user whose processes were not let in.
type refusedPeer struct {
	logged time.Time
	since  int // refusals since then
}

// note counts a refusal of who.
func (r *refusals) note(who peercred.Peer, why error) {
	now := time.Now()
	r.mu.Lock()
	r.total++
	p := r.peerLocked(who.UID, now)
	p.since++
	times := p.since
	due := p.logged.IsZero() || now.Sub(p.logged) >= refusalLogEvery
	if due {
		p.logged, p.since = now, 0
	}
	r.mu.Unlock()
	if due {
		r.log.Warn("peer refused", "uid", who.UID, "pid", who.Process(0).PID, "reason", why, "times", times)
	}
}

// peerLocked returns what is noted of a user, and forgets users that have not
// come for a while when there are too many.
func (r *refusals) peerLocked(uid int, now time.Time) *refusedPeer {
	if r.peers == nil {
		r.peers = make(map[int]*refusedPeer)
	}
	if p := r.peers[uid]; p != nil {
		return p
	}
	if len(r.peers) >= maxRefusalPeers {
		for other, p := range r.peers {
			if now.Sub(p.logged) >= refusalLogEvery {
				delete(r.peers, other)
			}
		}
	}
	if len(r.peers) >= maxRefusalPeers {
		uid = peercred.Nobody // all the others are one
	}
	p := r.peers[uid]
	if p == nil {
		p = &refusedPeer{}
		r.peers[uid] = p
	}
	return p
}

// count returns how many refusals there have been.
func (r *refusals) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
