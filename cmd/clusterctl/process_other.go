//go:build !linux

package main

// The system does not tell these in a way that all systems share.

func ephemeralPorts() (low, high int, ok bool) { return 0, 0, false }

func stopped(int) bool { return false }
