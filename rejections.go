package clusterclient

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// rejections remembers, by reason, who was turned away.
type rejections struct {
	mu     sync.Mutex // guards what follows
	byCode map[string]inspect.Rejection
}

func (r *rejections) count(code clusterclientv1.Code, who *clusterclientv1.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byCode == nil {
		r.byCode = make(map[string]inspect.Rejection)
	}
	name := strings.TrimPrefix(code.String(), "CODE_")
	r.byCode[name] = inspect.Rejection{Code: name, Count: r.byCode[name].Count + 1, Last: leader.PeerInfo(who), At: time.Now()}
}

func (r *rejections) all() []inspect.Rejection {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []inspect.Rejection
	for _, one := range r.byCode {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b inspect.Rejection) int { return cmp.Compare(a.Code, b.Code) })
	return all
}
