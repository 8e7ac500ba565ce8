package clusterclient_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProcessOneWatch(t *testing.T) {
	w := newWorld(t)
	all := w.start(5)
	publisher, subscribers := all[1], without(all, all[1])
	for _, c := range subscribers {
		c.must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	for i := range 10 {
		data := fmt.Sprintf("value %d", i)
		publisher.must(command{Op: "publish", Key: "k", Data: data})
		w.yielded(subscribers, "s", data)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Equal(t, 1, w.centre.accepted, "upstream connections")
	require.Equal(t, 1, w.centre.started["k"], "upstream watches")
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
	w := newWorld(t)
	w.centre.Set("k", "value 0")
	all := w.start(3)
	for _, c := range all {
		c.must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	w.yielded(all, "s", "value 0")
	leader, term := w.settled(0, all)
	want := map[*child][]string{}
	for _, c := range all {
		want[c] = []string{"value 0"}
	}
	var ended []*child
	for round := range rounds(10, 2) {
		// Odd rounds change the value while nobody leads, even ones do not.
		news := fmt.Sprintf("value %d", round+1)
		w.centre.Hold(true)
		leader.kill()
		leader.isGone()
		ended, all = append(ended, leader), without(all, leader)
		if round%2 == 1 {
			w.waitFor("the old leader's connection is gone", func() bool {
				return w.centre.watches["k"] == 0
			})
			w.centre.Set("k", news)
		}
		w.centre.Hold(false)
		leader, term = w.settled(term, all)
		w.confirmedIn(all, term)
		if round%2 == 0 {
			w.centre.Set("k", news) // whatever was yielded before this is one too many
		}
		w.yielded(all, "s", news)
		for _, c := range all {
			want[c] = append(want[c], news)
		}
		c := w.start(1)[0]
		c.must(command{Op: "subscribe", Key: "k", Tag: "s"})
		want[c] = []string{news}
		all = append(all, c)
		w.yielded(all, "s", news)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range append(ended, all...) {
		require.Equal(t, want[c], c.data("s"), "pid %d", c.pid)
		growing(t, c.values["s"])
	}
}

// groupUpdates is how many updates a queue group is given.
const groupUpdates = 1000

// numbers returns, for each update, how many members have yielded it, and how
// many each member has; w.mu is held.
func numbers(all []*child) (updates []int, members map[*child]int) {
	updates, members = make([]int, groupUpdates), map[*child]int{}
	for _, c := range all {
		for _, v := range c.data("g") {
			if i, err := strconv.Atoi(v); err == nil {
				updates[i]++
				members[c]++
			}
		}
	}
	return updates, members
}

// startGroup starts four members, one of them in the leader's process.
func (w *world) startGroup() []*child {
	w.t.Helper()
	all := w.start(4)
	for _, c := range all {
		c.must(command{Op: "subscribe", Key: "k", Group: "g", Tag: "g"})
	}
	return all
}

func TestProcessQueueGroup(t *testing.T) {
	w := newWorld(t)
	all := w.startGroup()
	for i := range groupUpdates {
		w.centre.Set("k", strconv.Itoa(i))
	}
	w.waitFor("every update is yielded", func() bool {
		updates, _ := numbers(all)
		return !slices.Contains(updates, 0)
	})
	// One more of anything would come before this.
	w.centre.Set("k", "end")
	w.waitFor("the end is yielded", func() bool {
		return slices.ContainsFunc(all, func(c *child) bool { return slices.Contains(c.data("g"), "end") })
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	updates, members := numbers(all)
	for i, times := range updates {
		require.Equal(t, 1, times, "update %d", i)
	}
	for _, c := range all {
		require.Greater(t, members[c], groupUpdates/40, "pid %d is left out: %v", c.pid, members)
	}
}

func TestProcessQueueGroupMemberKilled(t *testing.T) {
	w := newWorld(t)
	all := w.startGroup()
	victim := all[2]
	for i := range groupUpdates / 2 {
		w.centre.Set("k", strconv.Itoa(i))
	}
	w.waitFor("the victim is busy", func() bool { return len(victim.values["g"]) > 10 })
	victim.kill()
	for i := groupUpdates / 2; i < groupUpdates; i++ {
		w.centre.Set("k", strconv.Itoa(i))
	}
	victim.isGone()
	w.waitFor("every update is yielded", func() bool {
		updates, _ := numbers(all)
		return !slices.Contains(updates, 0)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	// Twice is only what the victim had yielded and could not acknowledge any
	// more; the others yield everything once.
	updates, _ := numbers(without(all, victim))
	for i, times := range updates {
		require.LessOrEqual(t, times, 1, "update %d", i)
	}
}

func TestProcessRegistration(t *testing.T) {
	const grace, slack = 3 * time.Second, time.Second
	w := newWorld(t)
	all := w.start(3)
	leader, term := w.settled(0, all)
	others := without(all, leader)
	for i, c := range all {
		c.must(command{Op: "register", Key: fmt.Sprint("r", i), Data: "address", Tag: "r"})
	}
	gone := func(c *child) string { return fmt.Sprint("r", slices.Index(all, c)) }
	announced := func() map[string]int { // calls of Register, by key
		times := map[string]int{}
		for _, e := range w.centre.history {
			if e.present {
				times[e.key]++
			}
		}
		return times
	}

	// The leader dies. What the others announced is announced again and never
	// withdrawn; its own is withdrawn after the grace.
	killed := time.Now()
	leader.kill()
	leader.isGone()
	second, _ := w.settled(term, others)
	w.waitFor("the others are announced again", func() bool {
		times := announced()
		return times[gone(others[0])] == 2 && times[gone(others[1])] == 2
	})
	w.waitFor("the dead leader's registration is withdrawn", func() bool { return !w.centre.has(gone(leader)) })
	requireWithin(t, killed, grace, grace+slack)

	// A follower dies.
	third := without(others, second)[0]
	killed = time.Now()
	third.kill()
	w.waitFor("the dead follower's registration is withdrawn", func() bool { return !w.centre.has(gone(third)) })
	requireWithin(t, killed, grace, grace+slack)

	// A registration is closed: withdrawn when Close returns.
	require.True(t, read(w, func() bool { return w.centre.has(gone(second)) }))
	second.must(command{Op: "end", Tag: "r"})
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Empty(t, w.centre.announced)
	withdrawn := map[string]int{}
	for _, e := range w.centre.history {
		if !e.present {
			withdrawn[e.key]++
		}
	}
	require.Equal(t, map[string]int{"r0": 1, "r1": 1, "r2": 1}, withdrawn, "%v", w.centre.history)
}

// requireWithin holds that what was waited for took between least and most.
func requireWithin(t *testing.T, since time.Time, least, most time.Duration) {
	t.Helper()
	took := time.Since(since)
	require.GreaterOrEqual(t, took, least)
	require.LessOrEqual(t, took, most)
}

func TestProcessRegistrationsEndWithClose(t *testing.T) {
	w := newWorld(t)
	all := w.start(3)
	for i, c := range all {
		c.must(command{Op: "register", Key: fmt.Sprint("r", i), Data: "address", Tag: "r"})
	}
	// The leader first: it withdraws its own and hands the others over.
	for i, c := range all {
		c.must(command{Op: "close"})
		require.False(t, read(w, func() bool { return w.centre.has(fmt.Sprint("r", i)) }), "when Close of %d has returned", i)
		for j := i + 1; j < len(all); j++ {
			require.True(t, read(w, func() bool { return w.centre.has(fmt.Sprint("r", j)) }), "r%d after Close of %d", j, i)
		}
	}
}
