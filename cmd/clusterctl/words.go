package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/clusterclient/clusterclient"
)

// cause is what an error of the library says beyond what it was that failed.
func cause(err error) string {
	if e, ok := errors.AsType[*clusterclient.Error](err); ok && e.Cause != nil {
		return e.Cause.Error()
	}
	return err.Error()
}

func resume(pid int) string {
	return fmt.Sprintf("let it go on (kill -CONT %d) or end it (kill -KILL %d)", pid, pid)
}

func kill(pid int) string {
	if pid == 0 {
		return "kill -KILL its pid"
	}
	return fmt.Sprintf("kill -KILL %d", pid)
}

// counted says how many things there are.
func counted(n uint64, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// were counts things to which something was done.
func were(n uint64, one, several string) string {
	return counted(n, one+" was", several+" were")
}

// shellWord is how a name is typed.
func shellWord(name string) string {
	if strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_./") == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
