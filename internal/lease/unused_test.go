package lease_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/lease"
)

// A house is a directory with the leases of several names.
type house struct {
	t     *testing.T
	dir   string
	clock clock
	gone  map[int]bool // processes
}

func (h *house) as(pid int, name string) *lease.File {
	host := h.clock.host()
	host.Self.PID = pid
	host.Look = func(p lease.Process) lease.State {
		if h.gone[p.PID] {
			return lease.Gone
		}
		return lease.Unknown
	}
	return lease.New(func() (string, error) { return h.dir, nil }, host, address, name)
}

// claim claims the lease of name, after whoever has it.
func (h *house) claim(pid int, name string) lease.Record {
	h.t.Helper()
	f := h.as(pid, name)
	seen, err := f.Read()
	require.NoError(h.t, err)
	r, err := f.Claim(seen, by(name))
	require.NoError(h.t, err)
	return r
}

// age makes everything in the directory look as if it had been left alone for d.
func (h *house) age(d time.Duration) {
	h.t.Helper()
	entries, err := os.ReadDir(h.dir)
	require.NoError(h.t, err)
	for _, e := range entries {
		then := time.Now().Add(-d)
		require.NoError(h.t, os.Chtimes(filepath.Join(h.dir, e.Name()), then, then))
	}
}

// names returns the names of all leases that there are.
func (h *house) names() (names []string) {
	h.t.Helper()
	all, err := h.as(0, "").All()
	require.NoError(h.t, err)
	for _, r := range all {
		names = append(names, r.Name)
	}
	return names
}

func newHouse(t *testing.T) *house {
	return &house{t: t, dir: t.TempDir(), gone: map[int]bool{1: true, 2: true}}
}

const twoDays = 48 * time.Hour

func TestSweep(t *testing.T) {
	h := newHouse(t)
	h.claim(1, "dead")
	require.NoError(t, h.as(3, "left").Release(h.claim(3, "left")))
	h.claim(3, "there")
	h.claim(3, "ousted by one that died")
	h.claim(1, "ousted by one that died")
	h.claim(1, "own")
	rebooted := h.clock.host()
	rebooted.Boot = "another boot"
	_, err := lease.New(func() (string, error) { return h.dir, nil }, rebooted, address, "of another boot").Claim(lease.Record{}, by("x"))
	require.NoError(t, err)
	for _, stranger := range []string{"snapshot", "snapshot-0123456789abcdef", ".gone-1"} {
		require.NoError(t, os.MkdirAll(filepath.Join(h.dir, stranger, "1"), 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, "secret"), nil, 0o600))
	everything := h.names()
	require.Len(t, everything, 6)

	f := h.as(4, "own")
	h.age(time.Hour)
	f.Sweep()
	require.ElementsMatch(t, everything, h.names(), "too young")

	h.age(twoDays)
	f.Sweep()
	require.ElementsMatch(t, []string{"there", "ousted by one that died", "own"}, h.names())
	entries, err := os.ReadDir(h.dir)
	require.NoError(t, err)
	require.Len(t, entries, 3+3, "what is not a lease stays")

	require.EqualValues(t, 1, h.claim(4, "dead").Term)
	require.EqualValues(t, 2, h.claim(4, "own").Term)
}

// However a claim and the removal of its folder meet, the leader has its lease in
// the end, and nobody else does.
func TestSweepAgainstClaim(t *testing.T) {
	for range 100 {
		h := newHouse(t)
		h.claim(1, "n")
		h.age(twoDays)
		var at sync.WaitGroup
		for range 2 {
			at.Go(h.as(3, "other").Sweep)
		}
		f := h.as(4, "n")
		var mine lease.Record
		for mine.Number == 0 {
			seen, err := f.Read()
			require.NoError(t, err)
			if mine, err = f.Claim(seen, by("b")); err != nil {
				require.ErrorIs(t, err, lease.ErrChanged)
				mine = lease.Record{}
			}
		}
		at.Wait()
		mine, err := f.Renew(mine)
		require.NoError(t, err)
		now, err := f.Read()
		require.NoError(t, err)
		require.Equal(t, mine, now)
		require.Equal(t, []string{"n"}, h.names())
	}
}
