package main

import "os/exec"

// become does nothing: the tests of other users are for Linux.
func become(*exec.Cmd, int) {}
