package follower

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoster(t *testing.T) {
	here, before := new(link), new(link)
	a, b, c := new(key), new(key), new(key)
	r := roster{link: here}
	require.Nil(t, r.find(here, 1), "in an empty one")
	r.note(here, 1, a, 1)
	require.Same(t, a, r.find(here, 1))
	require.Nil(t, r.find(here, 0), "nobody has this number")
	require.Nil(t, r.find(before, 1), "another leader's number")

	r.note(before, 2, b, 2)
	require.Nil(t, r.find(here, 2), "it was another leader's")
	r.note(here, 0, b, 2)
	require.Nil(t, r.find(here, 0), "it has no number")

	r.note(here, 2, b, 2)
	r.note(here, 3, c, 3)
	require.Equal(t, []*key{a, b, c}, []*key{r.find(here, 1), r.find(here, 2), r.find(here, 3)}, "when it has grown")

	size := uint64(len(r.entries))
	r.note(here, 1+size, c, 3)
	require.Same(t, c, r.find(here, 1+size))
	require.Nil(t, r.find(here, 3), "the key has another number now")
	require.Nil(t, r.find(here, 1), "its place was taken")
	r.forget(a)
	require.Same(t, c, r.find(here, 1+size), "the place is another key's")
	r.forget(c)
	require.Nil(t, r.find(here, 1+size))
	require.NotContains(t, r.entries, rosterEntry{1 + size, c}, "memory is kept")
}
