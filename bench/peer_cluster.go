package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

// clusterName is that of every cluster here; ports tell them apart.
const clusterName = "bench"

// A callKind is what travels in a call.
type callKind int

const (
	callBytes callKind = iota // []byte
	callJSON                  // Go structs
	callStub                  // protobuf messages, by generated code
)

// message is what travels as JSON.
type message struct {
	Text string `json:"text"`
}

// clusterPeer calls from a follower to the leader: over the Unix socket beside
// the port, as by default, or over the port itself, as the other peers do.
type clusterPeer struct {
	kind callKind
	tcp  bool
}

func (clusterPeer) serve(string) (string, func() error, error) {
	c, err := lead(newEchoUpstream())
	if err != nil {
		return "", nil, err
	}
	return c.Status().Address, c.Close, nil
}

func (p clusterPeer) dial(address string) (func(context.Context) error, func() error, error) {
	var opts []clusterclient.Option
	if p.tcp { // who does not share the directory does not see the socket
		opts = append(opts, clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir))
	}
	c, err := follow(address, opts...)
	if err != nil {
		return nil, nil, err
	}
	return callWith(c, p.kind), c.Close, nil
}

// localPeer calls from the leader's own process.
type localPeer struct{}

func (localPeer) selfServing() {}

func (localPeer) serve(string) (string, func() error, error) { return "", nil, nil }

func (localPeer) dial(string) (func(context.Context) error, func() error, error) {
	c, err := lead(newEchoUpstream())
	if err != nil {
		return nil, nil, err
	}
	return callWith(c, callBytes), c.Close, nil
}

func callWith(c *clusterclient.Client, kind callKind) func(context.Context) error {
	switch kind {
	case callJSON:
		request := message{Text: payload}
		return func(ctx context.Context) error {
			var reply message
			if err := c.Invoke(ctx, "echoJSON", request, &reply); err != nil {
				return err
			}
			return echoed(len(reply.Text))
		}
	case callStub:
		return echoStub(testprotov1.NewEchoServiceClient(c))
	case callBytes:
	}
	request := []byte(payload)
	return func(ctx context.Context) error {
		var reply []byte
		if err := c.Invoke(ctx, "echo", request, &reply); err != nil {
			return err
		}
		return echoed(len(reply))
	}
}

// echoUpstream offers the methods, and has no keys but large ones.
type echoUpstream struct{ next chan struct{} } // one slot

func newEchoUpstream() *echoUpstream { return &echoUpstream{make(chan struct{}, 1)} }

func (u *echoUpstream) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	if strings.HasPrefix(key, largePrefix) {
		return u.watchLarge(ctx, key, sink)
	}
	sink(leader.Update{Deleted: true})
	<-ctx.Done()
	return ctx.Err()
}

func (u *echoUpstream) Close() error { return nil }

func (u *echoUpstream) RegisterMethods(r *leader.Registry) {
	leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	leader.Handle(r, "echoJSON", func(_ context.Context, m message) (message, error) { return m, nil })
	leader.Handle(r, nextLarge, u.askNext)
	testprotov1.RegisterEchoServiceServer(r, echoServer{})
}

// lead makes a client that leads, on a port of its own.
func lead(up leader.Upstream) (*clusterclient.Client, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return join(port, opened(up), clusterclient.WithRole(clusterclient.LeaderOnly), clusterclient.WithLinger(0))
}

// follow makes a client that follows the one at address.
func follow(address string, opts ...clusterclient.Option) (*clusterclient.Client, error) {
	port, err := portOf(address)
	if err != nil {
		return nil, err
	}
	opts = append(opts, clusterclient.WithRole(clusterclient.FollowerOnly), clusterclient.WithMaxWait(10*time.Second))
	return clusterclient.Create(clusterName, port, opts...)
}

// opener is how a leader gets its upstream.
type opener = func(context.Context) (leader.Upstream, error)

// opened is the opener of one that is there already.
func opened(up leader.Upstream) opener {
	return func(context.Context) (leader.Upstream, error) { return up, nil }
}

// join makes a client that can lead.
func join(port int, open opener, opts ...clusterclient.Option) (*clusterclient.Client, error) {
	return clusterclient.Create(clusterName, port, append(opts, clusterclient.WithUpstream(open), clusterclient.WithMaxWait(10*time.Second))...)
}

func portOf(address string) (int, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
