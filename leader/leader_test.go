package leader_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/internal/wire"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A centre is an upstream of which a test writes what it needs.
type centre struct {
	leader.Upstream

	mu    sync.Mutex
	names map[string]bool
}

func (c *centre) Watch(ctx context.Context, _ string, sink func(leader.Update)) error {
	sink(leader.Update{Data: []byte("one")})
	<-ctx.Done()
	return ctx.Err()
}

func (c *centre) Close() error { return nil }

func (c *centre) Register(_ context.Context, r leader.Registration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[r.Key] = true
	return nil
}

func (c *centre) Deregister(_ context.Context, r leader.Registration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, r.Key)
	return nil
}

func (c *centre) registered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.names)
}

// newLeader returns a leader for the length of the test.
func newLeader(t *testing.T, cfg leader.Config, up leader.Upstream) *leader.Leader {
	cfg.Self, cfg.Term, cfg.Codec, cfg.Logger = &clusterclientv1.Peer{Instance: []byte("self")}, 1, codec.JSON, hclog.NewNullLogger()
	cfg.Limits = leader.Limits{Subscriptions: 1000, Calls: 1000, Registrations: 1000, Groups: 100, Message: 1 << 20, Key: 1000}
	l, err := leader.New(cfg, up)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		l.Wait()
	})
	return l
}

// A peer is a follower that says what the test wants it to.
type peer struct {
	t      *testing.T
	stream *wire.PipeEnd
}

func join(t *testing.T, l *leader.Leader, started uint64) *peer {
	here, there := wire.Pipe(context.Background())
	hello := &clusterclientv1.Hello{Peer: &clusterclientv1.Peer{Instance: []byte("follower"), Pid: 7}}
	go func() {
		_ = l.Serve(there, hello, leader.Origin{Started: started})
		there.Close()
	}()
	t.Cleanup(here.Close)
	return &peer{t: t, stream: here}
}

func (p *peer) say(frames ...*clusterclientv1.RequestFrame) {
	require.NoError(p.t, p.stream.SendMsg(&clusterclientv1.SessionRequest{Frames: frames}))
}

func TestRegistrationsOfAProcessThatLives(t *testing.T) {
	for name, lives := range map[string]bool{"lives": true, "is dead": false} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				up := &centre{names: map[string]bool{}}
				l := newLeader(t, leader.Config{Alive: func(p leader.Peer) bool {
					require.Equal(t, uint64(42), p.Started)
					require.Equal(t, 7, p.PID)
					return lives
				}}, up)
				p := join(t, l, 42)
				p.say(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Register{
					Register: &clusterclientv1.Register{Id: 1, Registration: 1, Key: "k", Data: []byte("1")},
				}})
				synctest.Wait()
				require.Equal(t, 1, up.registered())
				p.stream.Close()
				time.Sleep(2 * time.Second)
				require.Equal(t, 1, up.registered(), "withdrawn within the grace")
				time.Sleep(2 * time.Second)
				require.Equal(t, lives, up.registered() == 1, "after the grace")
				time.Sleep(25 * time.Second)
				require.Equal(t, lives, up.registered() == 1)
				time.Sleep(5 * time.Second)
				require.Zero(t, up.registered(), "after half a minute without a session")
			})
		})
	}
}

// A busy centre takes its time for each registration.
type busyCentre struct {
	*centre
	goOn chan struct{}
}

func (c *busyCentre) Register(ctx context.Context, r leader.Registration) error {
	<-c.goOn
	return c.centre.Register(ctx, r)
}

// TestLeaderLooksBeforeItRegisters lets a registration wait for the one before
// until somebody else may be leading.
func TestLeaderLooksBeforeItRegisters(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := &busyCentre{&centre{names: map[string]bool{}}, make(chan struct{})}
		var superseded atomic.Bool
		l := newLeader(t, leader.Config{MayAct: func() error {
			if superseded.Load() {
				return errors.New("somebody else leads")
			}
			return nil
		}}, up)
		p := join(t, l, 42)
		for i, key := range []string{"before", "after"} {
			p.say(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Register{
				Register: &clusterclientv1.Register{Id: uint64(i + 1), Registration: 1, Key: key, Data: []byte("1")},
			}})
		}
		synctest.Wait()
		superseded.Store(true)
		close(up.goOn)
		synctest.Wait()
		require.Equal(t, map[string]bool{"before": true}, up.names, "registered")
	})
}
