package main

import (
	"context"
	"flag"
	"strings"

	"github.com/clusterclient/clusterclient/inspect"
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
		COMPREPLY=($(compgen -W "$(clusterctl complete-keys -- "$cur" 2>/dev/null)" -- "$cur")); return ;;
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
complete -c clusterctl -f -n "__fish_seen_subcommand_from get watch explain publish" -a "(clusterctl complete-keys -- (commandline -ct) 2>/dev/null)"
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

// completedKeys is how many keys a shell is offered.
const completedKeys = 200

// completeKeys prints the keys that begin as the word that is being typed.
func (a *app) completeKeys(ctx context.Context, args []string) error {
	q := inspect.Query{Keys: true, Limit: completedKeys}
	if len(args) > 0 {
		q.Prefix = args[0]
	}
	all, _ := a.places(ctx, q)
	each(all, func(_ string, l *inspect.Leadership) []struct{} {
		for _, k := range l.Keys {
			a.print("%s\n", k.Key)
		}
		return nil
	})
	return nil
}
