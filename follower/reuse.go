package follower

import "github.com/clusterclient/clusterclient/internal/wire"

// readers is who may read the data of a held value, beside the key.
//
//	               yielded with ReuseData
//	  noReader ─────────────────────────▶ oneReader
//	     ▲  │                              │
//	a new│  │ yielded without, or asked for│ yielded again, or asked for
//	value│  ▼                              ▼
//	   (any) ◀──────────────────────── anyReader
//
// The memory of data that nobody reads is used again for the next value. What
// one subscription reads is its own until it yields the next value; the key
// then has it to spare.
type readers uint8

const (
	noReader readers = iota
	oneReader
	anyReader
)

// ReuseData makes the Data of a value that Next or Values has returned valid
// only until the next call: its memory is used again for a later value. It is for
// readers who decode or copy a value at once, one goroutine at a time, and who are
// told of so many that collecting them as garbage costs. What somebody else
// in this process reads, too, is not used again, and neither is anything with
// [QueueGroup], [Validate] or [KeepOnEmpty]; Value and Get return what may be kept.
// By default all values may be kept.
//
// clusterclient.Watch, whose values are decoded, does this by itself.
func ReuseData() SubscribeOption {
	return func(o *subscribeOptions) { o.reuse = true }
}

// storeLocked makes v's data the key's.
func (k *key) storeLocked(v *wire.Value) {
	h := &k.value
	if h.readers == noReader {
		h.data = v.DataIn(h.data)
		return
	}
	h.data, k.spare = v.DataIn(k.spare), nil
	h.readers = noReader
}

// lendLocked notes that anybody may keep the key's data from now on.
func (k *key) lendLocked() {
	k.value.readers = anyReader
	for s := k.first; s != nil; s = s.next {
		s.owns = false
	}
}

// borrowLocked notes that s yields the key's data, and that it is done with what
// it yielded before.
func (s *Subscription) borrowLocked() {
	k := s.key
	if s.owns && s.serial == k.serial { // it yields the same again
		return
	}
	if !s.opts.reuse || k.value.readers != noReader {
		k.lendLocked()
		return
	}
	if s.owns {
		k.spare = s.data
	}
	k.value.readers, s.owns = oneReader, true
}
