package metrics

import (
	"github.com/clusterclient/clusterclient"
)

// ofLeader has what a client knows while it leads.
func ofLeader() []Metric {
	type stats = clusterclient.Stats
	return []Metric{
		{
			Name: "clusterclient_leader_followers", Instrument: "clusterclient.leader.followers", Unit: "{process}",
			Help: "Other clients that follow this leader.", Points: leading(func(s *stats) float64 { return float64(s.Followers) }),
		},
		{
			Name: "clusterclient_leader_candidates", Instrument: "clusterclient.leader.candidates", Unit: "{process}",
			Help: "How many of those could lead.", Points: leading(func(s *stats) float64 { return float64(s.Candidates) }),
		},
		{
			Name: "clusterclient_leader_upstream_watches", Instrument: "clusterclient.leader.upstream_watches", Unit: "{watch}",
			Help: "Keys watched upstream, each once.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Keys) }),
		},
		{
			Name: "clusterclient_leader_subscriptions", Instrument: "clusterclient.leader.subscriptions", Unit: "{subscription}",
			Help:   "Keys that processes of the host subscribe to, each once for each process. Divided by the watches: what sharing saves.",
			Points: leading(func(s *stats) float64 { return float64(s.Leading.Subscriptions) }),
		},
		{
			Name: "clusterclient_leader_stale_keys", Instrument: "clusterclient.leader.stale_keys", Unit: "{key}",
			Help: "Watched keys that the upstream does not vouch for.", Points: leading(func(s *stats) float64 { return float64(s.Leading.StaleKeys) }),
		},
		{
			Name: "clusterclient_leader_oldest_stale_age_seconds", Instrument: "clusterclient.leader.oldest_stale.age", Unit: "s",
			Help: "For how long the upstream has not vouched for the longest of those; 0 when there are none.", Points: leading(func(s *stats) float64 { return age(s.Leading.OldestStale) }),
		},
		{
			Name: "clusterclient_leader_updates_total", Instrument: "clusterclient.leader.updates", Unit: "{value}", Kind: Counter,
			Help: "Values that the upstream reported.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Updates) }),
		},
		{
			Name: "clusterclient_leader_watch_failures_total", Instrument: "clusterclient.leader.watch_failures", Unit: "{watch}", Kind: Counter,
			Help: "Watches of the upstream that ended by themselves.", Points: leading(func(s *stats) float64 { return float64(s.Leading.WatchFailures) }),
		},
		{
			Name: "clusterclient_leader_sent_values_total", Instrument: "clusterclient.leader.sent_values", Unit: "{value}", Kind: Counter,
			Help: "Values sent to processes.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Sent) }),
		},
		{
			Name: "clusterclient_leader_conflated_values_total", Instrument: "clusterclient.leader.conflated_values", Unit: "{value}", Kind: Counter,
			Help: "Values not sent to a process, since a newer one had come meanwhile.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Conflated) }),
		},
		{
			Name: "clusterclient_leader_delivery_delay_seconds", Instrument: "clusterclient.leader.delivery_delay", Unit: "s", Kind: Histogram,
			Help: "From the upstream's report of a value to the transport of each process.", Points: delays,
		},
		{
			Name: "clusterclient_leader_queued_messages", Instrument: "clusterclient.leader.queued_messages", Unit: "{message}",
			Help: "Messages that wait to be sent to processes.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Queued) }),
		},
		{
			Name: "clusterclient_leader_handled_calls_total", Instrument: "clusterclient.leader.handled_calls", Unit: "{call}", Kind: Counter, Labels: []string{"method", "code"},
			Help: "Calls whose handler ran here, by method and gRPC code.", Points: handled,
		},
		{
			Name: "clusterclient_leader_calls_running", Instrument: "clusterclient.leader.calls.running", Unit: "{call}",
			Help: "Handlers that run now.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Running) }),
		},
		{
			Name: "clusterclient_leader_refused_calls_total", Instrument: "clusterclient.leader.refused_calls", Unit: "{call}", Kind: Counter,
			Help: "Calls refused, since their process had too many under way.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Refused) }),
		},
		{
			Name: "clusterclient_leader_oneway_failures_total", Instrument: "clusterclient.leader.oneway_failures", Unit: "{call}", Kind: Counter,
			Help: "Oneway calls whose handler failed.", Points: leading(func(s *stats) float64 { return float64(s.Leading.OnewayFailed) }),
		},
		{
			Name: "clusterclient_leader_snapshot_age_seconds", Instrument: "clusterclient.leader.snapshot.age", Unit: "s",
			Help: "How long ago the snapshot on disk was changed last; nothing when there is none.", Points: snapshotAge,
		},
		{
			Name: "clusterclient_leader_registrations", Instrument: "clusterclient.leader.registrations", Unit: "{registration}",
			Help: "Registrations of all processes.", Points: leading(func(s *stats) float64 { return float64(s.Leading.Registrations) }),
		},
	}
}

func delays(s *clusterclient.Stats) []Point {
	if s.Leading == nil {
		return nil
	}
	return []Point{{Histogram: s.Leading.Delays}}
}

func snapshotAge(s *clusterclient.Stats) []Point {
	if s.SnapshotWritten.IsZero() {
		return nil
	}
	return []Point{{Value: age(s.SnapshotWritten)}}
}

func handled(s *clusterclient.Stats) []Point {
	if s.Leading == nil {
		return nil
	}
	var all []Point
	for _, m := range s.Leading.Methods {
		for _, p := range byLabel(m.Calls) {
			all = append(all, Point{Labels: []string{m.Method, p.Labels[0]}, Value: p.Value})
		}
	}
	return all
}
