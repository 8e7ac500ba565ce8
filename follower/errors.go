package follower

import (
	"fmt"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// maxKey is the longest key in bytes.
const maxKey = 4096

func sizeError(n int) error {
	return fmt.Errorf("%d bytes, at most %d are allowed", n, wire.MaxMessage)
}
