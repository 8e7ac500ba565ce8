// Configcenter shows the main job of package clusterclient: a handful of
// processes that need the same configuration, and an etcd that serves only one
// connection and one watcher for all of them.
//
//	go run ./examples/configcenter
//
// starts an etcd in a temporary folder and four worker processes, and shows
// them here and on a web page, where one can edit the key, kill a worker and
// start another. With -tour it plays that story by itself.
//
// Read worker.go first: it is what an application would contain. The rest
// starts, watches and ends the processes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options are the flags.
type options struct {
	etcd    string
	workers int
	port    int
	http    string
	httpSet bool // by the user, so that another address will not do
	tour    bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == workerCommand {
		exit(workerMain(os.Args[2:]))
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2)
	}
	// `configcenter | head` is to end in good order as well: by the error of
	// writing, not by a signal. SIGHUP comes when the terminal is closed.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err = run(ctx, o)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "configcenter:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("configcenter", flag.ContinueOnError)
	fs.StringVar(&o.etcd, "etcd", "", "use the etcd at this `host:port` (default: one in a temporary folder)")
	fs.IntVar(&o.workers, "workers", 4, "how many worker processes to start")
	fs.IntVar(&o.port, "port", 0, "port of the cluster (default: 17777, or a free one above it)")
	fs.StringVar(&o.http, "http", "127.0.0.1:8080", "address of the web page; another port is used if it is busy,\nunless the flag is given")
	fs.BoolVar(&o.tour, "tour", false, "play the story unattended, without the page, and exit")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	fs.Visit(func(f *flag.Flag) { o.httpSet = o.httpSet || f.Name == "http" })
	var err error
	switch {
	case fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.workers < 1:
		err = fmt.Errorf("-workers %d: at least one is needed", o.workers)
	case o.tour && o.workers < 2:
		err = fmt.Errorf("-workers %d: the tour kills the leader and needs another worker to follow it", o.workers)
	case o.port < 0 || o.port > 65535:
		err = fmt.Errorf("-port %d: not a port", o.port)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "configcenter:", err)
	}
	return o, err
}

// run does everything. What it starts it ends before it returns, also when
// something panics.
func run(ctx context.Context, o options) (err error) {
	port, err := clusterPort(ctx, o.port)
	if err != nil {
		return err
	}
	etcd, err := openEtcd(ctx, o.etcd)
	if err != nil {
		return err
	}
	s := newSupervisor(ctx, etcd, port)
	defer func() {
		if closeErr := s.close(); err == nil {
			err = closeErr
		}
	}()
	if err := s.startWorkers(o.workers); err != nil {
		return err
	}
	if o.tour {
		return playTour(s, o.workers, os.Stdout)
	}
	page, err := servePage(s, o)
	if err != nil {
		return err
	}
	s.spawn(func(ctx context.Context) error { return show(ctx, s, page) })
	return s.wait()
}
