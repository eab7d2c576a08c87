package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"

// switchAndEcho takes every upgrade that reaches the origin, and then gives back
// whatever comes, until the other side ends.
func switchAndEcho(v *visit) {
	if !slices.ContainsFunc(v.values("Upgrade"), func(s string) bool { return s != "" }) {
		answering(okAnswer)(v)
		return
	}
	v.write(switching)
	_, _ = io.Copy(v.conn, v.r)
	v.close = true
}

func webSocketHarness(t *testing.T) *harness {
	h := newHarness(t, nil)
	ws, local := everything("ws", "1"), route.Config{ID: "local", Paths: []string{"/local"}, Handler: http.HandlerFunc(hijackAndEcho)}
	ws.Paths, ws.WebSocket = []string{"/ws"}, true
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("all", "1"), ws, local},
	})
	h.origin.on(switchAndEcho)
	return h
}

// hijackAndEcho is a handler that finds Hijacker as many libraries do.
func hijackAndEcho(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, switching)
	_, _ = io.Copy(conn, rw)
}

func upgrade(path, fields string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a.test\r\n" + fields + "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
}

// wantEcho checks that what is sent comes back, and nothing else.
func (c *rawConn) wantEcho(s string) {
	c.t.Helper()
	c.write(s)
	got := make([]byte, len(s))
	_, err := io.ReadFull(c.r, got)
	require.NoError(c.t, err)
	require.Equal(c.t, s, string(got))
}

func TestWebSocket(t *testing.T) {
	h := webSocketHarness(t)
	// Frames (RFC 6455, section 5.2): the gateway does not look into them.
	frames := "\x81\x85\x01\x02\x03\x04igoil\x89\x00" + strings.Repeat("\x82\x7e\xff\xff", 20_000)
	for _, d := range h.http1Doors() {
		for _, fields := range []string{
			"Connection: Upgrade\r\nUpgrade: websocket\r\n",
			"connection: keep-alive, upgrade\r\nupgrade: WebSocket\r\n",
		} {
			for _, path := range []string{"/ws", "/local"} {
				t.Run(d.name+path, func(t *testing.T) {
					h.origin.take()
					c := h.raw(d, "a.test")
					c.write(upgrade(path, fields))
					res, err := http.ReadResponse(c.r, nil)
					require.NoError(t, err)
					require.Equal(t, 101, res.StatusCode)
					require.Equal(t, "Upgrade", res.Header.Get("Connection"))
					require.True(t, strings.EqualFold("websocket", res.Header.Get("Upgrade")))
					require.Equal(t, "x", res.Header.Get("Sec-Websocket-Accept"))
					if path == "/ws" {
						seen := h.origin.take()
						require.Len(t, seen, 1)
						require.Equal(t, []string{"Upgrade"}, seen[0].values("Connection"))
						require.Len(t, seen[0].values("Upgrade"), 1)
						require.Equal(t, []string{"x"}, seen[0].values("Sec-WebSocket-Key"))
					}
					c.wantEcho("hello")
					c.wantEcho(frames)
					c.wantEcho("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") // no request
					require.Empty(t, h.origin.take())
				})
			}
		}
	}
}

// Every other upgrade is an ordinary request.
func TestUpgradesAreDropped(t *testing.T) {
	h := webSocketHarness(t)
	for _, d := range h.http1Doors() {
		for _, c := range []struct{ path, fields string }{
			{"/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"}, // not allowed there
			{"/ws", "Upgrade: websocket\r\n"},                      // not asked for
			{"/ws", "Connection: Upgrade\r\nUpgrade: h2c\r\n"},
			{"/ws", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"},
			{"/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade: H2C\r\nHTTP2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n"},
			{"/ws", "Connection: Upgrade\r\nConnection: x\r\nUpgrade: websocket/13\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n"},
			{"/ws", "Connection: Upgrade\r\nUpgrade:\r\n"},
		} {
			t.Run(d.name+" "+c.path+" "+strings.ReplaceAll(c.fields, "\r\n", " "), func(t *testing.T) {
				h.origin.take()
				conn := h.raw(d, "a.test")
				conn.write(upgrade(c.path, c.fields))
				res, body := conn.answer("GET")
				require.Equal(t, 200, res.StatusCode)
				require.Equal(t, "ok", body)
				seen := h.origin.take()
				require.Len(t, seen, 1)
				for _, name := range []string{"Connection", "Upgrade", "HTTP2-Settings"} {
					require.Empty(t, seen[0].saying(name))
				}

				// The connection goes on as what it was.
				conn.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
				res, _ = conn.answer("GET")
				require.Equal(t, 200, res.StatusCode)
			})
		}
		t.Run(d.name+" POST", func(t *testing.T) {
			conn := h.raw(d, "a.test")
			conn.write("POST /ws HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n")
			res, _ := conn.answer("POST")
			require.Equal(t, 200, res.StatusCode)
			require.Empty(t, h.origin.take()[0].saying("Upgrade"))
		})
		t.Run(d.name+" HTTP/1.0", func(t *testing.T) {
			conn := h.raw(d, "a.test")
			conn.write("GET /ws HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			res, _ := conn.answer("GET")
			require.Equal(t, 200, res.StatusCode)
			require.Empty(t, h.origin.take()[0].saying("Upgrade"))
			conn.wantEnd()
		})
	}
}

// An origin cannot open a tunnel by itself.
func TestUnaskedUpgrade(t *testing.T) {
	h := webSocketHarness(t)
	asked := "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	for _, d := range h.doors() {
		for _, c := range []struct{ path, fields, answer string }{
			{"/", "", switching},
			{"/ws", "", switching},
			{"/", asked, switching},
			{"/", "", "HTTP/1.1 101 Switching Protocols\r\n\r\n"},
			{"/", "", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: \r\n\r\n"},
			{"/", "", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"},
			{"/ws", asked, "HTTP/1.1 101 Switching Protocols\r\n\r\n"},
			{"/ws", asked, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"},
			{"/ws", asked, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n"},
			{"/ws", "Upgrade: websocket\r\n", switching},
		} {
			if d.major == 2 && c.fields != "" {
				continue // malformed
			}
			t.Run(fmt.Sprint(d.name, c), func(t *testing.T) {
				ended := make(chan struct{})
				h.origin.on(func(v *visit) {
					v.write(c.answer + "what comes over a tunnel")
					_, _ = io.Copy(io.Discard, v.r) // the gateway must let go
					v.close = true
					close(ended)
				})
				if d.major == 2 {
					status, body := h.get(h.client(d, "a.test"), d, "a.test", c.path)
					require.Equal(t, 502, status)
					require.NotContains(t, body, "tunnel")
				} else {
					conn := h.raw(d, "a.test")
					conn.write("GET " + c.path + " HTTP/1.1\r\nHost: a.test\r\n" + c.fields + "\r\n")
					res, body := conn.answer("GET")
					require.Equal(t, 502, res.StatusCode)
					require.NotContains(t, body, "tunnel")
				}
				<-ended
			})
		}
	}
}

// What is not switched is answered as ever.
func TestWebSocketRefusedByTheOrigin(t *testing.T) {
	h := webSocketHarness(t)
	h.origin.on(answering("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno"))
	conn := h.raw(h.http1, "a.test")
	conn.write(upgrade("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
	res, body := conn.answer("GET")
	require.Equal(t, 426, res.StatusCode)
	require.Equal(t, "no", body)
	require.Empty(t, res.Header["Upgrade"])
	conn.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	res, _ = conn.answer("GET")
	require.Equal(t, 426, res.StatusCode)
}

// Whoever ends a tunnel, the other side learns of it, and nothing stays behind.
func TestWebSocketEnds(t *testing.T) {
	open := func(h *harness, d door) *rawConn {
		c := h.raw(d, "a.test")
		c.write(upgrade("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
		res, err := http.ReadResponse(c.r, nil)
		require.NoError(h.t, err)
		require.Equal(h.t, 101, res.StatusCode)
		c.wantEcho("hello")
		return c
	}
	t.Run("the client", func(t *testing.T) {
		h := webSocketHarness(t)
		ended := make(chan struct{})
		h.origin.on(func(v *visit) {
			switchAndEcho(v)
			close(ended)
		})
		open(h, h.http1).Close()
		<-ended
	})
	t.Run("the origin", func(t *testing.T) {
		h := webSocketHarness(t)
		h.origin.on(func(v *visit) {
			v.write(switching)
			_, _ = io.CopyN(v.conn, v.r, int64(len("hello")))
			v.close = true
		})
		open(h, h.http1).wantEnd()
	})
	t.Run("Close", func(t *testing.T) {
		h := webSocketHarness(t)
		for _, d := range h.http1Doors() {
			c := open(h, d)
			defer c.wantEnd()
		}
		require.NoError(t, h.gw.Close())
	})
	t.Run("Shutdown waits", func(t *testing.T) {
		h := webSocketHarness(t)
		c := open(h, h.http1)
		done := make(chan error)
		go func() { done <- h.gw.Shutdown(t.Context()) }()
		c.wantEcho("still there")
		c.Close()
		require.NoError(t, <-done)
	})
	t.Run("Shutdown does not wait for ever", func(t *testing.T) {
		h := webSocketHarness(t)
		c := open(h, h.http1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.gw.Shutdown(ctx) }()
		c.wantEcho("still there")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		c.wantEnd()
	})
}

// A failingFlusher is a ResponseWriter whose client takes nothing.
type failingFlusher struct{ http.ResponseWriter }

var errTakesNothing = errors.New("the client takes nothing")

func (failingFlusher) FlushError() error { return errTakesNothing }

// A handler learns that its client takes nothing, also if the client has asked for an upgrade.
func TestFlushErrors(t *testing.T) {
	gw := must(gateway.New(&gateway.Options{PlainHTTP: gateway.PlainOpen}))
	flushed := 0
	must(gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		require.ErrorIs(t, http.NewResponseController(w).Flush(), errTakesNothing)
		w.(http.Flusher).Flush()
		flushed++
	})}}}}))
	for _, upgrade := range []string{"", "h2c"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if upgrade != "" {
			r.Header.Set("Upgrade", upgrade)
		}
		gw.ServeHTTP(failingFlusher{httptest.NewRecorder()}, r)
	}
	require.Equal(t, 2, flushed)
}

// A WebSocket that is not passed on is told of: to the access log or, without one, to the log,
// as far as there are not too many, and to the Trace. Nobody could tell from the answer.
func TestWebSocketNotPassedOn(t *testing.T) {
	const advice = "the client asked for a WebSocket, which the route does not pass on: set its WebSocket (enable_websocket) if it should"
	for _, logged := range []bool{false, true} {
		access, events := newRecords(), make(chan *gateway.RequestEvent, 10)
		o := &gateway.Options{FailuresLogged: 3, Trace: &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) { events <- e }}}
		if logged {
			o.AccessLog = access.logger()
		}
		h := tunnelHarness(t, o)
		told := func(d door, status int, wants bool) {
			t.Helper()
			e := <-events
			require.Equal(t, []any{status, wants, nil}, []any{e.Status, e.NoWebSocket, e.Err}, d.name)
			if !logged {
				return
			}
			record := access.next(t)
			if !wants {
				require.Equal(t, []any{"INFO", nil}, []any{record["level"], record["advice"]}, d.name)
				return
			}
			require.Equal(t, []any{"WARN", "all", advice}, []any{record["level"], record["route"], record["advice"]}, d.name)
		}
		for _, d := range []door{h.http1, h.handler1} {
			conn := h.raw(d, "a.test")
			for _, c := range []struct {
				path, fields string
				wants        bool
			}{
				{"/", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true},
				{"/", "Connection: Upgrade\r\nUpgrade: h2c\r\n", false},
				{"/", "Upgrade: websocket\r\n", false},
				{"/", "", false},
			} {
				conn.write(upgrade(c.path, c.fields))
				res, _ := conn.answer("GET")
				require.Equal(t, 200, res.StatusCode)
				told(d, 200, c.wants)
			}
			conn.write(upgrade("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
			res, _ := conn.answer("GET")
			require.Equal(t, 101, res.StatusCode)
			conn.Close()
			e := <-events
			require.Equal(t, []any{101, false}, []any{e.Status, e.NoWebSocket})
			if logged {
				access.next(t)
			}
		}
		c := h.h2(h.http2, "a.test")
		c.connect(1, "a.test", "/")
		status, _ := c.status(1)
		require.Equal(t, "501", status)
		told(h.http2, 501, true)
		c.headers(3, false, ":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "https", ":authority", "a.test", ":path", "/")
		status, _ = c.status(3)
		require.Equal(t, "501", status)
		told(h.http2, 501, false)

		if logged {
			require.NotContains(t, h.log.String(), "WebSocket")
			continue
		}
		require.Equal(t, 3, strings.Count(h.log.String(), `level=WARN msg="WebSocket not passed on" route=all method=GET host=a.test path=/ `))
		require.Contains(t, h.log.String(), "advice="+strconv.Quote(advice))
		for range 20 { // more than may be, in however many seconds
			conn := h.raw(h.http1, "a.test")
			conn.write(upgrade("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
			_, _ = conn.answer("GET")
			<-events
			conn.Close()
		}
		require.Less(t, strings.Count(h.log.String(), "WebSocket not passed on"), 23)
	}
}
