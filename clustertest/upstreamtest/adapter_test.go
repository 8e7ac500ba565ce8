package upstreamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// An adapter is the reference: the least that keeps the contract. Where its
// center has a fault it breaks one clause.
type adapter struct {
	c *center

	under  atomic.Int32 // calls
	closed atomic.Bool
	made   atomic.Int64 // versions of its own

	mu    sync.Mutex
	mine  map[string]leader.Registration // by owner and ID; guarded by mu
	cache map[string]leader.Update       // for previous; guarded by mu
}

func (a *adapter) is(f fault) bool { return a.c.fault == f }

func (a *adapter) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	sink = a.spoil(ctx, key, sink)
	err := a.follow(ctx, key, sink)
	switch {
	case a.is(returnsNil):
		return nil
	case a.is(ignoresEnd), a.is(hangsWhenDown) && errors.Is(err, errDown):
		<-a.c.gone
	case a.is(strandsWatches):
		time.Sleep(time.Millisecond)
		if a.closed.Load() {
			<-a.c.gone
		}
	}
	return err
}

// follow reports the present value and then each event after it.
func (a *adapter) follow(ctx context.Context, key string, sink func(leader.Update)) error {
	rev, err := a.present(key, sink)
	if err != nil {
		return err
	}
	for {
		events, changed, err := a.c.since(rev)
		switch {
		case a.is(polls), errors.Is(err, errCompacted):
			rev, err = a.present(key, sink)
		case errors.Is(err, errDown) && !a.is(hangsWhenDown):
			err = nil // changed tells when it is up again
		}
		if err != nil {
			return err
		}
		for _, e := range events {
			rev = max(rev, e.rev)
			if a.concerns(e, key) && !a.is(polls) {
				sink(leader.Update{Data: e.state.data, Version: a.version(e.rev), Deleted: e.state.deleted})
				if a.is(watchesOnce) {
					return errors.New("the query has been answered")
				}
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// present reports what key is and returns the revision at which it is that.
func (a *adapter) present(key string, sink func(leader.Update)) (int64, error) {
	v, exists, rev, err := a.c.read(key)
	switch {
	case err != nil:
		return 0, err
	case exists && a.is(skipsFirst), !exists && a.is(skipsAbsent):
	case exists:
		sink(leader.Update{Data: v.data, Version: a.version(v.rev)})
	default:
		sink(leader.Update{Deleted: true})
	}
	return rev, nil
}

func (a *adapter) version(rev int64) string {
	switch {
	case a.is(sameVersion):
		return "same"
	case a.is(countsVersions):
		return strconv.FormatInt(a.made.Add(1), 10)
	}
	return strconv.FormatInt(rev, 10)
}

// concerns tells whether a Watch of key is to report e.
func (a *adapter) concerns(e event, key string) bool {
	switch {
	case a.is(mixesKeys):
		return strings.HasPrefix(e.key, key)
	case a.is(losesSome) && e.rev%7 == 0, a.is(losesDeletions) && e.state.deleted:
		return false
	}
	return e.key == key
}

// spoil returns a sink that adds what is wrong with single reports.
func (a *adapter) spoil(ctx context.Context, key string, sink func(leader.Update)) func(leader.Update) {
	return func(u leader.Update) {
		switch {
		case a.is(compactedSilent) && a.c.compactions.Load() > 0, a.is(downSilent) && a.c.outages.Load() > 0:
			return
		case a.is(emptyIsDeleted):
			u.Deleted = u.Deleted || len(u.Data) == 0
		case a.is(truncates):
			u.Data = u.Data[:min(len(u.Data), 512<<10)]
		case a.is(reusesData):
			u.Data = bytes.Clone(u.Data)
			defer clear(u.Data)
		case a.is(reportsLate):
			context.AfterFunc(ctx, func() { time.Sleep(quiet / 2); sink(u) })
		case a.is(reportsTwice):
			a.twice(u, sink)
		case a.is(goesBack):
			defer sink(a.previous(key, u))
		case a.is(servesOld):
			u = a.previous(key, u)
		}
		sink(u)
	}
}

// twice calls sink from two goroutines for long enough that they meet.
func (a *adapter) twice(u leader.Update, sink func(leader.Update)) {
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 200 {
				sink(u)
			}
		})
	}
	wg.Wait()
}

// previous returns what it was called with the last time, or u the first time.
func (a *adapter) previous(key string, u leader.Update) leader.Update {
	a.mu.Lock()
	defer a.mu.Unlock()
	old, ok := a.cache[key]
	a.cache[key] = u
	if !ok {
		return u
	}
	return old
}

func (a *adapter) Probe(ctx context.Context) error {
	err := a.c.note(ctx, func() {})
	switch {
	case a.is(probeHidesOutage):
		return nil
	case a.is(probeFails):
		return errors.New("not permitted")
	case a.is(probeStaysDown) && a.c.outages.Load() > 0:
		return errDown
	}
	return err
}

func (a *adapter) Get(ctx context.Context, key string) (leader.Update, error) {
	v, exists, _, err := a.c.read(key)
	switch {
	case a.is(getHidesEnd) && err == nil:
	case a.is(getHidesOutage) && ctx.Err() == nil:
		err = nil
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	version := a.version(v.rev)
	if a.is(getHasNoVersion) {
		version = ""
	}
	return leader.Update{Data: v.data, Version: version, Deleted: !exists && !a.is(getHidesAbsence)}, err
}

func (a *adapter) Publish(ctx context.Context, key string, data []byte) error {
	if !a.is(keepsPublished) {
		data = bytes.Clone(data)
	}
	put := func() error { return a.c.note(ctx, func() { a.c.putLocked(key, data, nil) }) }
	defer a.under.Add(-1)
	if a.under.Add(1) > 1 && a.is(oneAtATime) {
		return errors.New("busy")
	}
	switch {
	case a.is(oneAtATime):
		time.Sleep(time.Millisecond)
	case a.is(publishesLate):
		go func() { <-a.c.gone; _ = put() }()
		return nil
	case a.is(publishHidesError):
		_ = put()
		return nil
	case a.is(publishHidesOutage):
		if err := put(); !errors.Is(err, errDown) {
			return err
		}
		return nil
	}
	return put()
}

func (a *adapter) id(r leader.Registration) string {
	switch {
	case a.is(confusesOwners):
		return strconv.FormatUint(r.ID, 10)
	case a.is(confusesIDs):
		return r.Owner.Instance
	}
	return fmt.Sprintf("%s/%d", r.Owner.Instance, r.ID)
}

func (a *adapter) Register(ctx context.Context, r leader.Registration) error {
	err := a.announce(ctx, r)
	if a.is(registerHidesError) || a.is(registerHidesOutage) && errors.Is(err, errDown) {
		return nil
	}
	return err
}

func (a *adapter) announce(ctx context.Context, r leader.Registration) error {
	r.Data = bytes.Clone(r.Data)
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.id(r)
	before, known := a.mine[id]
	a.mine[id] = r
	holder := a
	if a.is(neverExpires) {
		holder = nil
	}
	return a.c.note(ctx, func() {
		v, exists := a.c.values[r.Key]
		if a.is(registersOnce) && known || a.is(adoptsNothing) && exists && v.holder != a {
			return
		}
		if known && before.Key != r.Key && !a.is(leavesOldKey) {
			a.c.deleteLocked(before.Key)
		}
		a.c.putLocked(r.Key, r.Data, holder)
	})
}

func (a *adapter) Deregister(ctx context.Context, r leader.Registration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.id(r)
	known, ok := a.mine[id]
	if !ok && a.is(deregisterDemands) {
		return errors.New("no such registration")
	}
	if !ok || a.is(neverDeregisters) {
		return nil
	}
	err := a.c.note(ctx, func() {
		if a.c.values[known.Key].holder == a {
			a.c.deleteLocked(known.Key)
		}
	})
	if err == nil || a.is(forgetsFailed) {
		delete(a.mine, id)
	}
	if a.is(deregisterHidesOutage) && errors.Is(err, errDown) {
		return nil
	}
	return err
}

func (a *adapter) Close() error {
	a.closed.Store(true)
	switch {
	case a.is(closeHangs):
		<-a.c.gone
	case a.is(closeFails):
		return errors.New("something is still open")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.is(closeWithdraws) {
		for _, r := range a.mine {
			_ = a.c.Delete(context.Background(), r.Key)
		}
	}
	a.c.expire(a)
	return nil
}
