package main

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

// A portHolder is the process that listens on a port, as far as the system
// tells.
type portHolder struct {
	peercred.Process
	uid     int // peercred.Nobody when that is not known
	stopped bool
}

// holderOf returns who listens at an address.
func holderOf(address string) portHolder {
	h := portHolder{uid: peercred.Nobody}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return h
	}
	p, err := peercred.Listener(at)
	if err != nil {
		return h
	}
	h.uid, h.Process = p.UID, p.Process(0)
	h.stopped = stopped(h.PID)
	return h
}

// known adds the name of the program, as the system tells it, to a process of
// this user's that did not tell itself.
func known(p inspect.Peer) inspect.Peer {
	if p.Program == "" && p.PID != 0 {
		p.Program = peercred.Simulate(peercred.Self().UID, p.PID).Process(p.PID).Program
	}
	return p
}

// foreign reports whether it is known to be another user's.
func (h portHolder) foreign() bool { return h.uid != peercred.Nobody && h.uid != peercred.Self().UID }

// sorted yields m in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
