package wire

import (
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Unread returns s with frames put back in front of what it receives: those
// that came in one batch with the answer to Hello. It is for a [Receiver].
func Unread(s Stream, frames []*clusterclientv1.ResponseFrame) Stream {
	if len(frames) == 0 {
		return s
	}
	return &unread{Stream: s, frames: frames}
}

type unread struct {
	Stream
	frames []*clusterclientv1.ResponseFrame
}

func (u *unread) RecvMsg(m any) error {
	if u.frames == nil {
		return u.Stream.RecvMsg(m)
	}
	data, err := proto.Marshal(&clusterclientv1.SessionResponse{Frames: u.frames})
	u.frames = nil
	m.(*Frames).data = data
	return err
}
