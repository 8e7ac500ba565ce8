package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // what was asked for could not be done
	exitUsage   = 2 // the command line makes no sense
	exitNobody  = 3 // there is no such cluster, or nobody leads it
	exitUnwell  = 4 // something is wrong, such as a leader that does not answer or a value that is stale
	exitMissing = 5 // the key does not exist, or has no value yet
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error // nil when all was said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func nobody(format string, args ...any) error {
	return &exitError{exitNobody, fmt.Errorf(format, args...)}
}

// An app is one run of the tool.
type app struct {
	out, errs io.Writer
	style     style

	credentials []clusterclient.Option // to be let in by

	port     int
	name     string
	json     bool
	timeout  time.Duration
	dir      string
	count    int
	interval time.Duration
	yes      bool

	address                         string
	secretFile                      string
	tlsCert, tlsKey, tlsCA, tlsName string
}

// flags returns the flags of all commands, and where the choice of -o goes.
func (a *app) flags() (fs *flag.FlagSet, output *string, noColour *bool) {
	fs = flag.NewFlagSet("clusterctl", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&a.port, "port", 0, "`port` of the cluster; without it, the ports of this user's clusters, and the default one")
	fs.StringVar(&a.name, "name", "", "`name` of the cluster; without it, all, or the only one there is")
	output = fs.String("o", "table", "output: table or json")
	fs.DurationVar(&a.timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	fs.StringVar(&a.dir, "dir", "", "runtime `directory` of the clusters; without it, the user's")
	fs.IntVar(&a.count, "n", 0, "watch, top: stop after `n`; 0 goes on until interrupted; keys: no more than so many, stale ones first")
	fs.DurationVar(&a.interval, "interval", time.Second, "top: how often to look")
	noColour = fs.Bool("no-color", false, "no colour; the default when the output is no terminal, or NO_COLOR is set")
	fs.BoolVar(&a.yes, "yes", false, "resign, depose: do not ask whether that is meant")
	fs.StringVar(&a.address, "address", "", "the `IP` address of the cluster, for one that has WithAddress")
	fs.StringVar(&a.secretFile, "secret-file", "", "`file` with the secret of the cluster, for one that has WithSecret")
	fs.StringVar(&a.tlsCert, "tls-cert", "", "`file` with a certificate, for a cluster that has WithTLS")
	fs.StringVar(&a.tlsKey, "tls-key", "", "`file` with the key of it")
	fs.StringVar(&a.tlsCA, "tls-ca", "", "`file` with the certificates of the authorities")
	fs.StringVar(&a.tlsName, "tls-name", "", "the `name` that the leaders' certificates are for; without it, the address")
	return fs, output, noColour
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	a := &app{out: out, errs: errs}
	err := a.run(ctx, args)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
	}
	if errors.Is(err, clusterclient.ErrInvalid) {
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintln(errs, "clusterctl:", strings.TrimPrefix(text, "clusterclient: "))
	}
	if code == exitUsage {
		_, _ = fmt.Fprintln(errs, "clusterctl help lists the commands")
	}
	return code
}

func (a *app) run(ctx context.Context, args []string) error {
	fs, output, noColour := a.flags()
	words, err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) || err == nil && (len(words) == 0 || words[0] == "help") {
		a.help(fs)
		return nil
	}
	if err != nil {
		return usage("%w", err)
	}
	if a.json = *output == "json"; !a.json && *output != "table" {
		return usage("-o is %q, not table or json", *output)
	}
	if err := a.checkNumbers(); err != nil {
		return err
	}
	a.style = styleOf(a.out, *noColour)
	if a.credentials, err = a.readCredentials(); err != nil {
		return usage("%w", err)
	}
	i := slices.IndexFunc(commands(), func(c command) bool { return c.name == words[0] })
	if i < 0 {
		return usage("there is no command %q", words[0])
	}
	c := commands()[i]
	if len(words)-1 < len(c.args) || len(words)-1 > c.most() {
		return usage("usage: clusterctl %s", c.usage())
	}
	return c.run(a, ctx, words[1:])
}

// checkNumbers says which flag has a number that makes no sense.
func (a *app) checkNumbers() error {
	switch {
	case a.timeout <= 0:
		return usage("-timeout is %v; it must be positive", a.timeout)
	case a.interval <= 0:
		return usage("-interval is %v; it must be positive", a.interval)
	case a.count < 0:
		return usage("-n is %d; it must not be negative", a.count)
	}
	return nil
}

// parse takes flags from anywhere among the words, up to a "--".
func parse(fs *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return words, nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(words, rest...), nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}
