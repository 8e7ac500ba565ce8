package follower

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// abridged returns the beginning of a name that is too long to be one.
func abridged(name string) string {
	if len(name) <= wire.MaxKey {
		return name
	}
	return name[:64] + "…"
}

// plain returns err without what gRPC puts around a text that is not an answer
// of anybody.
func plain(err error) error {
	if st, ok := status.FromError(err); ok && err != nil {
		return errors.New(st.Message())
	}
	return err
}

func sizeError(n int) error {
	return fmt.Errorf("%d bytes, at most %d are allowed", n, wire.MaxMessage)
}
