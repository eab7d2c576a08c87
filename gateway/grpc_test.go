package gateway_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// These tests speak of gRPC in words of HTTP. Those with gRPC's own client and server
// are in internal/interop.

// newH2Origin is an origin that speaks HTTP/2 without TLS.
func newH2Origin(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// calling applies a configuration in which everything goes to gRPC nodes.
func (h *harness) calling(addresses ...string) {
	u := upstreamTo("1", addresses...)
	u.Scheme = "grpc"
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{u},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1", AllowPlain: true}},
	})
}

// call is a request as gRPC makes it.
func (h *harness) call(d door, contentType string) *http.Request {
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, d.scheme()+"://a.test/service/method", strings.NewReader("message"))
	require.NoError(h.t, err)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Te", "trailers")
	return req
}

func TestHTTP2Nodes(t *testing.T) {
	h := newHarness(t, nil)
	h.calling(newH2Origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "Announced")
		w.Header().Set("Got", strings.Join([]string{r.Proto, r.Method, r.RequestURI, r.Host, r.Header.Get("Te"), string(body)}, " "))
		io.WriteString(w, "answer")
		w.(http.Flusher).Flush() // with a length, HTTP/1.1 has no place for a trailer
		w.Header().Set("Announced", "1")
		w.Header().Set(http.TrailerPrefix+"Unannounced", "2")
	}))
	for _, d := range h.doors() {
		res, err := h.client(d, "a.test").Do(h.call(d, "application/grpc"))
		require.NoError(t, err, d.name)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, "answer", string(body))
		require.Equal(t, "HTTP/2.0 POST /service/method a.test trailers message", res.Header.Get("Got"), d.name)
		require.Equal(t, http.Header{"Announced": {"1"}, "Unannounced": {"2"}}, res.Trailer, d.name)
	}
}

// An answer that is its head alone goes out as that: in one frame, which ends the
// stream. gRPC clients take an outcome in the header and an end that comes later for
// a broken answer.
func TestTrailersOnly(t *testing.T) {
	h := newHarness(t, nil)
	h.calling(newH2Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "5")
	}))
	for _, d := range []door{h.http2, h.handler2} {
		conn := h.h2(d, "a.test")
		for stream := uint32(1); stream < 100; stream += 2 {
			conn.headers(stream, true, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/s/m", "content-type", "application/grpc")
			f, ok := conn.next(stream)
			require.True(t, ok)
			require.EqualValues(t, h2Headers, f.kind)
			require.Equal(t, "200", statusIn(f.payload))
			require.NotZero(t, f.flags&h2EndStream, "%s, stream %d", d.name, stream)
		}
	}
}

// A gRPC client is told in gRPC's words why there is no answer; others in HTTP's.
func TestFailedCalls(t *testing.T) {
	h := newHarness(t, nil)
	h.calling()
	for _, c := range []struct {
		d           door
		contentType string
		call        bool
	}{
		{h.http2, "application/grpc", true},
		{h.handler2, "application/grpc+proto", true},
		{h.http2, "application/grpc;charset=x", true},
		{h.http2, "application/grpc-web", false},
		{h.http2, "application/grpcx", false},
		{h.http2, "text/plain", false},
		{h.http1, "application/grpc", false},
	} {
		res, err := h.client(c.d, "a.test").Do(h.call(c.d, c.contentType))
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		if !c.call {
			require.Equal(t, 503, res.StatusCode, c.contentType)
			require.Empty(t, res.Header.Get("Grpc-Status"))
			continue
		}
		require.Equal(t, 200, res.StatusCode, c.contentType)
		require.Equal(t, "application/grpc", res.Header.Get("Content-Type"))
		require.Equal(t, "14", res.Header.Get("Grpc-Status"))
		require.Equal(t, "the upstream has no node", res.Header.Get("Grpc-Message"))
		require.Empty(t, body)
	}

	// A route without its upstream, and a guard that refuses, which is not the
	// upstream's failure.
	_, err := h.gw.Apply(gateway.Change{Delete: gateway.IDs{Upstreams: []string{"1"}}, AllowDangling: true})
	require.NoError(t, err)
	res, err := h.client(h.http2, "a.test").Do(h.call(h.http2, "application/grpc"))
	require.NoError(t, err)
	require.Equal(t, "the upstream of the route does not exist", res.Header.Get("Grpc-Message"))
	res.Body.Close()
}

// A node that breaks off its answer to a call breaks off no stream of the client's.
func TestBrokenCalls(t *testing.T) {
	h := newHarness(t, nil)
	h.calling(newH2Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.Header.Get("X-Announce") != "" {
			w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		}
		io.WriteString(w, "a part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	client := h.client(h.http2, "a.test")
	for _, announce := range []string{"", "1"} {
		req := h.call(h.http2, "application/grpc")
		req.Header.Set("X-Announce", announce)
		res, err := client.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, "a part", string(body))
		require.Equal(t, "14", res.Trailer.Get("Grpc-Status"))
		require.Equal(t, "the upstream broke off its answer", res.Trailer.Get("Grpc-Message"))
	}
	require.Contains(t, h.log.String(), "the answer broke off: upstream")

	res, err := client.Do(h.call(h.http2, "text/plain"))
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	require.Error(t, err, "what is no call is broken off")
}

// A WebSocket cannot be opened to a node that speaks HTTP/2.
func TestUpgradeToAnHTTP2Node(t *testing.T) {
	h := newHarness(t, nil)
	address := newH2Origin(t, func(w http.ResponseWriter, r *http.Request) {})
	u := upstreamTo("1", address)
	u.Scheme = "h2c"
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{u},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1", WebSocket: true}},
	})
	conn := h.raw(h.http1, "a.test")
	conn.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	res, _ := conn.answer("GET")
	require.Equal(t, 502, res.StatusCode)
	require.Contains(t, h.log.String(), "nodes with HTTP/2 take no Upgrade")
}

// A node that gives a call up when its deadline is over resets the stream. The client
// is told of the deadline, whatever it was that the node did.
func TestCallDeadline(t *testing.T) {
	h := newHarness(t, nil)
	h.calling(newH2Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Begin") != "" {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler) // a reset stream
	}))
	for _, d := range []door{h.http2, h.handler2} {
		for _, c := range []struct{ timeout, want string }{
			{"1n", "4 the deadline of the call is over"},
			{"99999999H", "14"},
			{"", "14"},
			{"1x", "14"},
			{"n", "14"},
			{"999999999n", "14"},
			{"-1n", "14"},
		} {
			for _, begin := range []string{"", "1"} {
				req := h.call(d, "application/grpc")
				req.Header.Set("Begin", begin)
				if c.timeout != "" {
					req.Header.Set("Grpc-Timeout", c.timeout)
				}
				res, err := h.client(d, "a.test").Do(req)
				require.NoError(t, err)
				_, err = io.ReadAll(res.Body)
				require.NoError(t, err)
				res.Body.Close()
				require.Equal(t, 200, res.StatusCode)
				outcome := res.Header
				if begin != "" {
					outcome = res.Trailer
				}
				got := outcome.Get("Grpc-Status") + " " + outcome.Get("Grpc-Message")
				require.True(t, strings.HasPrefix(got, c.want), "%s, timeout %q, begun %q: %s", d.name, c.timeout, begin, got)
			}
		}
	}
}

// A call's client may be silent for longer than the body of another request.
func TestSilentCalls(t *testing.T) {
	const short = 30 * time.Millisecond
	h := newHarness(t, &gateway.Options{Limits: gateway.Limits{BodyTimeout: short}})
	h.calling(newH2Origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	for _, d := range []door{h.http2, h.handler2} {
		t.Run(d.name, func(t *testing.T) {
			client := h.client(d, "a.test")
			message, write := io.Pipe()
			req := h.call(d, "application/grpc")
			req.Body, req.ContentLength = message, -1
			go func() {
				for range 2 {
					_, _ = io.WriteString(write, "part")
					for begun := time.Now(); time.Since(begun) < 3*short; { // others do what they do
						res, err := client.Do(h.call(d, "application/grpc"))
						if err != nil {
							write.CloseWithError(err)
							return
						}
						_, _ = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
				}
				write.Close()
			}()
			res, err := client.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Equal(t, "partpart", string(body))
		})
	}
}

// A call ends with the policy as a WebSocket connection does: one that is not answered yet is
// told why, and another is broken off.
func TestCallsEndWithThePolicy(t *testing.T) {
	h := newHarness(t, nil)
	asked := make(chan struct{})
	h.calling(newH2Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.Header.Get("X-Answer") != "" {
			io.WriteString(w, "a part")
			w.(http.Flusher).Flush()
		}
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	old, next := ssltest.NewCA(t, "old"), ssltest.NewCA(t, "next")
	for _, d := range []door{h.http2, h.handler2} {
		for _, answers := range []string{"", "1"} {
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, old)}})
			req := h.call(d, "application/grpc")
			req.Header.Set("X-Answer", answers)
			type answer struct {
				*http.Response
				error
			}
			answered := make(chan answer, 1)
			client := h.client(d, "a.test", old.Client("alice"))
			go func() {
				res, err := client.Do(req)
				answered <- answer{res, err}
			}()
			<-asked
			if answers != "" {
				res := <-answered
				require.NoError(t, res.error, d.name)
				h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, next)}})
				_, err := io.ReadAll(res.Body)
				require.Error(t, err, d.name)
				continue
			}
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, next)}})
			res := <-answered
			require.NoError(t, res.error, d.name)
			require.Equal(t, 200, res.StatusCode, d.name)
			require.Equal(t, "14", res.Header.Get("Grpc-Status"), d.name)
			require.Contains(t, res.Header.Get("Grpc-Message"), "connect again")
			res.Body.Close()
		}
	}
}
