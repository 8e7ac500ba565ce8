package leader

import (
	"bytes"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
)

const (
	// maxResults and maxResultBytes bound what is kept of one method.
	maxResults     = 1024
	maxResultBytes = 64 << 20
)

// results keeps replies for a time. All are kept equally long, so the oldest
// is the first to go. It is not safe for concurrent use.
type results struct {
	keep   time.Duration // 0 keeps none
	byKey  map[question]*result
	oldest []*result // in the order in which they came
	bytes  int
}

type result struct {
	question question
	until    time.Time
	reply    wire.Reply
}

// get returns the reply to q, if one is kept.
func (rs *results) get(q question, now time.Time) (wire.Reply, bool) {
	rs.expire(now)
	r := rs.byKey[q]
	if r == nil {
		return wire.Reply{}, false
	}
	return r.reply, true
}

// put keeps r, whose payload may change afterwards.
func (rs *results) put(q question, r *wire.Reply, now time.Time) {
	if rs.keep <= 0 || len(r.Payload) > maxResultBytes {
		return
	}
	rs.expire(now)
	kept := &result{question: q, until: now.Add(rs.keep), reply: *r}
	kept.reply.Payload = bytes.Clone(r.Payload)
	if rs.byKey == nil {
		rs.byKey = make(map[question]*result)
	}
	rs.byKey[q] = kept
	rs.oldest = append(rs.oldest, kept)
	rs.bytes += len(r.Payload)
	for len(rs.oldest) > maxResults || rs.bytes > maxResultBytes {
		rs.dropOldest()
	}
}

func (rs *results) expire(now time.Time) {
	for len(rs.oldest) > 0 && !now.Before(rs.oldest[0].until) {
		rs.dropOldest()
	}
}

func (rs *results) dropOldest() {
	r := rs.oldest[0]
	rs.oldest[0] = nil
	rs.oldest = rs.oldest[1:]
	rs.bytes -= len(r.reply.Payload)
	if rs.byKey[r.question] == r {
		delete(rs.byKey, r.question)
	}
}
