package soak

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ms is a time in a history, in milliseconds after its beginning.
func ms(n int64) int64 { return n * int64(time.Millisecond) }

// goodHistory is that of three processes. Process 1 leads in term 1 and is
// killed after a second; process 2 takes over in term 2 and leaves after eight
// seconds; process 3 takes over from that in term 3 and leaves in the end.
// Nothing in it is wrong.
func goodHistory() []Record {
	var all []Record
	add := func(at int64, records ...Record) {
		for _, r := range records {
			r.At = ms(at)
			if r.Name == "" && r.Kind != Set && r.Kind != Count {
				r.Name = "c"
			}
			all = append(all, r)
		}
	}
	add(0, Record{Kind: Set, Key: "k", Deleted: true},
		Record{Kind: Started, PID: 1}, Record{Kind: Started, PID: 2}, Record{Kind: Started, PID: 3},
		Record{Kind: Role, PID: 1, Role: leaderRole, Term: 1, Leader: 1},
		Record{Kind: Role, PID: 2, Role: followerRole, Term: 1, Leader: 1},
		Record{Kind: Role, PID: 3, Role: followerRole, Term: 1, Leader: 1})
	add(10, Record{Kind: Register, Key: "r/1", PID: 1, Term: 1, Sent: ms(9)},
		Record{Kind: Register, Key: "r/2", PID: 1, Term: 1, Sent: ms(9)},
		Record{Kind: Register, Key: "r/3", PID: 1, Term: 1, Sent: ms(9)})
	add(11, Record{Kind: Registered, PID: 1, Key: "r/1"}, Record{Kind: Registered, PID: 2, Key: "r/2"}, Record{Kind: Registered, PID: 3, Key: "r/3"})
	add(12, Record{Kind: Subscribed, PID: 2, Tag: "s", Key: "k"}, Record{Kind: Subscribed, PID: 3, Tag: "s", Key: "k"})
	value := func(data, version string, term, seq uint64, pids ...int) {
		for _, pid := range pids {
			add(all[len(all)-1].At/ms(1), Record{Kind: Yielded, PID: pid, Tag: "s", Key: "k", Data: data, Version: version, Term: term, Seq: seq})
		}
	}
	add(20, Record{Kind: Set, Key: "k", Data: "one", Version: "1"})
	value("one", "1", 1, 1, 2, 3)
	add(30, Record{Kind: Set, Key: "k", Data: "two", Version: "2"})
	value("two", "2", 1, 2, 2) // process 3 is slow and misses it
	add(40, Record{Kind: Ran, PID: 1, Call: "mark a", Term: 1})
	add(41, Record{Kind: Called, PID: 2, Tag: "mark", Call: "mark a", Began: ms(39), Handler: 1, Term: 1})
	add(990, Record{Kind: Ran, PID: 1, Call: "mark b", Term: 1}, Record{Kind: Ran, PID: 1, Call: "ping c", Term: 1})
	add(1000, Record{Kind: Fault, Op: Kill, PID: 1})
	add(1001, Record{Kind: Gone, PID: 1, Count: -1})
	add(1002, Record{Kind: Called, PID: 2, Tag: "mark", Call: "mark b", Began: ms(989), Err: "outcome unknown", Is: []string{"unknown"}})
	add(1010, Record{Kind: Role, PID: 2, Role: leaderRole, Term: 2, Leader: 2},
		Record{Kind: Role, PID: 3, Role: followerRole, Term: 2, Leader: 2},
		Record{Kind: Confirmed, PID: 2, Term: 2}, Record{Kind: Confirmed, PID: 3, Term: 2})
	add(1011, Record{Kind: Register, Key: "r/2", PID: 2, Term: 2, Sent: ms(1010)}, Record{Kind: Register, Key: "r/3", PID: 2, Term: 2, Sent: ms(1010)})
	add(1015, Record{Kind: Ran, PID: 2, Call: "ping c", Term: 2})
	add(1016, Record{Kind: Called, PID: 3, Tag: "ping", Call: "ping c", Began: ms(989), Handler: 2, Term: 2})
	add(1020, Record{Kind: Set, Key: "k", Data: "three", Version: "3"})
	value("three", "3", 2, 1, 2, 3)
	add(1030, Record{Kind: Publish, Key: "k", Data: "four", PID: 2, Term: 2, Sent: ms(1029)}, Record{Kind: Set, Key: "k", Data: "four", Version: "4"})
	value("four", "4", 2, 4, 2, 3)
	add(1031, Record{Kind: Published, PID: 3, Key: "k", Data: "four"})
	add(4020, Record{Kind: Deregister, Key: "r/1", PID: 2, Term: 2, Sent: ms(4019)})
	add(5000, Record{Kind: Count, Op: Connections, Count: 1}, Record{Kind: Count, Op: Names, Count: 1},
		Record{Kind: Count, Op: Watches, Key: "k", Count: 1}, Record{Kind: Rest})
	add(8000, Record{Kind: Fault, Op: Terminate, PID: 2}, Record{Kind: Deregister, Key: "r/2", PID: 2, Term: 2, Sent: ms(8000)})
	add(8010, Record{Kind: Role, PID: 2, Role: "none"}, Record{Kind: Left, PID: 2, Op: Descriptors}, Record{Kind: Gone, PID: 2})
	add(8020, Record{Kind: Role, PID: 3, Role: leaderRole, Term: 3, Leader: 3}, Record{Kind: Confirmed, PID: 3, Term: 3})
	add(9000, Record{Kind: Fault, Op: Terminate, PID: 3}, Record{Kind: Deregister, Key: "r/3", PID: 3, Term: 3, Sent: ms(9000)})
	add(9010, Record{Kind: Role, PID: 3, Role: "none"}, Record{Kind: Gone, PID: 3})
	add(9020, Record{Kind: Count, Op: Processes})
	return all
}

// strictest is all that a history can be held to.
var strictest = Rules{TermsOnce: true}

func TestCheckGoodHistory(t *testing.T) {
	require.Empty(t, Check(goodHistory(), strictest))
	require.Empty(t, Check(goodHistory(), Rules{}))
	require.Empty(t, Check(nil, strictest))
}

// find returns the index of the first record that is like want in kind,
// process, and those of the rest that want has.
func find(t *testing.T, all []Record, want Record) int {
	t.Helper()
	i := slices.IndexFunc(all, func(r Record) bool {
		return r.Kind == want.Kind && r.PID == want.PID && (want.Op == "" || r.Op == want.Op) && (want.Key == "" || r.Key == want.Key) &&
			(want.Data == "" || r.Data == want.Data) && (want.Call == "" || r.Call == want.Call) && (want.Term == 0 || r.Term == want.Term)
	})
	require.GreaterOrEqual(t, i, 0, "no record like %+v", want)
	return i
}

// A mutant is a way to make the good history a bad one.
type mutant struct {
	name   string
	rule   string // that finds it
	mutate func(t *testing.T, all []Record) []Record
}

// without takes the record out that is like want.
func without(want Record) func(*testing.T, []Record) []Record {
	return func(t *testing.T, all []Record) []Record {
		i := find(t, all, want)
		return slices.Delete(all, i, i+1)
	}
}

// with puts records in, at their times.
func with(more ...Record) func(*testing.T, []Record) []Record {
	return func(_ *testing.T, all []Record) []Record {
		for _, r := range more {
			i := slices.IndexFunc(all, func(o Record) bool { return o.At > r.At })
			if i < 0 {
				i = len(all)
			}
			all = slices.Insert(all, i, r)
		}
		return all
	}
}

// changed changes the record that is like want.
func changed(want Record, change func(r *Record)) func(*testing.T, []Record) []Record {
	return func(t *testing.T, all []Record) []Record {
		change(&all[find(t, all, want)])
		return all
	}
}

var mutants = []mutant{
	{"two leaders in one term", "two leaders", with(Record{At: ms(1500), Kind: Role, PID: 3, Name: "c", Role: leaderRole, Term: 2, Leader: 3})},
	{"a term used again by another leader", "two leaders", changed(Record{Kind: Role, PID: 3, Term: 3}, func(r *Record) { r.Term = 1 })},
	{
		"a registration made in a lower term after a higher one was seen", "late effect",
		with(Record{At: ms(1100), Kind: Register, Key: "r/3", Name: "c", PID: 1, Term: 1, Sent: ms(1099)}),
	},
	{"a withdrawal in a lower term after a higher one was seen", "late effect", changed(Record{Kind: Deregister, Key: "r/1", PID: 2}, func(r *Record) { r.Term = 1 })},
	{"a write in a lower term after a higher one was seen", "late effect", changed(Record{Kind: Publish, PID: 2}, func(r *Record) { r.Term = 1 })},
	{"a caller answered by a lower term after a higher one", "late effect", with(
		Record{At: ms(1040), Kind: Ran, PID: 1, Call: "ping d", Name: "c", Term: 1},
		Record{At: ms(1041), Kind: Called, PID: 3, Tag: "ping", Call: "ping d", Name: "c", Began: ms(1039), Handler: 1, Term: 1})},
	{"a revision going back in its term", "revision", changed(Record{Kind: Yielded, PID: 3, Data: "three"}, func(r *Record) { r.Term = 1 })},
	{"a revision going back within a term", "revision", changed(Record{Kind: Yielded, PID: 2, Data: "four"}, func(r *Record) { r.Seq = 1 })},
	{"a value repeated after a takeover", "repeated", with(
		Record{At: ms(8030), Kind: Yielded, PID: 3, Tag: "s", Name: "c", Key: "k", Data: "four", Version: "4", Term: 3, Seq: 1})},
	{"an older value yielded as news", "order", with(
		Record{At: ms(8030), Kind: Yielded, PID: 3, Tag: "s", Name: "c", Key: "k", Data: "one", Version: "1", Term: 3, Seq: 1})},
	{"a value that the upstream never had", "order", changed(Record{Kind: Yielded, PID: 3, Data: "three"}, func(r *Record) { r.Data = "five" })},
	{"a deletion that never was", "order", with(
		Record{At: ms(1025), Kind: Yielded, PID: 3, Tag: "s", Name: "c", Key: "k", Deleted: true, Term: 2, Seq: 2})},
	{"the last value not the newest", "not newest", without(Record{Kind: Yielded, PID: 3, Data: "four"})},
	{"a subscription that yields nothing", "not newest", with(Record{At: ms(4000), Kind: Subscribed, PID: 3, Tag: "late", Name: "c", Key: "k"})},
	{"a call run twice", "ran twice", with(Record{At: ms(1012), Kind: Ran, PID: 2, Call: "mark b", Name: "c", Term: 2})},
	{"a call answered and run twice", "ran twice", with(Record{At: ms(1012), Kind: Ran, PID: 2, Call: "mark a", Name: "c", Term: 2})},
	{"a call answered that never ran", "answer from nowhere", without(Record{Kind: Ran, PID: 1, Call: "mark a"})},
	{
		"an outcome unknown although nobody died", "call failed",
		with(Record{At: ms(500), Kind: Called, PID: 2, Tag: "mark", Name: "c", Call: "mark e", Began: ms(490), Err: "outcome unknown", Is: []string{"unknown"}}),
	},
	{"an idempotent call failed", "call failed", changed(Record{Kind: Called, PID: 3, Call: "ping c"}, func(r *Record) {
		r.Err, r.Is = "outcome unknown", []string{"unknown"}
	})},
	{"a call that ran and is said not to have had a leader", "call failed", changed(Record{Kind: Called, PID: 2, Call: "mark b"}, func(r *Record) {
		r.Err, r.Is = "no leader", []string{"no leader", "deadline"}
	})},
	{"a call ended by a client that was not closed", "call failed", changed(Record{Kind: Called, PID: 2, Call: "mark a"}, func(r *Record) {
		r.Err, r.Is = "closed", []string{"closed"}
	})},
	{"a registration absent for longer than the grace", "registration absent", with(
		Record{At: ms(1500), Kind: Deregister, Key: "r/3", Name: "c", PID: 2, Term: 2, Sent: ms(1499)},
		Record{At: ms(4700), Kind: Register, Key: "r/3", Name: "c", PID: 2, Term: 2, Sent: ms(4699)})},
	{"a registration never announced again", "registration absent", with(
		Record{At: ms(1500), Kind: Deregister, Key: "r/3", Name: "c", PID: 2, Term: 2, Sent: ms(1499)})},
	{"a registration there longer than the grace and a second", "registration left", changed(Record{Kind: Deregister, PID: 2, Key: "r/1"}, func(r *Record) {
		r.At, r.Sent = ms(1010+4100), ms(1010+4100)
	})},
	{"a registration of a dead process at rest", "registration left", without(Record{Kind: Deregister, PID: 2, Key: "r/1"})},
	{"an acknowledged write lost", "write lost", with(Record{At: ms(500), Kind: Published, PID: 3, Key: "k", Data: "lost"})},
	{"two watches of one key at rest", "watches", changed(Record{Kind: Count, Op: Watches}, func(r *Record) { r.Count = 2 })},
	{"two connections at rest", "connections", changed(Record{Kind: Count, Op: Connections}, func(r *Record) { r.Count = 2 })},
	{"no connection at rest", "connections", changed(Record{Kind: Count, Op: Connections}, func(r *Record) { r.Count = 0 })},
	{"a process that does not leave", "left over", changed(Record{Kind: Count, Op: Processes}, func(r *Record) { r.Count = 1 })},
	{"a descriptor left open", "left over", changed(Record{Kind: Left, PID: 2}, func(r *Record) { r.Count = 1 })},
	{"a file left", "left over", with(Record{At: ms(9020), Kind: Count, Op: Files, Key: "a.sock", Count: 1})},
	{"a process that crashed", "left over", changed(Record{Kind: Gone, PID: 2}, func(r *Record) { r.Count = 2 })},
	{"a client that does not come to rest", "not at rest", with(Record{At: ms(4900), Kind: Unrest, PID: 2, Name: "c", Err: "is a follower"})},
	{"a failure without a reason", "failed", with(Record{At: ms(100), Kind: Failed, PID: 2, Op: "create", Err: "no"})},
}

func TestCheckFindsMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			found := Check(m.mutate(t, goodHistory()), strictest)
			require.NotEmpty(t, found)
			for _, v := range found {
				require.Equal(t, m.rule, v.Rule, "%+v", found)
			}
		})
	}
}

// What looks wrong at first and is not.
func TestCheckExcuses(t *testing.T) {
	for _, m := range []mutant{
		{"an older value that the upstream went back to", "", with(
			Record{At: ms(8025), Kind: Set, Key: "k", Data: "one", Version: "1"},
			Record{At: ms(8030), Kind: Yielded, PID: 3, Tag: "s", Name: "c", Key: "k", Data: "one", Version: "1", Term: 3, Seq: 1})},
		{"a registration absent while its process was stopped", "", with(
			Record{At: ms(1400), Kind: Fault, Op: Stop, PID: 3},
			Record{At: ms(1500), Kind: Deregister, Key: "r/3", Name: "c", PID: 2, Term: 2, Sent: ms(1499)},
			Record{At: ms(4600), Kind: Fault, Op: Continue, PID: 3},
			Record{At: ms(4700), Kind: Register, Key: "r/3", Name: "c", PID: 2, Term: 2, Sent: ms(4699)})},
		{"a registration absent while the upstream was down", "", with(
			Record{At: ms(1500), Kind: Deregister, Key: "r/3", Name: "c", PID: 2, Term: 2, Sent: ms(1499)},
			Record{At: ms(1600), Kind: Fault, Op: Outage},
			Record{At: ms(3600), Kind: Fault, Op: Restored},
			Record{At: ms(4700), Kind: Register, Key: "r/3", Name: "c", PID: 2, Term: 2, Sent: ms(4699)})},
		{"a failed registration taken back when another is in its place", "", with(
			Record{At: ms(1500), Kind: Register, Key: "r/3", Reg: "failed", Name: "c", PID: 2, Term: 2, Sent: ms(1499)},
			Record{At: ms(1600), Kind: Deregister, Key: "r/3", Reg: "failed", Name: "c", PID: 2, Term: 2, Sent: ms(1599)})},
		{"a withdrawal after somebody took over", "", changed(Record{Kind: Deregister, PID: 2, Key: "r/1"}, func(r *Record) {
			r.At, r.Sent = ms(4900), ms(4900)
		})},
		{"a call of a process that goes on after its leader has left", "", with(
			Record{At: ms(7900), Kind: Fault, Op: Stop, PID: 3},
			Record{At: ms(8100), Kind: Fault, Op: Continue, PID: 3},
			Record{At: ms(8103), Kind: Called, PID: 3, Tag: "mark", Name: "c", Call: "mark e", Began: ms(8101), Err: "outcome unknown", Is: []string{"unknown"}})},
		{"a call whose leader was stopped for long", "", with(
			Record{At: ms(100), Kind: Fault, Op: Stop, PID: 1},
			Record{At: ms(900), Kind: Called, PID: 2, Tag: "mark", Name: "c", Call: "mark e", Began: ms(200), Err: "outcome unknown", Is: []string{"unknown"}},
			Record{At: ms(950), Kind: Fault, Op: Continue, PID: 1})},
	} {
		t.Run(m.name, func(t *testing.T) {
			require.Empty(t, Check(m.mutate(t, goodHistory()), strictest))
		})
	}
}

func TestCheckTermUsedAgain(t *testing.T) {
	// Nobody who lives knows the term of a leader that died alone.
	alone := []Record{
		{At: ms(0), Kind: Started, PID: 1},
		{At: ms(1), Kind: Role, PID: 1, Name: "c", Role: leaderRole, Term: 1},
		{At: ms(2), Kind: Fault, Op: Kill, PID: 1},
		{At: ms(3), Kind: Gone, PID: 1, Count: -1},
		{At: ms(4), Kind: Started, PID: 2},
		{At: ms(5), Kind: Role, PID: 2, Name: "c", Role: leaderRole, Term: 1},
	}
	require.Empty(t, Check(alone, Rules{}))
	require.Len(t, Check(alone, strictest), 1)
}

func TestCheckNewcomerLeads(t *testing.T) {
	// It takes over before anybody could tell it which terms there were.
	all := goodHistory()
	all = all[:find(t, all, Record{Kind: Fault, Op: Terminate, PID: 3})]
	all = with(
		Record{At: ms(8015), Kind: Started, PID: 4},
		Record{At: ms(8016), Kind: Role, PID: 4, Name: "d", Role: leaderRole, Term: 1},
		Record{At: ms(8017), Kind: Publish, PID: 4, Name: "c", Key: "k", Term: 1, Sent: ms(8016)})(t, all)
	require.Empty(t, Check(all, Rules{}))
	found := Check(all, strictest)
	require.NotEmpty(t, found)
	require.Equal(t, "late effect", found[0].Rule)
}
