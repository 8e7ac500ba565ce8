package clusterclient

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/build"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Role is what a process is in its cluster.
type Role int

const (
	// RoleNone is between terms: nobody leads, or it is not known yet who.
	RoleNone Role = iota
	// RoleLeader owns the upstream and serves the others.
	RoleLeader
	// RoleFollower is served by a leader in another client.
	RoleFollower
)

// String returns "none", "leader" or "follower".
func (r Role) String() string {
	switch r {
	case RoleLeader:
		return "leader"
	case RoleFollower:
		return "follower"
	case RoleNone:
		return "none"
	}
	return fmt.Sprintf("Role(%d)", int(r))
}

// MarshalText returns the role's name, for JSON.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// A Status is a snapshot of a client.
type Status struct {
	PID     int       `json:"pid"`     // of this process
	Build   string    `json:"build"`   // version of this library
	Name    string    `json:"name"`    // of the cluster
	Address string    `json:"address"` // of the cluster's port
	Role    Role      `json:"role"`
	Since   time.Time `json:"since"` // when the role was taken
	Term    uint64    `json:"term"`  // of the leadership; 0 between terms

	// LeaderPID and LeaderAddress say who leads; 0 and "" between terms. The
	// address is another than the cluster's when another name's leader owns
	// the port, and empty for a single process.
	LeaderPID     int    `json:"leader_pid,omitempty"`
	LeaderAddress string `json:"leader_address,omitempty"`

	// BlindSince is since when the leader has not reached its upstream, in any
	// role, and BlindReason why; zero and empty while it does.
	BlindSince  time.Time `json:"blind_since,omitzero"`
	BlindReason string    `json:"blind_reason,omitempty"`

	// Waiting is what the client waits for between terms; empty otherwise.
	Waiting string `json:"waiting,omitempty"`

	// RuntimeDir is the directory shared with the other processes of this
	// user, see [WithRuntimeDir]; empty when there is none, for the reason
	// in RuntimeDirTrouble.
	RuntimeDir        string `json:"runtime_dir,omitempty"`
	RuntimeDirTrouble string `json:"runtime_dir_trouble,omitempty"`

	// LeaseTrouble is why another process would not take the leader's place
	// if that hung, see [WithDeposeAfter]; empty when one would.
	LeaseTrouble string `json:"lease_trouble,omitempty"`

	// Keys and Subscriptions count what this process holds, StaleKeys the
	// keys whose value is stale now.
	Keys          int `json:"keys"`
	Subscriptions int `json:"subscriptions"`
	StaleKeys     int `json:"stale_keys"`
	Registrations int `json:"registrations"`

	// The rest is known in the leader's process only.

	// SocketTrouble is why there is no Unix socket beside the leader's port
	// although there is a RuntimeDir, so that followers take the port, which
	// costs more; empty when there is one, and on Windows.
	SocketTrouble string `json:"socket_trouble,omitempty"`

	OwnsPort     bool           `json:"owns_port,omitempty"` // this client has bound the cluster's port
	Upstream     UpstreamStatus `json:"upstream,omitzero"`
	Followers    int            `json:"followers,omitempty"`     // other clients that follow
	Candidates   int            `json:"candidates,omitempty"`    // how many of those could lead
	OnewayFailed uint64         `json:"oneway_failed,omitempty"` // oneway calls whose handler failed
	Refused      uint64         `json:"refused,omitempty"`       // connections that were not let in, in all terms of this client
}

// An UpstreamStatus is the state of the leader's upstream.
type UpstreamStatus struct {
	Open      bool   `json:"open"`
	Watches   int    `json:"watches"`           // keys watched, each once
	StaleKeys int    `json:"stale_keys"`        // keys the upstream does not vouch for
	Trouble   string `json:"trouble,omitempty"` // why, for one of them
}

// A leadership is what a client that leads can be asked and told.
type leadership struct {
	*leader.Leader
	owns       func() bool        // the cluster's port
	end        func(reason error) // the leadership
	succession *succession
	turns      turns // that the client had taken when this one began

	written func() time.Time // the snapshot, last; zero for never
}

// statusBoard holds what the roles make known of themselves.
type statusBoard struct {
	c *Client

	mu      sync.Mutex // guards what follows
	role    Role
	since   time.Time
	term    uint64
	leader  *clusterclientv1.Peer
	leading *leadership // non-nil in RoleLeader
	serving string      // address this client serves at, if it does
	waiting error
	sight   follower.Sight // of the leader
	over    bool
	turns   turns
	history history
	changed chan struct{} // closed and replaced when any of these changes
}

// errCreated is what a client waits for that has not tried anything yet.
var errCreated = errors.New("the client has just been created")

func newStatusBoard(c *Client) *statusBoard {
	return &statusBoard{
		c: c, since: time.Now(), changed: make(chan struct{}),
		waiting: errCreated,
	}
}

// update changes the board.
func (b *statusBoard) update(change func(*statusBoard)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
	close(b.changed)
	b.changed = make(chan struct{})
}

// hold makes a role known until the function that it returns is called.
func (b *statusBoard) hold(role Role, term uint64, who *clusterclientv1.Peer, leading *leadership) (release func()) {
	b.update(func(b *statusBoard) {
		b.history.began(role, term, who, time.Since(b.since))
		b.role, b.term, b.leader, b.leading, b.since, b.waiting = role, term, who, leading, time.Now(), nil
		b.sight = follower.Sight{}
		if role == RoleFollower {
			b.turns.followed++
		}
	})
	return func() {
		b.update(func(b *statusBoard) {
			b.history.ended()
			b.role, b.term, b.leader, b.leading, b.since = RoleNone, 0, nil, nil, time.Now()
			b.waiting = errors.New("the last term has just ended")
			b.sight = follower.Sight{}
		})
	}
}

// wait makes known what the client waits for.
func (b *statusBoard) wait(reason error) {
	b.c.driver.NoLink(reason)
	b.update(func(b *statusBoard) { b.waiting = reason })
}

func (b *statusBoard) waitsFor() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// leaderTerm returns the term of the role that is held, 0 between terms.
func (b *statusBoard) leaderTerm() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.term
}

// whoLeads describes the leader of the role that is held.
func (b *statusBoard) whoLeads() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return describe(b.leader)
}

func (b *statusBoard) servedAt() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.serving
}

// read returns what the board says, the leadership if there is one, and a
// channel that is closed when that changes.
func (b *statusBoard) read() (st Status, l *leadership, changed <-chan struct{}, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st = Status{
		PID: os.Getpid(), Build: build.Version(),
		Name: b.c.name, Address: b.c.address, Role: b.role, Since: b.since, Term: b.term,
		LeaderPID: int(b.leader.GetPid()), LeaderAddress: b.leader.GetAddress(),
		BlindSince: b.sight.Since, BlindReason: b.sight.Reason,
	}
	if b.waiting != nil {
		st.Waiting = b.waiting.Error()
	}
	return st, b.leading, b.changed, b.over
}

// Role returns the present role.
func (c *Client) Role() Role {
	st, _, _, _ := c.status.read()
	return st.Role
}

// Status returns a snapshot. After Close it is that of a client without a role.
func (c *Client) Status() Status {
	st, l, _, _ := c.status.read()
	c.fill(&st, l)
	return st
}

// fill adds the figures to what the board says.
func (c *Client) fill(st *Status, l *leadership) {
	st.RuntimeDir, st.RuntimeDirTrouble = c.shared.describe()
	if st.Role != RoleNone && !c.opts.single {
		st.LeaseTrouble = c.leaseTrouble()
	}
	own := c.driver.Stats()
	st.Keys, st.Subscriptions, st.StaleKeys, st.Registrations = own.Keys, own.Subscriptions, own.StaleKeys, own.Registrations
	if l == nil {
		return
	}
	stats := l.Stats()
	st.Term = stats.Term
	st.OnewayFailed = stats.OnewayFailed
	st.Refused = c.refusals.all()
	st.OwnsPort = l.owns()
	st.SocketTrouble = c.socketTrouble()
	st.Upstream = UpstreamStatus{
		Open: stats.Absent == "", Watches: stats.Keys, StaleKeys: stats.StaleKeys, Trouble: cmp.Or(stats.Absent, stats.StaleReason),
	}
	st.Followers = max(0, len(stats.Followers)-1) // less the leader's own
	st.Candidates = max(0, stats.Candidates-1)
}

// socketTrouble returns why this client, which leads, offers no Unix socket.
func (c *Client) socketTrouble() string {
	if n, ok := c.opts.network.(loopback); ok && !c.opts.single {
		if trouble := n.road.trouble.Load(); trouble != nil {
			return *trouble
		}
	}
	return ""
}

// leaseTrouble returns why nobody here could take over from the leader, if it
// hung.
func (c *Client) leaseTrouble() string {
	c.status.mu.Lock()
	leader := c.status.leader.GetInstance()
	c.status.mu.Unlock()
	r, err := c.lease.Read()
	switch {
	case err != nil:
		return err.Error()
	case r.Instance != hex.EncodeToString(leader):
		return "the leader holds no lease in the directory of this process"
	}
	return ""
}

// StatusChanges yields the present status and then a new one whenever the
// role, the term, the leader, what is waited for or whether the leader is blind
// has changed, until ctx ends or the client is closed; the last one is that of the closed client. A loop
// that is slow misses statuses in between, never the newest one.
func (c *Client) StatusChanges(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for {
			st, l, changed, over := c.status.read()
			c.fill(&st, l)
			if !yield(st) || over {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
