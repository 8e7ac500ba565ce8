package wire

import (
	"cmp"
	"fmt"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Revision orders the values of one key. The leader gives it: Term is the
// number of its leadership and Seq counts its updates. The zero Revision is
// older than any other.
type Revision struct {
	Term, Seq uint64
}

// Compare returns -1 when r is older than s, +1 when it is newer, and else 0.
func (r Revision) Compare(s Revision) int {
	return cmp.Or(cmp.Compare(r.Term, s.Term), cmp.Compare(r.Seq, s.Seq))
}

// String returns "term.seq".
func (r Revision) String() string { return fmt.Sprintf("%d.%d", r.Term, r.Seq) }

// ToProto returns r as it travels.
func (r Revision) ToProto() *clusterclientv1.Revision {
	return &clusterclientv1.Revision{Term: r.Term, Sequence: r.Seq}
}

// RevisionFrom returns what travelled as p; nil is the zero Revision.
func RevisionFrom(p *clusterclientv1.Revision) Revision {
	return Revision{Term: p.GetTerm(), Seq: p.GetSequence()}
}
