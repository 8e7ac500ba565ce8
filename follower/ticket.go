package follower

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// admission asks the leader for one stream of a method; 0 is the ticket for one
// that admits all. Unless that is settled the next leader has to be asked.
func (l *link) admission(ctx context.Context, deadline time.Time, method string) (ticket uint64, state progress, err error) {
	if !l.admits {
		return 0, settled, nil
	}
	a, state, err := l.attempt(ctx, deadline, &request{op: "open stream", key: method, frame: func(id uint64, _ int64) *clusterclientv1.RequestFrame {
		ticket = id
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Admit{Admit: &clusterclientv1.Admit{Id: id, Method: method}}}
	}})
	if a != nil {
		err = l.f.answer("open stream", method, &a.reply)
		l.f.release(a)
	}
	return ticket, state, err
}

// newStream opens a stream on the link's connection, which stays open until the
// stream has ended.
func (l *link) newStream(ctx context.Context, ticket uint64, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	outgoing := metadata.AppendToOutgoingContext(ctx, wire.SessionKey, string(l.session))
	if ticket != 0 {
		outgoing = metadata.AppendToOutgoingContext(outgoing, wire.TicketKey, strconv.FormatUint(ticket, 10))
	}
	l.streams.begin()
	s, err := l.conn.NewStream(outgoing, desc, method, opts...)
	if err == nil {
		context.AfterFunc(s.Context(), l.streams.end)
		return s, nil
	}
	l.streams.end()
	if ticket != 0 {
		l.w.Send(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Cancel{Cancel: &clusterclientv1.Cancel{Id: ticket}}}, nil)
	}
	return nil, err
}
