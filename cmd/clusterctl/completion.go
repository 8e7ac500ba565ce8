package main

import (
	"context"
	"flag"
	"strings"

	"github.com/clusterclient/clusterclient/internal/build"
)

func (a *app) version(context.Context, []string) error {
	a.print("clusterctl %s\n", build.Version())
	return nil
}

const bashCompletion = `# eval "$(clusterctl completion bash)"
_clusterctl() {
	local cur=${COMP_WORDS[COMP_CWORD]}
	case ${COMP_WORDS[COMP_CWORD-1]} in
	-o) COMPREPLY=($(compgen -W "table json" -- "$cur")); return ;;
	completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$cur")); return ;;
	get | watch | explain | publish)
		COMPREPLY=($(compgen -W "$(clusterctl complete-keys 2>/dev/null)" -- "$cur")); return ;;
	esac
	case $cur in
	-*) COMPREPLY=($(compgen -W "FLAGS" -- "$cur")) ;;
	*) COMPREPLY=($(compgen -W "COMMANDS" -- "$cur")) ;;
	esac
}
complete -F _clusterctl clusterctl
`

const zshCompletion = `# source <(clusterctl completion zsh)
autoload -U bashcompinit && bashcompinit
`

const fishCompletion = `# clusterctl completion fish | source
complete -c clusterctl -f -n __fish_use_subcommand -a "COMMANDS"
complete -c clusterctl -f -n "__fish_seen_subcommand_from get watch explain publish" -a "(clusterctl complete-keys 2>/dev/null)"
complete -c clusterctl -f -n "__fish_seen_subcommand_from completion" -a "bash zsh fish"
complete -c clusterctl -x -s o -a "table json"
`

func (a *app) completion(_ context.Context, args []string) error {
	text, ok := map[string]string{
		"bash": bashCompletion, "zsh": zshCompletion + bashCompletion, "fish": fishCompletion,
	}[args[0]]
	if !ok {
		return usage("completions are for bash, zsh and fish, not %q", args[0])
	}
	var names, flags []string
	for _, c := range commands() {
		if !c.hidden {
			names = append(names, c.name)
		}
	}
	fs, _, _ := new(app).flags()
	fs.VisitAll(func(f *flag.Flag) { flags = append(flags, "-"+f.Name) })
	text = strings.ReplaceAll(text, "COMMANDS", strings.Join(names, " "))
	a.print("%s", strings.ReplaceAll(text, "FLAGS", strings.Join(flags, " ")))
	return nil
}

// completeKeys prints the keys there are, for a shell.
func (a *app) completeKeys(ctx context.Context, _ []string) error {
	all, _ := a.places(ctx)
	for _, p := range all {
		if p.Leadership == nil {
			continue
		}
		for _, k := range p.Leadership.Keys {
			a.print("%s\n", k.Key)
		}
	}
	return nil
}
