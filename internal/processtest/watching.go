package processtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
)

// subscribe tells every value, and, once in each term, when the value was
// confirmed in it.
func (p *childProcess) subscribe(ctx context.Context, client *clusterclient.Client, c Command) error {
	var opts []follower.SubscribeOption
	if c.Group != "" {
		opts = append(opts, follower.QueueGroup(c.Group))
	}
	if c.States {
		opts = append(opts, follower.WithStates())
	}
	sub, err := client.Subscribe(ctx, c.Key, opts...)
	if err != nil {
		return err
	}
	p.keep(c.Tag, sub.Close)
	go func() {
		confirmed := uint64(0)
		for v, err := range sub.Values(context.Background()) {
			e := Event{Kind: "value", Tag: c.Tag}
			e.set(v)
			if err != nil {
				e.Kind = "over"
				e.fail(err)
			}
			p.tell(e)
			if c.Yields && err == nil && !v.Stale && v.Revision.Term > confirmed {
				confirmed, e.Kind = v.Revision.Term, "confirmed"
				p.tell(e)
			}
			time.Sleep(c.Pause)
		}
	}()
	if c.Group == "" && !c.Quiet && !c.Yields {
		go p.confirm(p.termsOf(c.Name), sub, c.Tag)
	}
	return nil
}

// confirm tells when a value is first held fresh in each term. Nothing tells
// that a value which is the same as before is fresh again, so this looks every
// millisecond, from the start of the term on.
func (p *childProcess) confirm(terms *termWatch, sub *follower.Subscription, tag string) {
	for told := uint64(0); ; {
		term, ok := terms.after(told)
		if !ok {
			return
		}
		for terms.get() == term {
			v, ok := sub.Value()
			if ok && !v.Stale && v.Revision.Term == term {
				e := Event{Kind: "confirmed", Tag: tag}
				e.set(v)
				p.tell(e)
				told = term
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// loop calls a method, or opens streams of [Chat], one after the other, and
// tells how each went, until it is ended or the client is closed.
func (p *childProcess) loop(client *clusterclient.Client, c Command) {
	end, ended := make(chan struct{}), make(chan struct{})
	p.keep(c.Tag, func() error {
		close(end)
		<-ended
		return nil
	})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
			}
			e := Event{Kind: "call", Tag: c.Tag}
			call := fmt.Sprintf("%d %s %d", os.Getpid(), c.Tag, i)
			var err error
			if c.Method == Chat {
				err = chat(context.Background(), client, call)
			} else {
				err = client.Invoke(context.Background(), c.Method, call, &e.Result)
			}
			e.Data = call
			e.fail(err)
			p.tell(e)
			if errors.Is(err, clusterclient.ErrClosed) {
				return
			}
		}
	}()
}
