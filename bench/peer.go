package main

import (
	"context"
	"fmt"
)

// payload is what is sent and echoed: 100 bytes of text.
const payload = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz.."

// A peer is one way for a process to call another, which echoes. The library
// is one of them, several times over.
type peer interface {
	// serve runs in the server's process and returns where to dial.
	serve(broker string) (address string, stop func() error, err error)

	// dial runs in each caller's process. call sends the payload and fails
	// unless the payload comes back; it is safe for concurrent use.
	dial(address string) (call func(context.Context) error, stop func() error, err error)
}

// A brokered peer needs a third process, which both sides connect to.
type brokered interface {
	broker() (address string, stop func() error, err error)
}

// A selfServing peer calls within one process: address is empty, and there is
// no server's process.
type selfServing interface{ selfServing() }

// Names of peers, as tables show them.
const (
	ours      = "clusterclient"
	oursJSON  = "clusterclient, JSON"
	oursStub  = "clusterclient, stub"
	oursTCP   = "clusterclient, TCP"
	oursLocal = "clusterclient, in process"
	grpcUnary = "grpc-go unary"
	grpcBidi  = "grpc-go stream"
	netRPC    = "net/rpc gob"
	natsPeer  = "NATS"
	rawTCP    = "raw TCP, batched"
	nodePeer  = "Node cluster-client"
)

func callPeers() []string {
	return []string{ours, grpcUnary, oursStub, oursTCP, grpcBidi, oursJSON, netRPC, oursLocal, natsPeer, rawTCP}
}

func peerNamed(name string) (peer, error) {
	switch name {
	case ours:
		return clusterPeer{kind: callBytes}, nil
	case oursJSON:
		return clusterPeer{kind: callJSON}, nil
	case oursStub:
		return clusterPeer{kind: callStub}, nil
	case oursTCP:
		return clusterPeer{kind: callBytes, tcp: true}, nil
	case oursLocal:
		return localPeer{}, nil
	case grpcUnary:
		return unaryPeer{}, nil
	case grpcBidi:
		return bidiPeer{}, nil
	case netRPC:
		return rpcPeer{}, nil
	case natsPeer:
		return natsCallPeer{}, nil
	case rawTCP:
		return rawPeer{}, nil
	}
	return nil, fmt.Errorf("there is no peer %q", name)
}

// echoed checks what came back.
func echoed(n int) error {
	if n != len(payload) {
		return fmt.Errorf("%d bytes came back instead of %d", n, len(payload))
	}
	return nil
}
