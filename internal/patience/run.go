package patience

import (
	"fmt"
	"runtime/debug"
)

// A Fault is what the user's code has done instead of returning.
type Fault struct {
	who   string
	Panic any // nil when it has called runtime.Goexit
	Stack []byte
}

func (f *Fault) Error() string {
	if f.Panic == nil {
		return f.who + " called runtime.Goexit"
	}
	return fmt.Sprintf("%s panicked: %v", f.who, f.Panic)
}

// Run runs the user's code, who, in a goroutine of its own, which it may end,
// and returns its error, or a [Fault]. It waits for it for ever.
func Run(who string, code func() error) error { return <-start(who, code) }

// start is Run for those who do not wait for ever.
func start(who string, code func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		returned := false
		var err error
		defer func() {
			if p := recover(); !returned {
				err = &Fault{who: who, Panic: p, Stack: debug.Stack()}
			}
			done <- err
		}()
		err = code()
		returned = true
	}()
	return done
}
