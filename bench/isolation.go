package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/leader"
)

const (
	loadSmall      = "small calls, 1 in flight"
	isolationQuiet = "quiet"
	isolationLarge = "large values to the same follower"
	isolationFlood = "another follower floods"

	largePrefix = "large/"               // of keys; the rest is the size
	nextLarge   = "next"                 // method that asks for another value
	floodLead   = 100 * time.Millisecond // of the flood before the calls
)

// isolationScenario measures small calls of one follower while nothing else
// happens, while large values come to the same process, and while another
// process calls as much as it can.
func isolationScenario(l *lab) error {
	at := target{Peer: ours}
	server, err := l.start("server", at, &at.Address)
	if err != nil {
		return err
	}
	small, err := l.start("mixed-caller", at, nil)
	if err != nil {
		return err
	}
	flood, err := l.start("caller", at, nil)
	if err != nil {
		return err
	}
	calls := func(w mixedWork) ([]measurement, error) {
		var r mixedResult
		if err := small.do(l.ctx, "calls", w, &r); err != nil {
			return nil, err
		}
		got := latencies(r.Latencies)
		if w.Large > 0 {
			got = append(got, measurement{"large values", "MiB/s", float64(r.Values*w.Large) / (1 << 20) / r.Elapsed.Seconds()})
		}
		return got, nil
	}
	err = l.interleave([]variant{
		{loadSmall, isolationQuiet, func(d time.Duration) ([]measurement, error) {
			return calls(mixedWork{Duration: 2 * d})
		}},
		{loadSmall, isolationLarge, func(d time.Duration) ([]measurement, error) {
			got, err := calls(mixedWork{Duration: 3 * d, Large: l.size.large})
			time.Sleep(d) // what is on its way still is no part of what comes next
			return got, err
		}},
		{loadSmall, isolationFlood, func(d time.Duration) ([]measurement, error) {
			got, err := all([]*process{flood, small}, func(i int, p *process) ([]measurement, error) {
				if i == 0 {
					return nil, p.do(l.ctx, "calls", callWork{inFlightMany, 2*d + 2*floodLead}, nil)
				}
				time.Sleep(floodLead)
				return calls(mixedWork{Duration: 2 * d})
			})
			return got[1], err
		}},
	})
	if err != nil {
		return err
	}
	return l.profiled("large", map[string]*process{"leader": server, "follower": small}, func() error {
		_, err := calls(mixedWork{Duration: profileSlices * l.size.slice, Large: l.size.large})
		return err
	})
}

// mixedWork says how long to call, and how large the values are that come
// meanwhile; 0 is none.
type mixedWork struct {
	Duration time.Duration `json:"duration"`
	Large    int           `json:"large,omitempty"`
}

type mixedResult struct {
	callResult
	Values int `json:"values"` // large ones that came meanwhile
}

func startMixedCaller(at target) (role, error) {
	c, err := follow(at.Address)
	if err != nil {
		return role{}, err
	}
	return role{close: c.Close, ops: map[string]op{"calls": opOf(func(w mixedWork) (mixedResult, error) {
		return mixedCalls(c, w)
	})}}, nil
}

func mixedCalls(c *clusterclient.Client, w mixedWork) (r mixedResult, err error) {
	call := callWith(c, callBytes)
	if w.Large == 0 {
		r.callResult, err = makeSingleCalls(call, w.Duration)
		return r, err
	}
	ctx, cancel := within(orderTimeout)
	defer cancel()
	sub, err := c.Subscribe(ctx, largePrefix+strconv.Itoa(w.Large))
	if err != nil {
		return r, err
	}
	defer sub.Close()
	if _, err := sub.Next(ctx); err != nil {
		return r, err
	}
	done, values := make(chan struct{}), 0
	reading, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		for c.InvokeOneway(reading, nextLarge, []byte(nil)) == nil {
			if _, err := sub.Next(reading); err == nil {
				values++
			}
		}
	}()
	calls, err := makeSingleCalls(call, w.Duration)
	stop()
	<-done
	r.callResult, r.Values = calls, values
	return r, err
}

// watchLarge reports a value of a size, and another each time it is asked for
// one, so that one is always on its way and none is made for nothing.
func (u *echoUpstream) watchLarge(ctx context.Context, key string, sink func(leader.Update)) error {
	n, err := strconv.Atoi(strings.TrimPrefix(key, largePrefix))
	if err != nil {
		return err
	}
	values := [2][]byte{make([]byte, n), make([]byte, n)} // never changed
	values[1][0] = 1
	for i := 0; ; i++ {
		sink(leader.Update{Data: values[i%2], Version: strconv.Itoa(i)})
		select {
		case <-u.next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (u *echoUpstream) askNext(context.Context, []byte) ([]byte, error) {
	select {
	case u.next <- struct{}{}:
	default: // is asked for already
	}
	return nil, nil
}
