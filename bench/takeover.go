package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// takeoverTimeout bounds how long followers may wait for a new leader.
const takeoverTimeout = 30 * time.Second

// settleTime passes between two takeovers, so that everybody is waiting when
// the leader is killed.
const settleTime = 100 * time.Millisecond

// takeoverScenario kills the leader, again and again, and measures until the
// last follower holds a fresh value of the new term. Killed processes are
// replaced.
func takeoverScenario(l *lab) error {
	for _, n := range l.size.takeover {
		if err := l.takeovers(ours, n, l.startMember); err != nil {
			return err
		}
	}
	return nil
}

// takeovers measures one peer, whose processes start makes.
func (l *lab) takeovers(peer string, followers int, start func(port int) (*process, error)) (err error) {
	defer func() { err = errors.Join(err, l.stop()) }()
	load := killLoad(followers)
	port, err := freePort()
	if err != nil {
		return err
	}
	members := make([]*process, followers+1)
	for i := range members {
		if members[i], err = start(port); err != nil {
			return err
		}
	}
	var took histogram
	for range l.size.rounds {
		var round histogram
		for range l.size.takeovers {
			killed, d, err := l.takeover(members)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", peer, load, err)
			}
			round.record(d)
			if members[killed], err = start(port); err != nil {
				return err
			}
		}
		took.merge(&round)
		l.record(load, peer, measurement{"p50", "ms", millis(round.percentile(0.5))}, measurement{"slowest of a round", "ms", millis(round.percentile(1))})
	}
	l.record(load, peer, measurement{"p99 of all rounds", "ms", millis(took.percentile(0.99))})
	return nil
}

func (l *lab) startMember(port int) (*process, error) { return l.start("member", port, nil) }

func killLoad(followers int) string { return fmt.Sprintf("kill -9, %d followers", followers) }

// takeover kills the member that leads, and returns which it was and how long
// it took.
func (l *lab) takeover(members []*process) (killed int, _ time.Duration, _ error) {
	states, err := all(members, func(_ int, p *process) (s memberState, err error) {
		return s, p.do(l.ctx, "state", none{}, &s)
	})
	if err != nil {
		return 0, 0, err
	}
	var old memberState
	leaders := 0
	followers := make([]*process, 0, len(members))
	for i, s := range states {
		if s.Leads {
			leaders++
			killed, old = i, s
		} else {
			followers = append(followers, members[i])
		}
	}
	if leaders != 1 {
		return 0, 0, fmt.Errorf("%d processes lead", leaders)
	}
	d, err := l.killWhileWaiting(members[killed], followers, old)
	return killed, d, errors.Join(err, l.forget(members[killed]))
}

// killWhileWaiting returns the time from the kill to the last fresh value.
func (l *lab) killWhileWaiting(leading *process, followers []*process, old memberState) (time.Duration, error) {
	killed := make(chan time.Time, 1)
	timer := time.AfterFunc(settleTime, func() {
		at := time.Now()
		_ = leading.kill() // if it fails nobody takes over, and that is told
		killed <- at
	})
	defer timer.Stop()
	fresh, err := all(followers, func(_ int, p *process) (at int64, err error) {
		return at, p.do(l.ctx, "fresh", old, &at)
	})
	if err != nil {
		return 0, err
	}
	at := <-killed
	var last time.Duration
	for _, f := range fresh {
		last = max(last, time.Unix(0, f).Sub(at))
	}
	return last, nil
}

// freePort is one that nobody has, below the range from which systems take
// ephemeral ones.
func freePort() (int, error) {
	var err error
	for range 20 {
		port := 10000 + rand.N(20000)
		var l net.Listener
		var c net.ListenConfig
		if l, err = c.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// member is one process of the cluster, which can lead.
type member struct {
	client *clusterclient.Client
	sub    *follower.Subscription
}

type memberState struct {
	Term  uint64 `json:"term"`
	Leads bool   `json:"leads"`
	PID   int    `json:"pid"`
}

func startMember(port int) (role, error) {
	c, err := join(port, opened(pidUpstream{}))
	if err != nil {
		return role{}, err
	}
	m := &member{client: c}
	if m.sub, err = c.Subscribe(context.Background(), "pid"); err != nil {
		return role{}, errors.Join(err, c.Close())
	}
	ops := map[string]op{"state": opOf(m.state), "fresh": opOf(m.fresh)}
	return role{close: c.Close, ops: ops}, nil
}

// state waits for a value, so that the member is a part of the cluster.
func (m *member) state(none) (memberState, error) {
	ctx, cancel := within(takeoverTimeout)
	defer cancel()
	if _, err := m.client.Get(ctx, "pid"); err != nil {
		return memberState{}, err
	}
	st := m.client.Status()
	return memberState{Term: st.Term, Leads: st.Role == clusterclient.RoleLeader, PID: os.Getpid()}, nil
}

// fresh waits for a fresh value of a later term and says when it was there.
func (m *member) fresh(old memberState) (int64, error) {
	ctx, cancel := within(takeoverTimeout)
	defer cancel()
	for {
		v, err := m.sub.Next(ctx)
		if err != nil {
			return 0, err
		}
		if v.Revision.Term > old.Term && !v.Stale {
			return time.Now().UnixNano(), nil
		}
	}
}

// pidUpstream has the leader's pid for a value, so that each takeover has news.
type pidUpstream struct{}

func (pidUpstream) Watch(ctx context.Context, _ string, sink func(leader.Update)) error {
	pid := strconv.Itoa(os.Getpid())
	sink(leader.Update{Data: []byte(pid), Version: pid})
	<-ctx.Done()
	return ctx.Err()
}

func (pidUpstream) Close() error { return nil }
