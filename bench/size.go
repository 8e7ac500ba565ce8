package main

import "time"

// A size says how much is measured.
type size struct {
	rounds     int           // counted, after one that is not
	slice      time.Duration // of one measurement
	limit      time.Duration // of everything
	callers    int           // processes, where several call
	subscriber int           // processes, where several subscribe
	keys       int           // that each of them subscribes to
	manyKeys   int           // where it is about having many
	takeover   []int         // numbers of followers
	takeovers  int           // in a round
	large      int           // bytes of a large value
}

// subscribers is the number of processes that subscribe.
const subscribers = 16

var (
	fullSize = size{
		rounds: 8, slice: time.Second, limit: 25 * time.Minute,
		callers: 4, subscriber: subscribers, keys: 1000, manyKeys: 100_000,
		takeover: []int{8, 16}, takeovers: 5, large: 64 << 20,
	}
	quickSize = size{
		rounds: 3, slice: 150 * time.Millisecond, limit: 5 * time.Minute,
		callers: 4, subscriber: subscribers, keys: 1000, manyKeys: 10_000,
		takeover: []int{8, 16}, takeovers: 2, large: 64 << 20,
	}
)
