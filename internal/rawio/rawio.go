// Package rawio reads and writes sockets without telling Go's scheduler.
//
// The scheduler makes ready for every system call to take long. When all
// processors of a process were idle, the first call afterwards wakes the
// scheduler's monitor, a thread that then looks around every 20 µs for about a
// millisecond. For a process that gets a small message now and then, which is
// what a follower is, that is more work than the message, and on a host with
// many such processes it is what the others wait for. To read or write a
// socket that does not block takes microseconds; there is nothing to make
// ready for.
package rawio

// A NowWriter is a connection that can be written to without waiting.
type NowWriter interface {
	// WriteNow writes as much of p as there is room for. Why there is none is
	// left for the next Write to find.
	WriteNow(p []byte) (n int)
}
