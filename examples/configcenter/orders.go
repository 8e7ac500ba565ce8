package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/clusterclient/clusterclient"
	configcenterv1 "github.com/clusterclient/clusterclient/examples/configcenter/proto/configcenter/v1"
)

// obey calls the leader's service. The client stands in for a connection to
// it: what protoc-gen-go-grpc generated needs no change.
func obey(ctx context.Context, client *clusterclient.Client, o order) *answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	service := configcenterv1.NewHistoryServiceClient(client)
	a := &answer{ID: o.ID}
	var err error
	start := time.Now()
	switch o.Do {
	case countWrites:
		err = countTheWrites(ctx, service, a)
	case listValues:
		err = listTheValues(ctx, service, a)
	default:
		err = fmt.Errorf("no such order: %q", o.Do)
	}
	a.Took = time.Since(start)
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

func countTheWrites(ctx context.Context, service configcenterv1.HistoryServiceClient, a *answer) error {
	resp, err := service.CountWrites(ctx, &configcenterv1.CountWritesRequest{Key: key})
	a.Writes, a.PID = resp.GetWrites(), resp.GetPid()
	return err
}

func listTheValues(ctx context.Context, service configcenterv1.HistoryServiceClient, a *answer) error {
	stream, err := service.ListValues(ctx, &configcenterv1.ListValuesRequest{Key: key, Limit: 10})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a.Values, a.PID = append(a.Values, string(resp.GetValue())), resp.GetPid()
	}
}
