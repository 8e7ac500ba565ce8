//go:build !linux

package holder

// Find knows no process: there is no portable way to ask.
func Find(port int) (Process, bool) { return Process{}, false }
