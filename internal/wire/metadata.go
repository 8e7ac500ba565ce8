package wire

import (
	"strings"

	"google.golang.org/grpc/metadata"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// MetadataTo returns md as it travels. A key that is not UTF-8 cannot, and is
// changed.
func MetadataTo(md metadata.MD) []*clusterclientv1.Metadata {
	if len(md) == 0 {
		return nil
	}
	out := make([]*clusterclientv1.Metadata, 0, len(md))
	for k, vs := range md {
		values := make([][]byte, len(vs))
		for i, v := range vs {
			values[i] = []byte(v)
		}
		out = append(out, &clusterclientv1.Metadata{Key: strings.ToValidUTF8(k, "\uFFFD"), Values: values})
	}
	return out
}

// MetadataFrom returns what travelled as in.
func MetadataFrom(in []*clusterclientv1.Metadata) metadata.MD {
	md := make(metadata.MD, len(in))
	for _, e := range in {
		for _, v := range e.GetValues() {
			md[e.GetKey()] = append(md[e.GetKey()], string(v))
		}
	}
	return md
}
