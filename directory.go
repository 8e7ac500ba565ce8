package clusterclient

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// settle is how long a new owner of the port waits before it gives a name
// away: long enough for a leader of that name, which outlived the owner
// before, to report.
const settle = 250 * time.Millisecond

// A directory is what the owner of the port knows of the names that other
// clients lead.
//
//	           hello of a candidate             report
//	vacant ─────────────────────────▶ granted ───────────▶ led
//	   ▲                                 │                   │
//	   └─────────────────────────────────┴───────────────────┘
//	              the stream of that client ends
//
// Granted and led last as long as the stream of the client concerned, so that
// an entry cannot outlive its leader.
type directory struct {
	s *server

	mu      sync.Mutex // guards what follows
	owner   bool
	since   time.Time // owner since
	entries map[string]*entry
	terms   map[string]uint64 // highest term seen of each name, of maxTerms of them
	settled *time.Timer       // wakes those who wait for the owner to settle
	changed chan struct{}     // closed and replaced when an entry changes
}

// An entry is a name that is granted or led.
type entry struct {
	leader   *clusterclientv1.Peer
	identity []byte
	term     uint64
	led      bool
	beaten   chan struct{} // closed when a higher term takes the entry over
}

func newDirectory(s *server) *directory {
	return &directory{s: s, entries: make(map[string]*entry), terms: make(map[string]uint64), changed: make(chan struct{})}
}

// own makes this the directory of the cluster.
func (d *directory) own() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner, d.since = true, time.Now()
	d.settled = time.AfterFunc(settle, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.announceLocked()
	})
}

// stop ends the directory's timer.
func (d *directory) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled != nil {
		d.settled.Stop()
	}
}

func (d *directory) isOwner() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.owner
}

func (d *directory) announceLocked() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// serve answers a visitor that asks for a name which is not led here.
func (d *directory) serve(v *visitor) error {
	for {
		d.mu.Lock()
		e, changed := d.entries[v.hello.GetName()], d.changed
		if e == nil && wouldLead(v.hello) && d.settledLocked(v.hello) {
			granted := d.grantLocked(v.hello)
			d.mu.Unlock()
			return d.appoint(v, granted)
		}
		var now entry // e may change
		if e != nil {
			now = *e
		}
		d.mu.Unlock()

		reason := "nobody leads the name; it takes a process that can (one with WithUpstream)"
		switch {
		case e == nil && wouldLead(v.hello):
			reason = "a leader of the name may be about to report"
		case e == nil:
		case string(now.identity) != string(v.hello.GetIdentity()):
			return v.reject(mismatch(now.leader))
		case now.led:
			return v.redirect(&now)
		default:
			reason = describe(now.leader) + " is about to lead the name"
		}
		if err := v.wait(reason, changed); err != nil {
			return err
		}
	}
}

// wouldLead reports whether whoever said h can be appointed now.
func wouldLead(h *clusterclientv1.Hello) bool { return h.GetCandidate() && !h.GetYields() }

// settledLocked reports whether a name without an entry can be given away: its
// leader is known to be gone, or has had time to report.
func (d *directory) settledLocked(h *clusterclientv1.Hello) bool {
	return h.GetLeaderLost() || time.Since(d.since) >= settle
}

func (d *directory) grantLocked(h *clusterclientv1.Hello) *entry {
	term := max(d.terms[h.GetName()], h.GetKnownTerm()) + 1
	e := &entry{leader: h.GetPeer(), identity: h.GetIdentity(), term: term, beaten: make(chan struct{})}
	d.sawLocked(h.GetName(), term)
	d.entries[h.GetName()] = e
	d.announceLocked()
	return e
}

// appoint lets the visitor lead and holds the entry as long as its stream.
func (d *directory) appoint(v *visitor, e *entry) error {
	defer d.remove(v.hello.GetName(), e)
	err := v.send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Lead{Lead: &clusterclientv1.Lead{Term: e.term}}})
	if err != nil {
		return err
	}
	return d.hold(v, e)
}

// serveReport takes the word of a client that leads a name, and holds the
// entry as long as its stream.
func (d *directory) serveReport(v *visitor, r *clusterclientv1.Report) error {
	name := v.hello.GetName()
	if name == d.s.c.name {
		return d.contest(v, r)
	}
	d.mu.Lock()
	old := d.entries[name]
	if !d.owner || old != nil && old.term >= r.GetTerm() && string(old.leader.GetInstance()) != string(v.hello.GetPeer().GetInstance()) {
		refusal := d.refusalLocked(old)
		d.mu.Unlock()
		return v.reject(refusal)
	}
	e := &entry{identity: v.hello.GetIdentity(), beaten: make(chan struct{})}
	e.report(v.hello.GetPeer(), r)
	d.sawLocked(name, e.term)
	d.entries[name] = e
	if old != nil {
		close(old.beaten)
	}
	d.announceLocked()
	d.mu.Unlock()
	defer d.remove(name, e)
	return d.hold(v, e)
}

// refusalLocked says why a report is not taken: this is not the place, or
// there is a better leader.
func (d *directory) refusalLocked(better *entry) *clusterclientv1.Reject {
	if !d.owner || better == nil {
		return &clusterclientv1.Reject{Code: clusterclientv1.Code_CODE_NOT_HERE, Message: "does not own the port", Holder: d.s.c.self()}
	}
	return &clusterclientv1.Reject{
		Code: clusterclientv1.Code_CODE_LEADERSHIP_TAKEN, Message: "leads the name", Holder: better.leader, Term: better.term,
	}
}

// contest settles who leads when the owner of the port and another client
// both do: the higher term, and in the same term the other client, which led
// before the owner came and knew nothing of it.
func (d *directory) contest(v *visitor, r *clusterclientv1.Report) error {
	own := d.s.term()
	if r.GetTerm() < own {
		return v.reject(&clusterclientv1.Reject{
			Code: clusterclientv1.Code_CODE_LEADERSHIP_TAKEN, Message: "leads the name", Holder: d.s.c.self(), Term: own,
		})
	}
	d.s.supersede(r.GetTerm())
	return v.wait("the owner of the port is stepping down", nil)
}

// report notes what a leader says of itself.
func (e *entry) report(p *clusterclientv1.Peer, r *clusterclientv1.Report) {
	e.leader = &clusterclientv1.Peer{Instance: p.GetInstance(), Pid: p.GetPid(), Address: r.GetAddress()}
	e.term, e.led = r.GetTerm(), true
}

// hold keeps an entry until its client's stream ends, or a higher term takes
// the name over.
func (d *directory) hold(v *visitor, e *entry) error {
	ended := make(chan error, 1)
	go func() { // ends with the stream
		for {
			batch, err := v.stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			for _, f := range batch.GetFrames() {
				if r := f.GetReport(); r != nil && proto.Size(r) <= maxHello {
					d.update(v, e, r)
				}
			}
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-e.beaten:
		d.mu.Lock()
		refusal := d.refusalLocked(d.entries[v.hello.GetName()])
		d.mu.Unlock()
		return v.reject(refusal)
	case <-d.s.ctx.Done():
		return nil
	}
}

func (d *directory) update(v *visitor, e *entry, r *clusterclientv1.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.report(v.hello.GetPeer(), r)
	d.sawLocked(v.hello.GetName(), e.term)
	d.announceLocked()
}

// maxTerms is of how many names the highest term is known. Whoever leads one of
// the others next begins behind the term that it knows itself.
const maxTerms = 4096

// sawLocked notes a term of a name. When there are too many, one is forgotten
// that nobody leads.
func (d *directory) sawLocked(name string, term uint64) {
	if _, ok := d.terms[name]; !ok && len(d.terms) >= maxTerms {
		for other := range d.terms {
			if d.entries[other] == nil {
				delete(d.terms, other)
				break
			}
		}
	}
	d.terms[name] = max(d.terms[name], term)
}

func (d *directory) remove(name string, e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries[name] == e {
		delete(d.entries, name)
		d.announceLocked()
	}
}

func (v *visitor) redirect(e *entry) error {
	return v.send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Redirect{
		Redirect: &clusterclientv1.Redirect{Leader: e.leader, Term: e.term},
	}})
}
