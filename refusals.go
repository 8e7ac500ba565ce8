package clusterclient

import (
	"cmp"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/internal/patience"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

const (
	// refusalLogEvery is how often the refusal of one peer is logged.
	refusalLogEvery = time.Minute

	// maxRefusalPeers is how many peers are told apart. All others are one.
	maxRefusalPeers = 64

	// Processes are looked at for one that was refused maxRefusalLooks times, one
	// after the other, and then every refusalLookEvery. That takes milliseconds,
	// and whoever is refused may come as often as he likes.
	maxRefusalLooks  = 3
	refusalLookEvery = time.Second
)

// refusals counts those who were not let in. It logs each peer once a minute,
// however often it comes: a process where the system tells which, else a user
// at an address.
type refusals struct {
	log hclog.Logger

	mu      sync.Mutex // guards what follows
	total   uint64
	peers   map[refusedKey]*refusedPeer
	looking bool
	looks   int       // for processes, less one for each refusalLookEvery
	since   time.Time // that was last taken off
	last    int       // pid that was found
}

// A refusedKey tells peers apart, a later process with the same pid too. The
// zero key is all those that there are too many of.
type refusedKey struct {
	uid, pid int
	started  uint64
	host     string // of a process that is not known
}

// A refusedPeer is one that was not let in.
type refusedPeer struct {
	logged time.Time
	since  int // refusals since then
}

// note counts a refusal of who, who connected from an address.
func (r *refusals) note(who peercred.Peer, from net.Addr, why error) {
	process := r.find(who)
	key := refusedKey{uid: who.UID, pid: process.PID, started: process.Started}
	if process.PID == 0 {
		key.host = hostOf(from)
	}
	if times, due := r.count(key); due {
		args := []any{"uid", uidText(who.UID), "pid", process.PID, "program", process.Program, "from", from.String(), "reason", why, "times", times}
		if f, ok := errors.AsType[*patience.Fault](why); ok { // of this process
			args = append(args, "stack", string(f.Stack))
		}
		r.log.Warn("peer refused", args...)
	}
}

func uidText(uid int) string {
	if uid == peercred.Nobody {
		return "unknown"
	}
	return strconv.Itoa(uid)
}

// hostOf is what one who connects again has in common with himself.
func hostOf(from net.Addr) string {
	if host, _, err := net.SplitHostPort(from.String()); err == nil {
		return host
	}
	return from.Network()
}

// find tells which process was refused, if it may be looked for. The one before
// is looked at first: it has most likely come again.
func (r *refusals) find(who peercred.Peer) peercred.Process {
	if who.PID != 0 {
		return who.Process(0)
	}
	r.mu.Lock()
	may := r.mayLookLocked(time.Now())
	last := r.last
	r.mu.Unlock()
	if !may {
		return peercred.Process{}
	}
	process := who.Process(last)
	r.mu.Lock()
	r.looking = false
	r.last = cmp.Or(process.PID, r.last)
	r.mu.Unlock()
	return process
}

func (r *refusals) mayLookLocked(now time.Time) bool {
	passed := now.Sub(r.since) / refusalLookEvery
	if passed > 0 {
		r.looks, r.since = max(0, r.looks-int(min(passed, maxRefusalLooks))), now
	}
	if r.looking || r.looks == maxRefusalLooks {
		return false
	}
	r.looking = true
	r.looks++
	return true
}

// count counts a refusal. Those of one peer that are not logged are counted in
// the next line of it.
func (r *refusals) count(key refusedKey) (times int, due bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	p := r.peerLocked(key, now)
	p.since++
	if !p.logged.IsZero() && now.Sub(p.logged) < refusalLogEvery {
		return 0, false
	}
	times = p.since
	p.logged, p.since = now, 0
	return times, true
}

// peerLocked returns what is noted of a peer, and forgets those that have not
// come for a while when there are too many.
func (r *refusals) peerLocked(key refusedKey, now time.Time) *refusedPeer {
	if r.peers == nil {
		r.peers = make(map[refusedKey]*refusedPeer)
	}
	if p := r.peers[key]; p != nil {
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
		key = refusedKey{}
	}
	p := r.peers[key]
	if p == nil {
		p = &refusedPeer{}
		r.peers[key] = p
	}
	return p
}

// all returns how many refusals there have been.
func (r *refusals) all() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
