package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
)

// A command is one word of the tool.
type command struct {
	name   string
	args   []string // needed
	option string   // one more that it takes
	does   string
	hidden bool // from help
	run    func(a *app, ctx context.Context, args []string) error
}

func (c command) usage() string {
	words := append([]string{c.name}, c.args...)
	if c.option != "" {
		words = append(words, "["+c.option+"]")
	}
	return strings.Join(words, " ")
}

// most is how many arguments it takes.
func (c command) most() int {
	if c.option == "" {
		return len(c.args)
	}
	return len(c.args) + 1
}

// commands returns all commands in the order in which help lists them.
func commands() []command {
	return []command{
		{name: "status", does: "who owns the port, who leads which name, how its upstream is", run: (*app).status},
		{name: "keys", option: "PREFIX", does: "the keys that are watched, with age, state and subscribers", run: (*app).keys},
		{name: "get", args: []string{"KEY"}, does: "print the value of a key", run: (*app).get},
		{name: "watch", args: []string{"KEY"}, does: "print each value of a key", run: (*app).watch},
		{name: "explain", args: []string{"KEY"}, does: "how a key's value comes from the upstream to each subscriber", run: (*app).explain},
		{name: "followers", does: "the processes of a cluster, and how far each one is", run: (*app).followers},
		{name: "top", does: "the same live, with rates", run: (*app).top},
		{name: "doctor", does: "find what is wrong, and say what to do", run: (*app).doctor},
		{name: "invoke", args: []string{"METHOD"}, option: "JSON", does: "call a method of the leader's process, with a JSON argument", run: (*app).invoke},
		{name: "publish", args: []string{"KEY"}, option: "VALUE", does: "write a value, or what comes on standard input", run: (*app).publish},
		{name: "resign", does: "let the leader hand over to another process, in good order", run: (*app).resign},
		{name: "depose", does: "the same at once, whatever calls are under way, and of a leader that hangs, too", run: (*app).depose},
		{name: "completion", args: []string{"SHELL"}, does: "print completions for bash, zsh or fish", run: (*app).completion},
		{name: "schema", does: "print the JSON Schema of what -o json prints", run: (*app).schema},
		{name: "complete-keys", option: "PREFIX", hidden: true, run: (*app).completeKeys},
		{name: "version", does: "print the version", run: (*app).version},
	}
}

func (a *app) help(fs *flag.FlagSet) {
	a.print("usage: clusterctl [flags] command [arguments]\n\nCommands:\n")
	for _, c := range commands() {
		if c.hidden {
			continue
		}
		a.print("  %-22s %s\n", c.usage(), c.does)
	}
	a.print("\nFlags, anywhere on the line:\n")
	fs.VisitAll(func(f *flag.Flag) {
		arg, text := flag.UnquoteUsage(f)
		a.print("  %-22s %s\n", strings.TrimSpace("-"+f.Name+" "+arg), text)
	})
	a.print("\nExit codes: 0 fine; 1 failed; 2 usage; 3 no such cluster, or nobody leads it;\n" +
		"4 something is wrong, or the value is stale; 5 the key does not exist.\n")
}

func (a *app) print(format string, args ...any) { _, _ = fmt.Fprintf(a.out, format, args...) }

func (a *app) warn(format string, args ...any) { _, _ = fmt.Fprintf(a.errs, format+"\n", args...) }
