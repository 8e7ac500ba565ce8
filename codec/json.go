package codec

import (
	"encoding/json"
	"errors"
	"strings"
)

type jsonCodec struct{}

func (jsonCodec) Name() string                  { return "json" }
func (jsonCodec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec) Unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		told := *mismatch // "number 42": errors are logged, and values must not be
		told.Value, _, _ = strings.Cut(told.Value, " ")
		return &told
	}
	return err
}
