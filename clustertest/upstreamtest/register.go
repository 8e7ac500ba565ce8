package upstreamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

const noRegistrar = skip("the upstream is no Registrar")

// registration returns what a client called owner announces.
func registration(owner string, id uint64, key string, data []byte) leader.Registration {
	peer := leader.Peer{Instance: owner, PID: os.Getpid(), Since: time.Now()}
	return leader.Registration{Owner: peer, ID: id, Key: key, Data: data}
}

func (e *env) register(up leader.Upstream, r leader.Registration) error {
	ctx, cancel := e.step()
	defer cancel()
	r.Data = bytes.Clone(r.Data)
	defer clear(r.Data) // it is ours again, and must not be theirs any more
	if err := up.(leader.Registrar).Register(ctx, r); err != nil {
		return fmt.Errorf("Register(%s/%d, %q): %w", r.Owner.Instance, r.ID, r.Key, err)
	}
	return nil
}

func (e *env) deregister(up leader.Upstream, r leader.Registration) error {
	ctx, cancel := e.step()
	defer cancel()
	if err := up.(leader.Registrar).Deregister(ctx, r); err != nil {
		return fmt.Errorf("Deregister(%s/%d, %q): %w", r.Owner.Instance, r.ID, r.Key, err)
	}
	return nil
}

// announced returns what others see of r.
func (e *env) announced(r leader.Registration) (state, error) {
	ctx, cancel := e.step()
	defer cancel()
	look := func(ctx context.Context, r leader.Registration) ([]byte, bool, error) { return e.h.Get(ctx, r.Key) }
	if d, ok := e.h.(Directory); ok {
		look = d.Announced
	}
	data, exists, err := look(ctx, r)
	if err != nil {
		return state{}, fmt.Errorf("harness: look up %q: %w", r.Key, err)
	}
	return state{data: data, deleted: !exists}, nil
}

// present checks that r is announced.
func (e *env) present(r leader.Registration) error {
	if have, err := e.announced(r); err != nil {
		return err
	} else if want := (state{data: r.Data}); !have.equal(want) {
		return fmt.Errorf("announced for %q: %v, want %v", r.Key, have, want)
	}
	return nil
}

// absent checks that r is not announced.
func (e *env) absent(r leader.Registration) error {
	if have, err := e.announced(r); err != nil {
		return err
	} else if !have.deleted {
		return fmt.Errorf("announced for %q: %v, want nothing", r.Key, have)
	}
	return nil
}

func checkRegister(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	r := registration("owner", 1, "upstreamtest.register", nil)
	for n := range 3 {
		r.Data = number(n)
		if err := errors.Join(e.register(e.up, r), e.present(r)); err != nil {
			return err
		}
		r.Data = number(n + 1)
		if err := errors.Join(e.register(e.up, r), e.present(r)); err != nil {
			return fmt.Errorf("after an update: %w", err)
		}
		if err := errors.Join(e.deregister(e.up, r), e.absent(r)); err != nil {
			return fmt.Errorf("after Deregister: %w", err)
		}
	}
	return nil
}

// checkRegisterFails demands an error where there can be no acknowledgement, and
// that what has failed can be made up for.
func checkRegisterFails(e *env) error {
	reg, ok := e.up.(leader.Registrar)
	if !ok {
		return noRegistrar
	}
	ended, cancel := context.WithCancel(e.ctx)
	cancel()
	never := registration("owner", 1, "upstreamtest.register-fails", number(1))
	if err := reg.Register(ended, never); err == nil {
		return errors.New("Register with a context that had ended = nil, want an error")
	}
	r, ok := e.h.(Restarter)
	if !ok {
		return nil
	}
	there := registration("owner", 2, "upstreamtest.deregister-fails", number(2))
	if err := errors.Join(e.register(e.up, there), e.present(there), e.stop(r)); err != nil {
		return err
	}
	if err := timesOut(e.ctx, "Register", func(ctx context.Context) error { return reg.Register(ctx, never) }); err != nil {
		return err
	}
	if err := timesOut(e.ctx, "Deregister", func(ctx context.Context) error { return reg.Deregister(ctx, there) }); err != nil {
		return err
	}
	if err := e.start(r); err != nil {
		return err
	}
	for _, r := range []leader.Registration{never, there} {
		if err := e.withdrawn(reg, r); err != nil {
			return err
		}
	}
	return nil
}

// withdrawn deregisters r, again and again, as a leader does.
func (e *env) withdrawn(reg leader.Registrar, r leader.Registration) error {
	ctx, cancel := e.step()
	defer cancel()
	for {
		err := reg.Deregister(ctx, r)
		if err == nil {
			if err = e.absent(r); err != nil {
				return fmt.Errorf("after an outage and Deregister: %w", err)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("Deregister, %v after the upstream has come back, = %w", patience, err)
		case <-time.After(quiet):
		}
	}
}

// checkRegisterApart has registrations that only owner or ID tell apart, and
// withdraws one after the other.
func checkRegisterApart(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	all := []leader.Registration{
		registration("one", 1, "upstreamtest.apart-1", number(1)),
		registration("one", 2, "upstreamtest.apart-2", number(2)),
		registration("two", 1, "upstreamtest.apart-3", number(3)),
	}
	for _, r := range all {
		if err := e.register(e.up, r); err != nil {
			return err
		}
	}
	for i := range all {
		for _, r := range all[i:] {
			if err := e.present(r); err != nil {
				return err
			}
		}
		if err := errors.Join(e.deregister(e.up, all[i]), e.absent(all[i])); err != nil {
			return err
		}
	}
	return nil
}

// checkRegisterMoves replaces a registration by one with another key.
func checkRegisterMoves(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	before := registration("owner", 1, "upstreamtest.moves-before", number(1))
	after := registration("owner", 1, "upstreamtest.moves-after", number(2))
	if err := errors.Join(e.register(e.up, before), e.present(before)); err != nil {
		return err
	}
	if err := errors.Join(e.register(e.up, after), e.present(after)); err != nil {
		return err
	}
	if err := e.absent(before); err != nil {
		return fmt.Errorf("after it was registered with another key: %w", err)
	}
	return errors.Join(e.deregister(e.up, after), e.absent(after))
}

func checkDeregisterAbsent(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	never := registration("owner", 1, "upstreamtest.never", number(1))
	if err := e.deregister(e.up, never); err != nil {
		return fmt.Errorf("of what was never registered: %w", err)
	}
	twice := registration("owner", 2, "upstreamtest.twice", number(2))
	if err := errors.Join(e.register(e.up, twice), e.deregister(e.up, twice)); err != nil {
		return err
	}
	if err := e.deregister(e.up, twice); err != nil {
		return fmt.Errorf("for the second time: %w", err)
	}
	return nil
}

// checkAdopted lets a second instance adopt a registration while the first,
// which is closed afterwards, still has it.
func checkAdopted(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	first, err := e.open()
	if err != nil {
		return err
	}
	r := registration("owner", 1, "upstreamtest.adopted", number(1))
	if err := e.register(first, r); err != nil {
		return errors.Join(err, e.close(first))
	}
	stop := e.guard(r)
	err = errors.Join(e.register(e.up, r), e.close(first), e.present(r))
	if err == nil {
		err = e.outlast()
	}
	if err = errors.Join(err, stop()); err != nil {
		return fmt.Errorf("during the handover: %w", err)
	}
	return e.deregister(e.up, r)
}

// checkInherited lets the first instance go before there is a second one.
func checkInherited(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	first, err := e.open()
	if err != nil {
		return err
	}
	r := registration("owner", 1, "upstreamtest.inherited", number(1))
	if err := e.register(first, r); err != nil {
		return errors.Join(err, e.close(first))
	}
	stop := e.guard(r)
	err = errors.Join(e.close(first), e.present(r))
	second, oerr := e.open()
	if oerr != nil {
		return errors.Join(err, oerr, stop())
	}
	if err == nil {
		err = errors.Join(e.register(second, r), e.outlast())
	}
	if err = errors.Join(err, stop()); err != nil {
		return errors.Join(fmt.Errorf("during the handover: %w", err), e.close(second))
	}
	return errors.Join(e.deregister(second, r), e.close(second))
}

// guard looks at r again and again until the function that it returns is
// called, which tells whether r was seen absent or changed at any time.
func (e *env) guard(r leader.Registration) (stop func() error) {
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if err := e.present(r); err != nil {
				done <- err
				return
			}
			select {
			case <-quit:
				done <- nil
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() error {
		close(quit)
		return <-done
	}
}

// outlast waits until what nobody keeps alive is gone.
func (e *env) outlast() error {
	wait := quiet
	if x, ok := e.h.(Expirer); ok {
		wait += x.Expiry()
	}
	select {
	case <-time.After(wait):
		return nil
	case <-e.ctx.Done():
		return e.ctx.Err()
	}
}

// checkExpires abandons a registration: Close leaves it, and time takes it.
func checkExpires(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	if _, ok := e.h.(Expirer); !ok {
		return skip("the harness is no Expirer")
	}
	first, err := e.open()
	if err != nil {
		return err
	}
	r := registration("owner", 1, "upstreamtest.expires", number(1))
	if err := errors.Join(e.register(first, r), e.close(first)); err != nil {
		return err
	}
	if err := e.present(r); err != nil {
		return fmt.Errorf("after Close: %w", err)
	}
	if err := e.outlast(); err != nil {
		return err
	}
	if err := e.absent(r); err != nil {
		return fmt.Errorf("abandoned for longer than Expiry: %w", err)
	}
	return nil
}

// checkOrphaned withdraws by one instance what another one has announced that
// is gone: an owner and its leader may die together.
func checkOrphaned(e *env) error {
	if _, ok := e.up.(leader.Registrar); !ok {
		return noRegistrar
	}
	first, err := e.open()
	if err != nil {
		return err
	}
	r := registration("owner", 1, "upstreamtest.orphaned", number(1))
	if err := errors.Join(e.register(first, r), e.close(first), e.deregister(e.up, r)); err != nil {
		return err
	}
	if e.absent(r) == nil {
		return nil
	}
	if err := e.outlast(); err != nil {
		return err
	}
	if err := e.absent(r); err != nil {
		return fmt.Errorf("after Deregister by another instance than the one that had announced it and is closed, and longer than Expiry: %w", err)
	}
	return nil
}
