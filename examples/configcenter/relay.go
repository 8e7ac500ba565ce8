package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A relay passes connections on to an address and counts them.
type relay struct {
	l    net.Listener
	to   string
	open atomic.Int64
	end  context.CancelFunc
	wg   sync.WaitGroup
}

func newRelay(ctx context.Context, to string) (*relay, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx)) // ctx bounds the start alone
	r := &relay{l: l, to: to, end: end}
	r.wg.Go(func() { r.accept(ctx) })
	return r, nil
}

func (r *relay) address() string { return r.l.Addr().String() }
func (r *relay) count() int      { return int(r.open.Load()) }

func (r *relay) close() error {
	err := r.l.Close()
	r.end()
	r.wg.Wait()
	return err
}

func (r *relay) accept(ctx context.Context) {
	for {
		conn, err := r.l.Accept()
		if err != nil {
			return // closed
		}
		r.wg.Go(func() { r.pass(ctx, conn) })
	}
}

// pass copies both ways until one end closes or ctx ends.
func (r *relay) pass(ctx context.Context, from net.Conn) {
	defer from.Close()
	to, err := new(net.Dialer).DialContext(ctx, "tcp", r.to)
	if err != nil {
		return
	}
	defer to.Close()
	r.open.Add(1)
	defer r.open.Add(-1)
	over := make(chan struct{}, 2)
	copyTo := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src) // ends with either connection
		over <- struct{}{}
	}
	r.wg.Go(func() { copyTo(to, from) })
	r.wg.Go(func() { copyTo(from, to) })
	select {
	case <-over:
	case <-ctx.Done():
	}
}
