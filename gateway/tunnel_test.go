package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// askForWebSocket asks for the upgrade, and openWebSocket has it made.

func (c *rawConn) askForWebSocket(host string) {
	c.t.Helper()
	c.write("GET /ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n")
}

func (c *rawConn) openWebSocket(host string) {
	c.t.Helper()
	c.askForWebSocket(host)
	res, err := http.ReadResponse(c.r, nil)
	require.NoError(c.t, err)
	require.Equal(c.t, 101, res.StatusCode)
	c.wantEcho("hello")
}

// A WebSocket connection ends when its client may not have it any more, and no other
// does: design.md, "The guard".
func TestTunnelsEndWithThePolicy(t *testing.T) {
	h := newHarness(t, nil)
	old, next := ssltest.NewCA(t, "old"), ssltest.NewCA(t, "next")
	ws := everything("ws", "1")
	ws.WebSocket = true
	h.origin.on(switchAndEcho)
	for _, d := range h.http1Doors() {
		if !d.tls {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			h.apply(gateway.Config{
				Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, old), h.profile("2", []string{"b.test"}, old)},
				Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
				Routes:    []route.Config{ws},
			})
			open := func(name string, cert tls.Certificate) *rawConn {
				c := h.raw(d, name, cert)
				c.openWebSocket(name)
				return c
			}
			alice, other := open("a.test", old.Client("alice")), open("b.test", old.Client("bob"))

			// The policy is another, and takes the client as well.
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, old, next)}})
			alice.wantEcho("still")

			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, next)}})
			alice.wantEnd()
			other.wantEcho("still")
		})
	}
}

// So does a connection that a handler of the user's has taken over, and a gRPC call that one
// answers. The former keeps nobody waiting, and outlives the Server, as with net/http.
func TestTunnelsOfHandlersEndWithThePolicy(t *testing.T) {
	h := newHarness(t, nil)
	next := ssltest.NewCA(t, "next")
	ended := make(chan error, 1)
	config := func(ca *ssltest.CA) gateway.Config {
		return gateway.Config{
			Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, ca), h.profile("2", []string{"b.test"}, h.people)},
			Routes: []route.Config{
				{ID: "ws", Paths: []string{"/ws"}, Handler: http.HandlerFunc(hijackAndEcho)},
				{ID: "call", Paths: []string{"/service/method"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/grpc")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					ended <- context.Cause(r.Context())
				})},
			},
		}
	}
	for _, d := range []door{h.http1, h.handler1} {
		// What else the client asks for makes no difference.
		for _, more := range []string{"", "Accept: text/event-stream\r\n", "Content-Type: application/grpc\r\n"} {
			t.Run(d.name+" "+more, func(t *testing.T) {
				h.apply(config(h.people))
				alice := h.raw(d, "a.test", h.people.Client("alice"))
				alice.write(upgrade("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"+more))
				res, _ := alice.answer(http.MethodGet)
				require.Equal(t, 101, res.StatusCode)
				bob := h.raw(d, "b.test", h.people.Client("bob"))
				bob.openWebSocket("b.test")
				h.apply(config(next))
				alice.wantEnd()
				bob.wantEcho("still")
			})
		}
	}
	for _, d := range []door{h.http2, h.handler2} {
		t.Run(d.name, func(t *testing.T) {
			h.apply(config(h.people))
			res, err := h.client(d, "a.test", h.people.Client("alice")).Do(h.call(d, "application/grpc"))
			require.NoError(t, err)
			defer res.Body.Close()
			h.apply(config(next))
			var refusal *ssl.RequestError
			require.ErrorAs(t, <-ended, &refusal)
		})
	}
	bob := h.raw(h.http1, "b.test", h.people.Client("bob"))
	bob.openWebSocket("b.test")
	require.NoError(t, h.gw.Shutdown(t.Context()))
	bob.wantEcho("still")
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("2", []string{"b.test"}, next)}})
	bob.wantEnd()
}

// What a handler finds in the connection that it takes over is what it would find without a
// tunnel: one direction may end before the other, and Close closes it once.
func TestTakenConnections(t *testing.T) {
	h := newHarness(t, nil)
	next, forgotten := ssltest.NewCA(t, "next"), make(chan struct{})
	config := func(ca *ssltest.CA) gateway.Config {
		return gateway.Config{
			Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, ca)},
			Routes: []route.Config{
				{ID: "half", Paths: []string{"/half"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, rw, err := w.(http.Hijacker).Hijack()
					if err != nil {
						panic(err)
					}
					defer conn.Close()
					_ = conn.(interface{ CloseWrite() error }).CloseWrite()
					_, _ = rw.ReadByte() // nothing would come on a connection that is closed
				})},
				{ID: "forgotten", Paths: []string{"/forgotten"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						panic(err)
					}
					_, _ = io.WriteString(conn, switching)
					forgotten <- struct{}{}
				})},
			},
		}
	}
	for _, d := range []door{h.http1, h.handler1} {
		h.apply(config(h.people))
		conn := h.raw(d, "a.test", h.people.Client("alice"))
		conn.write(upgrade("/half", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
		conn.wantEnd()
		require.Equal(t, 1, h.gw.Tunnels(), d.name)
		conn.write("x")
		eventually(t, func() bool { return h.gw.Tunnels() == 0 }, "the tunnel stays")

		conn = h.raw(d, "a.test", h.people.Client("alice"))
		conn.write(upgrade("/forgotten", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
		<-forgotten
		h.apply(config(next))
		eventually(t, func() bool { return h.gw.Tunnels() == 0 }, "the tunnel stays after its connection was closed")
	}
	h.apply(config(h.people))

	gw := must(gateway.New(&gateway.Options{PlainHTTP: gateway.PlainOpen}))
	must(gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
		require.ErrorIs(t, conn.(interface{ CloseWrite() error }).CloseWrite(), errors.ErrUnsupported)
		require.NoError(t, conn.Close())
		require.ErrorIs(t, conn.Close(), net.ErrClosed)
	})}}}}))
	synctest.Test(t, func(t *testing.T) {
		w := &countingHijacker{ResponseWriter: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Upgrade", "websocket")
		gw.ServeHTTP(w, r)
		synctest.Wait()
		require.Equal(t, 2, w.closed)
	})
}

// A countingHijacker has a connection that counts how often it is closed.
type countingHijacker struct {
	http.ResponseWriter
	net.Conn
	closed int
}

func (w *countingHijacker) Write(p []byte) (int, error) { return w.ResponseWriter.Write(p) }

func (w *countingHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w, nil, nil }

func (w *countingHijacker) Close() error {
	if w.closed++; w.closed > 1 {
		return net.ErrClosed
	}
	return nil
}

// A handler behind a server of the user's is for that server to wait for, whatever the client
// has asked for.
func TestShutdownLeavesHandlersToTheirServer(t *testing.T) {
	for _, field := range []string{"", "Accept: text/event-stream", "Content-Type: application/grpc"} {
		gw := must(gateway.New(&gateway.Options{PlainHTTP: gateway.PlainOpen}))
		must(gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			require.NoError(t, gw.Shutdown(ctx), field)
			require.NoError(t, gw.Close())
			require.NoError(t, r.Context().Err(), field)
		})}}}}))
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
		if name, value, ok := strings.Cut(field, ": "); ok {
			r.Header.Set(name, value)
		}
		gw.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// Nor does it wait for a request that goes to a node, which that server waits for too.
func TestShutdownLeavesRequestsToTheirServer(t *testing.T) {
	for _, field := range []string{"", "Accept: text/event-stream", "Content-Type: application/grpc"} {
		gw, ended := must(gateway.New(nil)), make(chan error, 1)
		node := newH2Origin(t, func(_ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			ended <- errors.Join(gw.Shutdown(ctx), gw.Close(), r.Context().Err())
		})
		u := upstreamTo("1", node)
		u.Scheme = "grpc"
		must(gw.Apply(gateway.Change{Put: gateway.Config{Upstreams: []upstream.Config{u}, Routes: []route.Config{everything("1", "1")}}}))
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
		if name, value, ok := strings.Cut(field, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		gw.ServeHTTP(w, r)
		require.NoError(t, <-ended, field)
		require.Equal(t, http.StatusOK, w.Code)
		require.Empty(t, w.Header().Get("Grpc-Status"), "the node's answer came to its end")
	}
}

// For the WebSocket connections to nodes nobody else waits, and nobody else ends them: a server
// of net/http has done with them once they are hijacked.
func TestShutdownWaitsForWebSocketsOfOtherServers(t *testing.T) {
	h := webSocketHarness(t)
	ws := everything("1", "1")
	ws.WebSocket = true
	open := func() (*gateway.Server, *rawConn) {
		gw := must(gateway.New(nil)) // without listeners, so that there is nothing else to wait for
		must(gw.Apply(gateway.Change{Put: gateway.Config{Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)}, Routes: []route.Config{ws}}}))
		front := httptest.NewServer(gw)
		t.Cleanup(front.Close)
		c := h.raw(door{"ServeHTTP", false, 1, front.Listener.Addr()}, "")
		c.openWebSocket("a.test")
		require.NoError(t, front.Config.Shutdown(t.Context()))
		c.wantEcho("still there")
		return gw, c
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	gw, c := open()
	require.ErrorIs(t, gw.Shutdown(over), context.Canceled, "there is something to wait for")
	c.wantEnd()

	gw, c = open()
	done := make(chan error)
	go func() { done <- gw.Shutdown(t.Context()) }()
	c.wantEcho("still there")
	c.Close()
	require.NoError(t, <-done)

	gw, c = open()
	require.NoError(t, gw.Close())
	c.wantEnd()
}

// The access log tells why an answer has ended before its end, whichever way it went.
func TestEventStreamsThatEndAreLogged(t *testing.T) {
	access := newRecords()
	h := newHarness(t, &gateway.Options{AccessLog: access.logger()})
	next := ssltest.NewCA(t, "next")
	node := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Answer"))
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	http1 := httptest.NewServer(http.HandlerFunc(node))
	defer http1.Close()
	http2 := upstreamTo("http2", newH2Origin(t, node))
	http2.Scheme = "grpc"
	to := func(id string) route.Config { return route.Config{ID: id, Paths: []string{"/" + id}, Upstream: id} }
	config := func(ca *ssltest.CA) gateway.Config {
		return gateway.Config{
			Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, ca)},
			Upstreams: []upstream.Config{upstreamTo("http1", http1.Listener.Addr().String()), http2},
			Routes:    []route.Config{to("http1"), to("http2")},
		}
	}
	const refused = `ssl: 421: the client certificate is no longer accepted for this server name; connect again (server name "a.test", host "a.test", profile "1")`
	for _, d := range h.tlsDoors() {
		for _, path := range []string{"/http1", "/http2"} {
			for _, loses := range []bool{true, false} {
				h.apply(config(h.people))
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://a.test"+path, nil)
				require.NoError(t, err)
				req.Header.Set("Answer", "text/event-stream")
				res, err := h.client(d, "a.test", h.people.Client("alice")).Do(req)
				require.NoError(t, err)
				if loses {
					h.apply(config(next))
				} else {
					cancel() // it goes away
				}
				_, err = io.ReadAll(res.Body)
				require.Error(t, err)
				res.Body.Close()
				cancel()
				record := access.next(t)
				require.EqualValues(t, 200, record["status"], d.name+path)
				if loses {
					require.Equal(t, []any{"ERROR", refused}, []any{record["level"], record["error"]}, d.name+path)
				} else {
					require.Equal(t, "INFO", record["level"], d.name+path)
				}
			}
		}
	}
}

// So does an event stream. Every other answer that is under way comes to its end.
func TestEventStreamsEndWithThePolicy(t *testing.T) {
	h := newHarness(t, nil)
	next := ssltest.NewCA(t, "next")
	more := make(chan string)
	node := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Answer"))
		if r.URL.RawQuery == "sized" {
			w.Header().Set("Content-Length", "16")
		}
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		goesOn := more
		if r.Header.Get("Ends") != "" {
			goesOn = nil // what it may not have heard of yet is no reason to take what another is sent
		}
		select {
		case s := <-goesOn:
			_, _ = io.WriteString(w, s)
		case <-r.Context().Done():
		}
	}
	http1 := httptest.NewServer(http.HandlerFunc(node))
	defer http1.Close()
	calls := upstreamTo("http2", newH2Origin(t, node))
	calls.Scheme = "grpc"
	to := func(id string) route.Config { return route.Config{ID: id, Paths: []string{"/" + id}, Upstream: id} }
	config := func(ca *ssltest.CA) gateway.Config {
		return gateway.Config{
			Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, ca)},
			Upstreams: []upstream.Config{upstreamTo("http1", http1.Listener.Addr().String()), calls},
			Routes:    []route.Config{to("http1"), to("http2"), {ID: "handler", Paths: []string{"/handler"}, Handler: http.HandlerFunc(node)}},
		}
	}
	for _, d := range h.tlsDoors() {
		for _, path := range []string{"/http1", "/http1?sized", "/http2", "/http2?sized", "/handler"} {
			for answer, ends := range map[string]bool{"text/event-stream": true, "Text/Event-Stream ; charset=utf-8": true, "text/event-streams": false, "text/plain": false} {
				t.Run(d.name+path+" "+answer, func(t *testing.T) {
					h.apply(config(h.people))
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://a.test"+path, nil)
					require.NoError(t, err)
					req.Header.Set("Answer", answer)
					req.Header.Set("Accept", "application/json, "+answer)
					if ends {
						req.Header.Set("Ends", "yes")
					}
					res, err := h.client(d, "a.test", h.people.Client("alice")).Do(req)
					require.NoError(t, err)
					defer res.Body.Close()
					first := make([]byte, len("data: 1\n\n"))
					_, err = io.ReadFull(res.Body, first)
					require.NoError(t, err)
					h.apply(config(h.people)) // no other policy
					h.apply(config(next))
					if !ends {
						more <- "the end"
					}
					rest, err := io.ReadAll(res.Body)
					if ends {
						require.Empty(t, rest)
						require.NoError(t, ctx.Err(), "it goes on")
					} else {
						require.Equal(t, "the end", string(rest))
						require.NoError(t, err)
					}
				})
			}
		}
	}
}

// A handler's answer is an event stream by its Content-Type, whatever the client has asked
// for, and however the handler begins it.
func TestEventStreamsOfHandlersEndWithThePolicy(t *testing.T) {
	begin := map[string]func(http.ResponseWriter){
		"/head":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) },
		"/body":    func(w http.ResponseWriter) { _, _ = io.WriteString(w, "data: 1\n\n") },
		"/flush":   func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"/control": func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
		"/copy":    func(w http.ResponseWriter) { _, _ = io.Copy(w, io.LimitReader(strings.NewReader("data: 1\n\n"), 9)) },
		"/early": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
		},
		"/goroutine": func(w http.ResponseWriter) {
			done := make(chan struct{})
			go func() { defer close(done); w.WriteHeader(http.StatusOK) }()
			<-done
		},
	}
	for _, netHTTP := range []bool{false, true} {
		h := newHarness(t, &gateway.Options{NetHTTP2: netHTTP})
		next := ssltest.NewCA(t, "next")
		causes, goesOn := make(chan error, 1), make(chan struct{})
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Answer"))
			begin[r.URL.Path](w)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-goesOn:
			}
			causes <- context.Cause(r.Context())
		})
		config := func(ca *ssltest.CA) gateway.Config {
			return gateway.Config{
				Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, ca)},
				Routes:   []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: handler}},
			}
		}
		for _, d := range h.tlsDoors() {
			for path := range begin {
				for answer, ends := range map[string]bool{"text/event-stream; charset=utf-8": true, "text/plain": false} {
					h.apply(config(h.people))
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://a.test"+path, nil)
					require.NoError(t, err)
					req.Header.Set("Answer", answer)
					res, err := h.client(d, "a.test", h.people.Client("alice")).Do(req)
					require.NoError(t, err, d.name+path)
					h.apply(config(next))
					if !ends {
						goesOn <- struct{}{}
					}
					cause := <-causes
					if ends {
						var refusal *ssl.RequestError
						require.ErrorAs(t, cause, &refusal, d.name+path)
					} else {
						require.NoError(t, cause, d.name+path)
					}
					_, err = io.ReadAll(res.Body)
					require.NoError(t, err)
					res.Body.Close()
					cancel()
					eventually(t, func() bool { return h.gw.Tunnels() == 0 }, "the tunnel stays")
				}
			}
		}
	}
}

// Where nothing can be flushed, no answer has begun.
func TestNoAnswerBeginsWithoutAFlusher(t *testing.T) {
	done := make(chan int, 1)
	gw := must(gateway.New(&gateway.Options{PlainHTTP: gateway.PlainOpen, Trace: &gateway.Trace{
		RequestDone: func(e *gateway.RequestEvent) { done <- e.Status },
	}}))
	must(gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.WriteHeader(http.StatusTeapot)
	})}}}}))
	w := httptest.NewRecorder()
	gw.ServeHTTP(struct{ http.ResponseWriter }{w}, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, []int{http.StatusTeapot, http.StatusTeapot}, []int{w.Code, <-done})
}

// A tunnel whose handshake goes on while the policy changes is judged by the new one, as
// those are that were open before. The client learns why.
func TestTunnelThatBeginsDuringAChange(t *testing.T) {
	h := newHarness(t, nil)
	old, next := ssltest.NewCA(t, "old"), ssltest.NewCA(t, "next")
	h.origin.on(switchAndEcho)
	for _, d := range h.http1Doors() {
		if !d.tls {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			asked, answer := make(chan struct{}), make(chan struct{})
			ws := everything("ws", "1")
			ws.WebSocket = true
			ws.Authorize = func(context.Context, *route.AuthorizeRequest) error {
				close(asked)
				<-answer
				return nil
			}
			h.apply(gateway.Config{
				Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, old)},
				Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
				Routes:    []route.Config{ws},
			})
			c := h.raw(d, "a.test", old.Client("alice"))
			c.askForWebSocket("a.test")
			<-asked
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, next)}})
			close(answer)
			res, err := http.ReadResponse(c.r, nil)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, res.Body)
			require.Equal(t, 421, res.StatusCode)
			c.wantEnd()
		})
	}
}

// The name that a connection was made for counts as much as that of the request.
func TestTunnelsEndWithThePolicyOfTheServerName(t *testing.T) {
	h := newHarness(t, nil)
	ws := everything("ws", "1")
	ws.WebSocket = true
	h.origin.on(switchAndEcho)
	for _, d := range h.http1Doors() {
		if !d.tls {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			_, err := h.gw.Configure(gateway.Config{
				Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}), h.profile("2", []string{"b.test"})},
				Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
				Routes:    []route.Config{ws},
			})
			require.NoError(t, err)
			open := func(host string) *rawConn {
				c := h.raw(d, "a.test")
				c.openWebSocket(host)
				return c
			}
			fronted, deep := open("b.test"), open("x.y.c.test")
			// x.y.c.test has no profile, before and after; after, it must not be served.
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("3", []string{"*.c.test"}, h.people)}})
			deep.wantEnd()
			fronted.wantEcho("still")
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, h.people)}})
			fronted.wantEnd()
		})
	}
}

// While an Authorize takes its time about one tunnel, others begin and end.
func TestTunnelsDoNotWaitForAuthorize(t *testing.T) {
	h := newHarness(t, nil)
	ws := everything("ws", "1")
	ws.WebSocket = true
	h.origin.on(switchAndEcho)
	asked, answer := make(chan struct{}), make(chan struct{})
	judged := func(id string, judge func(context.Context, *ssl.Identity) error) gateway.Config {
		p := h.profile("1", []string{"a.test"}, h.people)
		p.Client.Authorize, p.Client.AuthorizeID = judge, id
		return gateway.Config{Profiles: []ssl.Config{p}}
	}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("2", []string{"b.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{ws},
	})
	h.apply(judged("1", func(context.Context, *ssl.Identity) error { return nil }))
	open := func(name string, certs ...tls.Certificate) *rawConn {
		c := h.raw(h.http1, name, certs...)
		c.openWebSocket(name)
		return c
	}
	alice := open("a.test", h.people.Client("alice"))

	slow := judged("2", func(context.Context, *ssl.Identity) error {
		close(asked)
		<-answer
		return nil
	})
	applied := make(chan error)
	go func() {
		_, err := h.gw.Apply(gateway.Change{Put: slow})
		applied <- err
	}()
	<-asked
	defer func() { require.NoError(t, <-applied) }()
	defer close(answer)
	_ = open("b.test").Close()
	alice.wantEcho("still")
}

// So does one without TLS, whose name may come to demand a client certificate: a request for
// it would be refused then.
func TestPlainTunnelsEndWithThePolicy(t *testing.T) {
	for _, test := range []struct {
		name  string
		o     gateway.Options
		route route.Config
		ends  bool
	}{
		{"of a host", gateway.Options{}, route.Config{Hosts: []string{"a.test"}}, true},
		{"of a wildcard", gateway.Options{}, route.Config{Hosts: []string{"*.test"}}, true},
		{"of every host", gateway.Options{}, route.Config{}, true},
		{"of another host", gateway.Options{}, route.Config{Hosts: []string{"b.test"}}, false},
		{"of a route that allows it", gateway.Options{}, route.Config{AllowPlain: true}, false},
		{"of a server that allows it", gateway.Options{PlainHTTP: gateway.PlainOpen}, route.Config{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHarness(t, &test.o)
			h.origin.on(switchAndEcho)
			ws := test.route
			ws.ID, ws.Paths, ws.Upstream, ws.WebSocket = "ws", []string{"/*"}, "1", true
			host := "a.test"
			if test.name == "of another host" {
				host = "b.test"
			}
			h.apply(gateway.Config{Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)}, Routes: []route.Config{ws}})
			c := h.raw(h.plain, "")
			c.openWebSocket(host)
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("open", []string{"c.test"})}})
			c.wantEcho("still")
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, h.people)}})
			if test.ends {
				c.wantEnd()
			} else {
				c.wantEcho("still")
			}
		})
	}
}
