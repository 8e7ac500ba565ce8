package clusterclient

import (
	"context"
	"errors"
	"net"
)

// A relay is a [Network] on which a listener can be given to another process
// of the same user, with the connections that wait in it. The address stays
// bound meanwhile.
type relay interface {
	// Relay makes a place, until ctx ends, that one listener can be sent to.
	// take waits for it, and fails when its context ends first, or has ended
	// and nothing is there.
	Relay(ctx context.Context) (place string, take func(context.Context) (net.Listener, error), err error)

	// Send gives lis to whoever made the place. Unless it fails, lis is closed
	// here, and open there.
	Send(ctx context.Context, place string, lis net.Listener) error
}

var errNoRelay = errors.New("listeners cannot be sent here")

// A parcel is what came to a place, or why nothing did.
type parcel struct {
	lis net.Listener
	err error
}

// takeFrom returns the function that waits for a parcel.
func takeFrom(arrived <-chan parcel) func(context.Context) (net.Listener, error) {
	return func(ctx context.Context) (net.Listener, error) {
		select {
		case p := <-arrived:
			return p.lis, p.err
		default:
		}
		select {
		case p := <-arrived:
			return p.lis, p.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
