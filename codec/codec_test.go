package codec_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/codec"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
)

type pet struct{ Name string }

func TestRoundTrips(t *testing.T) {
	var p pet
	var b []byte
	var m testprotov1.EchoRequest
	text := []byte("a\x00\xff")
	tests := []struct {
		codec     codec.Codec
		in, out   any
		unchanged func() bool
	}{
		{codec.JSON, pet{"Rex"}, &p, func() bool { return p == pet{"Rex"} }},
		{codec.JSON, &pet{"Tom"}, &p, func() bool { return p == pet{"Tom"} }},
		{codec.Bytes, text, &b, func() bool { return string(b) == string(text) }},
		{codec.Bytes, &text, &b, func() bool { return string(b) == string(text) }},
		{codec.Bytes, []byte(nil), &b, func() bool { return b != nil && len(b) == 0 }},
		{codec.Proto, &testprotov1.EchoRequest{Text: "a"}, &m, func() bool { return m.GetText() == "a" }},
	}
	for _, test := range tests {
		data, err := test.codec.Marshal(test.in)
		require.NoError(t, err, "%s: Marshal(%v)", test.codec.Name(), test.in)
		require.NoError(t, test.codec.Unmarshal(data, test.out), "%s: Unmarshal(%q)", test.codec.Name(), data)
		require.True(t, test.unchanged(), "%s: %v came back as %v", test.codec.Name(), test.in, test.out)
	}
}

func TestBytesAreCopied(t *testing.T) {
	in := []byte("a")
	data, err := codec.Bytes.Marshal(in)
	require.NoError(t, err)
	var out []byte
	require.NoError(t, codec.Bytes.Unmarshal(data, &out))
	data[0] = 'x'
	require.Equal(t, "a", string(in), "what was encoded")
	require.Equal(t, "a", string(out), "what was decoded")

	data, err = codec.Encode(codec.Bytes, in)
	require.NoError(t, err)
	require.Same(t, &in[0], &data[0], "Encode copies")
	data, err = codec.Encode(codec.JSON, pet{"Rex"})
	require.NoError(t, err)
	require.Equal(t, `{"Name":"Rex"}`, string(data), "Encode")
}

func TestWrongTypes(t *testing.T) {
	var noBytes *[]byte
	tests := []struct {
		codec codec.Codec
		v     any
		want  string
	}{
		{codec.Bytes, pet{}, "codec: bytes cannot encode codec_test.pet, only []byte"},
		{codec.Bytes, "text", "codec: bytes cannot encode string, only []byte"},
		{codec.Bytes, nil, "codec: bytes cannot encode <nil>, only []byte"},
		{codec.Bytes, noBytes, "codec: bytes cannot encode *[]uint8, only []byte"},
		{codec.Proto, pet{}, "codec: proto cannot encode codec_test.pet, which is not a protobuf message"},
		{codec.Proto, nil, "codec: proto cannot encode <nil>, which is not a protobuf message"},
		{codec.JSON, make(chan int), "json: unsupported type: chan int"},
	}
	for _, test := range tests {
		_, err := test.codec.Marshal(test.v)
		require.EqualError(t, err, test.want)
	}
	require.EqualError(t, codec.Bytes.Unmarshal(nil, new(pet)), "codec: bytes cannot decode into *codec_test.pet, only *[]byte")
	require.EqualError(t, codec.Bytes.Unmarshal(nil, noBytes), "codec: bytes cannot decode into *[]uint8, only *[]byte")
	require.EqualError(t, codec.Proto.Unmarshal(nil, new(pet)), "codec: proto cannot decode into *codec_test.pet, which is not a protobuf message")
	var noMessage *testprotov1.EchoRequest
	require.EqualError(t, codec.Proto.Unmarshal(nil, noMessage), "codec: proto cannot decode into a nil *testprotov1.EchoRequest")
	require.Error(t, codec.Proto.Unmarshal([]byte{0xff}, new(testprotov1.EchoRequest)), "bytes that are no message")
	require.Error(t, codec.JSON.Unmarshal([]byte("{"), new(pet)), "bytes that are no JSON")
}

// own is a codec of somebody else's, and not comparable.
type own struct {
	codec.Codec
	_ []int
}

func (own) Name() string { return "own" }

func TestForAndNamed(t *testing.T) {
	fallback := own{Codec: codec.JSON}
	var message proto.Message = &testprotov1.EchoRequest{}
	tests := []struct {
		v    any
		want string
	}{
		{pet{}, "own"},
		{nil, "own"},
		{"text", "own"},
		{[]string{}, "own"},
		{[]byte{}, "bytes"},
		{new([]byte), "bytes"},
		{message, "proto"},
		{(*testprotov1.EchoRequest)(nil), "proto"},
		{&message, "own"},
	}
	for _, test := range tests {
		require.Equal(t, test.want, codec.For(test.v, fallback).Name(), "For(%T)", test.v)
	}
	for _, name := range []string{"own", "json", "proto", "bytes"} {
		c, ok := codec.Named(name, fallback)
		require.True(t, ok, "Named(%q)", name)
		require.Equal(t, name, c.Name())
	}
	_, ok := codec.Named("gob", fallback)
	require.False(t, ok, "Named(%q)", "gob")
	_, ok = codec.Named("", nil)
	require.False(t, ok, "Named(%q)", "")
}
