// Package holder finds the process that listens on a port.
package holder

// A Process is one that holds a port. The zero Process is an unknown one.
type Process struct {
	PID     int
	Program string
}
