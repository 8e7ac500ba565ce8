// Package leader has what runs in the one process of a cluster that leads: it
// owns the [Upstream], watches each key once, hands the newest values to every
// follower and runs the methods that followers invoke.
//
// Adapters implement [Upstream] and, where they can do more, [Getter], [Prober],
// [Publisher], [Registrar], [Service] and [Starter]. [Leader] itself is driven by package
// clusterclient; programs have no use for it.
package leader

import (
	"context"
	"crypto/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/repeats"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	heartbeatEvery = time.Second

	// upstreamRetryFirst and Longest bound the pause before a failed watch or
	// withdrawal is tried again.
	upstreamRetryFirst   = 500 * time.Millisecond
	upstreamRetryLongest = 30 * time.Second

	// registrationGrace is how long a registration outlives its owner's
	// session; longer than a takeover takes.
	registrationGrace = 3 * time.Second
)

// A Leader serves the followers of one name for one term. Create it with
// [New]; its methods are safe for concurrent use.
type Leader struct {
	cfg        Config
	up         Upstream
	methods    *Registry
	plainBytes bool // what is called "bytes" is codec.Bytes
	regs       *registrations
	trouble    complaint // of watches
	source     source
	ramp       ramp
	sight      sight
	log        hclog.Logger

	ctx       context.Context // ends with the leadership
	cancel    context.CancelCauseFunc
	work      sync.WaitGroup // what Close waits for: watches, calls, the heartbeat
	links     sync.WaitGroup // sessions, which end when their streams do
	seq       atomic.Uint64  // of the newest revision
	failed    atomic.Uint64  // oneway calls that failed
	repeats   repeats.Repeats
	term      atomic.Uint64 // changed with mu held
	present   atomic.Int64  // sessions now
	since     time.Time
	joined    atomic.Uint64 // sessions so far
	silent    atomic.Uint64 // watches that were
	refused   atomic.Uint64 // calls, for want of room
	lingering atomic.Int64  // keys
	tallies   [tallyShards]tally

	// mu guards what follows. It is taken before a key's mutex, that before
	// a session's, and that before a writer's.
	mu       sync.Mutex
	keys     map[string]*key
	numbers  uint64              // of keys so far, by which followers find theirs
	ending   map[string]*key     // those that are gone, whose watches have not ended
	sessions map[string]*session // by session id
	running  int                 // calls and streams
	loose    map[*call]struct{}  // those of no session: streams, oneway calls, and what goes on when its session has ended
	leaving  bool
	closed   bool
	drained  chan struct{} // closed when leaving and nothing runs
	updates  uint64        // values that keys which are gone have had
	failures uint64        // of their watches
	absence  string        // why there is no upstream, if there is none
	hooks    []func()      // of the program, that are to be called
	calling  bool          // somebody does
	absent   bool          // and that is not about to change

	successor []byte // instance; nil unless somebody in particular is to lead next
	override  map[string]*Override
	last      map[string]*key // those that there were when it was closed

	prepared atomic.Uint64 // successors so far
	stopping sync.Once
	stopped  error // set by stopping
}

// New starts a leadership on up. It fails, without closing up, when up
// registers its methods wrongly.
//
// Without an upstream, when up is nil, the Leader has only the values that
// Seed knows, and tells its followers to start nothing with it; see
// [Leader.Absent].
func New(cfg Config, up Upstream) (*Leader, error) {
	methods, err := cfg.methods(up)
	if err != nil {
		return nil, err
	}
	l := &Leader{
		cfg: cfg, up: up, methods: methods, log: cfg.Logger,
		keys:     make(map[string]*key),
		ending:   make(map[string]*key),
		sessions: make(map[string]*session),
		loose:    make(map[*call]struct{}),
		drained:  make(chan struct{}),
		since:    time.Now(),
		absence:  "the upstream is being opened",
	}
	l.term.Store(cfg.Term)
	l.plainBytes = cfg.Codec.Name() != codec.Bytes.Name() || cfg.Codec == codec.Bytes
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.trouble.log, l.source = l.log, source{up, l.log}
	l.ramp.rate, l.ramp.bell = cfg.Rate, make(chan struct{}, 1)
	l.regs = newRegistrations(l, cfg.Records)
	l.sight.start(l)
	l.work.Go(l.beat)
	l.work.Go(l.beginWatches)
	if g, ok := up.(Getter); ok && cfg.Reread > 0 {
		l.work.Go(func() { l.reread(g) })
	}
	if cfg.Warm != nil {
		l.work.Go(func() {
			_ = l.sleep(warmUnclaimed)
			cfg.Warm.rest()
		})
	}
	return l, nil
}

// Term returns the number of the leadership. It grows when a follower turns
// up that has seen a higher one.
func (l *Leader) Term() uint64 { return l.term.Load() }

// raise lifts the term above one that a follower has seen under another
// leader, so that revisions grow for that follower too.
func (l *Leader) raise(known uint64, by []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	term := l.term.Load()
	if known < term || known == term && string(by) == string(l.cfg.Self.GetInstance()) {
		return
	}
	l.term.Store(known + 1)
	l.log.Info("term raised, a follower has seen a later one", "term", known+1, "was", term)
	for _, k := range l.keys {
		k.restamp(known + 1)
	}
	for _, s := range l.sessions {
		s.dueBeat()
	}
}

// startAfter makes the sequence of revisions go on above seq: a value from
// before may come to carry this leadership's term.
func (l *Leader) startAfter(seq uint64) {
	for {
		now := l.seq.Load()
		if now >= seq || l.seq.CompareAndSwap(now, seq) {
			return
		}
	}
}

// beat lets every follower know, once a second, that this leader's own loop
// still runs.
func (l *Leader) beat() {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		_ = l.Stats() // takes every mutex: not in a leader that is deadlocked
		l.sight.forget()
		if l.cfg.Beat != nil {
			l.cfg.Beat()
		}
		for _, s := range l.allSessions() {
			s.dueBeat()
		}
	}
}

// mayAct returns why somebody else may be leading already.
func (l *Leader) mayAct() error {
	if l.cfg.MayAct == nil {
		return nil
	}
	return l.cfg.MayAct()
}

// A fence lets nothing out to other processes once somebody else may be leading.
// What the leader's own process gets was reported before.
type fence struct {
	*wire.Moving
	l *Leader
}

// Prompt reports whether SendNow, which asks nobody, may be called.
func (f *fence) Prompt() bool { return f.l.mayAct() == nil && f.Moving.Prompt() }

func (f *fence) SendMsg(m any) error {
	if err := f.l.mayAct(); err != nil {
		return err
	}
	return f.Moving.SendMsg(m)
}

func (l *Leader) allSessions() []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*session, 0, len(l.sessions))
	for _, s := range l.sessions {
		all = append(all, s)
	}
	return all
}

// Serve runs the session of a follower that sent hello, until its stream
// fails or the leadership ends. The first thing it sends is Welcome.
func (l *Leader) Serve(stream wire.Stream, hello *clusterclientv1.Hello, from Origin) error {
	l.raise(hello.GetKnownTerm(), hello.GetKnownLeader())
	var moving *wire.Moving
	if string(hello.GetPeer().GetInstance()) != string(l.cfg.Self.GetInstance()) {
		moving = wire.NewMoving(stream)
		stream = &fence{moving, l}
	}
	s := newSession(l, stream, hello, from)
	s.moving = moving
	if !l.admit(s) {
		return errLeaving
	}
	return s.run()
}

// Direct returns a function that starts a call of the session called id, as if
// it had come over the session's stream. The reply goes to reply. It is for
// the follower in the leader's own process: a call need not cross a stream
// there, and so takes two goroutines instead of five. What the function is
// given must not change any more, but for the Call itself. Without such a
// session it returns nil.
func (l *Leader) Direct(id []byte, reply func(*wire.Reply)) func(*wire.Call) (taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sessions[string(id)]
	if s == nil {
		return nil
	}
	return func(f *wire.Call) bool { return s.startCall(f, reply) }
}

// Lane gives the session called id a connection that its stream can move to,
// which the system says is of a process of user uid. It is false when the
// session is not there, or cannot move: then conn is left to the caller.
func (l *Leader) Lane(id []byte, uid int, conn net.Conn) bool {
	l.mu.Lock()
	s := l.sessions[string(id)]
	l.mu.Unlock()
	return s != nil && s.moving != nil && s.peer.UID == uid && s.moving.Move(conn)
}

func (l *Leader) admit(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaving {
		return false
	}
	l.sessions[s.id] = s
	l.present.Add(1)
	l.links.Add(1)
	s.welcome(l.term.Load())
	if l.cfg.Joined != nil && !s.own() {
		l.tellLocked(func() { l.cfg.Joined(s.peer) })
	}
	if l.up == nil {
		s.dueLeaving(&clusterclientv1.Leaving{Reason: clean(l.absence)})
	}
	if l.up == nil || l.sight.blind.Load() {
		s.dueBeat() // which says so
	}
	return true
}

func (l *Leader) dismiss(s *session, err error) {
	l.mu.Lock()
	delete(l.sessions, s.id)
	l.present.Add(-1)
	if l.cfg.Left != nil && !s.own() {
		why := s.why(err)
		l.tellLocked(func() { l.cfg.Left(s.peer, why) })
	}
	l.mu.Unlock()
	l.regs.ownerLeft(s.peer.Instance)
	l.links.Done()
}

// hasSession reports whether the client called instance has a session.
func (l *Leader) hasSession(instance string) bool { return l.sessionOf(instance) != nil }

// sessionOf returns the session of a client, nil when it has none.
func (l *Leader) sessionOf(instance string) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		if s.peer.Instance == instance {
			return s
		}
	}
	return nil
}

func newSessionID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return string(id)
}
