package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// Time here is that of a bubble: nothing waits. A bubble that ends with a goroutine
// left fails, so these are the tests for leaks as well.

var limits = upstream.Timeout{Connect: 2 * time.Second, Send: 3 * time.Second, Read: 5 * time.Second}

// inBubble runs f with a pool of the nodes a.test and b.test, a first.
func inBubble(t *testing.T, c upstream.Config, nodes map[string]func(net.Conn), f func(t *testing.T, p *upstream.Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if c.Nodes == nil {
			c.Nodes = []upstream.Node{{Host: "a.test", Port: 80}}
		}
		if c.Timeout == (upstream.Timeout{}) {
			c.Timeout = limits
		}
		p := newPool(t, c, &upstream.Options{Dialer: inMemory(nodes)})
		f(t, p)
		p.Close()
		time.Sleep(2 * time.Hour) // for the nodes that are asleep
	})
}

// wantTimeout checks that a request fails after exactly that time, by a Timeout.
func wantTimeout(t *testing.T, p *upstream.Pool, req *http.Request, after time.Duration, text string) {
	t.Helper()
	begun := time.Now()
	_, err := p.RoundTrip(req)
	require.Equal(t, after, time.Since(begun))
	wantError(t, err, 504, 1, text)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.EqualValues(t, 1, p.Nodes()[0].Failures)
	require.Zero(t, p.Nodes()[0].InFlight)
}

func TestConnectTimeout(t *testing.T) {
	inBubble(t, upstream.Config{}, nil, func(t *testing.T, p *upstream.Pool) {
		wantTimeout(t, p, newRequest(t, "GET", "http://a.test/", nil), 2*time.Second, "connect: no connection within 2s")
	})
}

func TestConnectTimeoutHoldsForTLS(t *testing.T) {
	nodes := map[string]func(net.Conn){"a.test:80": silent}
	inBubble(t, upstream.Config{Scheme: "https"}, nodes, func(t *testing.T, p *upstream.Pool) {
		wantTimeout(t, p, newRequest(t, "GET", "http://a.test/", nil), 2*time.Second, "connect: no connection within 2s")
	})
}

func TestDefaultTimeout(t *testing.T) {
	c := upstream.Config{Timeout: upstream.Timeout{Send: time.Second}}
	inBubble(t, c, nil, func(t *testing.T, p *upstream.Pool) {
		wantTimeout(t, p, newRequest(t, "GET", "http://a.test/", nil), time.Minute, "no connection within 1m0s")
	})
	inBubble(t, c, map[string]func(net.Conn){"a.test:80": silent}, func(t *testing.T, p *upstream.Pool) {
		wantTimeout(t, p, newRequest(t, "GET", "http://a.test/", nil), time.Minute, "no answer within 1m0s")
	})
}

// A node that hangs while connecting is left for the next, whatever the method.
func TestConnectTimeoutGoesOn(t *testing.T) {
	c := upstream.Config{Nodes: []upstream.Node{{Host: "a.test", Weight: 1}, {Host: "b.test", Weight: 1}}}
	inBubble(t, c, map[string]func(net.Conn){"b.test:80": answering(ok)}, func(t *testing.T, p *upstream.Pool) {
		begun := time.Now()
		status, _ := roundTrip(t, p, newRequest(t, "POST", "http://a.test/", nil))
		require.Equal(t, 200, status)
		require.Equal(t, 2*time.Second, time.Since(begun))
	})
}

func TestReadTimeout(t *testing.T) {
	for name, node := range map[string]struct {
		handle func(net.Conn)
		text   string
	}{
		"silence": {silent, "no answer within 5s"},
		// The head as a whole has that long: a byte now and then is no answer.
		"a trickling head": {func(conn net.Conn) {
			readHead(bufio.NewReader(conn))
			for _, b := range []byte(ok) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, "nothing more of the answer within 5s"},
		"1xx for ever": {func(conn net.Conn) {
			readHead(bufio.NewReader(conn))
			for {
				if _, err := io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, "nothing more of the answer within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, upstream.Config{}, map[string]func(net.Conn){"a.test:80": node.handle}, func(t *testing.T, p *upstream.Pool) {
				wantTimeout(t, p, newRequest(t, "GET", "http://a.test/", nil), 5*time.Second, node.text)
			})
		})
	}
}

// The time in which a dead connection is replaced is not the node's time to answer.
func TestReadTimeoutBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		dial := func(context.Context, string, string) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			go func(first bool) {
				defer theirs.Close()
				if !first {
					answering(ok)(theirs)
					return
				}
				r := bufio.NewReader(theirs)
				readHead(r)
				io.WriteString(theirs, ok)
				readHead(r)
			}(dials == 1)
			time.Sleep(time.Second)
			return ours, nil
		}
		p := newPool(t, upstream.Config{
			Nodes:   []upstream.Node{{Host: "a.test"}},
			Timeout: upstream.Timeout{Connect: 2 * time.Second, Read: time.Second / 2},
		}, &upstream.Options{Dialer: dial})
		get(t, p, "http://a.test/")
		get(t, p, "http://a.test/")
		require.Equal(t, 2, dials)
	})
}

// After a request was sent, time running out is like any other failure then: another
// node for a GET, none for a POST.
func TestReadTimeoutAndRetries(t *testing.T) {
	c := upstream.Config{Nodes: []upstream.Node{{Host: "a.test", Weight: 1}, {Host: "b.test", Weight: 1}}}
	nodes := map[string]func(net.Conn){"a.test:80": silent, "b.test:80": answering(ok)}
	inBubble(t, c, nodes, func(t *testing.T, p *upstream.Pool) {
		get(t, p, "http://a.test/")
		p.Rewind()
		_, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", nil))
		wantError(t, err, 504, 1, "no answer within 5s")
	})
}

func TestRetryTimeout(t *testing.T) {
	c := upstream.Config{
		Nodes:        []upstream.Node{{Host: "a.test", Weight: 1}, {Host: "b.test", Weight: 1}},
		RetryTimeout: 5 * time.Second,
	}
	nodes := map[string]func(net.Conn){"a.test:80": silent, "b.test:80": answering(ok)}
	inBubble(t, c, nodes, func(t *testing.T, p *upstream.Pool) {
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		wantError(t, err, 502, 1, "no answer within 5s (no other node was tried: RetryTimeout, 5s, is over)")
	})
	c.RetryTimeout++
	inBubble(t, c, nodes, func(t *testing.T, p *upstream.Pool) { get(t, p, "http://a.test/") })
}

// Between two parts of a body a node may pause for up to the limit, as often as it
// likes, and the reader for as long as it likes.
func TestBodyMayBeSlow(t *testing.T) {
	node := func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
			for range 20 {
				time.Sleep(5*time.Second - 1)
				io.WriteString(conn, "x")
			}
		}
	}
	inBubble(t, upstream.Config{}, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
		_, body := get(t, p, "http://a.test/")
		require.Len(t, body, 20)

		resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		require.NoError(t, err)
		defer resp.Body.Close()
		one := make([]byte, 1)
		for range 20 {
			time.Sleep(time.Hour)
			_, err := io.ReadFull(resp.Body, one)
			require.NoError(t, err)
		}
		_, err = resp.Body.Read(one)
		require.Equal(t, io.EOF, err)
	})
}

func TestBodyThatStops(t *testing.T) {
	node := func(conn net.Conn) {
		readHead(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nabc")
		silent(conn)
	}
	inBubble(t, upstream.Config{}, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
		resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		require.NoError(t, err)
		defer resp.Body.Close()
		require.EqualValues(t, 1, p.Nodes()[0].InFlight)
		begun := time.Now()
		body, err := io.ReadAll(resp.Body)
		require.Equal(t, "abc", string(body))
		require.Equal(t, 5*time.Second, time.Since(begun))
		wantError(t, err, 504, 1, "node a.test:80: nothing more of the answer within 5s")
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Zero(t, p.Nodes()[0].InFlight)
	})
}

// What the node does not take counts as sending, also when the body is long.
func TestSendTimeout(t *testing.T) {
	node := func(conn net.Conn) {
		readHead(bufio.NewReaderSize(conn, 16))
		io.CopyN(io.Discard, conn, 100)
		<-time.After(time.Hour)
	}
	inBubble(t, upstream.Config{}, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
		req := newRequest(t, "PUT", "http://a.test/", strings.NewReader(strings.Repeat("x", 1<<20)))
		wantTimeout(t, p, req, 3*time.Second, "the node took nothing more of the request within 3s")
	})
}

// A slowReader gives a byte each hour.
type slowReader struct{ left int }

func (r *slowReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Hour)
	r.left--
	p[0] = 'x'
	return 1, nil
}

// A client that is slow to send its body is not the node's fault, and has no effect on
// the node's own time.
func TestSlowClient(t *testing.T) {
	node := func(conn net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, req.Body)
		time.Sleep(5*time.Second - 1)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"+itoa(int(n)))
		silent(conn)
	}
	inBubble(t, upstream.Config{}, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
		_, body := roundTrip(t, p, newRequest(t, "POST", "http://a.test/", &slowReader{5}))
		require.Equal(t, "5", body)
	})
}

// A node may answer before it has read the request, and go on for as long as the
// client sends.
func TestEarlyAnswer(t *testing.T) {
	echo := func(conn net.Conn) { // byte for byte
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		one := make([]byte, 1)
		for {
			if _, err := req.Body.Read(one); err != nil {
				break
			}
			io.WriteString(conn, "1\r\n"+string(one)+"\r\n")
		}
		io.WriteString(conn, "0\r\n\r\n")
		silent(conn)
	}
	inBubble(t, upstream.Config{}, map[string]func(net.Conn){"a.test:80": echo}, func(t *testing.T, p *upstream.Pool) {
		theirs, ours := io.Pipe()
		resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", theirs))
		require.NoError(t, err)
		defer resp.Body.Close()
		for _, want := range "abc" {
			go func() { ours.Write([]byte(string(want))) }()
			one := make([]byte, 1)
			_, err := io.ReadFull(resp.Body, one)
			require.NoError(t, err)
			require.Equal(t, string(want), string(one))
			time.Sleep(time.Hour)
		}
		go ours.Close()
		time.Sleep(time.Hour)
		rest, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Empty(t, rest)
	})
}

// A node that answers as it reads is not to blame for its silence while the client sends nothing.
func TestEarlyAnswerToASilentClient(t *testing.T) {
	nodes := map[upstream.Scheme]func(net.Conn){
		upstream.SchemeHTTP: func(conn net.Conn) {
			readHead(bufio.NewReader(conn))
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			silent(conn)
		},
		upstream.SchemeH2C: h2Node(func(c h2Peer, stream uint32) bool {
			c.frame(h2Headers, h2EndHeaders, stream, status200)
			return true
		}),
	}
	c := upstream.Config{Checks: &upstream.Checks{
		Active:  upstream.ActiveChecks{HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes},
		Passive: &upstream.PassiveChecks{Timeouts: 1},
	}}
	for scheme, node := range nodes {
		c.Scheme = scheme
		inBubble(t, c, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
			post := func(body io.Reader) {
				t.Helper()
				resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
				require.NoError(t, err)
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
				wantError(t, err, 504, 1, "nothing more of the answer within 5s")
			}
			body, client := io.Pipe()
			defer client.Close()
			post(body)
			require.Zero(t, p.Nodes()[0].Failures)
			require.Equal(t, upstream.Healthy, p.Nodes()[0].Health)
			post(nil)
			require.EqualValues(t, 1, p.Nodes()[0].Failures)
			require.Equal(t, upstream.Unhealthy, p.Nodes()[0].Health)
		})
	}
}

// An answer that came is passed on, though the connection was lost while the request
// was still being sent: a node that answers and closes without reading resets it.
func TestAnswerBeforeReset(t *testing.T) {
	const answer = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		late   time.Duration
		step   int
		takes  int // writes
		status int
		after  time.Duration // until the head of the answer, or the failure
	}{
		"answered":                 {answer + "0123456789", time.Second, 4096, 1, 413, time.Second},
		"answered piece by piece":  {answer + "0123456789", time.Second, 60, 1, 413, 2 * time.Second},
		"lost":                     {"", time.Second, 0, 1, 502, time.Second},
		"lost, but not to readers": {"", time.Hour, 0, 1, 502, limits.Send},
		"nothing was sent":         {"", time.Hour, 0, 0, 502, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					theirs.Close()
					return &lostConn{Conn: ours, answer: c.answer, late: c.late, step: c.step, takes: c.takes, lost: make(chan struct{}), closed: make(chan struct{})}, nil
				}
				p := newPool(t, upstream.Config{Nodes: []upstream.Node{{Host: "a.test"}}, Timeout: limits}, &upstream.Options{Dialer: dial})
				begun := time.Now()
				resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", strings.NewReader(strings.Repeat("x", 1<<20))))
				require.Equal(t, c.after, time.Since(begun))
				if c.status == 502 {
					wantError(t, err, 502, 1, "reset by peer")
					return
				}
				require.NoError(t, err)
				require.Equal(t, c.status, resp.StatusCode)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "0123456789", string(body))
				require.NoError(t, resp.Body.Close())
				time.Sleep(time.Minute) // http.Transport gives the write a moment
			})
		})
	}
}

// A lostConn is a connection that takes some writes and is then reset, and that still
// has an answer for whoever reads: a step of it each time late is over.
type lostConn struct {
	net.Conn
	answer string
	late   time.Duration
	step   int
	takes  int

	lost, closed chan struct{}
	lostOnce     sync.Once
	closedOnce   sync.Once
}

func (c *lostConn) Write(p []byte) (int, error) {
	if c.takes--; c.takes >= 0 {
		return len(p), nil
	}
	c.lostOnce.Do(func() { close(c.lost) })
	return 0, syscall.ECONNRESET
}

func (c *lostConn) Read(p []byte) (int, error) {
	<-c.lost
	select {
	case <-time.After(c.late):
	case <-c.closed:
		return 0, net.ErrClosed
	}
	if c.answer == "" {
		return 0, syscall.ECONNRESET
	}
	n := min(copy(p, c.answer), c.step)
	c.answer = c.answer[n:]
	return n, nil
}

func (c *lostConn) SetWriteDeadline(time.Time) error { return nil }

func (c *lostConn) Close() error {
	c.closedOnce.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A TLS connection to a node that takes nothing any more is closed in the time that
// crypto/tls allows for its last alert, and not in that of a request.
func TestCloseOfAStuckTLSConnection(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.pair(t, "a.test")
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		node := func(conn net.Conn) {
			// Over a pipe, both sides of TLS 1.3 would wait for the other to read.
			secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12})
			r := bufio.NewReader(secure)
			if _, err := readHead(r); err == nil {
				_, _ = io.WriteString(secure, ok)
			}
			time.Sleep(time.Hour)
		}
		closed := make(chan time.Time, 10)
		pipes := inMemory(map[string]func(net.Conn){"a.test:443": node})
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := pipes(ctx, network, address)
			return &closeTimer{conn, closed}, err
		}
		p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{{Host: "a.test"}}, TLS: upstream.TLS{DangerouslySkipServerVerify: true}}, &upstream.Options{Dialer: dial})
		_, body := roundTrip(t, p, newRequest(t, "GET", "http://a.test/", nil))
		require.Equal(t, "ok", body)
		begun := time.Now()
		p.Close()
		require.Equal(t, 5*time.Second, (<-closed).Sub(begun))
		time.Sleep(time.Hour)
	})
}

// A closeTimer tells when it is closed.
type closeTimer struct {
	net.Conn
	closed chan<- time.Time
}

func (c *closeTimer) Close() error {
	c.closed <- time.Now()
	return c.Conn.Close()
}

func TestCallOptionsTimeout(t *testing.T) {
	nodes := map[string]func(net.Conn){"a.test:80": silent}
	inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
		for _, c := range []struct {
			timeout upstream.Timeout
			after   time.Duration
		}{
			{upstream.Timeout{Read: time.Second}, time.Second},
			{upstream.Timeout{Read: time.Hour}, time.Hour},
			{upstream.Timeout{Connect: time.Millisecond}, 5 * time.Second},
			{upstream.Timeout{Read: -1}, 5 * time.Second},
			{upstream.Timeout{}, 5 * time.Second},
		} {
			begun := time.Now()
			_, err := p.Do(newRequest(t, "GET", "http://a.test/", nil), &upstream.CallOptions{Timeout: c.timeout})
			wantError(t, err, 504, 1)
			require.Equal(t, c.after, time.Since(begun))
		}
	})
	inBubble(t, upstream.Config{}, nil, func(t *testing.T, p *upstream.Pool) {
		begun := time.Now()
		_, err := p.Do(newRequest(t, "GET", "http://a.test/", nil), &upstream.CallOptions{Timeout: upstream.Timeout{Connect: time.Millisecond}})
		wantError(t, err, 504, 1, "no connection within 1ms")
		require.Equal(t, time.Millisecond, time.Since(begun))
	})
}

// The caller's own deadline is told apart from a Timeout.
func TestCallersDeadline(t *testing.T) {
	for name, nodes := range map[string]map[string]func(net.Conn){
		"connecting": nil,
		"waiting":    {"a.test:80": silent},
	} {
		t.Run(name, func(t *testing.T) {
			c := upstream.Config{Nodes: []upstream.Node{{Host: "a.test", Weight: 1}, {Host: "b.test", Weight: 1}}}
			inBubble(t, c, nodes, func(t *testing.T, p *upstream.Pool) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil).WithContext(ctx))
				wantError(t, err, 504, 1, "context deadline exceeded")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				require.Zero(t, p.Nodes()[0].Failures)
				// A dial goes on without the request, and ends by itself.
				time.Sleep(time.Minute)
			})
		})
	}
}

// A connection that is idle for too long is closed by us, not found dead later.
func TestIdleTimeout(t *testing.T) {
	conns := 0
	node := func(conn net.Conn) {
		conns++
		answering(ok)(conn)
	}
	c := upstream.Config{KeepAlive: upstream.KeepAlive{IdleTimeout: 10 * time.Second}}
	inBubble(t, c, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
		for _, pause := range []time.Duration{9 * time.Second, 9 * time.Second, 11 * time.Second, 9 * time.Second} {
			get(t, p, "http://a.test/")
			time.Sleep(pause)
		}
		get(t, p, "http://a.test/")
		synctest.Wait()
		require.Equal(t, 2, conns)
	})
}

// The time limit of a request has no effect on the next one over the same connection.
func TestTimersDoNotOutliveTheRequest(t *testing.T) {
	conns := 0
	node := func(conn net.Conn) {
		conns++
		answering(ok, "HTTP/1.1 204 No Content\r\n\r\n", ok)(conn)
	}
	c := upstream.Config{KeepAlive: upstream.KeepAlive{IdleTimeout: time.Hour}}
	inBubble(t, c, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
		for range 5 {
			get(t, p, "http://a.test/")
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		require.Equal(t, 1, conns)
	})
}

// The time that the last exchange had for its answer is over with it: a request whose
// body takes longer has the connection to itself.
func TestLongBodyOnAKeptConnection(t *testing.T) {
	conns := 0
	nodes := map[string]func(net.Conn){"a.test:80": func(conn net.Conn) {
		conns++
		r := bufio.NewReader(conn)
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			if strings.Contains(head, "Content-Length: 2") {
				io.ReadFull(r, make([]byte, 2))
			}
			io.WriteString(conn, ok)
		}
	}}
	inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
		get(t, p, "http://a.test/")
		body, client := io.Pipe()
		go func() {
			io.WriteString(client, "a")
			time.Sleep(2 * limits.Read)
			io.WriteString(client, "b")
			client.Close()
		}()
		req := newRequest(t, "POST", "http://a.test/", body)
		req.ContentLength = 2
		status, _ := roundTrip(t, p, req)
		require.Equal(t, 200, status)
		require.Equal(t, 1, conns)
	})
}
