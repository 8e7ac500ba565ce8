// Package typed joins generic functions to codecs that decode into pointers.
package typed

import "google.golang.org/protobuf/proto"

// Decode returns the T that unmarshal fills in. A T that is a protobuf
// message, which is a pointer already, is filled in itself; any other T is
// passed as *T.
func Decode[T any](unmarshal func(target any) error) (T, error) {
	var v T
	if m, ok := any(v).(proto.Message); ok {
		m = m.ProtoReflect().New().Interface()
		return m.(T), unmarshal(m)
	}
	err := unmarshal(&v)
	return v, err
}
