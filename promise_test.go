package clusterclient_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/follower"
)

// A report is a value that the upstream had.
type report struct {
	data, version string
	deleted       bool
}

// is reports whether v is that value, as a subscriber sees it: deletions are all
// alike.
func (r *report) is(v *follower.Value) bool {
	if r.deleted || v.Deleted {
		return r.deleted == v.Deleted
	}
	return r.data == string(v.Data) && r.version == v.Version
}

func (r *report) String() string {
	if r.deleted {
		return "the deletion"
	}
	return fmt.Sprintf("%q at version %q", r.data, r.version)
}

func reportOf(v *follower.Value) *report {
	return &report{data: string(v.Data), version: v.Version, deleted: v.Deleted}
}

// yields is what one subscription has yielded, from its beginning.
type yields struct {
	known  follower.Revision // of the value that the process held before
	values []follower.Value
}

// broken returns what of the promise to a subscriber does not hold. The history
// has all values that the upstream had, in order; when the subscription was
// settled, it has had time to yield the last one.
func (y *yields) broken(history []report, settled bool) error {
	at := -1
	for i := range y.values {
		v := &y.values[i]
		if i == 0 && v.Revision.Compare(y.known) < 0 {
			return fmt.Errorf("begins with revision %v, although %v was known", v.Revision, y.known)
		}
		if i > 0 {
			if err := follows(v, &y.values[i-1]); err != nil {
				return err
			}
			if v.Repeated {
				continue
			}
		}
		next := slices.IndexFunc(history[at+1:], func(r report) bool { return r.is(v) })
		if next < 0 {
			return fmt.Errorf("yields %v after report %d of %d, which is not the upstream's order", reportOf(v), at, len(history))
		}
		at += next + 1
	}
	if !settled {
		return nil
	}
	return y.unsettled(&history[len(history)-1])
}

// follows returns why v must not be yielded after before.
func follows(v, before *follower.Value) error {
	same := reportOf(before).is(v)
	switch order := v.Revision.Compare(before.Revision); {
	case order < 0 || order == 0 && !same:
		return fmt.Errorf("yields revision %v after %v", v.Revision, before.Revision)
	case same && !v.Repeated:
		return fmt.Errorf("yields %v twice in a row", reportOf(v))
	case !same && v.Repeated:
		return fmt.Errorf("says that %v was yielded before", reportOf(v))
	}
	return nil
}

// unsettled returns why the last value yielded must not stay the last one.
func (y *yields) unsettled(newest *report) error {
	if len(y.values) == 0 {
		return fmt.Errorf("yields nothing, although the upstream has %v", newest)
	}
	if last := &y.values[len(y.values)-1]; !newest.is(last) {
		return fmt.Errorf("ends with %v, although the upstream has %v", reportOf(last), newest)
	}
	return nil
}

// What checks histories finds what is wrong with them.
func TestPromiseIsChecked(t *testing.T) {
	history := []report{{deleted: true}, {data: "a", version: "1"}, {data: "b", version: "2"}, {data: "a", version: "1"}, {data: "", version: "3"}}
	value := func(seq uint64, data, version string) follower.Value {
		return follower.Value{Revision: follower.Revision{Term: 1, Seq: seq}, Data: []byte(data), Version: version}
	}
	gone := follower.Value{Revision: follower.Revision{Term: 1, Seq: 1}, Deleted: true}
	again := func(v follower.Value) follower.Value {
		v.Repeated = true
		return v
	}
	a, b, back, empty := value(2, "a", "1"), value(3, "b", "2"), value(4, "a", "1"), value(5, "", "3")
	known := follower.Revision{Term: 1, Seq: 3}
	for name, test := range map[string]struct {
		yields yields
		want   string
	}{
		"all":                       {yields{values: []follower.Value{gone, a, b, back, empty}}, ""},
		"some":                      {yields{values: []follower.Value{b, empty}}, ""},
		"states":                    {yields{values: []follower.Value{a, again(a), empty, again(empty)}}, ""},
		"begins with what is known": {yields{known: known, values: []follower.Value{b, empty}}, ""},
		"begins too early":          {yields{known: known, values: []follower.Value{a, empty}}, "begins with revision 1.2, although 1.3 was known"},
		"not the upstream's":        {yields{values: []follower.Value{value(2, "c", "1"), empty}}, "yields \"c\" at version \"1\""},
		"not its version":           {yields{values: []follower.Value{value(2, "a", "2"), empty}}, "which is not the upstream's order"},
		"not in order":              {yields{values: []follower.Value{b, value(6, "", "3"), value(7, "a", "1")}}, "yields \"a\" at version \"1\" after report 4 of 5"},
		"revision goes back":        {yields{values: []follower.Value{b, value(2, "", "3")}}, "yields revision 1.2 after 1.3"},
		"revision stays":            {yields{values: []follower.Value{b, value(3, "", "3")}}, "yields revision 1.3 after 1.3"},
		"twice":                     {yields{values: []follower.Value{a, back, empty}}, "yields \"a\" at version \"1\" twice in a row"},
		"repeats what it did not":   {yields{values: []follower.Value{a, again(b)}}, "says that \"b\" at version \"2\" was yielded before"},
		"nothing":                   {yields{}, "yields nothing, although the upstream has \"\" at version \"3\""},
		"not the newest":            {yields{values: []follower.Value{a, b}}, "ends with \"b\" at version \"2\", although"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.yields.broken(history, true)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
	require.NoError(t, (&yields{values: []follower.Value{a, b}}).broken(history, false), "not settled")
}
