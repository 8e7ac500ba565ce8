package wire

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const subscribeField protowire.Number = 3 // RequestFrame.subscribe

// Numbers of the fields of Subscribe and Mark.
const (
	subscribeKey   protowire.Number = 1
	subscribeKnown protowire.Number = 2

	markRevision protowire.Number = 1
	markVersion  protowire.Number = 2
	markDeleted  protowire.Number = 3
	markDigest   protowire.Number = 4
)

// AddSubscribe appends the frame that asks for the values of a key of which
// none is held, by a process that is in no queue group. There may be very many.
func (b *Batch) AddSubscribe(key string) {
	b.open(subscribeField, sizeBytes(subscribeKey, key))
	*b.buf = appendBytes(*b.buf, subscribeKey, key)
}

// A wish is a frame to subscribe as it was received, taken apart by hand and
// used again for the next one.
type wish struct {
	frame clusterclientv1.RequestFrame
	body  clusterclientv1.Subscribe
	known clusterclientv1.Mark
	rev   clusterclientv1.Revision
}

func newWish() *wish {
	w := new(wish)
	w.frame.Kind = &clusterclientv1.RequestFrame_Subscribe{Subscribe: &w.body}
	return w
}

func (r *Receiver) parseWish(body []byte) bool {
	if r.wish == nil {
		r.wish = newWish()
	}
	return r.wish.parse(body)
}

// parse takes body apart. It is false when that takes generated code: for
// members of queue groups, newer builds, and what does not decode.
func (w *wish) parse(body []byte) bool {
	w.body.Key, w.body.Known = "", nil
	return fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) int {
		part, n := protowire.ConsumeBytes(rest)
		switch {
		case typ != protowire.BytesType || n < 0:
			return errParse
		case num == subscribeKey && utf8.Valid(part):
			w.body.Key = string(part)
		case num == subscribeKnown && w.body.Known == nil && w.parseKnown(part):
			w.body.Known = &w.known
		default:
			return errParse
		}
		return n
	}) == nil
}

func (w *wish) parseKnown(body []byte) bool {
	m := &w.known
	m.Revision, m.Version, m.Deleted, m.Digest = nil, nil, false, nil
	return fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) (n int) {
		var part []byte
		switch {
		case num == markRevision && typ == protowire.BytesType && m.Revision == nil:
			var rev Revision
			if part, n = protowire.ConsumeBytes(rest); n < 0 || rev.parse(part) != nil {
				return errParse
			}
			w.rev.Term, w.rev.Sequence = rev.Term, rev.Seq
			m.Revision = &w.rev
		case num == markVersion && typ == protowire.BytesType:
			m.Version, n = protowire.ConsumeBytes(rest)
		case num == markDeleted && typ == protowire.VarintType:
			var yes uint64
			yes, n = protowire.ConsumeVarint(rest)
			m.Deleted = yes != 0
		case num == markDigest && typ == protowire.BytesType:
			m.Digest, n = protowire.ConsumeBytes(rest)
		default:
			return errParse
		}
		return n
	}) == nil
}
