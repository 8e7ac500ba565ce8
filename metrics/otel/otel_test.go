package otel_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/metrics"
	"github.com/clusterclient/clusterclient/metrics/otel"
)

// points collects and returns the points of every instrument.
func points(t *testing.T, reader *metric.ManualReader) map[string][]metricdata.DataPoint[float64] {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	found := make(map[string][]metricdata.DataPoint[float64])
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[float64]:
				found[m.Name] = data.DataPoints
			case metricdata.Sum[float64]:
				require.True(t, data.IsMonotonic, m.Name)
				found[m.Name] = data.DataPoints
			default:
				t.Errorf("%s is %T", m.Name, m.Data)
			}
		}
	}
	return found
}

func TestRegister(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
		}
		up.Set("k", "v")
		cluster := clustertest.New(t, up)
		leads, follows := cluster.Start(clusterclient.WithSnapshot(t.TempDir())), cluster.Start()
		var out []byte
		require.NoError(t, follows.Invoke(t.Context(), "echo", []byte("x"), &out))
		_, err := follows.Subscribe(t.Context(), "k")
		require.NoError(t, err)
		time.Sleep(time.Second) // for the snapshot
		synctest.Wait()

		reader := metric.NewManualReader()
		provider := metric.NewMeterProvider(metric.WithReader(reader))
		registration, err := otel.Register(provider, leads.Client)
		require.NoError(t, err)
		found := points(t, reader)
		for _, m := range metrics.All() {
			switch {
			case m.Kind == metrics.Histogram:
				require.Contains(t, found, m.Instrument+".count")
				require.Contains(t, found, m.Instrument+".sum")
			case len(m.Labels) == 0:
				require.Contains(t, found, m.Instrument)
			}
		}
		require.InDelta(t, 1, found["clusterclient.leader.followers"][0].Value, 0)
		call := found["clusterclient.leader.handled_calls"][0]
		require.InDelta(t, 1, call.Value, 0)
		for key, want := range map[attribute.Key]string{"clusterclient.name": clustertest.Name, "rpc.method": "echo", "rpc.response.status_code": "OK"} {
			got, _ := call.Attributes.Value(key)
			require.Equal(t, want, got.AsString(), "%s", key)
		}
		require.NoError(t, registration.Unregister())
		require.Empty(t, points(t, reader))
	})
}

// One trace spans the caller, the leader and what the handler does upstream.
func TestTrace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		tracing := otel.Trace(provider, propagation.TraceContext{})
		up := clustertest.NewUpstream()
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "fetch", func(ctx context.Context, fail bool) (string, error) {
				_, span := provider.Tracer("upstream").Start(ctx, "upstream")
				defer span.End()
				if fail {
					return "", status.Error(codes.NotFound, "no")
				}
				return "ok", nil
			})
			tracing.Handlers(r)
		}
		cluster := clustertest.New(t, up)
		cluster.Start()
		caller := tracing.Conn(cluster.Start().Client)

		ctx, root := provider.Tracer("test").Start(t.Context(), "root")
		var reply string
		require.NoError(t, caller.Invoke(ctx, "fetch", false, &reply))
		require.Equal(t, codes.NotFound, status.Code(caller.Invoke(ctx, "fetch", true, &reply)))
		root.End()
		synctest.Wait()

		spans := exporter.GetSpans()
		require.Len(t, spans, 7)
		for _, c := range chains(t, spans, root) {
			require.Equal(t, c.handler.Status.Code, c.call.Status.Code)
		}
	})
}

// chat answers each message, with a span of its own.
type chat struct {
	testprotov1.UnimplementedEchoServiceServer
	tracer trace.Tracer
}

func (c chat) Chat(s testprotov1.EchoService_ChatServer) error {
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, span := c.tracer.Start(s.Context(), "upstream")
		err = s.Send(&testprotov1.ChatResponse{Text: req.GetText()})
		span.End()
		if err != nil {
			return err
		}
	}
}

func TestTraceOfAStream(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		tracing := otel.Trace(provider, propagation.TraceContext{})
		up := clustertest.NewUpstream()
		up.Methods = func(r *leader.Registry) {
			testprotov1.RegisterEchoServiceServer(r, chat{tracer: provider.Tracer("upstream")})
			tracing.Handlers(r)
		}
		cluster := clustertest.New(t, up)
		cluster.Start()
		caller := testprotov1.NewEchoServiceClient(tracing.Conn(cluster.Start().Client))

		ctx, root := provider.Tracer("test").Start(t.Context(), "root")
		stream, err := caller.Chat(ctx)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, stream.Send(&testprotov1.ChatRequest{Text: "x"}))
			_, err := stream.Recv()
			require.NoError(t, err)
		}
		require.NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		require.ErrorIs(t, err, io.EOF)
		root.End()
		synctest.Wait()

		spans := exporter.GetSpans()
		require.Len(t, spans, 5)
		all := chains(t, spans, root)
		require.Len(t, all, 2)
		require.Equal(t, all[0].handler.SpanContext.SpanID(), all[1].handler.SpanContext.SpanID(), "spans of one stream")
	})
}

// A chain is the spans above one at the upstream.
type chain struct{ handler, call tracetest.SpanStub }

// chains checks that all spans are of the trace that root begins, and that
// each of the upstream's belongs to a handler, and that to a call from there.
func chains(t *testing.T, spans tracetest.SpanStubs, root trace.Span) (all []chain) {
	t.Helper()
	byID := make(map[trace.SpanID]tracetest.SpanStub)
	for _, s := range spans {
		require.Equal(t, root.SpanContext().TraceID(), s.SpanContext.TraceID(), "%s is of another trace", s.Name)
		byID[s.SpanContext.SpanID()] = s
	}
	for _, s := range spans {
		if s.Name != "upstream" {
			continue
		}
		handler := byID[s.Parent.SpanID()]
		c := chain{handler, byID[handler.Parent.SpanID()]}
		require.Equal(t, trace.SpanKindServer, c.handler.SpanKind)
		require.Equal(t, trace.SpanKindClient, c.call.SpanKind)
		require.Equal(t, "root", byID[c.call.Parent.SpanID()].Name)
		all = append(all, c)
	}
	return all
}
