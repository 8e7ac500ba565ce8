package follower

import (
	"encoding/hex"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A recordID tells one registration in the cluster from another.
type recordID struct {
	owner        string
	registration uint64
}

// A known registration is one that some leader has told of.
type known struct {
	record *clusterclientv1.Record
	by     *link // of the leader that told it last
}

// record keeps what the leader told of a registration.
func (f *Follower) record(l *link, r *clusterclientv1.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := recordID{hex.EncodeToString(r.GetOwner().GetInstance()), r.GetRegistration()}
	if r.GetWithdrawn() {
		delete(f.records, id)
	} else {
		f.records[id] = known{r, l}
	}
}

// recordsTold forgets what the leader of l has not told of: most likely it was
// withdrawn while this process was away. But it may be that the leader before
// died before it told this one, which therefore hears of it now.
func (f *Follower) recordsTold(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, k := range f.records {
		if k.by != l {
			delete(f.records, id)
			l.w.Send(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Record{Record: k.record}}, nil)
		}
	}
}

// Records returns the registrations of the cluster, as the last leader knew
// them.
func (d *Driver) Records() []*clusterclientv1.Record {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	all := make([]*clusterclientv1.Record, 0, len(d.f.records))
	for _, k := range d.f.records {
		all = append(all, k.record)
	}
	return all
}
