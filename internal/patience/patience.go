// Package patience waits for the user's code, though not for ever.
package patience

import (
	"fmt"
	"io"
	"time"
)

// Most is how long the user's code may go on after it was told to end.
const Most = 5 * time.Second

// Close closes the user's upstream. What panics, or ends its goroutine, has
// failed, and so has what does not return; that goes on by itself.
func Close(upstream io.Closer) error {
	done := start("it", upstream.Close)
	late := time.NewTimer(Most)
	defer late.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("close upstream: %w", err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("close upstream: it has not returned after %v", Most)
	}
}
