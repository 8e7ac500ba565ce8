package leader

import (
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// What candidates can tell this leader of registrations of the one before. They
// are those of all processes.
const (
	maxLearned      = 1 << 18
	maxLearnedBytes = 256 << 20
)

// A holding is how much one owner has announced.
type holding struct{ count, bytes int }

// keepLocked notes r, in the place of what had its id.
func (rs *registrations) keepLocked(id regID, r *registration) {
	rs.forgetLocked(id)
	rs.byID[id] = r
	rs.inherited += r.size
	h := rs.held[id.owner]
	rs.held[id.owner] = holding{h.count + 1, h.bytes + len(r.reg.Data)}
}

func (rs *registrations) forgetLocked(id regID) {
	r := rs.byID[id]
	if r == nil {
		return
	}
	delete(rs.byID, id)
	rs.inherited -= r.size
	h := rs.held[id.owner]
	h.count--
	h.bytes -= len(r.reg.Data)
	if rs.held[id.owner] = h; h.count == 0 {
		delete(rs.held, id.owner)
	}
}

// replaceLocked makes reg what r announces.
func (rs *registrations) replaceLocked(id regID, r *registration, reg Registration) {
	if rs.byID[id] == r {
		h := rs.held[id.owner]
		h.bytes += len(reg.Data) - len(r.reg.Data)
		rs.held[id.owner] = h
	}
	r.reg = reg
}

// exceededLocked returns an error if reg is more than its owner, which s is of,
// may announce. What it has announced to the leader before it may here.
func (rs *registrations) exceededLocked(s *session, reg Registration) error {
	id := regID{reg.Owner.Instance, reg.ID}
	before, h, limits := rs.byID[id], rs.held[id.owner], &rs.l.cfg.Limits
	bytes := h.bytes + len(reg.Data)
	switch {
	case before == nil && h.count >= limits.Registrations:
		return overLimitError{s.overLimit("pid %d has %d registrations already, and no more are allowed by Limits.Registrations of the leader; "+
			"close some, or raise it by WithLimits in all processes", reg.Owner.PID, h.count)}
	case before != nil && before.inherited:
		return nil
	case before != nil:
		bytes -= len(before.reg.Data)
	}
	if bytes > max(limits.Message, len(reg.Data)) {
		return overLimitError{s.overLimit("pid %d would announce %d bytes in its registrations, and all of them together may have the %d of Limits.Message of the leader; "+
			"close some, or raise it by WithLimits in all processes", reg.Owner.PID, bytes, limits.Message)}
	}
	return nil
}

// overLimitError is what answers a request that a limit refuses, as an error.
type overLimitError struct{ reply *wire.Reply }

func (e overLimitError) Error() string { return e.reply.Message }

// fullLocked reports whether no record of the leader before is learned any more.
func (rs *registrations) fullLocked(rec *clusterclientv1.Record) bool {
	full := len(rs.byID) >= maxLearned || rs.inherited+proto.Size(rec) > maxLearnedBytes
	if full && !rs.complained {
		rs.complained = true
		rs.l.log.Error("too many registrations of the leader before, the rest will not be withdrawn when their processes are gone",
			"known", len(rs.byID), "bytes", rs.inherited)
	}
	return full
}
