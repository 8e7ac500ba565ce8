// Package clusterclient lets the processes of one host share one connection to
// a config centre or service registry.
//
// # The idea
//
// N processes on a host that watch the same keys of etcd, Nacos, Consul or
// ZooKeeper cost N connections and N watches for each key, times every host.
// With this package each of them calls [Create] with the same name and port.
// All try to bind that loopback port. The winner is the leader: it opens the
// upstream, watches each key once and keeps the newest values. The others are
// followers: they subscribe, invoke and publish through it. When the leader
// dies another process takes its place within milliseconds, and the program
// does not notice.
//
// Nothing has to be deployed and nothing configured.
//
// # A first program
//
//	c, err := clusterclient.Create("config", 0,
//		clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
//			client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
//			if err != nil {
//				return nil, err
//			}
//			return etcd.New(client, etcd.WithOwnedClient()), nil
//		}))
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	for limit, err := range clusterclient.Watch[int](ctx, c, "/app/limit") {
//		if err != nil {
//			return err
//		}
//		pool.Resize(limit)
//	}
//
// # Roles
//
// A process leads, follows, or, between terms, does neither; [Client.Role]
// tells, and no program needs to ask. Every [Client] holds a
// [follower.Follower] in either role. It keeps the subscriptions, the newest
// values, the registrations and the calls under way; what a takeover changes
// is only what is behind it: a session within the process or one over gRPC.
// So a call in the leader's own process has the same deadlines, the same trip
// through the codec and the same errors as one from elsewhere.
//
// A leadership has a number, its term, which grows with every takeover.
// [WithRole] keeps a client to one role, [WithSingleProcess] does without any
// socket. Names are independent: one port carries many, one process can lead
// some and follow others, and closing one moves only that one.
//
// A leader that resigns or is closed, as a program does when it is told to go,
// hands over: another process has opened the upstream and heard of every key
// before it goes. No call fails and no value turns stale. Upstreams that
// allow no second connection have [WithStrictlyOneUpstream].
//
// A leader that dies is replaced within milliseconds. One that neither dies nor
// speaks, because it is stopped or hangs, keeps the port; its values turn stale
// after [WithStaleAfter], and after [WithDeposeAfter] another process leads at
// another address. For that the processes of a user share a directory, see
// [WithRuntimeDir]; [Status.LeaseTrouble] says where they do not.
//
// A leader that lives and has lost its upstream is blind: all values turn stale
// at once, [Status.BlindSince] tells in every process, and, with
// [WithResignWhenBlind], a process that reaches the upstream leads instead.
//
// # What a subscriber is promised
//
// For one key, the values that a subscription yields are a subsequence of what
// the upstream reported, in order. It begins with the newest known value. Its
// revisions strictly grow, across takeovers too. Once the upstream is quiet,
// its last element is the upstream's value.
//
// That is: you always end up with the newest value, you may skip some if you
// are slow, you never see time run backwards, and a takeover by itself tells
// you nothing new. A reader that is slow costs nobody anything; a value equal
// to the last one yielded is not yielded again. Deletion is a value, and so is
// the empty value.
//
// A value is fresh while the upstream vouches for it, and stale otherwise: when
// there is no leader, when the leader is silent or has lost its upstream, or
// when a new leader has not heard of the key yet. [follower.Value] says which,
// since when, why, and where the value comes from. Nothing is taken away for
// being stale, unless the subscription asks for it:
//
//   - [follower.WithStates] yields changes of the state as well;
//   - [follower.MaxStale] fails with [ErrStale] when a value has been stale for
//     too long, [follower.FailClosed] when it is stale at all;
//   - [follower.Validate] passes over bad values: the last good one stays;
//   - [follower.KeepOnEmpty] keeps the last value for a while when the upstream
//     suddenly reports nothing.
//
// [follower.QueueGroup] is the other kind of subscription: each update goes to
// exactly one member of the group.
//
// [follower.Follower.SubscribeAll] reads many keys with one goroutine:
//
//	addresses, err := c.SubscribeAll(ctx, services)
//	if err != nil {
//		return err
//	}
//	defer addresses.Close()
//	for v, err := range addresses.Values(ctx) {
//		if err != nil {
//			return err
//		}
//		balancer.Update(v.Key, v.Data)
//	}
//
// The whole contract is in docs/delivery.md; each sentence there names the tests
// that hold it.
//
// [WithSnapshot] keeps the newest values on disk. If the upstream cannot be
// opened when all processes start, Create succeeds all the same, and the values
// from there are served, stale, until it can. A file that the operator puts
// beside them overrides a key.
//
// # What a caller is promised
//
// Only methods that the leader's process registered can be called; see
// [leader.Service]. They take plain Go values, protobuf messages or bytes. A
// Client is a [google.golang.org/grpc.ClientConnInterface] too, so the client
// that protoc-gen-go-grpc generates for any service works over it, unary and
// streaming:
//
//	reply, err := pb.NewGreeterClient(c).SayHello(ctx, req)
//
// Deadline, cancellation and metadata reach the handler. A call that expired
// before it was started is not started. A call waits for a leader, within its
// deadline, when there is none. If the leader dies after it may have started
// the call, the call ends at once with [ErrOutcomeUnknown], unless the method
// was registered as [leader.Idempotent]: then the next leader runs it.
//
// A method can have a policy in the leader: identical calls under way share one
// run ([leader.Coalesce]) and for some time its result ([leader.CacheFor]), and
// no more than so many run at once ([leader.Limit]), of which no client has
// all.
//
// # What a registrant is promised
//
// Publish is one acknowledged write. Register announces something upstream for
// as long as the process lives: it is acknowledged, announced again by each new
// leader, withdrawn at Close, and withdrawn a few seconds after the process
// dies.
//
// # Errors
//
// Errors are an [*Error] or wrap one; errors.Is finds the sentinels such as
// [ErrNoLeader], [ErrStale] and [ErrClosed] in them. What a handler or the upstream
// answered is a gRPC status, for package status to read; [FromLeader] tells it
// from a failure to get an answer.
//
// # Seen from outside
//
// [Client.Status] tells what this process is, [Client.Stats] what it has done,
// and [Client.Explain] how the value of a key comes from the upstream to each
// of its subscribers. [Client.Inspect] tells what the leader knows of its
// followers and keys, and [Inspect] what there is on a port, for tools.
//
// # Who is let in
//
// Processes of the same user, and nobody else. The leader asks the system who
// connects, and a follower asks it who holds the port before it believes or
// sends anything; where the system does not tell, both prove that they can
// read a file of that user. [WithPeers] lets other users in, [WithSecret]
// whoever knows a secret, [WithTLS] whoever has a certificate; with one of
// these two, [WithAddress] lets containers and hosts in that cannot reach
// 127.0.0.1. Whoever is refused gets [ErrPeerRefused], with the reason and what to do. [Limits] bound
// what those who are let in can make the leader hold.
//
// [WithIdentity] guards against mistakes, not against attackers. The whole
// model, with what it leaves out, is in docs/security.md.
//
// # Testing
//
// Package clustertest has a cluster in memory and an upstream that does as the
// test says; both work in fake time. Package upstreamtest below it is the
// conformance suite for adapters.
package clusterclient
