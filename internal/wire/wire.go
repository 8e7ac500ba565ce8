// Package wire moves frames between the two ends of a session.
//
// A [Writer] collects frames and sends them in batches, cutting large ones in
// chunks so that small ones pass between; an [Assembler] puts the chunks
// together again. Both work on any [Stream]: a gRPC stream of either side, or
// one end of a [Pipe] inside a process. The bytes are those of the messages
// in proto/clusterclient/v1.
package wire

import (
	"context"
	"crypto/sha256"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto" // registers the codec that Codec falls back on
	"google.golang.org/grpc/mem"

	"github.com/clusterclient/clusterclient/internal/large"
)

const (
	// Protocol is the version of the wire that this build speaks.
	Protocol = 1

	// MaxMessage is the largest value, argument or result in bytes.
	MaxMessage = 64 << 20

	// MaxFrame is the largest frame: a message and what goes with it.
	MaxFrame = MaxMessage + 1<<20

	// SessionKey is the metadata key that names the session to streams that
	// are opened beside it.
	SessionKey = "clusterclient-session-bin"

	// TicketKey is the metadata key of the id under which a stream was
	// admitted.
	TicketKey = "clusterclient-ticket"

	// FeatureAdmission is the feature, in Welcome, of admitting streams.
	FeatureAdmission = "admission"

	// FeatureReturn is the feature, in Welcome, of taking back what another
	// leader has handed to members of queue groups.
	FeatureReturn = "return"

	// FeatureWitness is the feature, in Hello, of confirming records.
	FeatureWitness = "witness"

	// FeatureCredit is the feature, in Hello, of telling what was taken of
	// frames that come in pieces.
	FeatureCredit = "credit"

	// FeatureInquiry is the feature, in Hello, of answering inquiries.
	FeatureInquiry = "inquiry"

	// FeatureProbe is the feature, in Hello, of answering probes.
	FeatureProbe = "probe"

	// FeatureLane is the feature, in Welcome, of taking a lane to a session.
	FeatureLane = "lane"

	// FeatureHandOver is the feature, in Hello, of getting ready to lead while
	// somebody else does.
	FeatureHandOver = "hand-over"

	// AnsweredKey is the trailer that a leader sets on each stream it ended
	// itself. Where it is missing, the leader was lost.
	AnsweredKey = "clusterclient-answered"
)

// A Stream carries messages in order. Both kinds of gRPC streams are one. One
// goroutine may send while another receives.
type Stream interface {
	Context() context.Context
	SendMsg(m any) error // blocks until the transport takes m
	RecvMsg(m any) error
}

// Digest is a fingerprint of data that fits in a Mark.
func Digest(data []byte) []byte {
	hash := sha256.New()
	large.Each(data, func(piece []byte) { _, _ = hash.Write(piece) })
	return hash.Sum(nil)[:16]
}

// Codec is the gRPC codec of sessions: a [Batch] goes out as the bytes it has,
// [Frames] take in what bytes there are, and everything else is protobuf.
type Codec struct{}

var fallback = encoding.GetCodecV2(protocodec.Name)

// Name returns "proto": what is on the wire is exactly that.
func (Codec) Name() string { return protocodec.Name }

// Marshal passes the bytes of a Batch on and encodes any other message.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(*Batch); ok {
		return b.slice(), nil
	}
	return fallback.Marshal(v)
}

// Unmarshal gives Frames the bytes themselves, as long as they are in use, and
// decodes any other message.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*Frames)
	if !ok {
		return fallback.Unmarshal(data, v)
	}
	f.take(data)
	return nil
}
