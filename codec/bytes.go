package codec

import (
	"bytes"
	"fmt"
)

type bytesCodec struct{}

func (bytesCodec) Name() string { return "bytes" }

func (bytesCodec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return bytes.Clone(v), nil
	case *[]byte:
		if v != nil {
			return bytes.Clone(*v), nil
		}
	}
	return nil, fmt.Errorf("codec: bytes cannot encode %T, only []byte", v)
}

func (bytesCodec) Unmarshal(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok || p == nil {
		return fmt.Errorf("codec: bytes cannot decode into %T, only *[]byte", v)
	}
	*p = make([]byte, len(data))
	copy(*p, data)
	return nil
}

func isBytes(v any) bool {
	switch v.(type) {
	case []byte, *[]byte:
		return true
	}
	return false
}
