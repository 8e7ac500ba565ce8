package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// behind tells of followers that cannot keep up, or do not answer.
func (d *doctor) behind(ctx context.Context, all []found) {
	late := lagging(all)
	for range looksAgain {
		if len(late) == 0 {
			return
		}
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
			return
		}
		again := lagging(d.app.discover(ctx, inspect.Query{Followers: true}))
		maps.DeleteFunc(again, func(id string, _ namedFollower) bool {
			_, before := late[id]
			return !before
		})
		late = again
	}
	for _, f := range sorted(late) {
		switch {
		case f.Holding == nil && stopped(f.PID):
			d.find(levelError, "stopped-follower", f.Name, peer(f.Peer)+" is stopped, by a signal or a debugger"+unsent(f.Follower), resume(f.PID))
		case f.Holding == nil:
			d.find(levelError, "silent-follower", f.Name, fmt.Sprintf("%s does not answer its leader%s: %s", peer(f.Peer), unsent(f.Follower), f.Trouble),
				"look what it is busy with; nobody else waits for it")
		default:
			d.find(levelWarning, "behind", f.Name, fmt.Sprintf("%s has not been sent the newest value of %d keys, %d messages wait for it", peer(f.Peer), f.Behind, f.Queued),
				"nothing, if that passes: it gets the newest values merged; otherwise look what it is busy with")
		}
	}
}

// unsent tells what a follower that does not answer is told when it does.
func unsent(f inspect.Follower) string {
	if f.Behind == 0 {
		return ""
	}
	return fmt.Sprintf("; it has not been sent the newest value of %d keys", f.Behind)
}

// lagging returns the followers that are behind or silent, by name and
// instance.
func lagging(all []found) map[string]namedFollower {
	late := make(map[string]namedFollower)
	for _, f := range all {
		for _, n := range f.cluster.Names {
			if n.Leadership == nil {
				continue
			}
			for _, one := range n.Leadership.Followers {
				if one.Behind > 0 || one.Holding == nil {
					late[n.Name+" "+one.Instance] = namedFollower{n.Name, one}
				}
			}
		}
	}
	return late
}
