package leader

import (
	"context"
	"time"

	"github.com/clusterclient/clusterclient/internal/backoff"
)

// withdrawers is how many registrations of processes that are gone are withdrawn
// at once. A process may have had thousands, and the upstream has others to serve.
const withdrawers = 32

// withdrawals is what is to be withdrawn since its process is gone. One that
// fails makes room for others until it is tried again.
//
//	due ──▶ running ──▶ done
//	 ▲         │ it fails
//	 └─ again ◀┘
type withdrawals struct {
	due     []*withdrawal
	again   map[*withdrawal]*time.Timer
	running int // goroutines
}

// A withdrawal is that of one registration.
type withdrawal struct {
	id    regID
	r     *registration
	reg   Registration // for the log
	retry backoff.Backoff
}

// doomLocked withdraws r until that succeeds, or its owner has come back.
func (rs *registrations) doomLocked(id regID, r *registration) {
	r.inherited = false // nobody waits for it to be announced again, others' withdrawals neither
	r.doomed = true
	rs.isDueLocked(&withdrawal{
		id: id, r: r, reg: r.reg, retry: backoff.Backoff{Min: upstreamRetryFirst, Max: upstreamRetryLongest},
	})
}

func (rs *registrations) isDueLocked(w *withdrawal) {
	ws := &rs.withdrawals
	ws.due = append(ws.due, w)
	if ws.running < withdrawers {
		ws.running++
		rs.l.work.Go(rs.withdrawDue)
	}
}

// withdrawDue withdraws what is due until there is nothing any more.
func (rs *registrations) withdrawDue() {
	for w := rs.nextDue(); w != nil; w = rs.nextDue() {
		ctx, cancel := context.WithTimeout(rs.l.ctx, upstreamRetryLongest)
		err := rs.withdrawDoomed(ctx, w.id, w.r)
		cancel()
		if err != nil {
			rs.notWithdrawn(w.reg, err)
			rs.tryAgain(w)
		}
	}
}

// nextDue returns nil when there is nothing to do for one goroutine.
func (rs *registrations) nextDue() (w *withdrawal) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	ws := &rs.withdrawals
	if rs.over || len(ws.due) == 0 {
		ws.running--
		return nil
	}
	w, ws.due[0] = ws.due[0], nil
	ws.due = ws.due[1:]
	return w
}

// tryAgain makes w due after a pause.
func (rs *registrations) tryAgain(w *withdrawal) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.over {
		return
	}
	if rs.withdrawals.again == nil {
		rs.withdrawals.again = make(map[*withdrawal]*time.Timer)
	}
	rs.withdrawals.again[w] = time.AfterFunc(w.retry.Next(), func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		delete(rs.withdrawals.again, w)
		if !rs.over {
			rs.isDueLocked(w)
		}
	})
}

func (ws *withdrawals) stop() {
	for _, t := range ws.again {
		t.Stop()
	}
}
