// Package codec turns Go values into the bytes that travel between the
// processes of a cluster.
//
// A codec is only asked about plain Go values: protobuf messages always
// travel as [Proto] and byte slices always as [Bytes], whatever codec a client
// was created with. Both ends of a call need the codec; its name travels with
// the bytes.
package codec

// A Codec encodes and decodes values. Its methods are called from several
// goroutines at once.
type Codec interface {
	// Name identifies the codec on the wire. Two codecs with one name must
	// understand each other.
	Name() string

	// Marshal returns the encoded form of v. The caller owns the result.
	Marshal(v any) ([]byte, error)

	// Unmarshal decodes data into v, a non-nil pointer or a protobuf message.
	// It must not keep data.
	Unmarshal(data []byte, v any) error
}

// The codecs that every client understands.
var (
	// JSON encodes with encoding/json. It is the default.
	JSON Codec = jsonCodec{}

	// Proto encodes protobuf messages and nothing else.
	Proto Codec = protoCodec{}

	// Bytes passes []byte through, copied, and refuses everything else.
	Bytes Codec = bytesCodec{}
)

// For returns the codec in which v travels when fallback is the one that the
// client was created with: [Proto] for protobuf messages, [Bytes] for []byte
// and *[]byte, fallback for everything else.
func For(v any, fallback Codec) Codec {
	switch {
	case isProto(v):
		return Proto
	case isBytes(v):
		return Bytes
	default:
		return fallback
	}
}

// Encode returns v as c encodes it, for a reader who does not keep or change it:
// a []byte is not copied.
func Encode(c Codec, v any) ([]byte, error) {
	if b, ok := v.([]byte); ok && c == Bytes {
		return b, nil
	}
	return c.Marshal(v)
}

// Named returns the codec that name stands for: fallback when it is
// fallback's name, else one of the codecs of this package.
func Named(name string, fallback Codec) (Codec, bool) {
	for _, c := range [...]Codec{fallback, JSON, Proto, Bytes} {
		if c != nil && c.Name() == name {
			return c, true
		}
	}
	return nil, false
}
