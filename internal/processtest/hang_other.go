//go:build !linux

package processtest

// hang has to be known to the system that runs it.
func hang() { panic("this process cannot be made to hang here") }
