package debugpage

import (
	"context"
	"sync"

	"github.com/clusterclient/clusterclient"
)

// A feed follows the clients while somebody looks at them.
type feed struct {
	clients []*client

	join    sync.Mutex // guards what follows
	viewers int
	stop    func() // ends what runs for the viewers, and waits for it
}

func newFeed(clients []*clusterclient.Client) *feed {
	f := &feed{}
	for _, c := range clients {
		f.clients = append(f.clients, newClient(c))
	}
	return f
}

// watch has the clients followed until leave is called.
func (f *feed) watch() (leave func()) {
	f.join.Lock()
	defer f.join.Unlock()
	f.viewers++
	if f.viewers == 1 {
		f.stop = f.start()
	}
	return f.leave
}

func (f *feed) leave() {
	f.join.Lock()
	defer f.join.Unlock()
	f.viewers--
	if f.viewers == 0 {
		f.stop()
	}
}

func (f *feed) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, c := range f.clients {
		wg.Go(func() { c.followStatus(ctx) })
		wg.Go(func() { c.inspectAgain(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}
