package clusterclient

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Why a term can end before the client does.
var (
	errResigned = errors.New("resigned")
	errDeposed  = errors.New("deposed by an operator")
)

// A deposedError says who has deposed this leader, which was asked itself.
type deposedError struct{ who string }

func (e *deposedError) Error() string        { return errDeposed.Error() + ", " + e.who }
func (e *deposedError) Is(target error) bool { return target == errDeposed }
func (e *deposedError) alarming()            {}

// A supersededError says what has begun elsewhere while this leader hung.
type supersededError struct {
	term      uint64
	deposedBy int // pid of the operator; 0 when it was somebody who leads now
}

func (e *supersededError) Error() string {
	if e.deposedBy != 0 {
		return fmt.Sprintf("%v, pid %d, since this process hung", errDeposed, e.deposedBy)
	}
	return fmt.Sprintf("term %d has begun elsewhere", e.term)
}

func (e *supersededError) alarming() {}

// A hangsError says why this client takes its leader's place.
type hangsError struct {
	silent    time.Duration
	deposedBy int    // pid of the operator; 0 when it is for the silence
	term      uint64 // that begins
}

func (e *hangsError) Error() string {
	if e.deposedBy != 0 {
		return fmt.Sprintf("it hangs and was %v, pid %d; this process takes over in term %d", errDeposed, e.deposedBy, e.term)
	}
	return fmt.Sprintf("it hangs, silent for %v; this process takes over in term %d", e.silent, e.term)
}

func (e *hangsError) alarming() {}

// alarming is a reason for a change of role that somebody should look into.
type alarming interface {
	error
	alarming()
}

// logTurn writes the one line that there is for a change of role. The last of
// args is the reason.
func (c *Client) logTurn(what string, args ...any) {
	level := hclog.Info
	reason, _ := args[len(args)-1].(error)
	if _, ok := errors.AsType[alarming](reason); ok {
		level = hclog.Warn
	}
	c.log.Log(level, what, args...)
}
