package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// A bubble is a gateway, its clients and its origin in a synctest bubble: time
// passes only while all of them wait. What is left at the end fails the test.
type bubble struct {
	t             *testing.T
	gw            *gateway.Server
	origin        *origin
	plain, secure *memoryListener
}

// The limits of the tests. Each has a length of its own.
var testLimits = gateway.Limits{
	HeaderTimeout: 7 * time.Second,
	IdleTimeout:   30 * time.Second,
	BodyTimeout:   20 * time.Second,
	Streams:       3,
}

// inBubble runs a test in a bubble. a.test has routes to the origin, and below
// /local to a handler.
func inBubble(t *testing.T, handler http.HandlerFunc, test func(b *bubble)) {
	t.Helper()
	inBubbleOf(t, gateway.Options{}, handler, test)
}

// inBubbleOf is inBubble with further options.
func inBubbleOf(t *testing.T, o gateway.Options, handler http.HandlerFunc, test func(b *bubble)) {
	t.Helper()
	o.Limits = testLimits
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, origin: makeOrigin(t), plain: newMemoryListener(), secure: newMemoryListener()}
		o.Upstream.Dialer = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := memoryPipe()
			b.origin.accept(theirs)
			return ours, nil
		}
		b.gw = must(gateway.New(&o))
		servers := ssltest.NewCA(t, "servers")
		u := upstreamTo("1", "192.0.2.1:80")
		u.Timeout = upstream.Timeout{Connect: time.Hour, Send: time.Hour, Read: time.Hour}
		if handler == nil {
			handler = func(http.ResponseWriter, *http.Request) {}
		}
		_, err := b.gw.Apply(gateway.Change{Put: gateway.Config{
			Profiles:  []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}}},
			Upstreams: []upstream.Config{u},
			Routes:    []route.Config{everything("1", "1"), {ID: "local", Paths: []string{"/local"}, Handler: handler}},
		}})
		require.NoError(t, err)
		var serving sync.WaitGroup
		serving.Go(func() { _ = b.gw.Serve(b.plain) })
		serving.Go(func() { _ = b.gw.ServeTLS(b.secure) })
		defer serving.Wait()
		defer b.gw.Close()
		test(b)
	})
}

func (b *bubble) dial(l *memoryListener) net.Conn {
	conn := l.dial()
	b.t.Cleanup(func() { conn.Close() })
	return conn
}

// raw opens a connection for HTTP/1.1, with TLS or without.
func (b *bubble) raw(secure bool) *rawConn {
	b.t.Helper()
	if !secure {
		conn := b.dial(b.plain)
		return &rawConn{conn, b.t, bufio.NewReader(conn)}
	}
	return b.tls("http/1.1")
}

func (b *bubble) tls(protocol string) *rawConn {
	b.t.Helper()
	config := ssltest.ClientConfig("a.test")
	config.NextProtos = []string{protocol}
	conn := tls.Client(b.dial(b.secure), config)
	require.NoError(b.t, conn.Handshake())
	return &rawConn{conn, b.t, bufio.NewReader(conn)}
}

func (b *bubble) h2() *h2Conn { return newH2(b.tls("h2")) }

// over runs a test over TLS and without.
func over(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Run("plain", func(t *testing.T) { test(t, false) })
	t.Run("TLS", func(t *testing.T) { test(t, true) })
}

// after checks how long something takes.
func (b *bubble) after(want time.Duration, what func()) {
	b.t.Helper()
	begun := time.Now()
	what()
	require.Equal(b.t, want, time.Since(begun))
}

const toOrigin = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"

func TestHeaderTimeout(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		inBubble(t, nil, func(b *bubble) {
			conn := b.raw(secure)
			b.after(testLimits.HeaderTimeout, conn.wantEnd) // without a byte

			conn = b.raw(secure)
			var slow sync.WaitGroup
			slow.Go(func() {
				for _, c := range toOrigin {
					_, _ = conn.Write([]byte{byte(c)})
					time.Sleep(time.Second)
				}
			})
			b.after(testLimits.HeaderTimeout, func() {
				// The client is told why.
				require.Equal(t, []int{408}, conn.statuses())
			})
			slow.Wait()

			// The second head has as much time, from its first byte.
			conn = b.raw(secure)
			conn.write(toOrigin)
			conn.answer("GET")
			time.Sleep(testLimits.IdleTimeout - time.Second)
			conn.write("GET / HTTP/1.1\r\n")
			b.after(testLimits.HeaderTimeout, func() { require.Equal(t, []int{408}, conn.statuses()) })
			require.Len(t, b.origin.take(), 1)
		})
	})
}

func TestIdleTimeout(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		inBubble(t, nil, func(b *bubble) {
			conn := b.raw(secure)
			for range 3 {
				conn.write(toOrigin)
				res, _ := conn.answer("GET")
				require.Equal(t, 200, res.StatusCode)
				time.Sleep(testLimits.IdleTimeout - time.Second)
			}
			b.after(time.Second, conn.wantEnd)
		})
	})
	t.Run("h2", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			conn := b.h2()
			conn.get(1, "https", "a.test", "/")
			status, _ := conn.status(1)
			require.Equal(t, "200", status)
			begun := time.Now()
			status, _ = conn.status(3)
			require.Equal(t, "closed", status)
			require.Less(t, time.Since(begun), testLimits.IdleTimeout+5*time.Second)
		})
	})
}

// A client that stalls within a body is told so, and its connection ended; one that
// is slow but goes on is not.
func TestBodyTimeout(t *testing.T) {
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhal", "Transfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n", "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"} {
		over(t, func(t *testing.T, secure bool) {
			inBubble(t, nil, func(b *bubble) {
				conn := b.raw(secure)
				conn.write("POST / HTTP/1.1\r\nHost: a.test\r\n" + framing)
				b.after(testLimits.BodyTimeout, func() {
					res, body := conn.answer("POST")
					if res.StatusCode == 100 {
						res, body = conn.answer("POST")
					}
					require.Equal(t, 408, res.StatusCode)
					require.Equal(t, "{\"error_msg\":\"the request's body did not come in time\"}\n", body)
					require.True(t, res.Close)
				})
				b.after(0, conn.wantEnd)
				synctest.Wait()
				require.Zero(t, b.origin.connections(), "the origin's connection with half a request")
			})
		})
	}
	t.Run("h2", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			conn := b.h2()
			conn.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/")
			conn.frame(h2Data, 0, 1, []byte("half"))
			b.after(testLimits.BodyTimeout, func() {
				status, _ := conn.status(1)
				require.Equal(t, "408", status)
			})
			conn.get(3, "https", "a.test", "/")
			status, _ := conn.status(3)
			require.Equal(t, "200", status)
			synctest.Wait()
			require.LessOrEqual(t, b.origin.connections(), 1)
		})
	})
	t.Run("a handler", func(t *testing.T) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); errors.Is(err, os.ErrDeadlineExceeded) {
				w.WriteHeader(418)
			}
		}
		inBubble(t, handler, func(b *bubble) {
			conn := b.raw(true)
			conn.write("POST /local HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf")
			b.after(testLimits.BodyTimeout, func() {
				res, _ := conn.answer("POST")
				require.Equal(t, 418, res.StatusCode)
				conn.wantEnd()
			})
		})
		inBubble(t, handler, func(b *bubble) {
			conn := b.h2()
			conn.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/local")
			b.after(testLimits.BodyTimeout, func() {
				status, _ := conn.status(1)
				require.Equal(t, "418", status)
			})
		})
	})
	t.Run("slow", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			conn := b.raw(true)
			conn.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n")
			for range 10 {
				time.Sleep(testLimits.BodyTimeout - time.Second)
				conn.write("x")
			}
			res, _ := conn.answer("POST")
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, "xxxxxxxxxx", string(b.origin.take()[0].body))
		})
		inBubble(t, nil, func(b *bubble) {
			conn := b.h2()
			conn.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/")
			for i := range 10 {
				time.Sleep(testLimits.BodyTimeout - time.Second)
				conn.frame(h2Data, byte(i/9), 1, []byte("x"))
			}
			status, _ := conn.status(1)
			require.Equal(t, "200", status)
			require.Equal(t, "xxxxxxxxxx", string(b.origin.take()[0].body))
		})
	})
}

// A body that nobody reads holds nothing for ever either.
func TestUnreadBody(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		inBubble(t, nil, func(b *bubble) {
			for _, c := range []struct {
				line   string
				status int
			}{
				{"POST /.. HTTP/1.1", 400},
				{"CONNECT a.test:443 HTTP/1.1", 405},
				{"POST /local HTTP/1.1", 200},
			} {
				for _, framing := range []string{"Content-Length: 10\r\n\r\nhal", "Transfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n"} {
					conn := b.raw(secure)
					conn.write(c.line + "\r\nHost: a.test\r\n" + framing)
					b.after(0, func() {
						res, _ := conn.answer("POST")
						require.Equal(t, c.status, res.StatusCode)
						require.True(t, res.Close)
					})
					b.after(0, conn.wantEnd)
				}
				// Who asks whether to send the body learns that nobody wants it.
				conn := b.raw(secure)
				conn.write(c.line + "\r\nHost: a.test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
				b.after(0, func() {
					res, _ := conn.answer("POST")
					require.Equal(t, c.status, res.StatusCode)
					require.True(t, res.Close)
				})
				b.after(0, conn.wantEnd)
			}
		})
	})
}

// An origin's answer that comes before the end of the request does not wait for
// it, and a client that stalls then is let go.
func TestEarlyAnswerToAStalledClient(t *testing.T) {
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhal", "Transfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n"} {
		over(t, func(t *testing.T, secure bool) {
			inBubble(t, nil, func(b *bubble) {
				b.origin.on(func(v *visit) {
					v.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
					_, _ = io.Copy(io.Discard, v.r)
					v.close = true
				})
				conn := b.raw(secure)
				conn.write("POST / HTTP/1.1\r\nHost: a.test\r\n" + framing)
				begun := time.Now()
				res, body := conn.answer("POST")
				require.Equal(t, 413, res.StatusCode)
				require.Equal(t, "big", body)
				require.True(t, res.Close)
				require.Less(t, time.Since(begun), time.Second)
				conn.wantEnd()
				require.LessOrEqual(t, time.Since(begun), testLimits.BodyTimeout)
				synctest.Wait()
				require.Zero(t, b.origin.connections())
			})
		})
	}
}

// A client that does not take the answer holds neither the request nor the node.
func TestWriteTimeout(t *testing.T) {
	h := newHarness(t, &gateway.Options{Limits: gateway.Limits{BodyTimeout: 200 * time.Millisecond}})
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1")},
	})
	gone := make(chan struct{})
	h.origin.on(func(v *visit) {
		v.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
		for v.write(strings.Repeat("x", 64<<10)) { // until nobody takes it
		}
		gone <- struct{}{}
	})
	for _, d := range []door{h.http1, h.plain} {
		conn := h.raw(d, "a.test")
		conn.write(toOrigin)
		<-gone
	}
	conn := h.h2(h.http2, "a.test")
	conn.get(1, "https", "a.test", "/") // its window takes 64 KiB, and is never opened
	<-gone
	status, body := conn.status(1)
	require.Equal(t, "200", status)
	require.Len(t, body, 1<<16-1)
	// The last bytes of an answer are no exception.
	h.origin.on(answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	conn.get(3, "https", "a.test", "/")
	status, body = conn.status(3)
	require.Equal(t, "200", status)
	require.Empty(t, body)
	conn.headers(5, true, ":method", "HEAD", ":scheme", "https", ":authority", "a.test", ":path", "/")
	status, _ = conn.status(5)
	require.Equal(t, "200", status, "the connection goes on")
}

// No limit concerns the time in which nobody waits for the client.
func TestPatience(t *testing.T) {
	long := 10 * testLimits.BodyTimeout
	late := func(v *visit) {
		if !v.readBody() {
			return
		}
		time.Sleep(long)
		v.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n")
		time.Sleep(long)
		v.write("5\r\npiece\r\n")
		time.Sleep(long)
		v.write("5\r\npiece\r\n")
		time.Sleep(long)
		v.write("0\r\nX-End: 1\r\n\r\n")
	}
	over(t, func(t *testing.T, secure bool) {
		for _, request := range []string{
			toOrigin,
			"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
			"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		} {
			inBubble(t, nil, func(b *bubble) {
				b.origin.on(late)
				conn := b.raw(secure)
				for range 2 {
					conn.write(request)
					b.after(4*long, func() {
						res, body := conn.answer("POST")
						require.Equal(t, 200, res.StatusCode)
						require.Equal(t, "piecepiece", body)
						require.Equal(t, "1", res.Trailer.Get("X-End"))
					})
				}
			})
		}
	})
	t.Run("h2", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			b.origin.on(late)
			conn := b.h2()
			conn.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/")
			conn.frame(h2Data, h2EndStream, 1, []byte("hello"))
			b.after(4*long, func() {
				status, body := conn.status(1)
				require.Equal(t, "200", status)
				require.Equal(t, "piecepiece", body)
			})
		})
	})
	t.Run("the origin takes the body late", func(t *testing.T) {
		body := strings.Repeat("x", 50_000)
		slow := func(v *visit) {
			time.Sleep(long)
			if v.readBody() {
				v.write(okAnswer)
			}
		}
		inBubble(t, nil, func(b *bubble) {
			b.origin.on(slow)
			conn := b.h2()
			conn.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/")
			for part := range strings.SplitSeq(strings.Repeat(strings.Repeat("x", 10_000)+" ", 5), " ") {
				if part != "" {
					conn.frame(h2Data, 0, 1, []byte(part))
				}
			}
			conn.frame(h2Data, h2EndStream, 1, nil)
			status, _ := conn.status(1)
			require.Equal(t, "200", status)
			require.Equal(t, body, string(b.origin.take()[0].body))
		})
		inBubble(t, nil, func(b *bubble) {
			b.origin.on(slow)
			conn := b.raw(true)
			conn.write(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			res, _ := conn.answer("POST")
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, body, string(b.origin.take()[0].body))
		})
	})
	t.Run("a handler", func(t *testing.T) {
		for name, handler := range map[string]http.HandlerFunc{
			"says nothing":    func(w http.ResponseWriter, r *http.Request) { time.Sleep(long) },
			"writes and goes": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "x"); time.Sleep(long) },
			"flushes": func(w http.ResponseWriter, r *http.Request) {
				for range 3 {
					_, _ = io.WriteString(w, "x")
					w.(http.Flusher).Flush()
					time.Sleep(long)
				}
			},
			"reads late": func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(long)
				_, err := io.ReadAll(r.Body)
				if err != nil {
					panic(err)
				}
				time.Sleep(long)
			},
			"reads never": func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(long)
				if err := r.Context().Err(); err != nil {
					panic(err)
				}
			},
			"closes the body": func(w http.ResponseWriter, r *http.Request) {
				r.Body.Close()
				time.Sleep(long)
				if err := r.Context().Err(); err != nil {
					panic(err)
				}
			},
		} {
			over(t, func(t *testing.T, secure bool) {
				for _, body := range []string{"\r\n", "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"} {
					expect := strings.Contains(body, "Expect")
					if expect && name != "reads late" {
						continue
					}
					inBubble(t, handler, func(b *bubble) {
						conn := b.raw(secure)
						conn.write("POST /local HTTP/1.1\r\nHost: a.test\r\n" + body)
						res, _ := conn.answer("POST")
						if expect {
							require.Equal(t, 100, res.StatusCode)
							conn.write("hello")
							res, _ = conn.answer("POST")
						}
						require.Equal(t, 200, res.StatusCode, name)
						require.False(t, res.Close)
						conn.write(toOrigin)
						res, _ = conn.answer("GET")
						require.Equal(t, 200, res.StatusCode, "%s: the connection goes on", name)
					})
				}
			})
			t.Run("h2", func(t *testing.T) {
				inBubble(t, handler, func(b *bubble) {
					conn := b.h2()
					conn.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/local")
					conn.frame(h2Data, h2EndStream, 1, []byte("hello"))
					status, _ := conn.status(1)
					require.Equal(t, "200", status, name)
				})
			})
		}
	})
}

// A bound on the head of a request, and on what comes at a time.
func TestHeadersAndStreams(t *testing.T) {
	t.Run("head", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			conn := b.h2()
			conn.get(1, "https", "a.test", "/", "x", strings.Repeat("x", 33<<10))
			status, _ := conn.status(1)
			require.Contains(t, []string{"431", "closed"}, status) // if there is more of it
			require.Empty(t, b.origin.take())
			conn = b.h2()
			conn.get(1, "https", "a.test", "/", "x", strings.Repeat("x", 20<<10))
			status, _ = conn.status(1)
			require.Equal(t, "200", status)
		})
	})
	t.Run("streams", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			release := make(chan struct{})
			b.origin.on(func(v *visit) {
				<-release
				v.write(okAnswer)
			})
			conn := b.h2()
			for i := range uint32(4) {
				conn.get(1+2*i, "https", "a.test", "/")
			}
			status, _ := conn.status(7)
			require.Equal(t, "reset", status, "one more than Limits.Streams")
			close(release)
			for i := range uint32(3) {
				status, _ = conn.status(1 + 2*i)
				require.Equal(t, "200", status)
			}
			conn.get(9, "https", "a.test", "/")
			status, _ = conn.status(9)
			require.Equal(t, "200", status)
		})
	})
	t.Run("rapid reset", func(t *testing.T) {
		// CVE-2023-44487: what was reset counts until it has ended.
		var release chan struct{}
		var begun atomic.Int64
		stubborn := func(http.ResponseWriter, *http.Request) {
			begun.Add(1)
			<-release
		}
		inBubble(t, stubborn, func(b *bubble) {
			release = make(chan struct{})
			defer close(release)
			conn := b.h2()
			for i := range uint32(100) {
				conn.get(1+2*i, "https", "a.test", "/local")
				synctest.Wait()
				conn.frame(h2Reset, 0, 1+2*i, []byte{0, 0, 0, 8})
			}
			synctest.Wait()
			require.EqualValues(t, testLimits.Streams, begun.Load())
		})
	})
}

// Shutdown lets requests end, closes what is idle, and takes nothing more.
func TestShutdown(t *testing.T) {
	t.Run("drains", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			release := make(chan struct{})
			b.origin.on(func(v *visit) {
				if v.target() != "/idle" {
					<-release
				}
				v.write(okAnswer)
			})
			idle := b.raw(true)
			idle.write("GET /idle HTTP/1.1\r\nHost: a.test\r\n\r\n")
			idle.answer("GET")
			idle2 := b.h2()
			idle2.get(1, "https", "a.test", "/idle")
			idle2.status(1)
			busy, plain, busy2 := b.raw(true), b.raw(false), b.h2()
			busy.write(toOrigin)
			plain.write(toOrigin)
			busy2.get(1, "https", "a.test", "/")
			synctest.Wait()

			done := make(chan error)
			go func() { done <- b.gw.Shutdown(context.Background()) }()
			idle.wantEnd()
			status, _ := idle2.status(3)
			require.Equal(t, "closed", status)
			synctest.Wait()
			for _, l := range []*memoryListener{b.plain, b.secure} {
				<-l.closed
			}
			select {
			case err := <-done:
				t.Fatalf("it did not wait: %v", err)
			default:
			}
			close(release)
			for _, conn := range []*rawConn{busy, plain} {
				res, body := conn.answer("GET")
				require.Equal(t, 200, res.StatusCode)
				require.Equal(t, "ok", body)
				conn.wantEnd()
			}
			status, _ = busy2.status(1)
			require.Equal(t, "200", status)
			require.NoError(t, <-done)
			synctest.Wait()
			require.Zero(t, b.origin.connections())

			require.ErrorIs(t, b.gw.Serve(newMemoryListener()), http.ErrServerClosed)
			l := newMemoryListener()
			require.ErrorIs(t, b.gw.ServeTLS(l), http.ErrServerClosed)
			<-l.closed
		})
	})
	t.Run("in time", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			b.origin.on(func(v *visit) { _, _ = v.r.ReadByte(); v.close = true })
			conn := b.raw(true)
			conn.write(toOrigin)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			b.after(5*time.Second, func() { require.ErrorIs(t, b.gw.Shutdown(ctx), context.DeadlineExceeded) })
			require.NoError(t, b.gw.Close())
			conn.wantEnd()
		})
	})
	t.Run("Close", func(t *testing.T) {
		inBubble(t, nil, func(b *bubble) {
			gone := make(chan struct{}, 3)
			b.origin.on(func(v *visit) { _, _ = v.r.ReadByte(); v.close = true; gone <- struct{}{} })
			one, two, three := b.raw(true), b.raw(false), b.h2()
			one.write(toOrigin)
			two.write(toOrigin)
			three.get(1, "https", "a.test", "/")
			synctest.Wait()
			b.after(0, func() {
				require.NoError(t, b.gw.Close())
				one.wantEnd()
				two.wantEnd()
				status, _ := three.status(1)
				require.Equal(t, "closed", status)
				for range 3 {
					<-gone // the origin learns of it
				}
			})
			require.NoError(t, b.gw.Close(), "again")
		})
	})
	t.Run("before anything", func(t *testing.T) {
		gw := must(gateway.New(nil))
		require.NoError(t, gw.Shutdown(t.Context()))
		require.NoError(t, gw.Close())
		require.ErrorIs(t, gw.Serve(newMemoryListener()), http.ErrServerClosed)
	})
}

// Who has just connected when Shutdown begins has a second from the connection on to send a
// request, and nobody waits for him any longer.
func TestShutdownAndNewcomers(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name       string
		before     time.Duration // from the connection to Shutdown
		after      time.Duration // from the connection to the request; 0: there is none
		shutdownIn time.Duration // from the connection
	}{
		{"at once", 0, 100 * ms, 100 * ms},
		{"later", 0, 900 * ms, 900 * ms},
		{"too late", 0, 0, time.Second},
		{"after a while", 600 * ms, 900 * ms, 900 * ms},
		{"after a while, too late", 600 * ms, 0, time.Second},
		{"no newcomer", 1500 * ms, 0, 1500 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			over(t, func(t *testing.T, secure bool) {
				inBubble(t, nil, func(b *bubble) {
					begun := time.Now()
					conn := b.raw(secure)
					synctest.Wait()
					time.Sleep(c.before)
					done := make(chan time.Duration, 1)
					go func() {
						require.NoError(t, b.gw.Shutdown(context.Background()))
						done <- time.Since(begun)
					}()
					synctest.Wait()
					if c.after > 0 {
						time.Sleep(c.after - time.Since(begun))
						conn.write(toOrigin)
						res, body := conn.answer("GET")
						require.Equal(t, []any{200, "ok"}, []any{res.StatusCode, body})
					}
					conn.wantEnd()
					require.Equal(t, c.shutdownIn, <-done)
				})
			})
		})
	}
}

// A panic in a function of the user's ends no more than it was called for, on whatever
// goroutine: a client that makes it panic must not end the process.
func TestPanicsOfHooks(t *testing.T) {
	mistake := func() { panic("a mistake") }
	o := &gateway.Options{ProxyProtocol: loopback, Trace: &gateway.Trace{
		LimitReached:       func(gateway.LimitEvent) { mistake() },
		ProxyHeaderRefused: func(net.Addr, error) { mistake() },
	}}
	o.Limits.BodyBytes = 10
	o.Limits.ConnectionsPerAddr = 1
	o.TLS.Trace = &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
		if e.Err != nil {
			mistake()
		}
	}}
	h := newHarness(t, o)
	h.applyOrigin()
	odd := tls.NewListener(listen(t), &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		mistake()
		return nil, nil
	}})
	go h.gw.Serve(odd)

	header := func(client string) string { return "PROXY TCP4 " + client + " 127.0.0.1 1 2\r\n" }
	wantEnd := func(address net.Addr, text string) {
		t.Helper()
		conn, err := net.Dial("tcp", address.String())
		require.NoError(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = io.WriteString(conn, text)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, conn)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	n := 0
	for _, d := range h.ourDoors() {
		n++
		client := header(fmt.Sprint("192.0.2.", n))
		kept := h.rawAfter(client, d, "a.test")
		status, _ := h.ask(d, kept, "/")
		require.Equal(t, "200", status, d.name)
		wantEnd(d.addr, client)           // one connection too many
		wantEnd(d.addr, "no header\r\n")  // ProxyHeaderRefused
		wantEnd(d.addr, header("no one")) // likewise
		require.Contains(t, h.log.String(), "Trace.ProxyHeaderRefused failed")
		kept.Close()
		if d.tls {
			wantEnd(d.addr, header("192.0.2.250")+"no handshake")
		}
	}
	_, err := tls.Dial("tcp", odd.Addr().String(), ssltest.ClientConfig("a.test"))
	require.Error(t, err)

	// Too large a body is found by who sends it to the node.
	conn := h.rawAfter(header("192.0.2.201"), h.http1, "a.test")
	conn.write("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	conn.write("6\r\n world\r\n0\r\n\r\n")
	res, _ := conn.answer("POST")
	require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
	require.Contains(t, h.log.String(), "Trace.LimitReached failed")
}

// A brokenHandler panics at whatever is to be logged.
type brokenHandler struct{ slog.Handler }

func (brokenHandler) Enabled(context.Context, slog.Level) bool { return true }

// A logger that panics costs the record, and nothing of what it is about, on whatever
// goroutine.
func TestLoggersThatPanic(t *testing.T) {
	broken := slog.New(brokenHandler{})
	for _, o := range []*gateway.Options{{Logger: broken}, {Logger: broken, AccessLog: broken}} {
		o.TLS.HandshakeLog = o.AccessLog
		h := newHarness(t, o)
		h.apply(gateway.Config{
			Profiles: []ssl.Config{h.profile("1", []string{"a.test"}), h.profile("2", []string{"b.test"}, h.people)},
			Routes: []route.Config{
				local("1", "/*", "fine", "a.test"), {ID: "2", Hosts: []string{"a.test"}, Paths: []string{"/nobody"}, Upstream: "1"},
				{ID: "3", Hosts: []string{"a.test"}, Paths: []string{"/panic"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") })},
			},
			Upstreams: []upstream.Config{upstreamTo("1", refusing(t))},
		})
		for _, d := range h.doors() {
			client := h.client(d, "a.test")
			for range 2 {
				status, body := h.get(client, d, "a.test", "/")
				require.Equal(t, []any{200, "fine"}, []any{status, body}, d.name)
				status, _ = h.get(client, d, "a.test", "/nobody")
				require.Equal(t, 502, status, d.name)
				status, _ = h.get(client, d, "b.test", "/")
				require.Contains(t, []int{421, 403}, status, d.name)
				_, err := client.Get(d.scheme() + "://a.test/panic")
				require.Error(t, err, d.name)
			}
			if d.tls {
				_, err := tls.Dial("tcp", d.addr.String(), ssltest.ClientConfig("unknown.test"))
				require.Error(t, err)
			}
		}
	}
}

// A handler that panics costs its own request.
func TestPanic(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"})},
		Routes: []route.Config{local("1", "/*", "fine"), {ID: "2", Paths: []string{"/panic"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic(errors.New("a mistake"))
		})}},
	})
	for _, d := range h.doors() {
		client := h.client(d, "a.test")
		_, err := client.Get(d.scheme() + "://a.test/panic")
		require.Error(t, err)
		status, body := h.get(client, d, "a.test", "/")
		require.Equal(t, 200, status)
		require.Equal(t, "fine", body)
	}
	require.Contains(t, h.log.String(), "level=ERROR")
	require.Contains(t, h.log.String(), "a mistake")
}

// Files of a form that a handler reads are removed.
func TestMultipartFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	files := make(chan int, 1)
	h := newHarness(t, nil)
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"})},
		Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(1); err != nil {
				panic(err)
			}
			entries, _ := os.ReadDir(dir)
			files <- len(entries)
		})}},
	})
	form := "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n" + strings.Repeat("x", 11<<20) + "\r\n--x--\r\n"
	for _, d := range h.doors() {
		res, err := h.client(d, "a.test").Post(d.scheme()+"://a.test/", "multipart/form-data; boundary=x", strings.NewReader(form))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 1, <-files)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries, d.name)
	}
}

// A body may be read from after its handler has returned, as http.Transport does with
// that of a request whose answer came early. On HTTP/2 the stream is net/http's again
// by then, and setting its deadline would end the process.
func TestBodyOutlivesItsHandler(t *testing.T) {
	h := newHarness(t, nil)
	ended := make(chan error, 1)
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"})},
		Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := r.Body.Read(make([]byte, 1))
			require.NoError(t, err)
			body := r.Body
			go func() {
				_, err := io.ReadAll(body)
				body.Close()
				ended <- err
			}()
		})}},
	})
	conn := h.h2(h.http2, "a.test")
	for stream := uint32(1); stream < 100; stream += 2 {
		conn.headers(stream, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/")
		conn.frame(h2Data, 0, stream, []byte("x"))
		status, _ := conn.status(stream)
		require.Equal(t, "200", status)
		require.Error(t, <-ended)
	}
}

// Who wants no limit may set one that is as large as can be.
func TestLimitsAtTheirLimits(t *testing.T) {
	for _, byNetHTTP := range []bool{false, true} {
		h := newHarness(t, &gateway.Options{NetHTTP2: byNetHTTP, Limits: gateway.Limits{
			Connections: math.MaxInt, ConnectionsPerAddr: math.MaxInt,
			HeaderBytes: math.MaxInt, HeaderFields: math.MaxInt, BodyBytes: math.MaxInt64, Requests: math.MaxInt, Streams: math.MaxInt,
			HeaderTimeout: math.MaxInt64, IdleTimeout: math.MaxInt64, BodyTimeout: math.MaxInt64,
		}})
		h.apply(gateway.Config{
			Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
			Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
			Routes:    []route.Config{everything("1", "1")},
		})
		for _, d := range h.doors() {
			t.Run(d.name, func(t *testing.T) {
				client := h.client(d, "a.test")
				client.Timeout = patience
				for range 2 {
					res, err := client.Post(d.scheme()+"://a.test/", "text/plain", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 200_000))})
					require.NoError(t, err)
					_ = res.Body.Close()
					require.Equal(t, 200, res.StatusCode)
				}
			})
		}
	}
}
