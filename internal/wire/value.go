package wire

import (
	"bytes"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/large"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const valueField protowire.Number = 8 // ResponseFrame.value

// Numbers of the fields of Value, Revision and Freshness.
const (
	valueKey protowire.Number = iota + 1
	valueRevision
	valueVersion
	valueDeleted
	valueFreshness
	valueContent
	valueNumber
	valueData protowire.Number = 15

	revisionTerm     protowire.Number = 1
	revisionSequence protowire.Number = 2

	freshnessStale    protowire.Number = 1
	freshnessSince    protowire.Number = 2
	freshnessReason   protowire.Number = 3
	freshnessOrigin   protowire.Number = 4
	freshnessPending  protowire.Number = 5
	freshnessTooLarge protowire.Number = 6
)

// A Value is the frame of that name as it was received, taken apart by hand:
// every follower gets all of them. It is valid, with all that it refers to,
// until the function that it was given to returns.
type Value struct {
	Key       []byte // UTF-8
	Revision  Revision
	Version   []byte
	Deleted   bool
	Freshness *clusterclientv1.Freshness
	Number    uint64 // of the key; 0 is none

	data    []byte
	content uint64
	alone   bool // data shares its memory with nothing else
}

// Data returns the data, to be kept.
func (v *Value) Data() []byte {
	if v.alone {
		return v.data
	}
	return bytes.Clone(v.data)
}

// DataIn returns the data, to be kept, in room if that is of about its size.
func (v *Value) DataIn(room []byte) []byte {
	if n := len(v.data); v.alone || n == 0 || cap(room) < n || cap(room)/2 > n {
		return v.Data()
	}
	return append(room[:0], v.data...)
}

// Content returns the hash of the value. That of one that came in pieces is
// computed: they could have been put together wrongly.
func (v *Value) Content() uint64 {
	if v.content != 0 && !v.alone {
		return v.content
	}
	return Content(v.Version, v.Deleted, v.data)
}

// Equal reports whether the data is that.
func (v *Value) Equal(data []byte) bool { return large.Equal(v.data, data) }

// Values makes take get the values that r receives, instead of the function
// for frames that are not replies.
func (r *Receiver) Values(take func(*Value)) { r.values = take }

func (r *Receiver) takeValue(body []byte) error {
	v := &r.value
	fresh := v.Freshness
	if fresh == nil {
		fresh = new(clusterclientv1.Freshness)
	}
	fresh.Stale, fresh.Since, fresh.Reason, fresh.Origin, fresh.Pending, fresh.TooLarge = false, 0, "", 0, false, false
	*v = Value{Freshness: fresh, alone: r.alone}
	if err := v.parse(body); err != nil {
		return err
	}
	r.values(v)
	return nil
}

func (v *Value) parse(body []byte) error {
	return fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) (n int) {
		var part []byte
		switch {
		case num == valueKey && typ == protowire.BytesType:
			if v.Key, n = protowire.ConsumeBytes(rest); !utf8.Valid(v.Key) {
				return errParse
			}
		case num == valueRevision && typ == protowire.BytesType:
			if part, n = protowire.ConsumeBytes(rest); v.Revision.parse(part) != nil {
				return errParse
			}
		case num == valueVersion && typ == protowire.BytesType:
			v.Version, n = protowire.ConsumeBytes(rest)
		case num == valueDeleted && typ == protowire.VarintType:
			var yes uint64
			yes, n = protowire.ConsumeVarint(rest)
			v.Deleted = yes != 0
		case num == valueFreshness && typ == protowire.BytesType:
			if part, n = protowire.ConsumeBytes(rest); parseFreshness(v.Freshness, part) != nil {
				return errParse
			}
		case num == valueContent && typ == protowire.Fixed64Type:
			v.content, n = protowire.ConsumeFixed64(rest)
		case num == valueNumber && typ == protowire.VarintType:
			v.Number, n = protowire.ConsumeVarint(rest)
		case num == valueData && typ == protowire.BytesType:
			v.data, n = protowire.ConsumeBytes(rest)
		}
		return n
	})
}

func (r *Revision) parse(body []byte) error {
	return fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) (n int) {
		switch {
		case num == revisionTerm && typ == protowire.VarintType:
			r.Term, n = protowire.ConsumeVarint(rest)
		case num == revisionSequence && typ == protowire.VarintType:
			r.Seq, n = protowire.ConsumeVarint(rest)
		}
		return n
	})
}

// parseFreshness adds what body says to f, as generated code does when a message
// comes in several parts.
func parseFreshness(f *clusterclientv1.Freshness, body []byte) error {
	rare := false
	err := fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) (n int) {
		switch {
		case num == freshnessStale && typ == protowire.VarintType:
			var yes uint64
			yes, n = protowire.ConsumeVarint(rest)
			f.Stale = yes != 0
		case num == freshnessSince && typ == protowire.VarintType:
			var since uint64
			since, n = protowire.ConsumeVarint(rest)
			f.Since = int64(since)
		case num == freshnessReason && typ == protowire.BytesType:
			var reason []byte
			if reason, n = protowire.ConsumeBytes(rest); !utf8.Valid(reason) {
				return errParse
			}
			f.Reason = string(reason)
		case num == freshnessOrigin && typ == protowire.VarintType:
			var origin uint64
			origin, n = protowire.ConsumeVarint(rest)
			f.Origin = clusterclientv1.Origin(int32(origin))
		default: // pending, which ends with the upstream's first word, or from a newer build
			rare = true
		}
		return n
	})
	if !rare || err != nil {
		return err
	}
	return proto.UnmarshalOptions{Merge: true, DiscardUnknown: true}.Unmarshal(body, f)
}

// valueOf is for a value that generated code has decoded.
func valueOf(p *clusterclientv1.Value) *Value {
	return &Value{
		Key: []byte(p.GetKey()), Revision: RevisionFrom(p.GetRevision()), Version: p.GetVersion(),
		Deleted: p.GetDeleted(), Freshness: p.GetFreshness(), Number: p.GetNumber(), data: p.GetData(), content: p.GetContent(), alone: true,
	}
}
