package wire

import clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"

// Unread returns s with frames put back in front of what it receives: those
// that came in one batch with the answer to Hello.
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
	m.(*clusterclientv1.SessionResponse).Frames = u.frames
	u.frames = nil
	return nil
}
