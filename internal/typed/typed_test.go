package typed_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/internal/typed"
)

func TestDecode(t *testing.T) {
	n, err := typed.Decode[int](func(target any) error {
		*target.(*int) = 7
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 7, n)

	p, err := typed.Decode[*int](func(target any) error {
		*target.(**int) = &n
		return nil
	})
	require.NoError(t, err)
	require.Same(t, &n, p)

	m, err := typed.Decode[*testprotov1.EchoRequest](func(target any) error {
		target.(*testprotov1.EchoRequest).Text = "a"
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "a", m.GetText())

	_, err = typed.Decode[int](func(any) error { return io.EOF })
	require.Equal(t, io.EOF, err)
	_, err = typed.Decode[*testprotov1.EchoRequest](func(any) error { return io.EOF })
	require.Equal(t, io.EOF, err)
}
