package clusterclient_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

func TestProcessOneWatch(t *testing.T) {
	w := processtest.New(t)
	all := w.Start(5)
	publisher, subscribers := all[1], processtest.Without(all, all[1])
	for _, c := range subscribers {
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	for i := range 10 {
		data := fmt.Sprintf("value %d", i)
		publisher.Must(command{Op: "publish", Key: "k", Data: data})
		w.Yielded(subscribers, "s", data)
	}
	w.Lock()
	defer w.Unlock()
	require.Equal(t, 1, w.Centre.Accepted, "upstream connections")
	require.Equal(t, 1, w.Centre.Started["k"], "upstream watches")
}

// growing holds that the revisions a subscription yielded strictly grow.
func growing(t *testing.T, values []event) {
	t.Helper()
	for i, v := range values {
		if i > 0 && v.Rev.Compare(values[i-1].Rev) <= 0 {
			t.Errorf("revision %v came after %v: %v", v.Rev, values[i-1].Rev, values)
		}
	}
}

func TestProcessRevisionsAcrossTakeovers(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "value 0")
	all := w.Start(3)
	for _, c := range all {
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	w.Yielded(all, "s", "value 0")
	leader, term := w.Settled(0, all)
	want := map[*child][]string{}
	for _, c := range all {
		want[c] = []string{"value 0"}
	}
	var ended []*child
	for round := range processtest.Rounds(10, 2) {
		// Odd rounds change the value while nobody leads, even ones do not.
		news := fmt.Sprintf("value %d", round+1)
		w.Centre.Hold(true)
		leader.Kill()
		leader.IsGone()
		ended, all = append(ended, leader), processtest.Without(all, leader)
		if round%2 == 1 {
			w.WaitFor("the old leader's connection is gone", func() bool {
				return w.Centre.Watches["k"] == 0
			})
			w.Centre.Set("k", news)
		}
		w.Centre.Hold(false)
		leader, term = w.Settled(term, all)
		w.ConfirmedIn(all, term)
		if round%2 == 0 {
			w.Centre.Set("k", news) // whatever was yielded before this is one too many
		}
		w.Yielded(all, "s", news)
		for _, c := range all {
			want[c] = append(want[c], news)
		}
		c := w.Start(1)[0]
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
		want[c] = []string{news}
		all = append(all, c)
		w.Yielded(all, "s", news)
	}
	w.Lock()
	defer w.Unlock()
	for _, c := range append(ended, all...) {
		require.Equal(t, want[c], c.Data("s"), "pid %d", c.PID)
		growing(t, c.Values["s"])
	}
}

// groupUpdates is how many updates a queue group is given.
const groupUpdates = 1000

// numbers returns, for each update, how many members have yielded it, and how
// many each member has; w.mu is held.
func numbers(all []*child) (updates []int, members map[*child]int) {
	updates, members = make([]int, groupUpdates), map[*child]int{}
	for _, c := range all {
		for _, v := range c.Data("g") {
			if i, err := strconv.Atoi(v); err == nil {
				updates[i]++
				members[c]++
			}
		}
	}
	return updates, members
}

// startGroup starts four members, one of them in the leader's process.
func startGroup(w *world) []*child {
	w.T.Helper()
	all := w.Start(4)
	for _, c := range all {
		c.Must(command{Op: "subscribe", Key: "k", Group: "g", Tag: "g"})
	}
	return all
}

func TestProcessQueueGroup(t *testing.T) {
	w := processtest.New(t)
	all := startGroup(w)
	for i := range groupUpdates {
		w.Centre.Set("k", strconv.Itoa(i))
	}
	w.WaitFor("every update is yielded", func() bool {
		updates, _ := numbers(all)
		return !slices.Contains(updates, 0)
	})
	// One more of anything would come before this.
	w.Centre.Set("k", "end")
	w.WaitFor("the end is yielded", func() bool {
		return slices.ContainsFunc(all, func(c *child) bool { return slices.Contains(c.Data("g"), "end") })
	})
	w.Lock()
	defer w.Unlock()
	updates, members := numbers(all)
	for i, times := range updates {
		require.Equal(t, 1, times, "update %d", i)
	}
	for _, c := range all {
		require.GreaterOrEqual(t, members[c], 8, "pid %d is handed less than it may hold: %v", c.PID, members)
	}
}

func TestProcessQueueGroupMemberKilled(t *testing.T) {
	w := processtest.New(t)
	all := startGroup(w)
	victim := all[2]
	for i := range groupUpdates / 2 {
		w.Centre.Set("k", strconv.Itoa(i))
	}
	// A member is sure to get as many as it may hold, whoever else is faster.
	w.WaitFor("the victim is busy", func() bool { return len(victim.Values["g"]) >= 8 })
	victim.Kill()
	for i := groupUpdates / 2; i < groupUpdates; i++ {
		w.Centre.Set("k", strconv.Itoa(i))
	}
	victim.IsGone()
	w.WaitFor("every update is yielded", func() bool {
		updates, _ := numbers(all)
		return !slices.Contains(updates, 0)
	})
	w.Lock()
	defer w.Unlock()
	// Twice is only what the victim had yielded and could not acknowledge any
	// more; the others yield everything once.
	updates, _ := numbers(processtest.Without(all, victim))
	for i, times := range updates {
		require.LessOrEqual(t, times, 1, "update %d", i)
	}
}

func TestProcessRegistration(t *testing.T) {
	const grace, slack = 3 * time.Second, time.Second
	w := processtest.New(t)
	all := w.Start(3)
	leader, term := w.Settled(0, all)
	others := processtest.Without(all, leader)
	for i, c := range all {
		c.Must(command{Op: "register", Key: fmt.Sprint("r", i), Data: "address", Tag: "r"})
	}
	gone := func(c *child) string { return fmt.Sprint("r", slices.Index(all, c)) }
	announced := func() map[string]int { // calls of Register, by key
		times := map[string]int{}
		for _, e := range w.Centre.History {
			if e.Present {
				times[e.Key]++
			}
		}
		return times
	}

	// The leader dies. What the others announced is announced again and never
	// withdrawn; its own is withdrawn after the grace.
	killed := time.Now()
	leader.Kill()
	leader.IsGone()
	second, _ := w.Settled(term, others)
	w.WaitFor("the others are announced again", func() bool {
		times := announced()
		return times[gone(others[0])] == 2 && times[gone(others[1])] == 2
	})
	w.WaitFor("the dead leader's registration is withdrawn", func() bool { return !w.Centre.Has(gone(leader)) })
	requireWithin(t, killed, grace, grace+slack)

	// A follower dies.
	third := processtest.Without(others, second)[0]
	killed = time.Now()
	third.Kill()
	w.WaitFor("the dead follower's registration is withdrawn", func() bool { return !w.Centre.Has(gone(third)) })
	requireWithin(t, killed, grace, grace+slack)

	// A registration is closed: withdrawn when Close returns.
	require.True(t, processtest.Read(w, func() bool { return w.Centre.Has(gone(second)) }))
	second.Must(command{Op: "end", Tag: "r"})
	w.Lock()
	defer w.Unlock()
	require.Zero(t, w.Centre.Announced())
	withdrawn := map[string]int{}
	for _, e := range w.Centre.History {
		if !e.Present {
			withdrawn[e.Key]++
		}
	}
	require.Equal(t, map[string]int{"r0": 1, "r1": 1, "r2": 1}, withdrawn, "%v", w.Centre.History)
}

// requireWithin holds that what was waited for took between least and most.
func requireWithin(t *testing.T, since time.Time, least, most time.Duration) {
	t.Helper()
	took := time.Since(since)
	require.GreaterOrEqual(t, took, least)
	require.LessOrEqual(t, took, most)
}

func TestProcessRegistrationsEndWithClose(t *testing.T) {
	w := processtest.New(t)
	all := w.Start(3)
	for i, c := range all {
		c.Must(command{Op: "register", Key: fmt.Sprint("r", i), Data: "address", Tag: "r"})
	}
	// The leader first: it withdraws its own and hands the others over.
	for i, c := range all {
		c.Must(command{Op: "close"})
		require.False(t, processtest.Read(w, func() bool { return w.Centre.Has(fmt.Sprint("r", i)) }), "when Close of %d has returned", i)
		for j := i + 1; j < len(all); j++ {
			require.True(t, processtest.Read(w, func() bool { return w.Centre.Has(fmt.Sprint("r", j)) }), "r%d after Close of %d", j, i)
		}
	}
}
