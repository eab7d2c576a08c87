package upstream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// A hostile origin does something to the first answer on each connection, after which
// the next request must be clean: it is answered by its own answer.

// hostile answers the first request with what "first" does, in whatever way, and all
// others, over this connection and over new ones, with their own path.
func hostile(t *testing.T, first func(conn net.Conn)) *origin {
	begun := make(chan struct{}, 1)
	begun <- struct{}{}
	return newOrigin(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			select {
			case <-begun:
				first(conn)
				continue
			default:
			}
			_, path, _ := strings.Cut(strings.SplitN(head, " HTTP/", 2)[0], " ")
			if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path); err != nil {
				return
			}
		}
	})
}

func writes(text string) func(net.Conn) {
	return func(conn net.Conn) { io.WriteString(conn, text) }
}

// wantClean checks that many requests are answered with their own answer.
func wantClean(t *testing.T, p *upstream.Pool) {
	t.Helper()
	for i := range 5 {
		path := fmt.Sprintf("/clean/%d", i)
		status, body := get(t, p, "http://a.test"+path)
		require.Equal(t, 200, status)
		require.Equal(t, path, body)
	}
}

// An origin that sends more than its answer, in the same packet or when the connection
// is idle, has answered nobody else with it.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for _, c := range []struct {
		name   string
		method string
		answer string
		status int
		body   string
	}{
		{"answers twice", "GET", ok + poison, 200, "ok"},
		{"longer than it said", "GET", ok + "poison", 200, "ok"},
		{"after chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + poison, 200, "ok"},
		{"a body after HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 51\r\n\r\n" + poison, 200, ""},
		{"a body after 204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 51\r\n\r\n" + poison, 204, ""},
		{"a body after 304", "GET", "HTTP/1.1 304 Not Modified\r\n\r\n" + poison, 304, ""},
		{"a body after an empty one", "POST", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + poison, 200, ""},
		{"a stray line end", "GET", ok + "\r\n", 200, "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := hostile(t, writes(c.answer))
			p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
			status, body := roundTrip(t, p, newRequest(t, c.method, "http://a.test/first", nil))
			require.Equal(t, c.status, status)
			require.Equal(t, c.body, body)
			wantClean(t, p)
			require.EqualValues(t, 2, node.conns.Load(), "the first connection is not used again")
			require.Zero(t, p.Nodes()[0].Failures)
		})
	}

	// The second answer comes when the first has long been read.
	t.Run("later", func(t *testing.T) {
		read, sent := make(chan struct{}), make(chan struct{})
		node := hostile(t, func(conn net.Conn) {
			io.WriteString(conn, ok)
			<-read
			io.WriteString(conn, poison)
			close(sent)
		})
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
		get(t, p, "http://a.test/first")
		close(read)
		<-sent // over loopback, what was written is there
		wantClean(t, p)
		require.EqualValues(t, 2, node.conns.Load())
	})
}

// A reset at any byte of an answer: nothing of it is taken for the whole, no other node
// is asked once a byte came, and the next request is clean.
func TestResetAtEachByte(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"close":   "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			for at := range len(answer) {
				got := make(chan struct{})
				node := hostile(t, func(conn net.Conn) {
					io.WriteString(conn, answer[:at])
					if at > 0 {
						<-got // a reset overtakes what was not read
					}
					conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				})
				reading := &readingConn{got: got, want: at}
				other := newOrigin(t, answering(ok))
				p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node, other.Node}}, &upstream.Options{Dialer: reading.dial})
				resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", nil))
				if err == nil {
					var body []byte
					body, err = io.ReadAll(resp.Body)
					resp.Body.Close()
					require.True(t, strings.HasPrefix("ok", string(body)))
				}
				wantError(t, err, 502, 1, "node "+node.address)
				require.Zero(t, other.conns.Load())
				alone := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
				wantClean(t, alone)
			}
		})
	}
}

// A readingConn tells when so many bytes were read.
type readingConn struct {
	net.Conn
	got  chan struct{}
	want int
}

func (c *readingConn) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	c.Conn = conn
	return c, err
}

func (c *readingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		if c.want -= n; c.want == 0 {
			close(c.got)
		}
	}
	return n, err
}

// An origin that never answers, or trickles, costs its time and nothing more.
func TestSlowOrigins(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(net.Conn)
		after  time.Duration
		body   bool // the head comes in time
	}{
		"never":       {silent, limits.Read, false},
		"half a head": {func(c net.Conn) { io.WriteString(c, ok[:20]); silent(c) }, limits.Read, false},
		"half a body": {func(c net.Conn) { io.WriteString(c, ok[:len(ok)-1]); silent(c) }, limits.Read, true},
		"half a chunk line": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1")
			silent(c)
		}, limits.Read, true},
		"a trickling chunk line": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "0"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, limits.Read, true},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := map[string]func(net.Conn){"a.test:80": func(conn net.Conn) {
				readHead(bufio.NewReader(conn))
				c.answer(conn)
			}}
			inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
				begun := time.Now()
				resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
				if c.body {
					require.NoError(t, err)
					_, err = io.ReadAll(resp.Body)
					require.NoError(t, resp.Body.Close())
				}
				require.Equal(t, c.after, time.Since(begun))
				wantError(t, err, 504, 1)
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				nodes["a.test:80"] = answering(ok)
				_, body := get(t, p, "http://a.test/")
				require.Equal(t, "ok", body)
			})
		})
	}
}

// An early answer ends a request that is still being sent, whether the node goes on to
// read or not.
func TestEarlyFinalAnswer(t *testing.T) {
	const early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
	for name, node := range map[string]func(net.Conn){
		"it reads no more": func(conn net.Conn) {
			readHead(bufio.NewReaderSize(conn, 16))
			io.WriteString(conn, early)
			var one [1]byte
			for { // its side stays open until ours closes
				if _, err := conn.Write(nil); err != nil {
					return
				}
				if _, err := conn.Read(one[:]); err != nil {
					return
				}
			}
		},
		"it reads all": func(conn net.Conn) {
			readHead(bufio.NewReaderSize(conn, 16))
			io.WriteString(conn, early)
			silent(conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, node)
			p := newPool(t, upstream.Config{Nodes: []upstream.Node{o.Node}}, nil)
			more := make(chan struct{})
			body := newBody(io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), &waitingReader{more}))
			req := newRequest(t, "POST", "http://a.test/", body)
			status, text := roundTrip(t, p, req)
			require.Equal(t, 413, status)
			require.Equal(t, "big", text)
			require.Zero(t, p.Nodes()[0].Failures)

			// The rest of the body must not become the beginning of a request.
			status, _ = get(t, p, "http://a.test/next")
			require.Equal(t, 413, status)
			require.EqualValues(t, 2, o.conns.Load())
			close(more)
			<-body.done
		})
	}
}

// When nothing more of a body is wanted it is closed, even if whoever gives it gives nothing
// more until then.
func TestBodyIsClosedDuringARead(t *testing.T) {
	const begun = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"
	for name, c := range map[string]struct {
		http1 string
		http2 func(h2Peer, uint32) bool
	}{
		"answered": {ok, answer200},
		"answer closed": {begun, func(c h2Peer, stream uint32) bool {
			c.frame(h2Headers, h2EndHeaders, stream, status200)
			return true
		}},
		"failed": {"no HTTP", func(h2Peer, uint32) bool { return false }},
	} {
		for scheme, node := range map[upstream.Scheme]func(net.Conn){"http": answering(c.http1), "h2c": h2Node(c.http2)} {
			if plugged != nil && name == "failed" {
				continue // http.Transport does not return before the Read does
			}
			t.Run(name+" "+string(scheme), func(t *testing.T) {
				p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{newOrigin(t, node).Node}}, nil)
				body := newBody(nil)
				body.Reader = &waitingReader{body.done}
				resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
				require.Equal(t, name == "failed", err != nil)
				if err == nil {
					resp.Body.Close()
				}
				<-body.done
			})
		}
	}
}

// Closing a body may take its client's time, and the client wait for the answer: nobody who
// reads that waits for Close.
func TestAnswerDoesNotWaitForClose(t *testing.T) {
	for name, c := range map[string]struct {
		scheme upstream.Scheme
		node   func(net.Conn)
		o      *upstream.Options
	}{
		"http":      {"http", answering(ok), nil},
		"h2c":       {"h2c", h2Node(answer200), nil},
		"Transport": {"http", answering(ok), &upstream.Options{Transport: &http.Transport{}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, upstream.Config{Scheme: c.scheme, Nodes: []upstream.Node{newOrigin(t, c.node).Node}}, c.o)
			answered := make(chan struct{})
			body := &slowlyClosed{watchedBody: newBody(endless{}), until: answered}
			resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
			require.NoError(t, err)
			_, err = io.ReadAll(resp.Body)
			require.NoError(t, err)
			resp.Body.Close()
			require.False(t, body.late.Load())
			close(answered)
			<-body.done
		})
	}
}

// An endless reader never waits.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A slowlyClosed body is closed when something else has happened.
type slowlyClosed struct {
	*watchedBody
	until chan struct{}
	late  atomic.Bool
}

func (b *slowlyClosed) Close() error {
	select {
	case <-b.until:
	case <-time.After(5 * time.Second):
		b.late.Store(true)
	}
	return b.watchedBody.Close()
}

// A waitingReader ends when it may.
type waitingReader struct{ more chan struct{} }

func (r *waitingReader) Read([]byte) (int, error) {
	<-r.more
	return 0, io.EOF
}

// Expect: 100-continue keeps the body back until the node wants it, or says nothing for
// a second, and a node that does not want it never sees it.
func TestExpectContinue(t *testing.T) {
	request := func(t *testing.T, body io.Reader) *http.Request {
		req := newRequest(t, "PUT", "http://a.test/", body)
		req.ContentLength = 3
		req.Header.Set("Expect", "100-continue")
		return req
	}
	read := func(r *bufio.Reader, conn net.Conn) {
		body := make([]byte, 3)
		if _, err := io.ReadFull(r, body); err == nil {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"+string(body))
		}
		silent(conn)
	}
	for name, c := range map[string]struct {
		node  func(r *bufio.Reader, conn net.Conn)
		after time.Duration
		body  string
		reads int64
	}{
		"wanted": {func(r *bufio.Reader, conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
			read(r, conn)
		}, 0, "abc", 1},
		"silent": {read, time.Second, "abc", 1},
		"refused": {func(r *bufio.Reader, conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			silent(conn)
		}, 0, "no", 0},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := map[string]func(net.Conn){"a.test:80": func(conn net.Conn) {
				r := bufio.NewReader(conn)
				readHead(r)
				c.node(r, conn)
			}}
			inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
				body := newBody(strings.NewReader("abc"))
				begun := time.Now()
				_, got := roundTrip(t, p, request(t, body))
				require.Equal(t, c.body, got)
				require.Equal(t, c.after, time.Since(begun))
				<-body.done
				if c.reads == 0 {
					require.Zero(t, body.reads.Load())
				}
			})
		})
	}
}

// A node may switch protocols only if it was asked to.
func TestSwitchThatWasNotAskedFor(t *testing.T) {
	node := newOrigin(t, answering(switching+"poison"))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	for _, h := range []http.Header{{}, {"Upgrade": {}}, {"Connection": {"Upgrade"}}} {
		req := newRequest(t, "GET", "http://a.test/", nil)
		req.Header = h
		_, err := p.RoundTrip(req)
		wantError(t, err, 502, 1, "switched to a protocol that was not asked for")
	}
}

// A trickle is a body that comes a little at a time. It keeps how much was asked for.
type trickle struct {
	left int

	mu    sync.Mutex
	asked []int
}

func (b *trickle) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, len(p))
	n := min(1000, b.left)
	if b.left -= n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Little is held for a body of which little comes, and more is asked for when it goes on.
func TestBodyThatTrickles(t *testing.T) {
	if plugged != nil {
		t.Skip("net/http sends it")
	}
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	for _, length := range []int64{20_000, -1} {
		body := &trickle{left: 20_000}
		req := newRequest(t, "POST", "http://a.test/", io.NopCloser(body))
		req.ContentLength = length
		resp, err := p.RoundTrip(req)
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.EqualValues(t, 20_000, n)
		resp.Body.Close()
		body.mu.Lock()
		defer body.mu.Unlock()
		require.LessOrEqual(t, body.asked[8], 8<<10)
		require.Greater(t, body.asked[9], 10_000)
	}
}

// untilGone reads a body and then waits for the client to give up.
var untilGone = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); r.Method == "PUT" && err == nil {
		<-r.Context().Done()
	}
})

// A body whose length is not the one that was announced is its sender's mistake: the
// node must not take what follows for the rest of it, and is not to blame.
func TestBodyOfAnotherLength(t *testing.T) {
	for scheme, newNode := range map[upstream.Scheme]func() *origin{
		"http": func() *origin { return newServer(t, untilGone) },
		"h2c":  func() *origin { return newH2Server(t, nil, untilGone) },
	} {
		for _, text := range []string{"abc", "abcde"} {
			t.Run(string(scheme)+" "+text, func(t *testing.T) {
				p := newPool(t, upstream.Config{
					Scheme:      scheme,
					Nodes:       []upstream.Node{newNode().Node, newNode().Node},
					ReplayBytes: 100,
				}, nil)
				req := newRequest(t, "PUT", "http://a.test/", io.NopCloser(strings.NewReader(text)))
				req.ContentLength = 4
				_, err := p.RoundTrip(req)
				wantError(t, err, 400, 1, "reading the request's body: it has another length than the request's ContentLength")
				for _, node := range p.Nodes() {
					require.Zero(t, node.Failures)
				}
				status, _ := get(t, p, "http://a.test/")
				require.Equal(t, 200, status)
			})
		}
	}
}

// So is a trailer that cannot be sent.
func TestInvalidTrailer(t *testing.T) {
	node := newServer(t, untilGone)
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	req := newRequest(t, "PUT", "http://a.test/", io.NopCloser(strings.NewReader("abc")))
	req.Trailer = http.Header{"X-Sum": {"a\r\nb"}}
	_, err := p.RoundTrip(req)
	wantError(t, err, 400, 1, `invalid trailer field value for "X-Sum"`)
	require.Zero(t, p.Nodes()[0].Failures)
}

// KeepAlive.Requests closes a connection that has served so many.
func TestKeepAliveRequests(t *testing.T) {
	node := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}, KeepAlive: upstream.KeepAlive{Requests: 3}}, nil)
	for range 7 {
		get(t, p, "http://a.test/")
	}
	require.EqualValues(t, 3, node.conns.Load())
}

// Close from another goroutine ends a Read that waits.
func TestCloseWhileReading(t *testing.T) {
	node := newOrigin(t, func(conn net.Conn) {
		readHead(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		silent(conn)
	})
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	require.NoError(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, 3))
	require.NoError(t, err)
	ended := make(chan error)
	go func() {
		_, err := resp.Body.Read(make([]byte, 1))
		ended <- err
	}()
	require.NoError(t, resp.Body.Close())
	require.Error(t, <-ended)
	require.Zero(t, p.Nodes()[0].InFlight)
}

// The trailer of a request reaches the node, and that of an answer the caller.
func TestTrailers(t *testing.T) {
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	for range 3 {
		req := newRequest(t, "POST", "http://a.test/", io.NopCloser(strings.NewReader("abc")))
		req.Trailer = http.Header{"X-Sum": {"1"}}
		resp, err := p.RoundTrip(req)
		require.NoError(t, err)
		require.Contains(t, resp.Trailer, "X-Sum", "announced")
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "abc", string(body))
		require.Equal(t, http.Header{"X-Sum": {"1"}, "X-Late": {"2"}}, resp.Trailer)
		resp.Body.Close()
	}
	require.EqualValues(t, 1, node.conns.Load())
}

// An idle connection has no goroutine, and at the end there is no connection: the
// origin waits for that.
func TestIdleConnectionsHaveNoGoroutine(t *testing.T) {
	const n = 30
	release := make(chan struct{})
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, "ok")
	}))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all []*http.Response
	for range n {
		req, err := http.NewRequestWithContext(ctx, "POST", "http://a.test/", io.NopCloser(strings.NewReader("abc")))
		require.NoError(t, err)
		resp, err := p.RoundTrip(req)
		require.NoError(t, err)
		all = append(all, resp)
	}
	close(release)
	for _, resp := range all {
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "ok", string(body))
		resp.Body.Close()
	}
	// The last that a goroutine which sends a body does is to close it.
	stacks := make([]byte, 4<<20)
	for {
		text := string(stacks[:runtime.Stack(stacks, true)])
		require.NotContains(t, text, "internal/http1.(*Conn).Read")
		require.NotContains(t, text, "internal/http1.(*Idle)")
		if !strings.Contains(text, "upstream.(*http1Exchange)") {
			break
		}
		runtime.Gosched()
	}
	require.EqualValues(t, n, node.conns.Load())
	for range 3 {
		_, body := get(t, p, "http://a.test/")
		require.Equal(t, "ok", body)
	}
	require.EqualValues(t, n, node.conns.Load())
}

// A request that was cancelled before it began is not sent, over a kept connection
// neither.
func TestCancelledBeforehand(t *testing.T) {
	heads := make(chan string, 10)
	node := newOrigin(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			head, err := readHead(r)
			if err != nil {
				close(heads)
				return
			}
			heads <- head
			io.WriteString(conn, ok)
		}
	})
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	get(t, p, "http://a.test/first")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := newBody(strings.NewReader("abc"))
	_, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/second", body).WithContext(ctx))
	wantError(t, err, upstream.StatusClientClosedRequest, 1)
	<-body.done
	get(t, p, "http://a.test/third")
	p.Close()
	var all []string
	for head := range heads {
		all = append(all, head[:strings.Index(head, " HTTP")])
	}
	require.Equal(t, []string{"GET /first", "GET /third"}, all)
}

// What two readers could understand differently is no answer: 502, no other node is
// asked, and the connection is not used again.
func TestAmbiguousAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"an empty line first":       "\r\n" + ok,
		"bytes of another answer":   "ok" + ok,
		"bare LF":                   strings.ReplaceAll(ok, "\r\n", "\n"),
		"folded":                    "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
		"space before a colon":      "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
		"NUL":                       "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
		"the same length twice":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"a length and chunks":       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"a version of the future":   "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"informational with a body": "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok" + ok,
	} {
		t.Run(name, func(t *testing.T) {
			node, other := hostile(t, writes(answer)), newOrigin(t, answering(ok))
			p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node, other.Node}}, nil)
			_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			wantError(t, err, 502, 1, "node "+node.address, "malformed")
			require.Zero(t, other.conns.Load())

			node = hostile(t, writes(answer))
			p = newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
			_, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			wantError(t, err, 502, 1)
			wantClean(t, p)
			require.EqualValues(t, 2, node.conns.Load())
		})
	}
}

// A node that is silent on a kept connection is not asked again over a new one: it is
// slow, and the connection was not dead.
func TestSilenceOnAKeptConnection(t *testing.T) {
	conns := 0
	nodes := map[string]func(net.Conn){"a.test:80": func(conn net.Conn) {
		conns++
		r := bufio.NewReader(conn)
		readHead(r)
		io.WriteString(conn, ok)
		silent(conn)
	}}
	inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
		get(t, p, "http://a.test/")
		wantTimeout(t, p, newRequest(t, "GET", "http://a.test/", nil), limits.Read, "no answer within 5s")
		require.Equal(t, 1, conns)
	})
}

// Cancelling a request that has long been answered does nothing to the one that has its
// connection now.
func TestCancelAfterTheEnd(t *testing.T) {
	conns := 0
	nodes := map[string]func(net.Conn){"a.test:80": func(conn net.Conn) {
		conns++
		r := bufio.NewReader(conn)
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			time.Sleep(2 * time.Second)
			io.WriteString(conn, ok)
		}
	}}
	inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
		ctx, cancel := context.WithCancel(t.Context())
		_, body := roundTrip(t, p, newRequest(t, "GET", "http://a.test/", nil).WithContext(ctx))
		require.Equal(t, "ok", body)
		time.AfterFunc(time.Second, cancel)
		status, _ := roundTrip(t, p, newRequest(t, "POST", "http://a.test/", nil))
		require.Equal(t, 200, status)
		require.Equal(t, 1, conns)
	})
}

// A Dialer may return connections that show no descriptor, here pipes. What comes over
// an idle one is nobody's answer there either.
func TestAnswersThatNobodyAskedForWithoutADescriptor(t *testing.T) {
	conns := 0
	nodes := map[string]func(net.Conn){"a.test:80": func(conn net.Conn) {
		conns++
		r := bufio.NewReader(conn)
		for i := 1; ; i++ {
			if _, err := readHead(r); err != nil {
				return
			}
			io.WriteString(conn, ok)
			if conns == 1 && i == 2 {
				time.Sleep(time.Second)
				go io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
			}
		}
	}}
	inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
		get(t, p, "http://a.test/")
		get(t, p, "http://a.test/")
		require.Equal(t, 1, conns, "it is kept")
		time.Sleep(2 * limits.Read) // the last deadline passes as well
		_, body := get(t, p, "http://a.test/")
		require.Equal(t, "ok", body)
		require.Equal(t, 2, conns)
		time.Sleep(2 * limits.Read)
		get(t, p, "http://a.test/")
		require.Equal(t, 2, conns, "nothing came over this one")
	})
}

// Some schemes authenticate a connection and not a request (RFC 4559, section 6). No client gets
// one over which the node takes it for another.
func TestConnectionsThatAreAuthenticated(t *testing.T) {
	// Where the credentials come unasked, the node may say nothing of how it understands them.
	for _, c := range [][2]string{
		{"NTLM", "WWW-Authenticate: NTLM\r\n"}, {"Negotiate", "WWW-Authenticate: Negotiate x\r\n"}, {"Negotiate", ""}, {"nEGOTIATE", ""}, {"NTLM", ""},
	} {
		scheme, says := c[0], c[1]
		node := newOrigin(t, func(conn net.Conn) {
			r := bufio.NewReader(conn)
			client := ""
			for {
				head, err := readHead(r)
				if err != nil {
					return
				}
				answer := "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: " + scheme + "\r\nContent-Length: 0\r\n\r\n"
				if _, token, ok := strings.Cut(head, "Authorization: "+scheme+" "); ok {
					client, _, _ = strings.Cut(token, "\r\n")
					answer = fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", says, len(client), client)
				} else if client != "" {
					answer = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(client), client)
				}
				if _, err := io.WriteString(conn, answer); err != nil {
					return
				}
			}
		})
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
		alice := newRequest(t, "GET", "http://a.test/", nil)
		status, _ := roundTrip(t, p, alice)
		require.Equal(t, 401, status)
		alice.Header.Set("Authorization", scheme+" alice")
		_, body := roundTrip(t, p, alice)
		require.Equal(t, "alice", body)
		status, body = get(t, p, "http://a.test/")
		require.Equal(t, 401, status, "%v: somebody else is taken for %s", c, body)
	}
}
