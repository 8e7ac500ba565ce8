package follower

import "github.com/clusterclient/clusterclient/internal/wire"

// replies are those that came in one batch. Their attempts are found, and those
// who wait for them woken, all at once: whoever runs again calls again, and while
// the next reply is being looked for would be in the way of that.
type replies struct {
	came     []wire.Reply
	attempts []*attempt // that wait for them; nil for a reply that nobody waits for
}

func (r *replies) add(reply *wire.Reply) {
	reply.Keep()
	r.came = append(r.came, *reply)
}

// takeReplies gives the replies of a batch to the attempts that wait for them.
func (l *link) takeReplies(r *replies) {
	if len(r.came) == 0 {
		return
	}
	r.attempts = l.waiting.takeAll(r.came, r.attempts[:0])
	waiting := 0
	for i, a := range r.attempts {
		if a == nil {
			r.came[i].Release()
			continue
		}
		a.reply = r.came[i]
		waiting++
	}
	l.w.ExpectCallers(waiting)
	for _, a := range r.attempts {
		if a != nil {
			a.done <- answered
		}
	}
	clear(r.came)
	clear(r.attempts)
	r.came = r.came[:0]
}

// takeReply gives a reply that came alone to the attempt that waits for it.
func (l *link) takeReply(reply *wire.Reply) {
	if a := l.waiting.take(reply.ID); a != nil {
		reply.Keep()
		a.reply = *reply
		l.w.ExpectCallers(1)
		a.done <- answered
	}
}
