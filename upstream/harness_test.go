package upstream_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/freeport"
	"github.com/sallyport/sallyport/upstream"
)

// plugged is the Options.Transport of newPool. TestPluggedTransport sets it.
var plugged *http.Transport

// newPool puts c to work, from the first node on, and closes the pool at the end.
func newPool(t testing.TB, c upstream.Config, o *upstream.Options) *upstream.Pool {
	t.Helper()
	if c.ID == "" {
		c.ID = "1"
	}
	u, err := upstream.New(c)
	require.NoError(t, err)
	if plugged != nil {
		options := upstream.Options{}
		if o != nil {
			options = *o
		}
		options.Transport = plugged
		o = &options
	}
	p := upstream.NewPool(u, o)
	p.Rewind()
	t.Cleanup(p.Close)
	return p
}

// nodeAt is the node with weight 1 at an address.
func nodeAt(address string) upstream.Node {
	a := netip.MustParseAddrPort(address)
	return upstream.Node{Host: a.Addr().String(), Port: int(a.Port()), Weight: 1}
}

// An origin is a server on loopback that does with a connection what it likes.
type origin struct {
	upstream.Node
	address string
	conns   atomic.Int64 // accepted
	open    sync.WaitGroup
}

// newOrigin serves until the end of the test. It then waits for its connections to
// end: a pool that keeps one open after Close fails the test by its time limit.
// Each connection is closed when handle returns.
func newOrigin(t testing.TB, handle func(conn net.Conn)) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serveOrigin(t, l, handle)
}

func serveOrigin(t testing.TB, l net.Listener, handle func(conn net.Conn)) *origin {
	o := &origin{Node: nodeAt(l.Addr().String()), address: l.Addr().String()}
	o.open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			o.conns.Add(1)
			o.open.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		o.open.Wait()
	})
	return o
}

// newServer is an origin that is an [http.Server].
func newServer(t testing.TB, h http.Handler) *origin {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	o := &origin{}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			o.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	o.address = s.Listener.Addr().String()
	o.Node = nodeAt(o.address)
	return o
}

// newTLSServer is the same over TLS, with one certificate.
func newTLSServer(t testing.TB, config *tls.Config, h http.Handler) *origin {
	t.Helper()
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	o := &origin{address: l.Addr().String(), Node: nodeAt(l.Addr().String())}
	s := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			o.conns.Add(1)
		}
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return o
}

// refusing is a node on which nothing listens.
func refusing(t testing.TB) upstream.Node {
	t.Helper()
	address, port, err := freeport.Hold()
	require.NoError(t, err)
	t.Cleanup(func() { port.Close() })
	return nodeAt(address)
}

// readHead reads a request up to its body, and returns the head as it came.
func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			return head.String(), err
		}
		if line == "\r\n" {
			return head.String(), nil
		}
	}
}

// answering reads heads and gives each the answers in turn, the last one ever after.
func answering(answers ...string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for i := 0; ; i++ {
			if _, err := readHead(r); err != nil {
				return
			}
			if _, err := io.WriteString(conn, answers[min(i, len(answers)-1)]); err != nil {
				return
			}
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// resetting reads so many heads (-1: none, and not a byte) and then resets.
func resetting(heads int) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for range heads {
			if _, err := readHead(r); err != nil {
				return
			}
		}
		conn.(*net.TCPConn).SetLinger(0)
	}
}

// silent takes everything and says nothing, until the other side ends.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func newRequest(t testing.TB, method, target string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, body)
	require.NoError(t, err)
	return req
}

// get does a GET and returns status and body.
func get(t testing.TB, p *upstream.Pool, target string) (int, string) {
	t.Helper()
	return roundTrip(t, p, newRequest(t, "GET", target, nil))
}

func roundTrip(t testing.TB, p *upstream.Pool, req *http.Request) (int, string) {
	t.Helper()
	resp, err := p.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// wantError checks that err is an *Error with that status, of that many attempts,
// and with that in its text.
func wantError(t testing.TB, err error, status, attempts int, contains ...string) *upstream.Error {
	t.Helper()
	var e *upstream.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, status, e.Status, "%v", e)
	require.Equal(t, attempts, e.Attempts, "%v", e)
	require.Equal(t, status == http.StatusGatewayTimeout, e.Timeout())
	for _, text := range contains {
		require.Contains(t, e.Error(), text)
	}
	return e
}

// A watchedBody tells whether it was closed, and how often.
type watchedBody struct {
	io.Reader
	reads  atomic.Int64
	closed atomic.Int64
	done   chan struct{} // closed by the first Close
}

func newBody(r io.Reader) *watchedBody {
	return &watchedBody{Reader: r, done: make(chan struct{})}
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	return b.Reader.Read(p)
}

func (b *watchedBody) Close() error {
	if b.closed.Add(1) == 1 {
		close(b.done)
	}
	return nil
}

// A syncBuffer takes what a logger writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// inMemory dials nodes that are functions, over [net.Pipe], so that time can be
// that of a synctest bubble. An address that is not there never answers.
func inMemory(nodes map[string]func(net.Conn)) upstream.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		handle, ok := nodes[address]
		if !ok {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			handle(theirs)
		}()
		return ours, nil
	}
}

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}
