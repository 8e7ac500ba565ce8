package codec

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

type protoCodec struct{}

func (protoCodec) Name() string { return "proto" }

func (protoCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("codec: proto cannot encode %T, which is not a protobuf message", v)
	}
	return proto.Marshal(m)
}

func (protoCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("codec: proto cannot decode into %T, which is not a protobuf message", v)
	}
	if !m.ProtoReflect().IsValid() { // nil, which there is nothing to decode into
		return fmt.Errorf("codec: proto cannot decode into a nil %T", v)
	}
	return proto.Unmarshal(data, m)
}

func isProto(v any) bool {
	_, ok := v.(proto.Message)
	return ok
}
