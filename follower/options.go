package follower

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// A SubscribeOption changes what a subscription yields.
type SubscribeOption func(*subscribeOptions)

// subscribeOptions is what the options add up to.
type subscribeOptions struct {
	group    string
	hasGroup bool
	states   bool
	bounded  bool // stale values are returned for maxStale only
	maxStale time.Duration
	validate func(Value) error
	keep     time.Duration
	reuse    bool  // has an effect
	invalid  error // what is wrong with an option
}

// QueueGroup makes the subscription a member of the queue group called name.
// Each update of the key goes to exactly one member of the group in the whole
// cluster, instead of to every subscriber. The value that the key has when the
// group is formed is no update; [Subscription.Value] has it.
//
// An update counts as dealt with when its member asks for the next one, or
// closes. It is handed to another member when its member dies before; after a
// change of leader, unless it had begun with the update under the leader before.
// Of a process that has lost its session for another reason than its end, as when
// the leader was stopped and nobody else could lead, what it has dealt with may be
// handed out again, if the leader had not heard of that.
// What waits in the leader when the leader itself dies is lost, but for the newest
// update; and one that was dealt with at that very moment may be handed out
// again. 4096 updates wait in the leader at most, of 64 MiB together; the oldest
// is dropped when there is one more, and the leader's log says so.
//
// A key has as many groups as the leader's Limits.Groups allow, 256 by default;
// Subscribe fails with ErrLimit for one more.
func QueueGroup(name string) SubscribeOption {
	return func(o *subscribeOptions) { o.group, o.hasGroup = name, true }
}

// WithStates makes Next return the value again, marked as Repeated, whenever
// its state has changed: whether it is stale, since when and why, and its
// origin. Changes in quick succession are merged, as values are. By default
// only values are returned, which carry the state of their moment.
func WithStates() SubscribeOption {
	return func(o *subscribeOptions) { o.states = true }
}

// MaxStale bounds for how long a stale value is good enough. When the value
// has been stale for d, Next fails with ErrStale, once; and when it is good
// again, Next returns it, though it may be marked as Repeated. In between Next
// waits. Get fails with ErrStale, and neither ever returns such a value. By
// default stale values are returned, marked, however old they are.
//
// While it is being found out whether somebody vouches for the value, because
// the subscription is new or there is a new leader or none, both wait for up to
// 3 s before they say so: a takeover takes less.
func MaxStale(d time.Duration) SubscribeOption {
	return func(o *subscribeOptions) {
		o.bounded, o.maxStale = true, d
		if d < 0 {
			o.invalid = fmt.Errorf("MaxStale was given %v; it must not be negative", d)
		}
	}
}

// FailClosed is [MaxStale] of 0: only fresh values are returned.
func FailClosed() SubscribeOption { return MaxStale(0) }

// Validate makes the subscription pass over values for which check returns an
// error. The last value that it found good stays, marked as stale for a Reason
// that is ErrRejected and has check's error; the log has it, too. Without a
// good one Next waits, and says so when its context ends. A panic of check
// counts as an error.
//
// check is called by the goroutines that call Next and Value, with the newest
// value only, once for each, one at a time. While it runs, others do not wait for
// it: Value has the last good value, to compare with in check, too, and Next
// waits within its context.
func Validate(check func(Value) error) SubscribeOption {
	return func(o *subscribeOptions) {
		o.validate = check
		if check == nil {
			o.invalid = errors.New("Validate was given nil")
		}
	}
}

// KeepOnEmpty keeps the last value for d when the upstream suddenly reports
// nothing instead: that the key does not exist, or the empty value. It is
// marked as stale, since that moment and for that Reason. When d is over the
// nothing is returned; whatever else is reported before then comes at once.
// By default nothing is kept.
func KeepOnEmpty(d time.Duration) SubscribeOption {
	return func(o *subscribeOptions) {
		o.keep = d
		if d <= 0 {
			o.invalid = fmt.Errorf("KeepOnEmpty was given %v; it must be positive", d)
		}
	}
}

// apply adds opts up and says what is wrong with them.
func (o *subscribeOptions) apply(opts []SubscribeOption) error {
	for i, opt := range opts {
		if opt == nil {
			return fmt.Errorf("option %d is nil", i)
		}
		opt(o)
	}
	o.reuse = o.reuse && o.validate == nil && o.keep == 0 && !o.hasGroup
	switch {
	case o.invalid != nil:
		return o.invalid
	case !utf8.ValidString(o.group) || len(o.group) > wire.MaxKey:
		return errors.New("the queue group's name is not UTF-8, or longer than 4096 bytes")
	case o.hasGroup && o.looksTwice():
		return errors.New("a queue group hands out each update as it is; it goes with no other option")
	}
	return nil
}

// looksTwice reports whether a value that was looked at can become news.
func (o *subscribeOptions) looksTwice() bool {
	return o.states || o.bounded || o.validate != nil || o.keep > 0
}
