package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	valueField protowire.Number = 8  // ResponseFrame.value
	dataField  protowire.Number = 15 // Value.data
)

// EncodeValue returns the encoded ResponseFrame that carries v with data in
// the place of v.Data, and the part of it that is data, so that whoever keeps
// the frame need not keep data as well.
func EncodeValue(v *clusterclientv1.Value, data []byte) (frame, tail []byte) {
	head := proto.Size(v)
	size := head
	if len(data) > 0 {
		size += protowire.SizeTag(dataField) + protowire.SizeBytes(len(data))
	}
	frame = make([]byte, 0, protowire.SizeTag(valueField)+protowire.SizeBytes(size))
	frame = protowire.AppendTag(frame, valueField, protowire.BytesType)
	frame = protowire.AppendVarint(frame, uint64(size))
	frame, err := proto.MarshalOptions{}.MarshalAppend(frame, v)
	if err != nil {
		panic("wire: a value with a key that is not UTF-8: " + err.Error()) // checked on entry
	}
	if len(data) > 0 {
		frame = protowire.AppendTag(frame, dataField, protowire.BytesType)
		frame = protowire.AppendBytes(frame, data)
	}
	return frame, frame[len(frame)-len(data):]
}
