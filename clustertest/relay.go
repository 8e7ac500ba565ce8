package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
)

var errNoPlace = errors.New("clustertest: nobody waits for a listener there")

// A place is where a process waits for a listener of another one.
type place struct {
	h       *Host
	arrived chan *listener // one slot
}

// Relay makes a place that another process can send a listener to, until ctx
// ends. take waits for it.
func (h *Host) Relay(ctx context.Context) (name string, take func(context.Context) (net.Listener, error), err error) {
	h.wait()
	if _, err := h.RuntimeDir(); err != nil { // real ones need one, too
		return "", nil, err
	}
	p := &place{h: h, arrived: make(chan *listener, 1)}
	h.n.mu.Lock()
	if h.n.places == nil {
		h.n.places = make(map[string]*place)
	}
	h.n.ports++
	name = fmt.Sprintf("place %d", h.n.ports)
	h.n.places[name] = p
	h.n.mu.Unlock()
	context.AfterFunc(ctx, func() { h.n.closePlace(name) })
	return name, p.take, nil
}

func (n *Network) closePlace(name string) {
	n.mu.Lock()
	p := n.places[name]
	delete(n.places, name)
	n.mu.Unlock()
	if p == nil {
		return
	}
	select {
	case l := <-p.arrived:
		_ = l.Close()
	default:
	}
}

func (p *place) take(ctx context.Context) (net.Listener, error) {
	select {
	case l := <-p.arrived:
		return l, nil
	default:
	}
	select {
	case l := <-p.arrived:
		return l, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Send gives a listener of this process to whoever made the place, with the
// connections that wait in it.
func (h *Host) Send(_ context.Context, name string, lis net.Listener) error {
	h.wait()
	l, ok := lis.(*listener)
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	p := h.n.places[name]
	if !ok || p == nil || p.h.isFrozen() || len(p.arrived) > 0 || l.h != h || h.n.listeners[l.address] != l || p.h.self.UID != h.self.UID {
		return errNoPlace
	}
	passed := &listener{h: p.h, address: l.address}
	end, err := p.h.track(func() { _ = passed.free() })
	if err != nil {
		return err
	}
	passed.Listener, passed.end = l.Pass(), end
	l.end()
	h.n.listeners[l.address] = passed
	p.arrived <- passed
	return nil
}
