//go:build !unix

package clusterclient

import (
	"context"
	"net"
)

// Relay fails: there is no portable way.
func (loopback) Relay(context.Context) (string, func(context.Context) (net.Listener, error), error) {
	return "", nil, errNoRelay
}

// Send fails, too.
func (loopback) Send(context.Context, string, net.Listener) error { return errNoRelay }
