package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Head is a value that is to be sent, but for its data. Its texts are UTF-8.
type Head struct {
	Key       string
	Revision  Revision
	Version   string
	Deleted   bool
	Freshness *clusterclientv1.Freshness
	Content   uint64 // see [Content]; 0 when it is not known
	Number    uint64 // of the key; 0 is none
}

// Encode returns the encoded ResponseFrame that carries h with size bytes of
// data, all but the data itself, which is its end.
func (h *Head) Encode(size int) []byte {
	body := h.size()
	if size > 0 {
		body += protowire.SizeTag(valueData) + protowire.SizeBytes(size)
	}
	out := make([]byte, 0, protowire.SizeTag(valueField)+protowire.SizeBytes(body)-size)
	out = h.appendTo(openFrame(out, valueField, body))
	if size > 0 {
		out = openFrame(out, valueData, size)
	}
	return out
}

func (h *Head) size() int {
	return sizeBytes(valueKey, h.Key) + sizePart(valueRevision, h.Revision.size()) + sizeBytes(valueVersion, h.Version) +
		sizeUint(valueDeleted, boolUint(h.Deleted)) + sizePart(valueFreshness, sizeFreshness(h.Freshness)) +
		sizeFixed(valueContent, h.Content) + sizeUint(valueNumber, h.Number)
}

func (h *Head) appendTo(out []byte) []byte {
	out = appendBytes(out, valueKey, h.Key)
	out = h.Revision.appendTo(openFrame(out, valueRevision, h.Revision.size()))
	out = appendBytes(out, valueVersion, h.Version)
	out = appendUint(out, valueDeleted, boolUint(h.Deleted))
	out = appendFreshness(openFrame(out, valueFreshness, sizeFreshness(h.Freshness)), h.Freshness)
	return appendUint(appendFixed(out, valueContent, h.Content), valueNumber, h.Number)
}

func (r Revision) size() int {
	return sizeUint(revisionTerm, r.Term) + sizeUint(revisionSequence, r.Seq)
}

func (r Revision) appendTo(out []byte) []byte {
	return appendUint(appendUint(out, revisionTerm, r.Term), revisionSequence, r.Seq)
}

func sizeFreshness(f *clusterclientv1.Freshness) int {
	return sizeUint(freshnessStale, boolUint(f.GetStale())) + sizeUint(freshnessSince, uint64(f.GetSince())) +
		sizeBytes(freshnessReason, f.GetReason()) + sizeUint(freshnessOrigin, uint64(f.GetOrigin())) +
		sizeUint(freshnessPending, boolUint(f.GetPending())) + sizeUint(freshnessTooLarge, boolUint(f.GetTooLarge()))
}

func appendFreshness(out []byte, f *clusterclientv1.Freshness) []byte {
	out = appendUint(out, freshnessStale, boolUint(f.GetStale()))
	out = appendUint(out, freshnessSince, uint64(f.GetSince()))
	out = appendBytes(out, freshnessReason, f.GetReason())
	out = appendUint(out, freshnessOrigin, uint64(f.GetOrigin()))
	out = appendUint(out, freshnessPending, boolUint(f.GetPending()))
	return appendUint(out, freshnessTooLarge, boolUint(f.GetTooLarge()))
}

// sizePart is that of a field with a message of size bytes, empty or not.
func sizePart(num protowire.Number, size int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(size)
}
