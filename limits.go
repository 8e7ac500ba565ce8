package clusterclient

import (
	"cmp"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/internal/gate"
	"github.com/clusterclient/clusterclient/internal/wire"
)

// Limits bound what a process of the cluster lets others make it hold. They
// are those of the process that leads. A limit of 0 stands for its default.
type Limits struct {
	// Handshake bounds how long a connection may take until it has said
	// hello; the default is 3 s. It is closed then. A client of ours tries
	// again; [Create] fails with [ErrLimit] in the end. To hear that, a client
	// waits a second longer than its own Handshake for whoever has accepted its
	// connection; so all processes need the same. It waits as long for a process
	// that holds the port and says nothing.
	Handshake time.Duration

	// Unauthenticated is how many connections may be about to say hello; the
	// default is 256. With one more, the first that has not been let in is
	// closed. A client of ours tries again; [Create] fails with [ErrLimit] in
	// the end.
	Unauthenticated int

	// TLSHandshake is how many bytes are read of whoever connects, with
	// [WithTLS], before his certificate is found good; the default is 12 KiB,
	// which is more than a chain of three certificates for RSA keys of 4096 bits
	// takes. It cannot be less than 4 KiB. [Create] fails if the certificates
	// that this process has to show do not fit.
	TLSHandshake int

	// Sessions is how many sessions one process may have; the default is
	// 1024. A client needs one for each cluster. One more is refused with
	// [ErrLimit].
	Sessions int

	// Subscriptions is how many keys one session may subscribe to; the
	// default is 262144. Next of a subscription above it fails with
	// [ErrLimit], once, as [follower.Subscription.Next] says; it is served when
	// another one is closed. Of keys that nobody subscribes to any more as many
	// linger, of all sessions together; see [WithLinger].
	Subscriptions int

	// Calls is how many calls of one session may be under way; the default is
	// 16384. One more is refused with [ErrLimit], whose status is
	// ResourceExhausted, and a stream waits until another one has ended. Of the
	// calls of one method that run at once, see [leader.Limit] and
	// [leader.Share].
	Calls int

	// Registrations is how many registrations one client may have, across its
	// sessions; the default is 4096. All that it announces in them may have
	// Message bytes together. What is above fails with [ErrLimit].
	Registrations int

	// Groups is how many queue groups one key may have, those of all clients
	// together; the default is 256. A group lasts as long as anybody subscribes to
	// the key, and a while longer, see [WithLinger]. Joining one more fails with [ErrLimit].
	Groups int

	// Message is how large a value, argument or result may be, in bytes; the
	// default is 64 MiB, and it cannot be more. A larger one is refused with
	// [ErrTooLarge].
	Message int

	// Key is how long a key, or a name of a method or queue group, may be, in
	// bytes; the default is 4096, and longer ones are never taken. A longer one
	// is refused with [ErrTooLarge].
	Key int
}

// WithLimits changes limits; those that are 0 keep their default.
func WithLimits(l Limits) Option { return func(o *options) { o.limits = l } }

func (l Limits) withDefaults() Limits {
	return Limits{
		Handshake:       cmp.Or(l.Handshake, 3*time.Second),
		Unauthenticated: cmp.Or(l.Unauthenticated, 256),
		TLSHandshake:    cmp.Or(l.TLSHandshake, gate.DefaultHandshakeRoom),
		Sessions:        cmp.Or(l.Sessions, 1024),
		Subscriptions:   cmp.Or(l.Subscriptions, 262144),
		Calls:           cmp.Or(l.Calls, 16384),
		Registrations:   cmp.Or(l.Registrations, 4096),
		Groups:          cmp.Or(l.Groups, 256),
		Message:         cmp.Or(l.Message, wire.MaxMessage),
		Key:             cmp.Or(l.Key, 4096),
	}
}

// toTell is how much longer than a leader with the same limits lets it take to
// say hello a client waits for an answer: so it hears why it has to go.
const toTell = time.Second

// patience returns how long a client waits for whoever has accepted its
// connection and says nothing.
func (l Limits) patience() time.Duration {
	return max(l.Handshake, l.Handshake+toTell) // which may be more than there is
}

func (l Limits) check() error {
	if l.Handshake < 0 {
		return fmt.Errorf("WithLimits was given a Handshake of %v; it must be positive", l.Handshake)
	}
	for name, n := range map[string]int{
		"Unauthenticated": l.Unauthenticated, "TLSHandshake": l.TLSHandshake, "Sessions": l.Sessions, "Subscriptions": l.Subscriptions,
		"Calls": l.Calls, "Registrations": l.Registrations, "Groups": l.Groups, "Message": l.Message, "Key": l.Key,
	} {
		if n < 0 {
			return fmt.Errorf("WithLimits was given %s %d; it must be positive", name, n)
		}
	}
	if l.TLSHandshake != 0 && l.TLSHandshake < gate.LeastHandshakeRoom {
		return fmt.Errorf("WithLimits was given a TLSHandshake of %d bytes; %d are the least", l.TLSHandshake, gate.LeastHandshakeRoom)
	}
	if l.Message > wire.MaxMessage {
		return fmt.Errorf("WithLimits was given a Message of %d bytes, more than %d are not possible", l.Message, wire.MaxMessage)
	}
	return nil
}
