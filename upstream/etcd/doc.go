// Package etcd makes etcd v3 the upstream of a cluster.
//
//	client, err := clientv3.New(clientv3.Config{
//		Endpoints:         []string{"https://etcd-1:2379", "https://etcd-2:2379"},
//		DialKeepAliveTime: 5 * time.Second,
//	})
//	...
//	up := etcd.New(client, etcd.WithPrefix("/app/"), etcd.WithOwnedClient())
//
// # Connections
//
// An [Upstream] uses one connection, that of its client, and on it one stream
// for all its watches, one for its lease, and a small read every few seconds.
// etcd's client opens a stream for each distinct set of outgoing gRPC metadata
// that a watch's context carries; the adapter therefore removes all metadata
// from the contexts of its watches, so that thousands of keys share a stream.
//
// # Watching
//
// A Watch begins with a linearizable read and goes on from the revision after
// it. It reports every change that etcd still remembers, in order. A broken
// stream is resumed at the revision that it had come to; a revision that was
// compacted away meanwhile is replaced by another read. The version of a value
// is its modification revision in decimal, that of a deletion the revision of
// the delete; it is empty for a key that does not exist when it is read, since
// etcd does not say since when.
//
// etcd's client waits in silence for an etcd that is gone. So that the leader
// learns of it, the adapter reads at intervals, and at once when the
// connection breaks. When such a read fails for [ReachTimeout], or shows that
// the revision went back because etcd was restored from a backup, each Watch
// returns with an error, and the leader's next Watch begins anew.
//
// For a leader that gives way when it does not reach etcd and another process
// does, [Reach] is the probe of clusterclient.WithResignWhenBlind:
//
//	clusterclient.WithResignWhenBlind(30*time.Second, etcd.Reach(config, etcd.WithPrefix("/app/")))
//
// # Registrations
//
// A registration is a key bound to a lease, one for the whole adapter, which
// is kept alive as long as the adapter is open. A lost lease is replaced and
// the keys are written again, except those that somebody else has written
// since. Close does not revoke the lease: the next leader writes the keys with
// a lease of its own before the old one runs out, so that they are never
// absent. Without a next leader they vanish within [WithLeaseTTL].
//
// Deregister deletes a key only while it is bound to a lease that this adapter
// wrote it with. What an earlier leader announced and this one did not is left
// to its lease. Two registrations of one host with the same key share it: the
// newest data stands, and withdrawing one brings the other's back.
//
// # Methods
//
// Followers can read keys that they do not subscribe to, with the methods
// [MethodGet] and [MethodList].
package etcd
