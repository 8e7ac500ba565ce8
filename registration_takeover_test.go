package clusterclient_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// TestRegistrationUnknownToTheNextLeader closes one that only the dead leader
// knew of.
func TestRegistrationUnknownToTheNextLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start()
		owner := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		r := mustRegister(t, owner, "a", "1")
		first.Kill()
		up.FailRegister(errors.New("not now")) // nor is it announced again
		cluster.Start()
		time.Sleep(time.Minute)
		up.FailRegister(nil)
		require.NoError(t, r.Close())
		time.Sleep(longEnough)
		require.Empty(t, registered(up), "registered after Close")
	})
}

// undecided is an upstream whose Register takes effect and says no.
type undecided struct {
	leader.Upstream
	leader.Registrar
}

func (u undecided) Register(ctx context.Context, r leader.Registration) error {
	return errors.Join(u.Registrar.Register(ctx, r), errors.New("timed out"))
}

func TestFailedRegistrationIsTakenBack(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		_, err := e.Client.Register(t.Context(), "a", []byte("1"))
		require.ErrorContains(t, err, "timed out")
		synctest.Wait()
		require.Len(t, e.Up.RegistrationHistory(), 2, "what the upstream was told")
		require.Empty(t, registered(e.Up), "registered after Register has failed")
	}, func(e *env) {
		e.Options = append(e.Options, clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			u, err := e.Up.Open(ctx)
			return undecided{u, u.(leader.Registrar)}, err
		}))
	})
}

// slow is an upstream whose Register takes effect and does not say so.
type slow struct {
	leader.Upstream
	leader.Registrar
}

func (u slow) Register(ctx context.Context, r leader.Registration) error {
	if err := u.Registrar.Register(ctx, r); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// The leader and the owner die before either knows that the upstream has got
// the registration.
func TestRegistrationWhoseOwnerAndLeaderDieAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start(clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			u, err := up.Open(ctx)
			return slow{u, u.(leader.Registrar)}, err
		}))
		owner := cluster.Start(followerOnly)
		successor := cluster.Start()
		go func() { _, _ = owner.Register(t.Context(), "a", []byte("1")) }()
		synctest.Wait()
		require.Equal(t, map[string]string{"a": "1"}, registered(up))
		owner.Kill()
		first.Kill()
		mustBecome(t, successor, clusterclient.RoleLeader)
		time.Sleep(grace + time.Second)
		require.Empty(t, registered(up))
	})
}

// Owners that died with their leader do not wait for each other's withdrawals.
func TestRegistrationsOfManyEndTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start()
		dying := []*clustertest.Node{first}
		survivor := cluster.Start()
		for range 5 {
			dying = append(dying, cluster.Start())
		}
		for i, n := range dying {
			mustRegister(t, n.Client, "dying"+strconv.Itoa(i), "1")
		}
		mustRegister(t, survivor.Client, "living", "1")
		for _, n := range dying[1:] {
			n.Kill()
		}
		first.Kill()
		time.Sleep(grace + time.Second)
		require.Equal(t, map[string]string{"living": "1"}, registered(up))
	})
}

// TestWithdrawnWhileACandidateWasAway lets a candidate miss that a registration
// was withdrawn. It must not take it for one that is about to be announced
// again when it leads, and keep what dead processes have announced because of
// it.
func TestWithdrawnWhileACandidateWasAway(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, away := cluster.Start(), cluster.Start()
		owner, dying := cluster.Start(followerOnly), cluster.Start(followerOnly)
		r := mustRegister(t, owner, "withdrawn", "1")
		mustRegister(t, owner, "living", "1")
		mustRegister(t, dying, "dead", "1")
		synctest.Wait()

		away.Freeze()
		first.Kill()
		second := cluster.Start()
		mustBecome(t, second, clusterclient.RoleLeader)
		require.NoError(t, r.Close())
		away.Thaw()
		time.Sleep(longEnough)

		second.Kill()
		dying.Kill()
		mustBecome(t, away, clusterclient.RoleLeader)
		time.Sleep(grace + time.Second)
		require.Equal(t, map[string]string{"living": "1"}, registered(up))
	})
}

// TestWithdrawnBeforeTheLeaderDied lets a leader die before it has told the next
// one that a registration was withdrawn.
func TestWithdrawnBeforeTheLeaderDied(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, next := cluster.Start(), cluster.Start()
		owner, dying := cluster.Start(followerOnly), cluster.Start(followerOnly)
		r := mustRegister(t, owner, "withdrawn", "1")
		mustRegister(t, dying, "dead", "1")
		synctest.Wait()

		next.Freeze()
		require.NoError(t, r.Close())
		first.Kill()
		dying.Kill()
		next.Thaw()
		mustBecome(t, next, clusterclient.RoleLeader)
		require.Equal(t, map[string]string{"dead": "1"}, registered(up))
		time.Sleep(grace + time.Second)
		require.Empty(t, registered(up))
	})
}

// TestNextLeaderWasNotTold has a leader that knows nothing of a registration of
// the dead, and a follower that does.
func TestNextLeaderWasNotTold(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, knows, owner := cluster.Start(), cluster.Start(), cluster.Start(followerOnly)
		mustRegister(t, owner, "dead", "1")
		mustRegister(t, knows, "living", "1")
		synctest.Wait()

		knows.Freeze()
		first.Kill()
		owner.Kill()
		mustBecome(t, cluster.Start(), clusterclient.RoleLeader)
		knows.Thaw()
		time.Sleep(longEnough)
		require.Equal(t, map[string]string{"living": "1"}, registered(up))
	})
}

// TestOwnerDiesBeforeItAnnouncesAgain has a leader that knows nothing of a
// registration, and hears of it from a candidate while the owner is there, which
// dies before it has announced it again.
func TestOwnerDiesBeforeItAnnouncesAgain(t *testing.T) {
	const replayAfter = 50 * time.Millisecond         // for which owners leave a new leader alone
	for _, knowsBetter := range []bool{false, true} { // that one of them was withdrawn
		inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
			first, knows, owner := cluster.Start(), cluster.Start(), cluster.Start(followerOnly)
			mustRegister(t, owner, "dead", "1")
			withdrawn := mustRegister(t, owner, "withdrawn", "1")
			synctest.Wait()

			knows.Freeze()
			first.Kill()
			mustBecome(t, cluster.Start(), clusterclient.RoleLeader)
			mustBecome(t, owner, clusterclient.RoleFollower)
			began := len(up.RegistrationHistory())
			if knowsBetter {
				require.NoError(t, withdrawn.Close())
				began++
			}
			knows.Thaw()
			time.Sleep(replayAfter / 2)
			mustBecome(t, knows, clusterclient.RoleFollower)
			synctest.Wait()
			require.Len(t, up.RegistrationHistory(), began, "announced again")
			owner.Kill()
			time.Sleep(grace + time.Second)
			require.Empty(t, registered(up))
		})
	}
}

// A reluctant upstream does not withdraw before something has been registered
// again.
type reluctant struct {
	leader.Upstream
	leader.Registrar
	again *atomic.Int32 // Registers so far
}

func (u reluctant) Register(ctx context.Context, r leader.Registration) error {
	u.again.Add(1)
	return u.Registrar.Register(ctx, r)
}

func (u reluctant) Deregister(ctx context.Context, r leader.Registration) error {
	if u.again.Load() < 2 {
		return errors.New("not now")
	}
	return u.Registrar.Deregister(ctx, r)
}

// TestOwnerIsBackBeforeItsRegistrationIsWithdrawn lets the withdrawal fail until
// the owner is there again. It is off then.
func TestOwnerIsBackBeforeItsRegistrationIsWithdrawn(t *testing.T) {
	var registers atomic.Int32
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start(clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			u, err := up.Open(ctx)
			return reluctant{u, u.(leader.Registrar), &registers}, err
		}))
		owner := cluster.Start(followerOnly)
		mustRegister(t, owner, "a", "1")
		owner.Freeze()
		time.Sleep(time.Minute)
		require.Equal(t, map[string]string{"a": "1"}, registered(up), "registered while nothing can be withdrawn")
		owner.Thaw()
		time.Sleep(longEnough)
		require.Equal(t, map[string]string{"a": "1"}, registered(up), "registered when its owner is back")
		owner.Kill()
		time.Sleep(grace + time.Second)
		require.Empty(t, registered(up))
	})
}

// TestRegistrationThatIsNeverTakenBack lets a registration fail, and its owner
// die before it could take that back from anybody. The leader that has come
// meanwhile does it, since it may have reached the upstream.
func TestRegistrationThatIsNeverTakenBack(t *testing.T) {
	for name, knows := range map[string]bool{"the next leader was told": true, "the next leader was not told": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				first, owner := cluster.Start(), cluster.Start(followerOnly)
				if knows {
					cluster.Start()
				}
				up.FailRegister(errors.New("not now"))
				_, err := owner.Register(t.Context(), "failed", []byte("1"))
				require.ErrorContains(t, err, "not now")
				synctest.Wait()
				first.Kill()
				if !knows {
					cluster.Start()
				}
				time.Sleep(longEnough)
				require.Empty(t, up.RegistrationHistory(), "what the upstream has taken")

				owner.Kill()
				up.FailRegister(nil)
				time.Sleep(longEnough)
				require.Len(t, up.RegistrationHistory(), 1, "what the upstream has taken in the end")
				require.Equal(t, "failed", up.RegistrationHistory()[0].Key)
			})
		})
	}
}

// deadly is an upstream whose Register takes effect and kills whoever calls it.
type deadly struct {
	leader.Upstream
	leader.Registrar
	kill func()
}

func (u deadly) Register(ctx context.Context, r leader.Registration) error {
	err := u.Registrar.Register(ctx, r)
	u.kill()
	return err
}

// Deregister is what a dead process cannot do.
func (u deadly) Deregister(context.Context, leader.Registration) error { return errors.New("dead") }

// TestRegistrationHasWitnesses lets a leader die at the very moment in which the
// upstream has got a registration of its own. Others know of it by then.
func TestRegistrationHasWitnesses(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		var first *clustertest.Node
		first = cluster.Start(clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			u, err := up.Open(ctx)
			return deadly{u, u.(leader.Registrar), func() { first.Kill() }}, err
		}))
		next := cluster.Start()
		stopped := cluster.Start()
		stopped.Freeze() // it cannot be one, and nobody waits for it for long
		began := time.Now()
		_, _ = first.Register(t.Context(), "a", []byte("1"))
		require.LessOrEqual(t, time.Since(began), time.Second, "time that it took")
		mustBecome(t, next, clusterclient.RoleLeader)
		time.Sleep(grace + time.Second)
		require.Len(t, up.RegistrationHistory(), 2, "what the upstream was told")
		require.Empty(t, registered(up))
		stopped.Thaw()
	})
}

// TestTakeoverComesBeforeRegistrations has a leader die that many registered
// with. They are announced to the next one when everybody is served again.
func TestTakeoverComesBeforeRegistrations(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		first := cluster.Start()
		nodes := []*clustertest.Node{cluster.Start(), cluster.Start(), cluster.Start(followerOnly)}
		for i, n := range nodes {
			mustRegister(t, n.Client, strconv.Itoa(i), "1")
			mustYield(t, mustSubscribe(t, n, "k"), "one")
		}
		changed := nodes[2]
		r := mustRegister(t, changed.Client, "changed", "1")
		time.Sleep(time.Second)
		told := len(up.RegistrationHistory())

		first.Kill()
		time.Sleep(40 * time.Millisecond)
		for _, n := range nodes {
			v, err := n.Get(t.Context(), "k")
			require.NoError(t, err)
			require.False(t, v.Stale)
			require.EqualValues(t, 2, v.Revision.Term)
		}
		require.Len(t, up.RegistrationHistory(), told, "what the upstream was told before")
		require.NoError(t, r.Update(t.Context(), []byte("2")), "what the program asks for does not wait")
		require.Equal(t, "2", registered(up)["changed"])
		time.Sleep(100 * time.Millisecond)
		require.Len(t, up.RegistrationHistory(), told+1+len(nodes), "each of the others once")
		require.Equal(t, map[string]string{"0": "1", "1": "1", "2": "1", "changed": "2"}, registered(up))
	})
}

// TestRegistrationsOfOneAreNotWithdrawnAllAtOnce counts how many calls the
// upstream gets at the same time for a process that is gone. None is lost,
// though it refuses each for a while, and one that it does not answer holds up no
// other one.
func TestRegistrationsOfOneAreNotWithdrawnAllAtOnce(t *testing.T) {
	const all, atOnce = 500, 32
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		var now, most, calls atomic.Int32
		cluster.Start(wayward{deregister: func() {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m; m = most.Load() {
				most.CompareAndSwap(m, n)
			}
			if calls.Add(1) == 1 {
				time.Sleep(longEnough)
			}
			time.Sleep(10 * time.Millisecond)
		}}.over(up))
		owner := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		for i := range all {
			mustRegister(t, owner, strconv.Itoa(i), "here")
		}
		up.FailRegister(errors.New("not now"))
		owner.Kill()
		time.Sleep(grace + 10*time.Second)
		require.GreaterOrEqual(t, calls.Load(), int32(all), "each is tried, however others fail")
		require.Len(t, registered(up), all)
		up.FailRegister(nil)
		time.Sleep(35 * time.Second) // more than the longest pause
		require.Len(t, registered(up), 1, "all are withdrawn but the one that is not answered")
		time.Sleep(longEnough)
		require.Empty(t, registered(up))
		require.EqualValues(t, atOnce, most.Load(), "calls at once")
	})
}
