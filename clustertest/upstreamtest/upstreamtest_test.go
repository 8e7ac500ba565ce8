package upstreamtest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

// A fault is one thing that an adapter does wrong.
type fault string

const (
	none  fault = ""
	polls fault = "reports only the newest value" // which is allowed

	watchesOnly fault = "implements nothing but Upstream" // so is this
	reusesData  fault = "changes data after reporting it" // and this
	starts      fault = "starts watches"                  // and this

	skipsFirst         fault = "does not report the first value"
	skipsAbsent        fault = "does not report that a key is absent"
	losesSome          fault = "loses some changes"
	goesBack           fault = "reports the value before after each value"
	losesDeletions     fault = "does not report deletions"
	emptyIsDeleted     fault = "takes an empty value for a deletion"
	truncates          fault = "truncates large values"
	mixesKeys          fault = "reports keys with the same prefix"
	ignoresEnd         fault = "ignores the end of the context"
	returnsNil         fault = "returns nil when its context ends"
	neverEnds          fault = "does not end a watch that was stopped"
	reportsLate        fault = "reports after Watch has returned"
	reportsTwice       fault = "reports from two goroutines"
	sameVersion        fault = "reports one version for two values"
	servesOld          fault = "begins a Watch with an old value"
	compactedSilent    fault = "goes silent when it is compacted"
	downSilent         fault = "goes silent when the upstream goes away"
	hangsWhenDown      fault = "never returns once the upstream was down"
	probeFails         fault = "fails in Probe"
	probeHidesOutage   fault = "hides from Probe that the upstream is down"
	probeStaysDown     fault = "does not find back in Probe"
	publishesLate      fault = "acknowledges before it writes"
	keepsPublished     fault = "keeps the caller's data"
	publishHidesError  fault = "hides that Publish failed"
	publishHidesOutage fault = "hides that the upstream is down"
	registersOnce      fault = "does not update a registration"
	neverDeregisters   fault = "does not deregister"
	confusesOwners     fault = "confuses registrations of two owners"
	confusesIDs        fault = "confuses registrations of one owner"
	leavesOldKey       fault = "leaves the old key of a registration"
	deregisterDemands  fault = "fails to deregister what is absent"
	closeWithdraws     fault = "withdraws registrations in Close"
	adoptsNothing      fault = "leaves a registration to its old holder"
	neverExpires       fault = "announces for ever"
	leaksGoroutine     fault = "leaks a goroutine"
	closeHangs         fault = "hangs in Close"
	closeFails         fault = "fails in Close"

	watchesOnce           fault = "ends a watch with its first change"
	startsSlowly          fault = "waits in StartWatch"
	countsVersions        fault = "numbers versions by itself"
	strandsWatches        fault = "strands watches that are ending in Close"
	oneAtATime            fault = "takes one call at a time"
	getHidesAbsence       fault = "hides from Get that a key is absent"
	getHasNoVersion       fault = "gets values without a version"
	getHidesEnd           fault = "does not heed the context in Get"
	getHidesOutage        fault = "hides from Get that the upstream is down"
	registerHidesError    fault = "hides that Register failed"
	registerHidesOutage   fault = "hides from Register that the upstream is down"
	deregisterHidesOutage fault = "hides from Deregister that the upstream is down"
	forgetsFailed         fault = "forgets what Deregister has failed for"
)

func TestRun(t *testing.T) {
	for _, f := range []fault{none, polls, watchesOnly, reusesData, starts} {
		t.Run(string(f), func(t *testing.T) {
			Run(t, func(*testing.T) Harness { return newCenter(f) })
		})
	}
}

// TestFaults shows for each check that it can fail, and why.
func TestFaults(t *testing.T) {
	found := map[string]bool{}
	for _, tt := range []struct {
		fault fault
		check string
		want  string
	}{
		{skipsFirst, "FirstValue", `reported nothing after 5s, want "value-000002"`},
		{skipsAbsent, "Absent", `reported nothing after 5s, want deleted`},
		{losesSome, "Changes", `reported "value-000005" after 30s, want "value-000006"`},
		{goesBack, "Burst", "which is older than"},
		{losesDeletions, "Deletion", `reported "value-000001" after 30s, want deleted`},
		{emptyIsDeleted, "EmptyValue", "reported deleted, which is older than"},
		{truncates, "LargeValue", "reported 524288 bytes"},
		{mixesKeys, "ManyKeys", "which was never written"},
		{ignoresEnd, "WatchEnds", "did not return within 5s of its context's end"},
		{neverEnds, "WatchEnds", "did not return within 5s of its context's end"},
		{returnsNil, "WatchEnds", "want its context's error"},
		{reportsLate, "WatchEnds", "after it had returned"},
		{reportsTwice, "LargeValue", "called sink from two goroutines at once"},
		{sameVersion, "Changes", `reported two values with version "same"`},
		{servesOld, "WatchAgain", "which is older than"},
		{compactedSilent, "RestartCompacted", "after 30s"},
		{compactedSilent, "Compaction", "after 30s"},
		{downSilent, "Restart", "after 30s"},
		{hangsWhenDown, "WatchDuringOutage", "reported nothing after 30s"},
		{hangsWhenDown, "EndDuringOutage", "did not return within 5s of its context's end"},
		{probeFails, "Probe", "Probe = not permitted"},
		{probeHidesOutage, "Probe", "Probe of an upstream that is down = nil"},
		{probeStaysDown, "Probe", "30s after the upstream has come back"},
		{publishesLate, "Publish", `the upstream has deleted for "upstreamtest.publish"`},
		{keepsPublished, "Publish", `the upstream has "\x00`},
		{publishHidesError, "PublishFails", "Publish with a context that had ended = nil"},
		{publishHidesOutage, "PublishFails", "Publish to an upstream that is down = nil"},
		{registersOnce, "Register", "after an update"},
		{neverDeregisters, "Register", "after Deregister"},
		{confusesOwners, "RegisterApart", "announced for"},
		{confusesIDs, "RegisterApart", "announced for"},
		{leavesOldKey, "RegisterMoves", "after it was registered with another key"},
		{deregisterDemands, "DeregisterAbsent", "no such registration"},
		{closeWithdraws, "RegistrationAdopted", "during the handover"},
		{adoptsNothing, "RegistrationAdopted", "during the handover"},
		{closeWithdraws, "RegistrationInherited", "during the handover"},
		{adoptsNothing, "RegistrationInherited", "during the handover"},
		{closeWithdraws, "RegistrationExpires", "after Close"},
		{neverExpires, "RegistrationExpires", "abandoned for longer than Expiry"},
		{leaksGoroutine, "Teardown", "goroutines after 10 instances"},
		{closeHangs, "FirstValue", "Close did not return within 5s"},
		{closeFails, "FirstValue", "Close = something is still open"},
		{watchesOnce, "Changes", "returned although nothing was in its way: the query has been answered"},
		{startsSlowly, "FirstValue", "StartWatch took 3s: it must not wait for the upstream"},
		{countsVersions, "VersionStays", `reported version "`},
		{strandsWatches, "CloseAtOnce", "did not return within 5s of its context's end"},
		{oneAtATime, "Together", "busy"},
		{getHidesAbsence, "Get", `Get("upstreamtest.get") = "", and Watch has reported deleted`},
		{getHasNoVersion, "Get", `= version "", and Watch has reported "`},
		{getHidesEnd, "Get", "Get with a context that had ended = nil"},
		{getHidesOutage, "Get", "Get to an upstream that is down = nil"},
		{registerHidesError, "RegisterFails", "Register with a context that had ended = nil"},
		{registerHidesOutage, "RegisterFails", "Register to an upstream that is down = nil"},
		{deregisterHidesOutage, "RegisterFails", "Deregister to an upstream that is down = nil"},
		{forgetsFailed, "RegisterFails", "after an outage and Deregister"},
		{neverExpires, "RegistrationOrphaned", "and longer than Expiry"},
	} {
		found[tt.check] = true
		t.Run(tt.check+"/"+string(tt.fault), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				c := newCenter(tt.fault)
				err := find(t, tt.check).run(t.Context(), c)
				close(c.gone)
				time.Sleep(time.Minute) // lets what the fault left behind end
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("check %s of an adapter that %s = %v, want %q in it", tt.check, tt.fault, err, tt.want)
				}
			})
		})
	}
	for _, c := range checks {
		if !found[c.name] {
			t.Errorf("no adapter fails check %s", c.name)
		}
	}
}

// TestSkips shows that an adapter which cannot do something is not blamed.
func TestSkips(t *testing.T) {
	for _, tt := range []struct{ check, want string }{
		{"Probe", "the upstream is no Prober"},
		{"Publish", "the upstream is no Publisher"},
		{"Register", "the upstream is no Registrar"},
		{"RegisterFails", "the upstream is no Registrar"},
		{"Get", "the upstream is no Getter"},
		{"Restart", "the harness is no Restarter"},
		{"Compaction", "the harness is no Compactor"},
		{"RestartCompacted", "the harness is no Restarter"},
	} {
		err := find(t, tt.check).run(t.Context(), struct{ Harness }{newCenter(watchesOnly)})
		if s, ok := errors.AsType[skip](err); !ok || string(s) != tt.want {
			t.Errorf("check %s = %v, want it skipped: %s", tt.check, err, tt.want)
		}
	}
}

func find(t *testing.T, name string) check {
	t.Helper()
	i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return checks[i]
}
