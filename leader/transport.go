package leader

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// transportStream collects the metadata that a handler sends.
type transportStream struct {
	method string

	mu              sync.Mutex // guards what follows
	header, trailer metadata.MD
	headerSent      bool
}

var errHeaderSent = errors.New("header was sent already")

func (t *transportStream) Method() string { return t.method }

func (t *transportStream) SetHeader(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.headerSent {
		return fmt.Errorf("%q: %w", t.method, errHeaderSent)
	}
	t.header = metadata.Join(t.header, md)
	return nil
}

func (t *transportStream) SendHeader(md metadata.MD) error {
	if err := t.SetHeader(md); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.headerSent = true
	return nil
}

func (t *transportStream) SetTrailer(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trailer = metadata.Join(t.trailer, md)
	return nil
}

func (t *transportStream) sent() (header, trailer []*clusterclientv1.Metadata) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return wire.MetadataTo(t.header), wire.MetadataTo(t.trailer)
}
