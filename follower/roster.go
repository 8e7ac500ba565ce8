package follower

import "math/bits"

// A roster finds keys by the numbers that the leader of the present link gives
// them, in much less time than by their names. All that it finds is in
// Follower.keys. It may have forgotten some: of two whose numbers differ by a
// multiple of its size it knows the one that was noted last. The Follower's
// mutex guards it, and the keys' numbers.
type roster struct {
	link    *link
	entries []rosterEntry // none, or a power of two
}

type rosterEntry struct {
	number uint64
	key    *key // nil without one
}

// find returns the key to which l's leader gave the number, nil if that is not
// known.
func (r *roster) find(l *link, number uint64) *key {
	if r.link != l || len(r.entries) == 0 {
		return nil
	}
	if e := r.entry(number); e.number == number {
		return e.key
	}
	return nil
}

// note notes that l's leader gave the number, or 0 for none, to k, one of so many
// keys.
func (r *roster) note(l *link, number uint64, k *key, keys int) {
	if r.link != l || number == 0 || k == nil {
		return
	}
	r.forget(k)
	if len(r.entries) < keys {
		r.grow(keys)
	}
	*r.entry(number) = rosterEntry{number, k}
	k.number = number
}

// forget is called when k has another number, or is no key of the Follower's any
// more.
func (r *roster) forget(k *key) {
	if len(r.entries) == 0 {
		return
	}
	if e := r.entry(k.number); e.key == k {
		*e = rosterEntry{}
	}
}

func (r *roster) entry(number uint64) *rosterEntry {
	return &r.entries[number&uint64(len(r.entries)-1)]
}

// grow makes room for so many keys.
func (r *roster) grow(keys int) {
	old := r.entries
	r.entries = make([]rosterEntry, 1<<bits.Len(uint(keys)))
	for _, e := range old {
		if e.key != nil {
			*r.entry(e.number) = e
		}
	}
}
