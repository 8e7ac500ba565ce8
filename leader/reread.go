package leader

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/clusterclient/clusterclient/internal/patience"
)

const (
	// rereadDoubt is how long a watch may lag behind what was read before it
	// counts as silent.
	rereadDoubt = 5 * time.Second

	// rereadLooks is over how many steps a round is spread at least, and how
	// often new keys are looked for when there are few.
	rereadLooks = 20

	// rereadTimeout bounds one read.
	rereadTimeout = 10 * time.Second
)

// errSilentWatch ends a watch that has missed something.
var errSilentWatch = errors.New("the upstream's watch was silent although the value has changed; watching anew")

// reread reads every key now and then, and watches anew those whose watch has
// gone silent. What was read is not reported itself: only the watch knows in
// which order values came.
func (l *Leader) reread(g Getter) {
	for l.sleep(rereadDoubt) {
		keys := l.allKeys()
		period := l.cfg.Reread
		period += time.Duration((rand.Float64() - 0.5) / 5 * float64(period)) //nolint:gosec // it only spreads load
		pause := period / time.Duration(max(len(keys), rereadLooks))
		var suspects []*key
		for _, k := range keys {
			if !l.sleep(pause) {
				return
			}
			if k.differs(g) {
				suspects = append(suspects, k)
			}
		}
		if len(keys) == 0 {
			if !l.sleep(pause) {
				return
			}
			continue
		}
		if rest := rereadLooks - len(keys); rest > 0 && !l.sleep(time.Duration(rest)*pause) {
			return
		}
		if !l.sleep(rereadDoubt) {
			return
		}
		for _, k := range suspects {
			if k.differs(g) {
				k.l.silent.Add(1)
				k.watchAnew(errSilentWatch)
			}
		}
	}
}

// sleep returns false when the leadership is over.
func (l *Leader) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// differs reports whether the upstream has another value than its watch has
// reported. A value that is not vouched for anyway differs from nothing.
func (k *key) differs(g Getter) bool {
	k.mu.Lock()
	_, known := k.upstreamsLocked()
	vouched, before := k.vouchedLocked(), k.updates
	k.mu.Unlock()
	if !vouched {
		return false
	}
	now, err := k.get(g)
	if err != nil {
		k.l.log.Debug("key not read again", "key", k.name, "error", err)
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.updates == before && !sameUpdate(known, now)
}

func (k *key) vouchedLocked() bool {
	if k.over != nil {
		return k.reported && !k.over.stale
	}
	return k.reported && !k.stale
}

func (k *key) get(g Getter) (u Update, err error) {
	ctx, cancel := context.WithTimeout(k.l.ctx, rereadTimeout)
	defer cancel()
	err = patience.Run("Get", func() (err error) {
		u, err = g.Get(ctx, k.name)
		return err
	})
	return u, err
}
