package wire

import (
	"hash/crc32"
	"sync/atomic"

	"github.com/clusterclient/clusterclient/internal/large"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Checksum sums up the keys of a session, in any order. Each end keeps one:
// the leader of what it has told, the follower of what it has taken. Its
// methods are safe for concurrent use.
type Checksum struct{ sum, keys atomic.Uint64 }

// Replace puts one print of a key in the place of another; 0 is none.
func (c *Checksum) Replace(was, is uint64) {
	if was == is {
		return
	}
	c.sum.Add(is - was)
	switch {
	case was == 0:
		c.keys.Add(1)
	case is == 0:
		c.keys.Add(^uint64(0))
	}
}

// Keys is how many keys are summed up.
func (c *Checksum) Keys() uint64 { return c.keys.Load() }

// Is reports whether told sums up the same.
func (c *Checksum) Is(told *clusterclientv1.Checksum) bool {
	return c.sum.Load() == told.GetSum() && c.keys.Load() == told.GetKeys()
}

// ToProto returns what travels, of a leader that has taken so many wishes.
func (c *Checksum) ToProto(wishes uint64) *clusterclientv1.Checksum {
	return &clusterclientv1.Checksum{Wishes: wishes, Keys: c.keys.Load(), Sum: c.sum.Load()}
}

// Content is a hash of a value, but for its key and revision. Deletions are all
// alike, as they are for subscribers.
func Content[T string | []byte](version T, deleted bool, data []byte) uint64 {
	if deleted {
		return 0
	}
	sum := uint32(0)
	large.Each(data, func(piece []byte) { sum = crc32.Update(sum, castagnoli(), piece) })
	return hashOf(version) ^ mix(uint64(sum)+1)
}

// A NameHash is a hash of a key's name, which is worth keeping: the name's bytes
// are elsewhere in memory.
type NameHash uint64

// HashName returns the hash of a key's name.
func HashName(key string) NameHash { return NameHash(hashOf(key)) }

// Print is a hash of a key with a fresh value, and never 0.
func (h NameHash) Print(rev Revision, content uint64) uint64 {
	return max(1, mix(uint64(h)^mix(rev.Term^mix(rev.Seq^mix(content)))))
}

// Bare is the Print of a key without a fresh value.
func (h NameHash) Bare() uint64 { return h.Print(Revision{}, 0) }

// castagnoli returns the polynomial that processors know.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// hashOf is FNV-1a, without a copy of s.
func hashOf[T string | []byte](s T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads the bits of x, as the finalizer of SplitMix64 does.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
