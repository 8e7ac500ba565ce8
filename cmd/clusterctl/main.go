// Clusterctl shows the clusters of this host, and changes who leads them.
//
//	clusterctl status
//	clusterctl explain /app/limit
//	clusterctl doctor
//
// It finds the clusters of its user by itself. -port and -name choose among
// them. clusterctl help lists the commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
