package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// Each way in which an origin can fail: the status, whether a GET and a POST go on to
// the next node, and what the log says.
func TestHostileOrigins(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle func(net.Conn) // nil: nothing listens
		get    bool           // is a GET tried on the next node?
		post   bool
		text   string
		is     error
	}{
		{"refuses", nil, true, true, "connect: connection refused", syscall.ECONNREFUSED},
		{"closes without an answer", func(c net.Conn) { readHead(bufio.NewReader(c)) }, true, false, "the node closed the connection without an answer", io.EOF},
		{"resets without an answer", resetting(1), true, false, "read: connection reset by peer", syscall.ECONNRESET},
		{"answers no HTTP", answering("hello\r\n\r\n"), false, false, `malformed HTTP response "hello"`, nil},
		{"answers a TLS alert", answering("\x15\x03\x01\x00\x02\x02\x0a\r\n"), false, false, `": is the node's scheme "https"?`, nil},
		{"answers with HTTP/2", answering("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00\n"), false, false, `": is the node's scheme "grpc" or "h2c"?`, nil},
		{"answers half a head", func(c net.Conn) { readHead(bufio.NewReader(c)); io.WriteString(c, "HTTP/1.1 200 OK\r\nX: y") }, false, false, "in the middle of its answer", io.ErrUnexpectedEOF},
		{"answers a bad status", answering("HTTP/1.1 abc OK\r\n\r\n"), false, false, `malformed HTTP status code "abc"`, nil},
		{"answers a bad header", answering("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), false, false, "malformed MIME header", nil},
		{"answers two lengths", answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), false, false, "Content-Length", nil},
		{"answers a bad encoding", answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n"), false, false, "unsupported transfer encoding", nil},
		{"floods the head", answering("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 300) + "\r\n"), false, false, "headers exceeded 262144 bytes", nil},
		{"floods 1xx", answering(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20_000)), false, false, "headers exceeded 262144 bytes", nil},
		{"one endless line", answering("HTTP/1.1 200 " + strings.Repeat("x", 300_000) + "\r\n\r\n"), false, false, "headers exceeded 262144 bytes", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := refusing(t)
			if c.handle != nil {
				bad = newOrigin(t, c.handle).Node
			}
			address := fmt.Sprintf("%s:%d", bad.Host, bad.Port)

			for method, goesOn := range map[string]bool{"GET": c.get, "POST": c.post} {
				alone := newPool(t, upstream.Config{Nodes: []upstream.Node{bad}}, nil)
				_, err := alone.RoundTrip(newRequest(t, method, "http://a.test/", strings.NewReader("")))
				e := wantError(t, err, 502, 1, `upstream "1": node `+address+": ", c.text)
				require.Equal(t, address, e.Node)
				require.Less(t, len(e.Error()), 700)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				status := alone.Nodes()[0]
				require.Contains(t, status.LastError, c.text)
				require.NotZero(t, status.LastErrorAt)
				status.LastError, status.LastErrorAt = "", time.Time{}
				require.Equal(t, upstream.NodeStatus{Address: address, Weight: 1, Requests: 1, Failures: 1}, status)

				good := newOrigin(t, answering(ok))
				both := newPool(t, upstream.Config{Nodes: []upstream.Node{bad, good.Node}}, nil)
				resp, err := both.RoundTrip(newRequest(t, method, "http://a.test/", nil))
				if !goesOn {
					wantError(t, err, 502, 1, c.text)
					require.Zero(t, good.conns.Load())
					// The next request is clean.
					resp, err = both.RoundTrip(newRequest(t, method, "http://a.test/", nil))
				}
				require.NoError(t, err, method)
				require.Equal(t, 200, resp.StatusCode)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "ok", string(body))
				resp.Body.Close()
			}
		})
	}
}

// An answer that breaks off ends in an error that names the node.
func TestBrokenBodies(t *testing.T) {
	for name, answer := range map[string]string{
		"shorter than it said": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"no last chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"malformed chunk":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			node := newOrigin(t, func(conn net.Conn) {
				readHead(bufio.NewReader(conn))
				io.WriteString(conn, answer)
			})
			p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
			resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.Equal(t, "abc", string(body))
			wantError(t, err, 502, 1, node.address)
			_, again := resp.Body.Read(make([]byte, 1))
			require.Same(t, err, again)
			require.NoError(t, resp.Body.Close())
			status := p.Nodes()[0]
			require.NotEmpty(t, status.LastError)
			status.LastError, status.LastErrorAt = "", time.Time{}
			require.Equal(t, upstream.NodeStatus{Address: node.address, Weight: 1, Requests: 1, Failures: 1}, status)
		})
	}
}

// What RFC 9110 calls idempotent is tried again, and nothing else.
func TestIdempotentMethods(t *testing.T) {
	bad, good := newOrigin(t, resetting(1)), newOrigin(t, answering("HTTP/1.1 204 No Content\r\n\r\n"))
	for method, again := range map[string]bool{
		"": true, "GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true,
		"POST": false, "PATCH": false, "LOCK": false, "get": false, "PURGE": false,
	} {
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{bad.Node, good.Node}}, nil)
		req := newRequest(t, "GET", "http://a.test/", nil)
		req.Method = method
		resp, err := p.RoundTrip(req)
		if again {
			require.NoError(t, err, method)
			resp.Body.Close()
		} else {
			wantError(t, err, 502, 1)
		}
	}
}

// A body that a node has read from is gone; one that was not read goes on whole.
func TestBodyGoesToOneNode(t *testing.T) {
	echo := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	eater := newOrigin(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		readHead(r)
		r.Discard(len("abc"))
		conn.(*net.TCPConn).SetLinger(0)
	})

	p := newPool(t, upstream.Config{Nodes: []upstream.Node{refusing(t), refusing(t), echo.Node}}, nil)
	body := newBody(strings.NewReader("abc"))
	req := newRequest(t, "POST", "http://a.test/", body)
	req.ContentLength = 3
	_, got := roundTrip(t, p, req)
	require.Equal(t, "abc", got)
	<-body.done
	require.EqualValues(t, 1, body.closed.Load())

	p = newPool(t, upstream.Config{Nodes: []upstream.Node{eater.Node, echo.Node}}, nil)
	body = newBody(strings.NewReader("abc"))
	req = newRequest(t, "PUT", "http://a.test/", body)
	req.ContentLength = 3
	_, err := p.RoundTrip(req)
	wantError(t, err, 502, 1)
	<-body.done
	require.EqualValues(t, 1, body.closed.Load())
	require.EqualValues(t, 1, echo.conns.Load(), "only the first")
}

func TestRetries(t *testing.T) {
	nodes := func(t *testing.T) []upstream.Node {
		var all []upstream.Node
		for range 4 {
			all = append(all, refusing(t))
		}
		return all
	}
	for _, c := range []struct {
		name    string
		retries int
		want    int
	}{
		{"every other node", 0, 4},
		{"none", upstream.NoRetries, 1},
		{"one", 1, 2},
		{"more than there are nodes", 9, 4},
		{"as many as can be", math.MaxInt, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, upstream.Config{Nodes: nodes(t), Retries: c.retries}, nil)
			_, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", strings.NewReader("abc")))
			e := wantError(t, err, 502, c.want)
			require.Equal(t, c.want > 1, strings.Contains(e.Error(), fmt.Sprintf("(the last of %d nodes)", c.want)))
			tried := 0
			for _, n := range p.Nodes() {
				require.LessOrEqual(t, n.Requests, uint64(1), "a node is tried once")
				require.Equal(t, n.Requests, n.Failures)
				tried += int(n.Requests)
			}
			require.Equal(t, c.want, tried)
		})
	}

	t.Run("not to a node of weight 0", func(t *testing.T) {
		good := newOrigin(t, answering(ok))
		good.Weight = 0
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{refusing(t), good.Node}}, nil)
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		wantError(t, err, 502, 1)
	})
}

// A failure that the caller does not see is in the log, without what is the client's.
func TestRetriesAreLogged(t *testing.T) {
	var log syncBuffer
	bad, good := refusing(t), newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{ID: "api", Nodes: []upstream.Node{bad, good.Node}}, &upstream.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	get(t, p, "http://a.test/secret")
	require.Equal(t, 1, strings.Count(log.String(), "\n"))
	require.Contains(t, log.String(), fmt.Sprintf(`level=WARN msg="upstream: a node failed, trying another" upstream=api node=%s:%d error=`, bad.Host, bad.Port))
	require.NotContains(t, log.String(), "secret")

	get(t, p, "http://a.test/")
	require.Equal(t, 2, strings.Count(log.String(), "\n"), "what went well is not logged, nor what is returned")
	alone := newPool(t, upstream.Config{Nodes: []upstream.Node{bad}}, &upstream.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	_, err := alone.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	require.Error(t, err)
	require.Equal(t, 2, strings.Count(log.String(), "\n"))
}

// A node that is down does not fill a disk, and hides no other one's failures.
func TestRetriesThatAreLoggedAreFew(t *testing.T) {
	for _, c := range []struct{ limit, logged, unreported int }{{0, 10, 90}, {3, 3, 97}, {-1, 100, 0}} {
		synctest.Test(t, func(t *testing.T) {
			var log syncBuffer
			down := map[string]bool{"10.0.0.1:80": true}
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				if down[address] {
					return nil, errors.New("it is down")
				}
				return inMemory(map[string]func(net.Conn){address: answering(ok)})(ctx, network, address)
			}
			config := upstream.Config{
				ID:          "api",
				Nodes:       []upstream.Node{{Host: "10.0.0.1", Port: 80, Weight: 1000, Priority: 1}, {Host: "10.0.0.2", Port: 80, Weight: 1000, Priority: 1}, {Host: "10.0.0.3", Port: 80, Weight: 1}},
				RetryBudget: upstream.RetryBudget{Percent: 100, PerSecond: 1000},
			}
			options := &upstream.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), FailuresLogged: c.limit, Dialer: dial}
			p := newPool(t, config, options)
			retry := func(p *upstream.Pool, times int) {
				t.Helper()
				for failed := func() uint64 { return p.Nodes()[0].Failures }; failed() < uint64(times); {
					status, _ := get(t, p, "http://a.test/")
					require.Equal(t, 200, status)
				}
			}
			retry(p, 100)
			require.Equal(t, c.logged, strings.Count(log.String(), "node=10.0.0.1:80"))

			down = map[string]bool{"10.0.0.2:80": true}
			p.CloseIdleConnections()
			for p.Nodes()[1].Failures == 0 {
				get(t, p, "http://a.test/")
			}
			require.Equal(t, 1, strings.Count(log.String(), "node=10.0.0.2:80"))

			// What was left out is said by the pool that comes after as well.
			time.Sleep(time.Second)
			down = map[string]bool{"10.0.0.1:80": true}
			q := p.Replace(p.Upstream(), options)
			defer q.Close()
			q.CloseIdleConnections()
			said := len(log.String())
			retry(q, 101)
			_, unreported, _ := strings.Cut(log.String()[said:], "unreported=")
			require.Equal(t, c.unreported > 0, strings.HasPrefix(unreported, fmt.Sprintf("%d\n", c.unreported)))
		})
	}
}

func TestErrorText(t *testing.T) {
	dial := func(err error) upstream.DialFunc {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	for _, c := range []struct {
		name   string
		err    error
		status int
		want   string
	}{
		{
			"no such name",
			&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "httpbin.test", IsNotFound: true}},
			502, `upstream "1": node httpbin.test:80: connect: the name "httpbin.test" does not resolve (no such host): check DNS, or use an address`,
		},
		{
			"no DNS",
			&net.DNSError{Err: "server misbehaving", Name: "httpbin.test", IsTemporary: true},
			502, `upstream "1": node httpbin.test:80: connect: the name "httpbin.test" could not be resolved (server misbehaving): check DNS, or use an address`,
		},
		{
			"slow DNS",
			&net.DNSError{Err: "i/o timeout", Name: "httpbin.test", IsTimeout: true},
			504, `upstream "1": node httpbin.test:80: connect: the name "httpbin.test" could not be resolved (i/o timeout): check DNS, or use an address`,
		},
		{
			"no route",
			&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connect: no route to host")},
			502, `upstream "1": node httpbin.test:80: connect: no route to host`,
		},
		{
			"the system's own timeout",
			&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ETIMEDOUT},
			504, `upstream "1": node httpbin.test:80: connect: connection timed out`,
		},
		{
			"hostile text",
			errors.New("a\nb\x1b[31m" + strings.Repeat("é", 1000)),
			502, `upstream "1": node httpbin.test:80: connect: a b [31m` + strings.Repeat("é", 247) + "...",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, upstream.Config{Nodes: []upstream.Node{{Host: "httpbin.test"}}}, &upstream.Options{Dialer: dial(c.err)})
			_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			wantError(t, err, c.status, 1)
			require.EqualError(t, err, c.want)
			require.ErrorIs(t, err, c.err)
		})
	}

	// What the other side of the caller has to do with is not said of the node.
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	for _, cause := range []error{reset, io.ErrUnexpectedEOF, &net.DNSError{Err: "no such host", Name: "x.test", IsNotFound: true}} {
		node := newServer(t, untilGone)
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
		req := newRequest(t, "PUT", "http://a.test/", iotest.ErrReader(cause))
		_, err := p.RoundTrip(req)
		require.EqualError(t, err, fmt.Sprintf(`upstream "1": node %s: reading the request's body: %v`, node.address, cause))
		require.ErrorIs(t, err, cause)

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil).WithContext(ctx))
		require.EqualError(t, err, fmt.Sprintf(`upstream "1": node %s: context canceled: %v`, node.address, cause))
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, context.Canceled)
	}

	node := refusing(t)
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node}}, nil)
	_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	require.EqualError(t, err, fmt.Sprintf(`upstream "1": node 127.0.0.1:%d: connect: connection refused`, node.Port))
}

// A kept connection that the node has closed costs no GET, even if there is only one
// node.
func TestStaleConnections(t *testing.T) {
	closed := make(chan struct{})
	node := newOrigin(t, func(conn net.Conn) {
		readHead(bufio.NewReader(conn))
		io.WriteString(conn, ok)
		conn.Close()
		closed <- struct{}{}
	})
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	for range 50 {
		get(t, p, "http://a.test/")
		<-closed
	}
	require.EqualValues(t, 50, p.Nodes()[0].Requests)
	require.Zero(t, p.Nodes()[0].Failures)
}

// A deadConn takes one write, and then nothing.
type deadConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *deadConn) Write(p []byte) (int, error) {
	if c.writes.Add(1) > 1 {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(p)
}

// Where not a byte could be written, even a POST with a body goes over a new connection.
func TestStaleConnectionThatTakesNothing(t *testing.T) {
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	dials := 0
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if dials++; dials == 1 {
			conn = &deadConn{Conn: conn}
		}
		return conn, err
	}
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, &upstream.Options{Dialer: dial})
	get(t, p, "http://a.test/")

	body := newBody(strings.NewReader("abc"))
	req := newRequest(t, "POST", "http://a.test/", nil)
	req.Body, req.ContentLength = body, -1
	_, got := roundTrip(t, p, req)
	require.Equal(t, "abc", got)
	require.Equal(t, 2, dials)
	<-body.done
	require.EqualValues(t, 1, body.closed.Load())
}

// Whoever cancels is told so, and no other node is tried.
func TestCancelledRequest(t *testing.T) {
	begun := make(chan struct{}, 1)
	node := newOrigin(t, func(conn net.Conn) {
		readHead(bufio.NewReader(conn))
		begun <- struct{}{}
		silent(conn)
	})
	good := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node, good.Node}}, nil)

	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-begun; cancel(errors.New("the client went away")) }()
	_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil).WithContext(ctx))
	wantError(t, err, upstream.StatusClientClosedRequest, 1, "context canceled: the client went away")
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, p.Nodes()[0].Failures, "it is not the node's fault")
	require.Zero(t, good.conns.Load())

	_, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil).WithContext(ctx))
	wantError(t, err, upstream.StatusClientClosedRequest, 1)

	// In the middle of the body.
	slow := newOrigin(t, func(conn net.Conn) {
		readHead(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		silent(conn)
	})
	p = newPool(t, upstream.Config{Nodes: []upstream.Node{slow.Node}}, nil)
	ctx, stop := context.WithCancel(t.Context())
	resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil).WithContext(ctx))
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadFull(resp.Body, make([]byte, 3))
	require.NoError(t, err)
	stop()
	_, err = io.ReadAll(resp.Body)
	wantError(t, err, upstream.StatusClientClosedRequest, 1)
	require.ErrorIs(t, err, context.Canceled)
}

// A kept connection that turns out to be dead is replaced by another to the same node,
// with a request that may be sent twice, and with no other. Idempotency-Key is the
// client's word: a node that does not know the field would do a POST twice.
func TestDeadConnectionIsReplaced(t *testing.T) {
	for _, c := range []struct {
		method, key, body string
		again             bool
	}{
		{"GET", "", "", true},
		{"PUT", "", "", true},
		{"DELETE", "", "", true},
		{"DELETE", "Idempotency-Key", "", true},
		{"PUT", "", "abc", false}, // the body is gone
		{"POST", "", "", false},
		{"POST", "Idempotency-Key", "", false},
		{"POST", "X-Idempotency-Key", "", false},
		{"PATCH", "Idempotency-Key", "", false},
	} {
		t.Run(fmt.Sprintf("%s %s %s", c.method, c.key, c.body), func(t *testing.T) {
			var heads atomic.Int64
			var got atomic.Value
			node := newOrigin(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				for range 2 {
					head, err := readHead(r)
					if err != nil {
						return
					}
					got.Store(head)
					if heads.Add(1) != 2 {
						io.WriteString(conn, ok)
						continue
					}
					_, _ = r.Discard(len(c.body))
					return
				}
			})
			p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
			get(t, p, "http://a.test/")
			req := newRequest(t, c.method, "http://a.test/", nil)
			if c.body != "" {
				req = newRequest(t, c.method, "http://a.test/", strings.NewReader(c.body))
			}
			if c.key != "" {
				req.Header.Set(c.key, "k1")
			}
			before := req.Header.Clone()
			resp, err := p.RoundTrip(req)
			if c.again {
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.EqualValues(t, 3, heads.Load())
			} else {
				wantError(t, err, 502, 1)
				require.EqualValues(t, 2, heads.Load())
			}
			head := strings.ToLower(got.Load().(string))
			require.Equal(t, c.key != "", strings.Contains(head, "\r\n"+strings.ToLower(c.key)+": k1\r\n"), head)
			require.Equal(t, c.key != "", strings.Contains(head, "idempotency-key"), head)
			require.Equal(t, before, req.Header, "the caller's header is left alone")
		})
	}
}
