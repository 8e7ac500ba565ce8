package leader

import (
	"context"
	"time"
)

// An Upstream is the client of a config centre or service registry that the
// leader owns. It is what an adapter implements and what the function given
// to clusterclient.WithUpstream returns. Its methods are called from several
// goroutines at once.
//
// A method that panics, or calls [runtime.Goexit] as a test's FailNow does, has
// failed; nothing else is harmed.
//
// An Upstream that can do more implements [Getter], [Prober], [Publisher],
// [Registrar] or [Service] as well, and one that has very many keys [Starter].
type Upstream interface {
	// Watch reports the value that key has now, and then each change of it,
	// by calling sink, until ctx ends. A key that does not exist is reported
	// as deleted. It returns ctx's error then, and otherwise what went wrong;
	// it is called again, after a pause, when it returns. There is at most
	// one Watch under way for a key.
	//
	// Calling sink again with the present value is harmless and means that
	// the upstream vouches for it. sink does not block, must not be called
	// from two goroutines at once, and does nothing once Watch has returned.
	Watch(ctx context.Context, key string, sink func(Update)) error

	// Close releases the connection. It is called once, when the leadership
	// ends, after every Watch has been told to end. It must leave
	// registrations alone, since the next leader adopts them; one that has
	// to go is withdrawn by Deregister before. The next leader waits for it
	// for 5 s at most.
	Close() error
}

// An Update is one value of a key as the upstream reports it.
type Update struct {
	// Data is the value. Nil and empty are the same value. What is reported is
	// copied: the memory may be used again when the sink has returned.
	Data []byte

	// Version is the upstream's own mark of the value, such as a modification
	// revision or a checksum. Opaque; empty when there is none.
	Version string

	// Deleted is true when the key does not exist. Data is ignored then.
	Deleted bool
}

// A Starter is an [Upstream] whose watches need no goroutine each: it has those
// of all keys on one stream, or is called by its client when a value changes. The
// leader then never calls Watch. A key takes several KiB less so.
type Starter interface {
	// StartWatch begins to do what Watch does, and returns a function that
	// ends it, which is called once at most, but maybe when the watch has just
	// ended by itself. Neither waits for the upstream: one goroutine starts the
	// watches of all keys, and one that takes 3 s is logged. What Watch would report goes to
	// sink.Report; when the watch has ended, by itself or since stop was
	// called, and nothing is reported any more, sink.End is called. Both may
	// happen before StartWatch or stop returns. When the watch could not be
	// started, and End was called for that, stop may be nil.
	StartWatch(key string, sink Sink) (stop func())
}

// A Sink takes what the watch of a key reports. Both its methods do not block.
type Sink interface {
	// Report takes an update. It must not be called from two goroutines at
	// once, and does nothing after End.
	Report(u Update)

	// End says that the watch has ended, and why, which is of no interest when
	// it was told to. Only the first call counts.
	End(err error)
}

// A Getter is an [Upstream] that can be asked for a value once. The leader does
// so now and then, to find a watch that has gone silent.
type Getter interface {
	// Get returns the value that key has now; one that does not exist as
	// deleted. Version is as Watch would report it.
	Get(ctx context.Context, key string) (Update, error)
}

// A Prober is an [Upstream] that can tell whether what is behind it answers.
// Without one the leader knows only from its watches that it has lost the
// upstream: when every one of them has failed.
type Prober interface {
	// Probe returns nil when the upstream has answered, even if the answer is
	// no, and else what is in the way. It asks over the connection that the
	// watches use. The leader calls it every five seconds, soon after a watch
	// has failed, and once a second while it fails; ctx ends after three. When
	// it fails, every watch is ended and begun anew.
	Probe(ctx context.Context) error
}

// A Publisher is an [Upstream] that can write.
type Publisher interface {
	// Publish writes data as the value of key and returns when the upstream
	// has acknowledged it. It does not keep data.
	Publish(ctx context.Context, key string, data []byte) error
}

// A Registrar is an [Upstream] that can announce something for as long as a
// process lives.
type Registrar interface {
	// Register announces r, or replaces what was announced under the same
	// owner and ID. It is called again for every registration by each new
	// leader and after the upstream was opened anew. It does not keep r.Data.
	Register(ctx context.Context, r Registration) error

	// Deregister withdraws r. Withdrawing what is not there is no error. When
	// it fails it is called again. It is called, too, for what another
	// instance has announced, and this one never has, if r's owner died
	// together with the leader before: that has to go at once, or soon by
	// itself, as a lease does.
	Deregister(ctx context.Context, r Registration) error
}

// A Service is an [Upstream] whose process offers methods to the cluster.
// Only what it registers can be called.
type Service interface {
	// RegisterMethods is called once, before the first follower is served.
	RegisterMethods(r *Registry)
}

// A Registration is something announced upstream on behalf of a process.
type Registration struct {
	// Owner is who announces it.
	Owner Peer

	// ID tells the registrations of one owner apart.
	ID uint64

	// Key and Data are what is announced.
	Key  string
	Data []byte
}

// A Peer is one client in one process of the cluster.
type Peer struct {
	// Instance is unique to the client, and new each time one is created.
	Instance string `json:"instance"`

	// PID is the operating system's number of its process. On Linux it is
	// what the system says of the connection; 0 where the process cannot be
	// seen, as in another pid namespace. Elsewhere it is what the process says
	// of itself.
	PID int `json:"pid"`

	// Started is when the process was started, in ticks since the host was.
	// It tells a process from a later one with the same PID; 0 where the
	// system does not tell.
	Started uint64 `json:"started,omitempty"`

	// UID is the user that the process ran as when it connected; -1 where the
	// system does not tell.
	UID int `json:"uid"`

	// Since is when the leader first heard of it.
	Since time.Time `json:"since"`
}
