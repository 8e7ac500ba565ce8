package lease_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/lease"
)

const address = "127.0.0.1:17777"

// A clock that tests set.
type clock struct{ now atomic.Int64 }

func (c *clock) add(d time.Duration) { c.now.Add(int64(d)) }

func (c *clock) host() lease.Host {
	return lease.Host{
		Now: func() time.Duration { return time.Duration(c.now.Load()) }, Boot: "this boot", Self: lease.Process{PID: 7},
		Look: func(p lease.Process) lease.State {
			if p.PID == 7 {
				return lease.Runs
			}
			return lease.Gone
		},
	}
}

// open returns the lease of one name in dir.
func open(dir string, c *clock) *lease.File {
	return lease.New(func() (string, error) { return dir, nil }, c.host(), address, "config/ä")
}

func by(instance string) lease.Record {
	return lease.Record{Instance: instance, Address: "127.0.0.1:4", Valid: 10 * time.Second}
}

// files returns the names of all files in the only folder of dir.
func files(t *testing.T, dir string) (names []string) {
	all, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	require.NoError(t, err)
	more, err := filepath.Glob(filepath.Join(dir, "*", ".*"))
	require.NoError(t, err)
	for _, name := range append(all, more...) {
		names = append(names, filepath.Base(name))
	}
	return names
}

func TestClaimRenewRelease(t *testing.T) {
	var c clock
	dir := t.TempDir()
	f := open(dir, &c)
	none, err := f.Read()
	require.NoError(t, err)
	require.Zero(t, none)
	require.True(t, none.Vacant(f.Host()))

	c.add(time.Second)
	first, err := f.Claim(none, by("a"))
	require.NoError(t, err)
	require.True(t, f.Followed(none))
	require.False(t, f.Followed(first))
	require.Equal(t, lease.Record{
		Name: "config/ä", Number: 1, Term: 1, Instance: "a", Process: lease.Process{PID: 7}, Address: "127.0.0.1:4",
		Renewed: time.Second, Valid: 10 * time.Second, Boot: "this boot",
	}, first)
	read, err := f.Read()
	require.NoError(t, err)
	require.Equal(t, first, read)
	require.False(t, read.Vacant(f.Host()))

	c.add(9 * time.Second)
	require.False(t, read.Expired(f.Host(), 0))
	renewed, err := f.Renew(first)
	require.NoError(t, err)
	require.Equal(t, 10*time.Second, renewed.Renewed)
	c.add(10 * time.Second)
	require.True(t, renewed.Expired(f.Host(), 10*time.Second))
	require.False(t, renewed.Expired(f.Host(), 11*time.Second), "an observer that is more patient")

	_, err = f.Claim(first, by("b"))
	require.ErrorIs(t, err, lease.ErrChanged, "the record was renewed since")
	next := by("b")
	next.Term = 7
	second, err := f.Claim(renewed, next)
	require.NoError(t, err)
	require.EqualValues(t, 2, second.Number)
	require.EqualValues(t, 7, second.Term)
	_, err = f.Renew(renewed)
	require.ErrorIs(t, err, lease.ErrSuperseded)
	require.NoError(t, f.Release(renewed), "it is over already")
	read, err = f.Read()
	require.NoError(t, err)
	require.Equal(t, second, read)

	require.NoError(t, f.Release(second))
	read, err = f.Read()
	require.NoError(t, err)
	require.True(t, read.Vacant(f.Host()))
	third, err := f.Claim(read, by("c"))
	require.NoError(t, err)
	require.EqualValues(t, 8, third.Term)
	require.Equal(t, []string{"3"}, files(t, dir), "files that are left")
}

// A leader that was taken for hung renews just when its successor claims: at
// most one of them goes on.
func TestClaimAgainstRenew(t *testing.T) {
	var c clock
	f := open(t.TempDir(), &c)
	held, err := f.Claim(lease.Record{}, by("a"))
	require.NoError(t, err)
	for i := range 2000 {
		c.add(time.Minute)
		var renewed, claimed lease.Record
		var renewErr, claimErr error
		var both sync.WaitGroup
		both.Go(func() { renewed, renewErr = f.Renew(held) })
		both.Go(func() { claimed, claimErr = f.Claim(held, by("b")) })
		both.Wait()
		switch {
		case renewErr == nil && claimErr == nil:
			t.Fatalf("round %d: renewed and claimed at once", i)
		case claimErr == nil:
			require.ErrorIs(t, renewErr, lease.ErrSuperseded)
			require.Greater(t, claimed.Term, held.Term)
			held = claimed
		case renewErr == nil:
			require.ErrorIs(t, claimErr, lease.ErrChanged)
			held = renewed
		default: // each has seen the other
			held, err = f.Read()
			require.NoError(t, err)
		}
	}
}

// Of many that claim, one leads at a time, and no term is led in twice,
// however long a process takes between two steps.
func TestClaimsExclude(t *testing.T) {
	var c clock
	dir := t.TempDir()
	var mu sync.Mutex
	led := map[uint64]string{}
	var now atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			f, own := open(dir, &c), fmt.Sprint(i)
			for range 150 {
				seen, err := f.Read()
				if err != nil {
					t.Errorf("Read: %v", err)
				}
				if !seen.Vacant(f.Host()) {
					continue
				}
				next := by(own)
				next.Term = seen.Term + rand.Uint64N(3)
				r, err := f.Claim(seen, next)
				if errors.Is(err, lease.ErrChanged) {
					continue
				}
				if err != nil {
					t.Errorf("Claim: %v", err)
					continue
				}
				if now.Add(1) != 1 {
					t.Error("two processes lead")
				}
				mu.Lock()
				if led[r.Term] != "" {
					t.Errorf("term %d of %s was that of %s already", r.Term, own, led[r.Term])
				}
				led[r.Term] = own
				mu.Unlock()
				now.Add(-1)
				if err := f.Release(r); err != nil {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	all.Wait()
	require.NotEmpty(t, led)
	require.Len(t, files(t, dir), 1)
}

func TestDamagedFile(t *testing.T) {
	var c clock
	dir := t.TempDir()
	f := open(dir, &c)
	held, err := f.Claim(lease.Record{}, by("a"))
	require.NoError(t, err)
	found, err := filepath.Glob(filepath.Join(dir, "127.0.0.1-17777-config__-*", "1"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	path := found[0]
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, damaged := range map[string][]byte{
		"empty": nil, "cut": text[:len(text)/2], "changed": slices.Concat([]byte(`{"name":"x",`), text[1:]),
	} {
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		read, err := f.Read()
		require.NoError(t, err, name)
		require.Equal(t, lease.Record{Number: 1, Released: true}, read, name)
	}
	renewed, err := f.Renew(held)
	require.NoError(t, err)
	read, err := f.Read()
	require.NoError(t, err)
	require.Equal(t, renewed, read)
}

// The directory goes, as at a logout, and the leader goes on.
func TestFolderVanishes(t *testing.T) {
	var c clock
	dir := t.TempDir()
	f := open(dir, &c)
	held, err := f.Claim(lease.Record{}, by("a"))
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, entries[0].Name())))
	renewed, err := f.Renew(held)
	require.NoError(t, err)
	read, err := f.Read()
	require.NoError(t, err)
	require.Equal(t, renewed, read)
}

func TestNoDirectory(t *testing.T) {
	var c clock
	none := errors.New("no directory")
	f := lease.New(func() (string, error) { return "", none }, c.host(), address, "n")
	_, err := f.Read()
	require.ErrorIs(t, err, none)
	_, err = f.Claim(lease.Record{}, by("a"))
	require.ErrorIs(t, err, none)
	_, err = f.Renew(lease.Record{Number: 1})
	require.ErrorIs(t, err, none)
	_, err = f.All()
	require.ErrorIs(t, err, none)
}

// What was written before the host was started again is no lease.
func TestOtherBoot(t *testing.T) {
	var c clock
	c.add(time.Hour)
	f := open(t.TempDir(), &c)
	held, err := f.Claim(lease.Record{}, by("a"))
	require.NoError(t, err)
	c.add(-time.Hour)
	require.True(t, held.Expired(f.Host(), 0), "renewed later than now")
	rebooted := f.Host()
	rebooted.Boot = "another boot"
	require.True(t, held.Vacant(rebooted))
}

func TestAll(t *testing.T) {
	var c clock
	dir := t.TempDir()
	at := func(address, name string) *lease.File {
		return lease.New(func() (string, error) { return dir, nil }, c.host(), address, name)
	}
	for _, f := range []*lease.File{at(address, "x"), at(address, "y"), at("127.0.0.1:1777", "z")} {
		_, err := f.Claim(lease.Record{}, by("a"))
		require.NoError(t, err)
	}
	all, err := at(address, "w").All()
	require.NoError(t, err)
	var names []string
	for _, r := range all {
		names = append(names, r.Name)
	}
	require.ElementsMatch(t, []string{"x", "y"}, names)
}

func TestSystem(t *testing.T) {
	a, b := lease.System(), lease.System()
	require.Equal(t, a.Boot, b.Boot)
	require.Equal(t, os.Getpid(), a.Self.PID)
	require.InDelta(t, a.Now(), b.Now(), float64(time.Second))
	require.NotEqual(t, lease.Gone, lease.System().Look(a.Self))
}
