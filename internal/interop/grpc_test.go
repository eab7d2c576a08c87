package interop

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/freeport"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// A node is a gRPC server with the interoperability tests' service.
type node struct {
	*grpc.Server
	upstream.Node
	service *service
}

// newNode starts one, over TLS if there is a config.
func newNode(t testing.TB, config *tls.Config, options ...grpc.ServerOption) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	n := &node{grpc.NewServer(options...), nodeAt(l.Addr().String()), &service{TestServiceServer: interop.NewTestServer()}}
	testpb.RegisterTestServiceServer(n.Server, n.service)
	go n.Serve(l)
	t.Cleanup(n.Stop)
	return n
}

// A service is the tests' own, but for what a test puts in its way.
type service struct {
	testpb.TestServiceServer
	duplex func(grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error
	calls  atomic.Int64
}

func (s *service) EmptyCall(ctx context.Context, in *testpb.Empty) (*testpb.Empty, error) {
	s.calls.Add(1)
	return s.TestServiceServer.EmptyCall(ctx, in)
}

func (s *service) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	if s.duplex != nil {
		return s.duplex(stream)
	}
	return s.TestServiceServer.FullDuplexCall(stream)
}

// dial connects a gRPC client to a front.
func (f *front) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+f.addr,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: f.roots(), ServerName: "a.test"})),
		grpc.WithDisableRetry())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// nodes are a node for each of the schemes that a gRPC server can be reached by.
func nodes(t testing.TB) map[string]upstream.Config {
	ca := ssltest.NewCA(t, "nodes")
	pair := ca.Server("a.test")
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	plain := newNode(t, nil)
	secure := newNode(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	return map[string]upstream.Config{
		"h2c":   {Scheme: "h2c", Nodes: []upstream.Node{plain.Node}},
		"grpc":  {Scheme: "grpc", Nodes: []upstream.Node{plain.Node}},
		"grpcs": {Scheme: "grpcs", Nodes: []upstream.Node{secure.Node}, TLS: upstream.TLS{CAPEM: ca.PEM()}},
	}
}

// All of gRPC's interoperability tests that do not need Google's credentials or a load
// balancer. One that fails ends the process: they are written so.
func TestInterop(t *testing.T) {
	for scheme, u := range nodes(t) {
		t.Run(scheme, func(t *testing.T) {
			conn := newFront(t, gateway.Options{}, u).dial(t)
			client := testpb.NewTestServiceClient(conn)
			for name, run := range map[string]func(context.Context, testpb.TestServiceClient, ...grpc.CallOption){
				"empty_unary":                 interop.DoEmptyUnaryCall,
				"large_unary":                 interop.DoLargeUnaryCall,
				"client_streaming":            interop.DoClientStreaming,
				"server_streaming":            interop.DoServerStreaming,
				"ping_pong":                   interop.DoPingPong,
				"empty_stream":                interop.DoEmptyStream,
				"timeout_on_sleeping_server":  interop.DoTimeoutOnSleepingServer,
				"cancel_after_begin":          interop.DoCancelAfterBegin,
				"cancel_after_first_response": interop.DoCancelAfterFirstResponse,
				"custom_metadata":             interop.DoCustomMetadata,
				"status_code_and_message":     interop.DoStatusCodeAndMessage,
				"special_status_message":      interop.DoSpecialStatusMessage,
			} {
				t.Run(name, func(t *testing.T) { run(t.Context(), client) })
			}
			t.Run("unimplemented_method", func(t *testing.T) { interop.DoUnimplementedMethod(t.Context(), conn) })
			t.Run("unimplemented_service", func(t *testing.T) {
				interop.DoUnimplementedService(t.Context(), testpb.NewUnimplementedServiceClient(conn))
			})
		})
	}
}

// What goes wrong on the way to the nodes is told in gRPC's words.
func TestFailuresAreOutcomes(t *testing.T) {
	address, port, err := freeport.Hold()
	require.NoError(t, err)
	defer port.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()

	f := newFront(t, gateway.Options{}, upstream.Config{Scheme: "grpc"})
	client := testpb.NewTestServiceClient(f.dial(t))
	for _, c := range []struct {
		u    upstream.Config
		text string
	}{
		{upstream.Config{Scheme: "grpc"}, "the upstream has no node"},
		{upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{nodeAt(address)}}, "the upstream could not be reached"},
		{upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{nodeAt(silent.Addr().String())}, Timeout: upstream.Timeout{Connect: 20 * time.Millisecond}}, "the upstream did not answer in time"},
	} {
		f.put(t, c.u)
		var header metadata.MD
		_, err := client.EmptyCall(t.Context(), &testpb.Empty{}, grpc.Header(&header))
		require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
		require.Equal(t, c.text, status.Convert(err).Message())
		stream, err := client.FullDuplexCall(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.CloseSend()) // a node may answer as late as the request ends
		_, err = stream.Recv()
		require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	}
}

// A stream that has nothing to say is not cut, on either side, though every limit of
// the gateway is short.
func TestSilentStreams(t *testing.T) {
	const short = 50 * time.Millisecond
	n := newNode(t, nil)
	answer := make(chan bool)
	n.service.duplex = func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		<-answer
		return stream.Send(&testpb.StreamingOutputCallResponse{})
	}
	f := newFront(t, gateway.Options{Limits: gateway.Limits{BodyTimeout: short}}, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{n.Node}})
	client := testpb.NewTestServiceClient(f.dial(t))
	silence := func() { // on this stream, for longer than any limit
		for begun := time.Now(); time.Since(begun) < 5*short; {
			_, err := client.EmptyCall(t.Context(), &testpb.Empty{})
			require.NoError(t, err)
		}
	}
	stream, err := client.FullDuplexCall(t.Context())
	require.NoError(t, err)
	silence()
	require.NoError(t, stream.Send(&testpb.StreamingOutputCallRequest{}))
	silence()
	close(answer)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, io.EOF, err)
}

// Cancelling goes through in both directions, and so does a deadline.
func TestCancellation(t *testing.T) {
	n := newNode(t, nil)
	begun, ended := make(chan time.Time, 1), make(chan error, 1)
	n.service.duplex = func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		deadline, _ := stream.Context().Deadline()
		begun <- deadline
		if md, _ := metadata.FromIncomingContext(stream.Context()); len(md["fail"]) > 0 {
			return status.Error(codes.DataLoss, "lost: 100 %, ümlaut")
		}
		<-stream.Context().Done()
		ended <- stream.Context().Err()
		return nil
	}
	f := newFront(t, gateway.Options{}, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{n.Node}})
	client := testpb.NewTestServiceClient(f.dial(t))

	ctx, cancel := context.WithCancel(t.Context())
	stream, err := client.FullDuplexCall(ctx)
	require.NoError(t, err)
	require.Zero(t, <-begun, "no deadline")
	cancel()
	require.Equal(t, context.Canceled, <-ended)
	_, err = stream.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))

	ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	_, err = client.FullDuplexCall(ctx)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), <-begun, time.Minute)
	cancel()
	<-ended

	// The node ends the call while the client still sends.
	stream, err = client.FullDuplexCall(metadata.AppendToOutgoingContext(t.Context(), "fail", "1"))
	require.NoError(t, err)
	<-begun
	for err == nil {
		err = stream.Send(&testpb.StreamingOutputCallRequest{})
	}
	require.Equal(t, io.EOF, err)
	_, err = stream.Recv()
	require.Equal(t, codes.DataLoss, status.Code(err))
	require.Equal(t, "lost: 100 %, ümlaut", status.Convert(err).Message())
}

// A node that dies ends its calls as UNAVAILABLE, whether they were answered in part
// or not at all.
func TestNodeDies(t *testing.T) {
	n := newNode(t, nil)
	arrived := make(chan bool)
	n.service.duplex = func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		if md, _ := metadata.FromIncomingContext(stream.Context()); len(md["answer"]) > 0 {
			if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
				return err
			}
		}
		arrived <- true
		<-stream.Context().Done()
		return nil
	}
	f := newFront(t, gateway.Options{}, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{n.Node}})
	client := testpb.NewTestServiceClient(f.dial(t))
	silent, err := client.FullDuplexCall(t.Context())
	require.NoError(t, err)
	<-arrived
	answered, err := client.FullDuplexCall(metadata.AppendToOutgoingContext(t.Context(), "answer", "1"))
	require.NoError(t, err)
	<-arrived
	_, err = answered.Recv()
	require.NoError(t, err)
	n.Stop()
	for stream, text := range map[testpb.TestService_FullDuplexCallClient]string{
		silent:   "the upstream could not be reached",
		answered: "the upstream broke off its answer",
	} {
		_, err = stream.Recv()
		require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
		require.Equal(t, text, status.Convert(err).Message())
	}
	require.Contains(t, f.log.String(), "the answer broke off")
}

// A server that lets no connection grow old, as those behind load balancers are
// configured, loses no call, though calls are never idempotent.
func TestConnectionsOfLimitedAge(t *testing.T) {
	n := newNode(t, nil, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 30 * time.Millisecond, MaxConnectionAgeGrace: 10 * time.Second}))
	f := newFront(t, gateway.Options{}, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{n.Node}})
	client := testpb.NewTestServiceClient(f.dial(t))
	const calls = 2000
	for i := range calls {
		_, err := client.EmptyCall(t.Context(), &testpb.Empty{})
		require.NoError(t, err, "call %d", i)
	}
	require.EqualValues(t, calls, n.service.calls.Load(), "and none is made twice")
}

// Backpressure: a client that does not read stops the server, through the gateway, and
// gets everything in the end.
func TestBackpressure(t *testing.T) {
	const messages, size = 200, 64 << 10
	n := newNode(t, nil)
	var sent atomic.Int64
	n.service.duplex = func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		for range messages {
			if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, size)}}); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	}
	f := newFront(t, gateway.Options{}, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{n.Node}})
	client := testpb.NewTestServiceClient(f.dial(t))
	stream, err := client.FullDuplexCall(t.Context())
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	// While others are served, the server comes to a stop. That it is nobody else who
	// is stopped, each of these calls shows.
	for before, same := int64(-1), 0; same < 200; same++ {
		_, err = client.EmptyCall(t.Context(), &testpb.Empty{})
		require.NoError(t, err)
		if now := sent.Load(); now != before {
			before, same = now, 0
		}
	}
	require.Less(t, sent.Load(), int64(messages/2), "the server is stopped")
	for range messages - 1 {
		_, err = stream.Recv()
		require.NoError(t, err)
	}
	_, err = stream.Recv()
	require.Equal(t, io.EOF, err)
}

// A client that says its name in the header is not believed by way of gRPC either.
func TestMetadataIsScrubbed(t *testing.T) {
	n := newNode(t, nil)
	got := make(chan metadata.MD, 1)
	n.service.duplex = func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		got <- md
		return nil
	}
	f := newFront(t, gateway.Options{}, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{n.Node}})
	client := testpb.NewTestServiceClient(f.dial(t))
	stream, err := client.FullDuplexCall(metadata.AppendToOutgoingContext(t.Context(), "x-client-dn", "CN=admin", "x_client_verify", "SUCCESS", "mine", "1"))
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, io.EOF, err)
	md := <-got
	require.Equal(t, []string{"1"}, md["mine"])
	require.Equal(t, []string{"127.0.0.1"}, md["x-real-ip"])
	for name := range md {
		require.False(t, strings.Contains(name, "client"), name)
	}
}
