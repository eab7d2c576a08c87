package gateway_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
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

// A handler that does not let go of its request, or of its answer, harms nobody: not even
// the next request on its connection.
func TestHandlerReturnedLongAgo(t *testing.T) {
	h := newHarness(t, nil)
	var w http.ResponseWriter
	var r *http.Request
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"})},
		Routes: []route.Config{
			{ID: "1", Paths: []string{"/keep"}, Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body)
				w, r = rw, req
			})},
			{ID: "2", Paths: []string{"/other"}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				_, err := io.WriteString(w, "for somebody else")
				require.Error(t, err)
				c := http.NewResponseController(w)
				require.Error(t, c.Flush())
				require.Error(t, c.SetReadDeadline(time.Now()))
				require.Error(t, c.SetWriteDeadline(time.Now()))
				_, _, err = c.Hijack()
				require.Error(t, err)
				w.WriteHeader(500)
				_, err = r.Body.Read(make([]byte, 10))
				require.Error(t, err)
				require.Error(t, r.Context().Err())
				require.Equal(t, "a.test /keep", r.Host+" "+r.URL.Path)
			})},
		},
	})
	for _, d := range []door{h.http1, h.plain} {
		conn := h.raw(d, "a.test")
		conn.write("POST /keep HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n")
		conn.answer("POST")
		for range 10 {
			other := h.raw(d, "a.test")
			for _, c := range []*rawConn{conn, other} {
				c.write("POST /other HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nworld")
				res, body := c.answer("POST")
				require.Equal(t, 200, res.StatusCode)
				require.Empty(t, body)
			}
		}
	}
}

// An oddListener is a listener of a user's: it is no pointer, cannot be compared, and
// complains when it is closed, if only at the first time.
type oddListener struct {
	net.Listener
	fail func() error
}

func (l oddListener) Close() error { return errors.Join(l.fail(), l.Listener.Close()) }

// A listener may be of any type, and who ends the server learns that one could not be closed.
func TestOddListeners(t *testing.T) {
	for _, end := range []struct {
		name string
		end  func(*gateway.Server) error
	}{
		{"Close", (*gateway.Server).Close},
		{"Shutdown", func(gw *gateway.Server) error { return gw.Shutdown(t.Context()) }},
	} {
		for _, serve := range []struct {
			name  string
			serve func(*gateway.Server, net.Listener) error
		}{
			{"Serve", (*gateway.Server).Serve},
			{"ServeTLS", (*gateway.Server).ServeTLS},
		} {
			t.Run(serve.name+", "+end.name, func(t *testing.T) {
				wantNoLeak(t)
				gw := must(gateway.New(nil))
				fault, closings := errors.New("a fault"), 0
				odd := oddListener{listen(t), func() error {
					if closings++; closings == 1 {
						return fault
					}
					return errors.New("closed twice")
				}}
				require.ErrorContains(t, serve.serve(gw, nil), "did net.Listen return an error?")
				served := make(chan error)
				for _, l := range []net.Listener{odd, listen(t)} {
					go func() { served <- serve.serve(gw, l) }()
				}
				eventually(t, func() bool { return gw.Listeners() == 2 }, "it does not listen")
				require.ErrorIs(t, end.end(gw), fault)
				require.Equal(t, http.ErrServerClosed, <-served)
				require.Equal(t, http.ErrServerClosed, <-served)
				require.Equal(t, 1, closings)
				require.NoError(t, gw.Close())
			})
		}
	}
}

// A namelessListener yields connections that know no address, as some do that programs wrap.
type namelessListener struct{ net.Listener }

func (l namelessListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return namelessConn{c}, err
}

type namelessConn struct{ net.Conn }

func (namelessConn) RemoteAddr() net.Addr { return nil }
func (namelessConn) LocalAddr() net.Addr  { return nil }

// A connection need not know its addresses, as with net/http.
func TestConnectionsWithoutAddresses(t *testing.T) {
	o := &gateway.Options{AccessLog: slog.New(slog.DiscardHandler)}
	o.Limits.ConnectionsPerAddr = 1
	o.TLS.HandshakeLog = o.AccessLog
	h := newHarness(t, o)
	h.apply(handling(h, whoami))
	plain, secure := listen(t), listen(t)
	ended := make(chan error, 2)
	go func() { ended <- h.gw.Serve(namelessListener{plain}) }()
	go func() { ended <- h.gw.ServeTLS(namelessListener{secure}) }()
	t.Cleanup(func() {
		require.NoError(t, h.gw.Close())
		require.Equal(t, http.ErrServerClosed, <-ended)
		require.Equal(t, http.ErrServerClosed, <-ended)
	})
	for range 2 {
		for _, d := range h.ourDoors() {
			if d.addr = plain.Addr(); d.tls {
				d.addr = secure.Addr()
			}
			status, body := h.ask(d, h.raw(d, "a.test"), "/")
			require.Equal(t, []string{"200", ""}, []string{status, body}, d.name)
		}
	}
	_, err := tls.Dial("tcp", secure.Addr().String(), ssltest.ClientConfig("unknown.test"))
	require.Error(t, err)
}

// A handler that ends its goroutine, as t.FailNow does in a test, ends its connection: the
// client does not wait for ever, and nothing is left behind.
func TestHandlerEndsItsGoroutine(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(handling(h, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			_, _ = io.WriteString(w, "hello")
		}
		runtime.Goexit()
	}))
	for _, d := range h.http1Doors() {
		for _, path := range []string{"/", "/begun"} {
			conn := h.raw(d, "a.test")
			conn.write("GET " + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n")
			conn.wantEnd()
		}
	}
}

// A handler that writes less than it has announced has said something nevertheless: the client
// gets that, and learns that it is not all.
func TestHandlerPromisesMore(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(handling(h, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "hello")
	}))
	for _, d := range h.doors() {
		t.Run(d.name, func(t *testing.T) {
			res, err := h.client(d, "a.test").Get(d.scheme() + "://a.test/")
			require.NoError(t, err)
			defer res.Body.Close()
			require.Equal(t, 200, res.StatusCode)
			require.EqualValues(t, 6, res.ContentLength)
			body, err := io.ReadAll(res.Body)
			require.Error(t, err)
			require.Equal(t, "hello", string(body))
		})
	}
}

// A handler may answer while another goroutine reads the request, as a proxy does whose node
// answers early: neither disturbs the other.
func TestHandlerAnswersWhileItReads(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(handling(h, func(w http.ResponseWriter, r *http.Request) {
		begun, read := make(chan bool), make(chan string)
		go func() {
			var b [5]byte
			_, _ = io.ReadFull(r.Body, b[:])
			close(begun)
			rest, err := io.ReadAll(r.Body)
			read <- fmt.Sprintf("%s%s %v", b[:], rest, err)
		}()
		<-begun
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, <-read)
	}))
	for _, d := range []door{h.http1, h.plain} {
		conn := h.raw(d, "a.test")
		conn.write("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		for { // the head of the answer
			line, err := conn.r.ReadString('\n')
			require.NoError(t, err)
			if line == "\r\n" {
				break
			}
		}
		conn.write("6\r\n world\r\n0\r\n\r\n")
		rest, err := io.ReadAll(conn.r)
		require.NoError(t, err)
		require.Contains(t, string(rest), "hello world <nil>")
	}
}

// The deadlines of a handler hold for its request alone.
func TestHandlerDeadlines(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			if r.Method == "GET" {
				return
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Hour))
			go func() {
				time.Sleep(time.Second)
				_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
			}()
			_, err := io.Copy(io.Discard, r.Body)
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			fmt.Fprint(w, err)
		}, func(b *bubble) {
			conn := b.raw(secure)
			conn.write("POST /local HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel")
			b.after(3*time.Second, func() {
				_, body := conn.answer("POST")
				require.Contains(t, body, "timeout")
			})
			conn = b.raw(secure)
			conn.write("POST /local HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello")
			_, body := conn.answer("POST")
			require.Equal(t, "<nil>", body)
			time.Sleep(10 * time.Second)
			conn.write("GET /local HTTP/1.1\r\nHost: a.test\r\n\r\n")
			res, _ := conn.answer("GET")
			require.Equal(t, 200, res.StatusCode)
		})
	})
}

// What a log keeps of a request does not change with the next one.
func TestLogsKeepWhatTheyWereTold(t *testing.T) {
	kept := &keptHosts{}
	h := newHarness(t, &gateway.Options{Logger: slog.New(kept)})
	people := h.people
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"*.secret.test"}, people)},
		Routes:   []route.Config{local("1", "/*", "fine")},
	})
	conn, want := h.raw(h.plain, ""), []string(nil)
	for i := range 200 {
		host := fmt.Sprintf("host-%03d.secret.test", i)
		want = append(want, host)
		conn.write("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		res, _ := conn.answer("GET")
		require.Equal(t, 403, res.StatusCode)
	}
	kept.mu.Lock()
	defer kept.mu.Unlock()
	require.Equal(t, want, kept.hosts)
}

// keptHosts is a [slog.Handler] that keeps strings as they are.
type keptHosts struct {
	mu    sync.Mutex
	hosts []string
}

func (k *keptHosts) Enabled(context.Context, slog.Level) bool { return true }
func (k *keptHosts) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *keptHosts) WithGroup(string) slog.Handler            { return k }
func (k *keptHosts) Handle(_ context.Context, r slog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "host" {
			k.hosts = append(k.hosts, a.Value.String())
		}
		return true
	})
	return nil
}

// A client that goes away while informational answers come is not the node's fault.
func TestClientLeavesEarlyAnswers(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1")},
	})
	ended := make(chan struct{}, 1)
	h.origin.on(func(v *visit) {
		hint := "HTTP/1.1 103 Early Hints\r\nLink: " + strings.Repeat("x", 1000) + "\r\n\r\n"
		for n := 0; n < 32<<10 && v.write(hint); n += len(hint) {
			time.Sleep(time.Millisecond) // for the client's reset to arrive
		}
		v.close = true
		ended <- struct{}{}
	})
	for _, d := range []door{h.http1, h.plain} {
		conn := h.raw(d, "a.test")
		conn.write(toOrigin)
		_, err := conn.r.ReadByte()
		require.NoError(t, err)
		tcp, ok := conn.Conn.(*net.TCPConn)
		if !ok {
			tcp = conn.Conn.(*tls.Conn).NetConn().(*net.TCPConn)
		}
		require.NoError(t, tcp.SetLinger(0))
		tcp.Close()
		<-ended
	}
	require.NoError(t, h.gw.Shutdown(t.Context()))
	require.NotContains(t, h.log.String(), "request failed")
}

// Who sends and takes a byte a second is served to the end, on both sides.
func TestOneByteASecond(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		inBubble(t, nil, func(b *bubble) {
			b.origin.on(func(v *visit) {
				if !v.readBody() {
					return
				}
				for _, c := range "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n" {
					time.Sleep(time.Second)
					if !v.write(string(c)) {
						return
					}
				}
			})
			conn := b.raw(secure)
			conn.write("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
			body := "a\r\n0123456789\r\n14\r\n01234567890123456789\r\n0\r\n\r\n"
			for _, c := range body {
				time.Sleep(time.Second)
				conn.write(string(c))
			}
			res, got := conn.answer("POST")
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, "abc", got)
			require.Equal(t, "1", res.Trailer.Get("X-T"))
			require.Equal(t, "012345678901234567890123456789", string(b.origin.take()[0].body))
			synctest.Wait()
		})
	})
}
