package lease_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/lease"
)

// A leader that may act without looking is not deposed, and one that was
// deposed notices by its next look.
func TestDepose(t *testing.T) {
	var c clock
	f := open(t.TempDir(), &c)
	next := by("a")
	next.Sure = 3 * time.Second
	held, err := f.Claim(lease.Record{}, next)
	require.NoError(t, err)
	c.add(2 * time.Second)
	require.Equal(t, time.Second, held.SureFor(f.Host()))
	_, err = f.Depose(held)
	require.ErrorIs(t, err, lease.ErrHeld)
	c.add(time.Second)
	renewed, err := f.Renew(held)
	require.NoError(t, err)
	c.add(3 * time.Second)
	_, err = f.Depose(held)
	require.ErrorIs(t, err, lease.ErrChanged, "it was renewed since")

	nobody, err := f.Depose(renewed)
	require.NoError(t, err)
	require.True(t, nobody.Vacant(f.Host()))
	require.Equal(t, 7, nobody.DeposedBy)
	_, err = f.Depose(nobody)
	require.ErrorIs(t, err, lease.ErrChanged, "there is nobody to depose")
	_, err = f.Renew(renewed)
	require.ErrorIs(t, err, lease.ErrSuperseded)
	claimed, err := f.Claim(nobody, by("b"))
	require.NoError(t, err)
	require.Greater(t, claimed.Term, nobody.Term)
	require.Greater(t, nobody.Term, renewed.Term)
	require.Zero(t, claimed.DeposedBy)
	require.Equal(t, 10*time.Second, claimed.SureFor(f.Host()), "an older build says nothing of looking")
}

// Whoever has bound the port and hangs is remembered through all those who lead
// beside it, until it is gone or somebody else has the port.
func TestOwnerIsRemembered(t *testing.T) {
	var c clock
	dir := t.TempDir()
	gone := map[int]bool{}
	as := func(pid int) *lease.File {
		h := c.host()
		h.Self = lease.Process{PID: pid}
		h.Look = func(p lease.Process) lease.State {
			if gone[p.PID] {
				return lease.Gone
			}
			return lease.Runs
		}
		return lease.New(func() (string, error) { return dir, nil }, h, address, "config/ä")
	}
	claim := func(pid int, seen, next lease.Record) lease.Record {
		c.add(time.Minute)
		r, err := as(pid).Claim(seen, next)
		require.NoError(t, err)
		return r
	}
	first := by("a")
	first.OwnsPort = true
	owner := claim(1, lease.Record{}, first)
	second := claim(2, owner, by("b"))
	require.Equal(t, owner.Holder(), second.Ousted)
	require.Zero(t, second.Owner, "it is the same one")
	third := claim(3, second, by("c"))
	require.Equal(t, second.Holder(), third.Ousted)
	require.Equal(t, owner.Holder(), third.Owner)
	gone[2], gone[3] = true, true
	fourth := claim(4, third, by("d"))
	require.Zero(t, fourth.Ousted)
	require.Equal(t, owner.Holder(), fourth.Owner)
	c.add(time.Minute)
	nobody, err := as(5).Depose(fourth)
	require.NoError(t, err)
	require.Equal(t, owner.Holder(), nobody.Owner)
	require.Zero(t, claim(1, nobody, first).Owner, "it leads itself")
	gone[1] = true
	newest, err := as(6).Read()
	require.NoError(t, err)
	require.Zero(t, claim(6, newest, by("e")).Owner)
}

// Whoever takes over from one that has not left says so, as long as that one
// may be there.
func TestOusted(t *testing.T) {
	var c clock
	other := c.host()
	other.Self = lease.Process{PID: 8}
	other.Look = func(lease.Process) lease.State { return lease.Runs }
	dir := t.TempDir()
	f := lease.New(func() (string, error) { return dir, nil }, other, address, "config/ä")
	held, err := open(dir, &c).Claim(lease.Record{}, by("a"))
	require.NoError(t, err)
	c.add(time.Minute)
	nobody, err := f.Depose(held)
	require.NoError(t, err)
	require.Equal(t, held.Holder(), nobody.Ousted)
	claimed, err := f.Claim(nobody, by("b"))
	require.NoError(t, err)
	require.Equal(t, held.Holder(), claimed.Ousted)
	require.NoError(t, f.Release(claimed))
	released, err := f.Read()
	require.NoError(t, err)
	again, err := open(dir, &c).Claim(released, by("a"))
	require.NoError(t, err)
	require.Zero(t, again.Ousted, "it is that one itself")
}
