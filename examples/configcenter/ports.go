package main

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/clusterclient/clusterclient"
)

// clusterPort returns the port on which the workers will meet. The library
// would tell each worker that somebody else has it; asking before they are
// started lets the example take another one instead.
func clusterPort(ctx context.Context, want int) (int, error) {
	if want != 0 {
		if err := isFree(ctx, want); err != nil {
			return 0, fmt.Errorf("-port %d is not free, choose another or leave the flag out: %w", want, err)
		}
		return want, nil
	}
	// All of these are below the range of ephemeral ports, from which systems
	// give a port to anybody who dials.
	const tries = 100
	var err error
	for port := clusterclient.DefaultPort; port < clusterclient.DefaultPort+tries; port++ {
		if err = isFree(ctx, port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("none of the ports %d to %d is free, choose one with -port: %w",
		clusterclient.DefaultPort, clusterclient.DefaultPort+tries-1, err)
}

func isFree(ctx context.Context, port int) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// listenPage listens at address. If that is busy and was not asked for, any
// free port of the same host will do.
func listenPage(ctx context.Context, address string, asked bool) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		return l, nil
	}
	if asked {
		return nil, fmt.Errorf("-http %s: %w", address, err)
	}
	host, _, _ := net.SplitHostPort(address)
	return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
}
