package leader

import (
	"cmp"
	"slices"
	"strings"

	"github.com/clusterclient/clusterclient/inspect"
)

// Keys returns those of the keys that are watched which q asks for, and how
// many these are without its limit.
func (l *Leader) Keys(q inspect.Query) (shown []inspect.Key, matched int) {
	text := strings.ToLower(q.Text)
	keys := slices.DeleteFunc(l.allKeys(), func(k *key) bool {
		return !strings.HasPrefix(k.name, q.Prefix) || !strings.Contains(strings.ToLower(k.name), text) || q.Stale && k.fresh()
	})
	slices.SortFunc(keys, func(a, b *key) int { return cmp.Compare(a.name, b.name) })
	matched = len(keys)
	if q.Limit > 0 {
		keys = staleFirst(keys)
		keys = keys[:min(matched, q.Limit)]
	}
	shown = make([]inspect.Key, 0, len(keys))
	for _, k := range keys {
		shown = append(shown, k.inspect())
	}
	return shown, matched
}

// staleFirst moves keys whose value is fresh behind the others.
func staleFirst(keys []*key) []*key {
	sorted := make([]*key, 0, len(keys))
	var fresh []*key
	for _, k := range keys {
		if k.fresh() {
			fresh = append(fresh, k)
		} else {
			sorted = append(sorted, k)
		}
	}
	return append(sorted, fresh...)
}

// fresh reports whether there is a value that the upstream vouches for.
func (k *key) fresh() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.has && !k.stale
}
