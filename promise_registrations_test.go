package clusterclient_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// An announced registration, and what its owner knows of it. Its data begin with
// the number of the update that they are of.
type announced struct {
	node *clustertest.Node
	key  string
	made time.Time // when it began to be registered

	mu      sync.Mutex // guards what follows
	reg     *follower.Registration
	there   bool // was acknowledged
	busy    bool // an operation is under way
	updates int
	acked   int       // the newest update that was acknowledged
	doubt   bool      // an update has failed: it may have been stored, and be replaced by the one before
	failed  bool      // Register has, or Close, which can be called again
	closing bool      // Close was called
	closed  bool      // and was acknowledged
	ended   time.Time // when its process began to; zero if it has not
	unheard bool      // that led, and nobody else knew of the registration

	known struct { // when it was looked at last
		acked  int
		closed bool
	}
}

func (a *announced) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%q of %p: acknowledged %v, update %d of %d, in doubt %v, failed %v, closing %v, closed %v, process ended %v",
		a.key, a.node, a.there, a.acked, a.updates, a.doubt, a.failed, a.closing, a.closed, a.ended)
}

func (a *announced) data(update int) []byte { return []byte(strconv.Itoa(update) + " of " + a.key) }

// beginUpdate returns what is to be updated, and the number of that.
func (a *announced) beginUpdate() (reg *follower.Registration, update int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy || !a.there || a.closing || !a.ended.IsZero() {
		return nil, 0, false
	}
	a.busy = true
	a.updates++
	return a.reg, a.updates, true
}

func (a *announced) beginClose() (reg *follower.Registration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.there || a.closing && !a.failed {
		return nil, false
	}
	a.closing, a.failed = true, false
	return a.reg, true
}

func (a *announced) end(unheard bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended, a.unheard = time.Now(), unheard
}

// noted says that what is known now was known before what happens next.
func (a *announced) noted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.acked, a.known.closed = a.acked, a.closed
}

// broken returns why the upstream must not have been told e: what lives, and was not away for long, stays,
// what was withdrawn stays so, and newer data are not replaced by older.
func (a *announced) broken(e clustertest.RegistrationEvent, away bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !e.Registered {
		lives := a.there && !a.closing && a.ended.IsZero() && !away
		return when(lives, "was withdrawn")
	}
	update, err := updateOf(string(e.Data))
	switch {
	case err != nil:
		return err
	case a.known.closed:
		return errors.New("was announced after it had been withdrawn")
	case update < a.known.acked:
		return fmt.Errorf("was announced with update %d after %d had been acknowledged", update, a.known.acked)
	}
	return nil
}

func updateOf(data string) (int, error) {
	number, _, _ := strings.Cut(data, " ")
	return strconv.Atoi(number)
}

// unsettled returns what is wrong with the upstream's data, if it has any, when
// there is no trouble any more.
func (a *announced) unsettled(data string, there bool, rough []time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted := a.there && !a.closing && a.ended.IsZero()
	switch {
	case (a.busy || a.closing && !a.closed) && a.ended.IsZero():
		return errors.New("an operation has not ended")
	case !there:
		return when(wanted, "is not registered")
	case !wanted:
		return when(!a.forgotten(rough), "is registered still")
	}
	update, err := updateOf(data)
	if err != nil {
		return err
	}
	return when(update != a.acked && !a.doubt, "has the data of update %d", update)
}

// forgotten reports whether all who knew of it may have died with its owner.
func (a *announced) forgotten(rough []time.Time) bool {
	return a.unheard || !a.ended.IsZero() && 1 < len(slices.DeleteFunc(slices.Clone(rough), func(r time.Time) bool {
		return r.Sub(a.ended).Abs() > 15*time.Second
	}))
}
