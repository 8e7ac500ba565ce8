// Package clustertest lets a program test its use of a cluster without ports,
// processes or a config centre: a [Cluster] of clients on a network in memory,
// and an [Upstream] that does as the test says.
//
//	up := clustertest.NewUpstream()
//	up.Set("greeting", "hello")
//	cluster := clustertest.New(t, up)
//	a, b := cluster.Start(), cluster.Start() // a leads, b follows
//	…
//	a.Kill() // as kill -9 would; b leads
//
// Freeze and Thaw do what SIGSTOP and SIGCONT would.
//
// All of it works in a bubble of testing/synctest, in fake time. Under the race
// detector of Go 1.26, a bubble of many goroutines can end the process in a
// segmentation fault when it runs on more than one processor: two threads that
// run its timers at once spoil what the detector knows of them. Call
// runtime.GOMAXPROCS(1) there.
//
// The conformance suite for adapters is in package upstreamtest.
package clustertest
