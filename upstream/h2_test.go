package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// newH2Server is an origin that is an [http.Server] for HTTP/2 alone, over TLS if
// there is a config.
func newH2Server(t testing.TB, config *tls.Config, h http.Handler) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := &origin{address: l.Addr().String(), Node: nodeAt(l.Addr().String())}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"h2"}
		l = tls.NewListener(l, config)
		s.Protocols.SetHTTP2(true)
	} else {
		s.Protocols.SetUnencryptedHTTP2(true)
	}
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			o.conns.Add(1)
			o.open.Add(1)
		}
		if state == http.StateClosed {
			o.open.Done()
		}
	}
	go s.Serve(l)
	t.Cleanup(func() {
		l.Close()
		o.open.Wait() // a pool that keeps a connection fails the test by its time limit
		s.Close()
	})
	return o
}

// echo answers with what came, trailers included.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Trailer", "Announced")
	fmt.Fprintf(w, "%s %s %s %s te=%s up=%s: %s", r.Proto, r.Method, r.RequestURI, r.Host, r.Header.Get("Te"), r.Trailer.Get("Up"), body)
	w.Header().Set("Announced", "1")
	w.Header().Set(http.TrailerPrefix+"Unannounced", "2")
})

func TestH2Schemes(t *testing.T) {
	ca := newAuthority(t)
	secure := newH2Server(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test")}}, echo)
	plain := newH2Server(t, nil, echo)
	for scheme, node := range map[upstream.Scheme]*origin{upstream.SchemeH2C: plain, upstream.SchemeGRPC: plain, upstream.SchemeGRPCS: secure} {
		c := upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}
		if scheme == "grpcs" {
			c.TLS.CAPEM = ca.pem
		}
		p := newPool(t, c, nil)
		req := newRequest(t, "PUT", "http://a.test/x%2fy|?q=%20", strings.NewReader("abc"))
		req.URL.Opaque = "/x%2fy|"
		req.Header.Set("Te", "trailers")
		req.Trailer = http.Header{"Up": {"0"}}
		resp, err := p.RoundTrip(req)
		require.NoError(t, err, scheme)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err, scheme)
		require.Equal(t, "HTTP/2.0 PUT /x%2fy|?q=%20 a.test te=trailers up=0: abc", string(body), scheme)
		require.Equal(t, http.Header{"Announced": {"1"}, "Unannounced": {"2"}}, resp.Trailer, scheme)
		require.Same(t, req, resp.Request)
		require.Zero(t, p.Nodes()[0].InFlight)
		p.Close()
	}
}

// A burst to a node that nobody was connected to opens one connection.
func TestH2ConnectionIsShared(t *testing.T) {
	node := newH2Server(t, nil, echo)
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{node.Node}}, nil)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			body := strings.Repeat("x", i*1000)
			resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", strings.NewReader(body)))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || !strings.HasSuffix(string(got), ": "+body) {
				t.Error(err, len(got))
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, node.conns.Load())
}

// Where the node takes only so many requests at a time over a connection, others
// open more.
func TestH2NodeLimitsItsStreams(t *testing.T) {
	arrived, release := make(chan bool), make(chan bool)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	node := &origin{}
	s := &http.Server{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 2}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-release
	}), ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			node.conns.Add(1)
		}
	}}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	defer s.Close()

	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{nodeAt(l.Addr().String())}}, nil)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { get(t, p, "http://a.test/") })
		<-arrived
	}
	close(release)
	all.Wait()
	require.EqualValues(t, 3, node.conns.Load())
}

// A burst comes before the node has said how many it takes.
func TestH2BurstOverTheLimit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1}, Handler: echo}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	defer s.Close()
	p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{nodeAt(l.Addr().String())}}, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", strings.NewReader("x")))
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
	}
	all.Wait()
	require.Zero(t, p.Nodes()[0].Failures)

	// SETTINGS_MAX_CONCURRENT_STREAMS of 0.
	closed := newOrigin(t, func(conn net.Conn) {
		h2Peer{conn}.frame(h2Settings, 0, 0, 0, 3, 0, 0, 0, 0)
		silent(conn)
	})
	p = newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{closed.Node}}, nil)
	for range 3 {
		_, err = p.RoundTrip(newRequest(t, "POST", "http://a.test/", nil))
		wantError(t, err, 502, 1, "the node takes no requests over its connection")
	}
	require.EqualValues(t, 3, closed.conns.Load())
}

// The answer may begin before the request ends, and each side waits for the other.
func TestH2FullDuplex(t *testing.T) {
	node := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.Copy(flushing{w}, r.Body)
	}))
	p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{node.Node}}, nil)
	body, send := io.Pipe()
	resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
	require.NoError(t, err)
	for _, message := range []string{"one", "two", "three"} {
		_, err = io.WriteString(send, message)
		require.NoError(t, err)
		got := make([]byte, len(message))
		_, err = io.ReadFull(resp.Body, got)
		require.NoError(t, err)
		require.Equal(t, message, string(got))
	}
	require.EqualValues(t, 1, p.Nodes()[0].InFlight)
	require.NoError(t, send.Close())
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Zero(t, p.Nodes()[0].InFlight)
}

type flushing struct{ http.ResponseWriter }

func (w flushing) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// One who reads nothing stops nobody else's answer, and the node is stopped by him.
func TestH2SlowReader(t *testing.T) {
	const size = 8 << 20
	node := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, size))
	}))
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{node.Node}}, nil)
	var slow []*http.Response
	for range 4 {
		resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		require.NoError(t, err)
		slow = append(slow, resp)
	}
	_, body := get(t, p, "http://a.test/")
	require.Len(t, body, size)
	for _, resp := range slow {
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
	}
	require.EqualValues(t, 1, node.conns.Load())
}

func TestH2Answers(t *testing.T) {
	node := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		case "/304length":
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(304)
		case "/head":
			w.Header().Set("Content-Length", "100")
		case "/length":
			w.Header().Set("Content-Length", "0")
			w.(http.Flusher).Flush()
			w.Header().Set(http.TrailerPrefix+"Late", "1")
		case "/broken":
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/early":
			w.WriteHeader(413)
		}
	}))
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{node.Node}}, nil)
	for path, status := range map[string]int{"/204": 204, "/304": 304, "/304length": 304, "/none": 200, "/early": 413} {
		got, body := get(t, p, "http://a.test"+path)
		require.Equal(t, status, got, path)
		require.Empty(t, body)
	}
	require.Zero(t, p.Nodes()[0].InFlight)

	resp, err := p.RoundTrip(newRequest(t, "HEAD", "http://a.test/head", nil))
	require.NoError(t, err)
	require.EqualValues(t, 100, resp.ContentLength)
	require.Equal(t, http.NoBody, resp.Body)

	resp, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/304length", nil))
	require.NoError(t, err)
	require.EqualValues(t, 100, resp.ContentLength, "how long a 200 would be")
	require.Equal(t, http.NoBody, resp.Body)

	resp, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/length", nil))
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "1", resp.Trailer.Get("Late"))

	resp, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/broken", nil))
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	wantError(t, err, 502, 1, "node "+node.address+": the node reset the stream: INTERNAL_ERROR")

	body, send := io.Pipe()
	resp, err = p.RoundTrip(newRequest(t, "POST", "http://a.test/early", body))
	require.NoError(t, err, "the rest of the request is not waited for")
	require.Equal(t, 413, resp.StatusCode)
	resp.Body.Close()
	for err == nil { // the first may still go to a read that had begun
		_, err = send.Write([]byte("x"))
	}
	require.Zero(t, p.Nodes()[0].InFlight)
	require.EqualValues(t, 1, node.conns.Load())
}

func TestH2Cancellation(t *testing.T) {
	gone := make(chan bool)
	node := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		gone <- true
	}))
	p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{node.Node}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/begun", nil).WithContext(ctx))
	require.NoError(t, err)
	cancel()
	<-gone
	_, err = io.ReadAll(resp.Body)
	wantError(t, err, upstream.StatusClientClosedRequest, 1)

	resp, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/begun", nil))
	require.NoError(t, err)
	resp.Body.Close()
	<-gone

	// Nothing more comes of the request, and net/http waits for that.
	ctx, cancel = context.WithCancel(t.Context())
	body, send := io.Pipe()
	defer send.Close()
	resp, err = p.RoundTrip(newRequest(t, "POST", "http://a.test/begun", body).WithContext(ctx))
	require.NoError(t, err)
	cancel()
	<-gone
	_, err = io.ReadAll(resp.Body)
	wantError(t, err, upstream.StatusClientClosedRequest, 1)
	require.Zero(t, p.Nodes()[0].Failures)

	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	body, send = io.Pipe()
	defer send.Close()
	_, err = p.RoundTrip(newRequest(t, "POST", "http://a.test/", body).WithContext(ctx))
	wantError(t, err, 504, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	<-gone
	require.Zero(t, p.Nodes()[0].InFlight)
	require.EqualValues(t, 1, node.conns.Load())
}

func TestH2IsDemanded(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.certificate(t, "a.test")
	var l net.Listener
	serve := func(protocols ...string) upstream.Node {
		var err error
		l, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protocols})
		require.NoError(t, err)
		return serveOrigin(t, l, func(conn net.Conn) { conn.(*tls.Conn).Handshake() }).Node
	}
	const hint = `TLS handshake: the node does not offer HTTP/2 (ALPN "h2"): is its scheme "https"?`
	bad := func(conn net.Conn) {
		conn.Read(make([]byte, 1<<10))
		io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		silent(conn)
	}
	for _, c := range []struct {
		scheme upstream.Scheme
		node   upstream.Node
		text   string
	}{
		{"grpcs", serve(), hint},
		{"grpcs", serve("http/1.1"), hint},
		{"grpcs", newOrigin(t, bad).Node, `is the node's scheme "http"?`},
		{"grpc", newOrigin(t, bad).Node, "connect: the node does not speak HTTP/2"},
		{"h2c", newOrigin(t, func(conn net.Conn) {}).Node, "connect: "}, // whether it is a write that fails or a read, is a race
	} {
		config := upstream.Config{Scheme: c.scheme, Nodes: []upstream.Node{c.node}}
		if c.scheme == "grpcs" {
			config.TLS.CAPEM = ca.pem
		}
		p := newPool(t, config, nil)
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		wantError(t, err, 502, 1, c.text)
	}
}

// Over TLS a connection is for one name, and one client certificate.
func TestH2ConnectionsDoNotCross(t *testing.T) {
	ca := newAuthority(t)
	var asked names
	config := asked.config(ca.certificate(t, "a.test", "b.test"))
	config.ClientAuth = tls.RequestClientCert
	node := newH2Server(t, config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %d", r.TLS.ServerName, r.Host, len(r.TLS.PeerCertificates))
	}))
	c := upstream.Config{ID: "1", Scheme: "grpcs", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{CAPEM: ca.pem}}
	p := newPool(t, c, nil)
	for _, host := range []string{"a.test", "b.test", "A.test:443"} {
		_, body := get(t, p, "http://"+host+"/")
		require.Equal(t, strings.ToLower(strings.TrimSuffix(host, ":443"))+" "+host+" 0", body)
	}
	require.EqualValues(t, 2, node.conns.Load())
	_, err := p.RoundTrip(newRequest(t, "GET", "http://c.test/", nil))
	wantError(t, err, 502, 1, "not c.test")

	c.TLS.CertPEM, c.TLS.KeyPEM = ca.pair(t, "client")
	q := p.Replace(mustNew(t, c), nil)
	defer q.Close()
	_, body := get(t, q, "http://a.test/")
	require.Equal(t, "a.test a.test 1", body)
	require.False(t, p.SharesConnections(q, 0, 0))
	require.Equal(t, []string{"a.test", "b.test", "c.test", "a.test"}, asked.seen())
}

// A successor goes on with the connections, and streams end in peace.
func TestH2Replacing(t *testing.T) {
	node := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.Copy(flushing{w}, r.Body)
	}))
	c := upstream.Config{ID: "1", Scheme: "grpc", Nodes: []upstream.Node{node.Node}}
	p := newPool(t, c, nil)
	body, send := io.Pipe()
	resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
	require.NoError(t, err)

	q := p.Replace(mustNew(t, c), nil)
	p.Close()
	get(t, q, "http://a.test/")
	require.EqualValues(t, 1, node.conns.Load())
	q.Close()

	io.WriteString(send, "still there")
	send.Close()
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "still there", string(rest))
	node.open.Wait() // the connection is closed at the end of its last stream
}

// Frames, as a node writes them that is no http.Server (RFC 9113, section 4.1).
const (
	h2Data     = 0
	h2Headers  = 1
	h2Reset    = 3
	h2Settings = 4
	h2Ping     = 6
	h2GoAway   = 7

	h2Ack        = 1
	h2EndStream  = 1
	h2EndHeaders = 4
)

type h2Peer struct{ net.Conn }

func (c h2Peer) frame(kind, flags byte, stream uint32, payload ...byte) {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	c.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
}

// status200 is ":status: 200" in the static table of RFC 7541.
const status200 = 0x88

func u32(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// h2Node is a node that does with each request what it likes: on gets the stream
// of each HEADERS frame, and false ends the connection.
func h2Node(on func(c h2Peer, stream uint32) bool) func(net.Conn) {
	return h2Frames(false, on)
}

// h2Frames is an h2Node that is deaf to PING, or not.
func h2Frames(deaf bool, on func(c h2Peer, stream uint32) bool) func(net.Conn) {
	return func(conn net.Conn) {
		preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return
		}
		c := h2Peer{conn}
		written := make(chan func(), 100)
		defer close(written)
		go func() { // over a net.Pipe, a node that does not read while it writes is stuck
			for write := range written {
				write()
			}
		}()
		written <- func() { c.frame(h2Settings, 0, 0) }
		for {
			var head [9]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				return
			}
			payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
			if _, err := io.ReadFull(conn, payload); err != nil {
				return
			}
			switch stream := binary.BigEndian.Uint32(head[5:]); {
			case head[3] == h2Settings && head[4]&h2Ack == 0:
				written <- func() { c.frame(h2Settings, h2Ack, 0) }
			case head[3] == h2Ping && !deaf:
				written <- func() { c.frame(h2Ping, h2Ack, 0, payload...) }
			case head[3] == h2Headers:
				written <- func() {
					if !on(c, stream) {
						conn.Close()
					}
				}
			}
		}
	}
}

func answer200(c h2Peer, stream uint32) bool {
	c.frame(h2Headers, h2EndHeaders|h2EndStream, stream, status200)
	return true
}

// What a node resets is repeated only where nothing can have come of it, and said
// at once, even if the client sends nothing more of its request.
func TestH2Resets(t *testing.T) {
	reset := func(code uint32) func(net.Conn) {
		return h2Node(func(c h2Peer, stream uint32) bool {
			c.frame(h2Reset, 0, stream, u32(code)...)
			return true
		})
	}
	hangUp := h2Node(func(h2Peer, uint32) bool { return false })
	const refusedStream, internal, done, other = 7, 2, "", "502"
	for _, c := range []struct {
		name   string
		node   func(net.Conn)
		method string
		body   bool
		want   string
		text   string
	}{
		{"refused", reset(refusedStream), "GET", false, done, ""},
		{"refused, POST", reset(refusedStream), "POST", false, done, ""},
		{"internal error", reset(internal), "GET", false, done, ""},
		{"internal error, POST", reset(internal), "POST", false, other, "the node reset the stream: INTERNAL_ERROR"},
		{"internal error, with a body that does not come", reset(internal), "POST", true, other, "the node reset the stream: INTERNAL_ERROR"},
		{"unknown code", reset(99), "POST", false, other, "the node reset the stream: code 99"},
		{"hang-up", hangUp, "GET", false, done, ""},
		{"hang-up, POST", hangUp, "POST", false, other, "connection"},
		{"hang-up, with a body that does not come", hangUp, "POST", true, other, "connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad, good := newOrigin(t, c.node), newOrigin(t, h2Node(answer200))
			p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{bad.Node, good.Node}}, nil)
			req := newRequest(t, c.method, "http://a.test/", nil)
			if c.body {
				body, send := io.Pipe()
				defer send.Close()
				req.Body = body
			}
			resp, err := p.RoundTrip(req)
			if c.want == done {
				require.NoError(t, err)
				resp.Body.Close()
				require.EqualValues(t, 1, p.Nodes()[0].Failures)
				return
			}
			wantError(t, err, 502, 1, c.text)
			require.Zero(t, p.Nodes()[1].Requests)
		})
	}
}

// A node that goes away says what it still does. Everything else goes over a new
// connection, whatever the method, and is no failure.
func TestH2GoAway(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		node := newOrigin(t, h2Node(func(c h2Peer, stream uint32) bool {
			if stream == 1 {
				return answer200(c, stream)
			}
			c.frame(h2GoAway, 0, 0, u32(1, 0)...)
			return true
		}))
		p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{node.Node}}, nil)
		for range 5 {
			resp, err := p.RoundTrip(newRequest(t, method, "http://a.test/", nil))
			require.NoError(t, err)
			resp.Body.Close()
		}
		require.EqualValues(t, 5, node.conns.Load())
		require.Zero(t, p.Nodes()[0].Failures)
	}
}

// A connection that was closed while nobody used it is replaced: many times, for the
// race between closing and sending.
func TestH2StaleConnection(t *testing.T) {
	node := newOrigin(t, h2Node(func(c h2Peer, stream uint32) bool {
		answer200(c, stream)
		return false
	}))
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{node.Node}}, nil)
	for range 20 {
		status, _ := get(t, p, "http://a.test/")
		require.Equal(t, 200, status)
	}
}

func TestH2Timeouts(t *testing.T) {
	never := func(h2Peer, uint32) bool { return true }
	headOnly := func(c h2Peer, stream uint32) bool {
		c.frame(h2Headers, h2EndHeaders, stream, status200)
		return true
	}
	late := func(c h2Peer, stream uint32) bool {
		time.AfterFunc(24*time.Hour, func() { answer200(c, stream) })
		return true
	}
	run := func(name string, c upstream.Config, node func(net.Conn), f func(t *testing.T, p *upstream.Pool)) {
		t.Run(name, func(t *testing.T) {
			c.Nodes = []upstream.Node{{Host: "a.test", Port: 80}}
			inBubble(t, c, map[string]func(net.Conn){"a.test:80": node}, f)
		})
	}
	post := func(t *testing.T) *http.Request { return newRequest(t, "POST", "http://a.test/", nil) }

	t.Run("connect", func(t *testing.T) {
		inBubble(t, upstream.Config{Scheme: "h2c"}, nil, func(t *testing.T, p *upstream.Pool) {
			wantTimeout(t, p, post(t), limits.Connect, "connect: no connection within 2s")
		})
	})
	for idle, after := range map[time.Duration]time.Duration{0: limits.Connect, time.Second: time.Second} {
		run("no SETTINGS", upstream.Config{Scheme: "h2c", KeepAlive: upstream.KeepAlive{IdleTimeout: idle}}, silent, func(t *testing.T, p *upstream.Pool) {
			wantTimeout(t, p, post(t), after, "connect: no connection within "+after.String())
		})
	}
	run("no answer", upstream.Config{Scheme: "h2c"}, h2Node(never), func(t *testing.T, p *upstream.Pool) {
		wantTimeout(t, p, post(t), limits.Read, "no answer within 5s")
	})
	run("no answer, grpc with a limit", upstream.Config{Scheme: "grpc"}, h2Node(never), func(t *testing.T, p *upstream.Pool) {
		wantTimeout(t, p, post(t), limits.Read, "no answer within 5s")
	})
	run("answer stops", upstream.Config{Scheme: "h2c"}, h2Node(headOnly), func(t *testing.T, p *upstream.Pool) {
		resp, err := p.RoundTrip(post(t))
		require.NoError(t, err)
		time.Sleep(time.Hour) // a slow reader is not the node's fault
		begun := time.Now()
		_, err = io.ReadAll(resp.Body)
		require.Equal(t, limits.Read, time.Since(begun))
		wantError(t, err, 504, 1, "nothing more of the answer within 5s")
	})
	// The node takes what its window has room for at the beginning, 65535 bytes.
	run("request is not taken", upstream.Config{Scheme: "h2c"}, h2Node(never), func(t *testing.T, p *upstream.Pool) {
		large := newRequest(t, "POST", "http://a.test/", strings.NewReader(strings.Repeat("x", 100_000)))
		wantTimeout(t, p, large, limits.Send, "the node took nothing more of the request within 3s")
	})
	// It has answered already, and net/http waits for it to take the rest, whatever happens.
	run("request is not taken after the head of the answer", upstream.Config{Scheme: "h2c"}, h2Node(headOnly), func(t *testing.T, p *upstream.Pool) {
		for _, after := range []time.Duration{limits.Send, time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			if after == limits.Send {
				ctx = t.Context()
			}
			large := newRequest(t, "POST", "http://a.test/", strings.NewReader(strings.Repeat("x", 100_000)))
			resp, err := p.RoundTrip(large.WithContext(ctx))
			require.NoError(t, err)
			stuck := time.AfterFunc(time.Hour, func() { _ = resp.Body.Close() })
			begun := time.Now()
			_, err = io.ReadAll(resp.Body)
			stuck.Stop()
			require.Equal(t, after, time.Since(begun))
			wantError(t, err, 504, 1)
			require.EqualValues(t, 1, p.Nodes()[0].Failures, "that of the Timeout alone")
			require.Zero(t, p.Nodes()[0].InFlight)
			cancel()
		}
	})
	run("slow client", upstream.Config{Scheme: "h2c"}, h2Node(never), func(t *testing.T, p *upstream.Pool) {
		body, send := io.Pipe()
		go func() {
			for range 10 {
				time.Sleep(time.Hour)
				io.WriteString(send, "x")
			}
			send.Close()
		}()
		req := newRequest(t, "POST", "http://a.test/", body)
		wantTimeout(t, p, req, 10*time.Hour+limits.Read, "no answer within 5s")
	})
	// A zero Timeout of grpc: the call is never cut, neither before its answer nor
	// within.
	for _, scheme := range []upstream.Scheme{upstream.SchemeGRPC, upstream.SchemeH2C} {
		t.Run("silence, "+string(scheme), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{{Host: "a.test", Port: 80}}},
					&upstream.Options{Dialer: inMemory(map[string]func(net.Conn){"a.test:80": h2Node(late)})})
				resp, err := p.RoundTrip(post(t))
				if scheme == "h2c" {
					wantError(t, err, 504, 1, "no answer within 1m0s")
				} else {
					require.NoError(t, err)
					resp.Body.Close()
				}
				p.Close()
				time.Sleep(48 * time.Hour)
			})
		})
	}
}

// A node that has stopped to read from its connection fails those that go on over it, by
// their own limit, and no others.
func TestH2StuckConnection(t *testing.T) {
	stops := func(conn net.Conn) {
		_, _ = io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
		go h2Peer{conn}.frame(h2Settings, 0, 0)
		for {
			var head [9]byte
			_, _ = io.ReadFull(conn, head[:])
			_, _ = io.CopyN(io.Discard, conn, int64(head[1])<<8|int64(head[2]))
			if head[3] == h2Settings && head[4] == h2Ack {
				time.Sleep(time.Hour)
				return
			}
		}
	}
	dials := 0
	node := func(conn net.Conn) {
		if dials++; dials == 1 {
			stops(conn)
		} else {
			h2Node(answer200)(conn)
		}
	}
	for _, body := range []io.Reader{nil, strings.NewReader("abc")} {
		dials = 0
		inBubble(t, upstream.Config{Scheme: "h2c"}, map[string]func(net.Conn){"a.test:80": node}, func(t *testing.T, p *upstream.Pool) {
			wantTimeout(t, p, newRequest(t, "POST", "http://a.test/", body), limits.Send, "the node took nothing more of the request within 3s")
			begun := time.Now()
			resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", nil))
			require.NoError(t, err)
			resp.Body.Close()
			require.Zero(t, time.Since(begun))
		})
	}
}

// A node that does not answer PING has gone, and takes its calls with it; one that does may be
// silent for as long as it likes.
func TestH2SilentNode(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).certificate(t, "a.test")}, NextProtos: []string{"h2"}}
	config.SessionTicketsDisabled = true // over a net.Pipe, the node would wait for a client that writes
	call := func(t *testing.T, scheme upstream.Scheme, node func(net.Conn)) (*http.Response, error) {
		c := upstream.Config{Scheme: scheme, Nodes: []upstream.Node{{Host: "a.test", Port: 80}}}
		if scheme == upstream.SchemeGRPCS {
			c.TLS.DangerouslySkipServerVerify = true // it is the year 2000 in a bubble
			plain := node
			node = func(conn net.Conn) { plain(tls.Server(conn, config)) }
		}
		p := newPool(t, c, &upstream.Options{Dialer: inMemory(map[string]func(net.Conn){"a.test:80": node})})
		defer p.Close()
		return p.RoundTrip(newRequest(t, "POST", "http://a.test/", strings.NewReader("abc")))
	}
	for _, scheme := range []upstream.Scheme{upstream.SchemeGRPC, upstream.SchemeGRPCS} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			_, err := call(t, scheme, h2Frames(true, func(h2Peer, uint32) bool { return true }))
			wantError(t, err, 502, 1, "connection lost")
			require.Less(t, time.Since(begun), 10*time.Minute)
			require.Greater(t, time.Since(begun), 5*time.Minute)
		})
		synctest.Test(t, func(t *testing.T) {
			resp, err := call(t, scheme, h2Node(func(c h2Peer, stream uint32) bool {
				time.AfterFunc(time.Hour, func() { answer200(c, stream) })
				return true
			}))
			require.NoError(t, err)
			resp.Body.Close()
		})
	}
}

// What a Dialer makes need not be as net's connections are: it may be no pointer, and may know
// no deadlines, or say in its own way that one has passed.
func TestH2ConnectionsOfADialer(t *testing.T) {
	pointless := func(c net.Conn) net.Conn { return valueConn{c, func() {}} }
	timeless := func(c net.Conn) net.Conn { return &timelessConn{c} }
	private := func(c net.Conn) net.Conn { return &ownTimeoutConn{c} }
	deaf := h2Frames(true, func(h2Peer, uint32) bool { return true })
	slow := h2Node(func(c h2Peer, stream uint32) bool {
		time.AfterFunc(time.Hour, func() { answer200(c, stream) })
		return true
	})
	for _, c := range []struct {
		name string
		as   func(net.Conn) net.Conn
		node func(net.Conn)
		lost bool
	}{
		{"no pointer", pointless, h2Node(answer200), false},
		{"no deadlines, and a slow node", timeless, slow, false},
		{"no deadlines, and a node that has gone", timeless, deaf, true},
		{"a deadline with an error of its own, and a slow node", private, slow, false},
		{"a deadline with an error of its own, and a node that has gone", private, deaf, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := inMemory(map[string]func(net.Conn){"a.test:80": c.node})
				p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{{Host: "a.test", Port: 80}}}, &upstream.Options{
					Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
						conn, err := dial(ctx, network, address)
						return c.as(conn), err
					},
				})
				defer p.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", nil).WithContext(ctx))
				if c.lost {
					wantError(t, err, 502, 1, "connection lost")
					return
				}
				require.NoError(t, err)
				resp.Body.Close()
			})
		})
	}
}

// A valueConn cannot be compared.
type valueConn struct {
	net.Conn
	_ func()
}

type timelessConn struct{ net.Conn }

func (c *timelessConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *timelessConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *timelessConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

type ownTimeoutConn struct{ net.Conn }

func (c *ownTimeoutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &net.DNSError{IsTimeout: true, IsTemporary: true}
	}
	return n, err
}

// A connection is closed even if its node takes no farewell.
func TestH2FarewellToAStuckNode(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).certificate(t, "a.test")}, NextProtos: []string{"h2"}}
	config.SessionTicketsDisabled = true // over a net.Pipe, the node would wait for a client that writes
	synctest.Test(t, func(t *testing.T) {
		dial := inMemory(map[string]func(net.Conn){"a.test:80": func(conn net.Conn) { h2Node(answer200)(tls.Server(conn, config)) }})
		stuck := &stuckConn{closed: make(chan struct{})}
		c := upstream.Config{Scheme: "grpcs", Nodes: []upstream.Node{{Host: "a.test", Port: 80}}}
		c.TLS.DangerouslySkipServerVerify = true // it is the year 2000 in a bubble
		p := newPool(t, c, &upstream.Options{Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			stuck.Conn = conn
			return stuck, err
		}})
		get(t, p, "http://a.test/")
		synctest.Wait()
		stuck.now.Store(true)
		p.Close()
		<-stuck.closed
	})
}

// A stuckConn is one whose other end takes nothing more.
type stuckConn struct {
	net.Conn
	now    atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *stuckConn) Write(p []byte) (int, error) {
	if !c.now.Load() {
		return c.Conn.Write(p)
	}
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A node may answer with its head and read on: that there is no body to the answer does not
// end the request.
func TestH2EarlyHeadWithoutBody(t *testing.T) {
	got := make(chan string, 1)
	node := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(204)
		_ = http.NewResponseController(w).Flush()
		body, err := io.ReadAll(r.Body)
		got <- fmt.Sprintf("%s %v", body, err)
	}))
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{node.Node}}, nil)
	body, send := io.Pipe()
	resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
	require.NoError(t, err)
	defer resp.Body.Close()
	_, _ = io.WriteString(send, "all of it")
	send.Close()
	require.Equal(t, "all of it <nil>", <-got)
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestH2IdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan time.Time, 1)
		node := func(conn net.Conn) {
			h2Node(answer200)(conn)
			closed <- time.Now()
		}
		p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{{Host: "a.test", Port: 80}}, KeepAlive: upstream.KeepAlive{IdleTimeout: 7 * time.Second}},
			&upstream.Options{Dialer: inMemory(map[string]func(net.Conn){"a.test:80": node})})
		get(t, p, "http://a.test/")
		begun := time.Now()
		require.Equal(t, 7*time.Second, (<-closed).Sub(begun))
		synctest.Wait()
		require.Zero(t, p.H2Groups(0))
	})
}

// A request that HTTP/2 has no words for is its client's fault.
func TestH2InvalidRequests(t *testing.T) {
	node := newH2Server(t, nil, echo)
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{node.Node}}, nil)
	for _, header := range []http.Header{{"Connection": {"a, b"}}, {"Bad Name": {"x"}}, {"X": {"a\nb"}}} {
		req := newRequest(t, "GET", "http://a.test/", nil)
		req.Header = header
		_, err := p.RoundTrip(req)
		wantError(t, err, 400, 1, "invalid")
	}
	req := newRequest(t, "GET", "http://a.test/", nil)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	_, err := p.RoundTrip(req)
	wantError(t, err, 502, 0, "take no Upgrade")
	body := newBody(&failing{})
	_, err = p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
	wantError(t, err, 400, 1, "reading the request's body: broken")
	get(t, p, "http://a.test/")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

// However short a connection may be idle, a request gets one.
func TestH2ShortIdleTimeout(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go server.Serve(l)
	defer server.Close()
	p := newPool(t, upstream.Config{Scheme: "grpc", KeepAlive: upstream.KeepAlive{IdleTimeout: 1}, Nodes: []upstream.Node{nodeAt(l.Addr().String())}}, nil)
	for range 3 {
		status, _ := get(t, p, "http://a.test/")
		require.Equal(t, 200, status)
	}
}

// The body of a request is closed also where there was no connection for it.
func TestH2ClosesTheBody(t *testing.T) {
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{refusing(t)}}, nil)
	body := newBody(strings.NewReader("abc"))
	_, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", body))
	wantError(t, err, 502, 1)
	<-body.done
	require.EqualValues(t, 1, body.closed.Load())
}

// A connection that is closed is forgotten, soon: a node that closes one after the other must
// not fill the memory.
func TestH2ClosedConnectionIsForgotten(t *testing.T) {
	var forgotten atomic.Bool
	synctest.Test(t, func(t *testing.T) {
		dial := inMemory(map[string]func(net.Conn){"a.test:80": h2Node(answer200)})
		watch := func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			watched := &struct{ net.Conn }{conn}
			runtime.AddCleanup(watched, func(b *atomic.Bool) { b.Store(true) }, &forgotten)
			return watched, err
		}
		p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{{Host: "a.test", Port: 80}}}, &upstream.Options{Dialer: watch})
		get(t, p, "http://a.test/")
		p.Close()
		time.Sleep(time.Minute + time.Second) // net/http may still have it as an idle one
		for range 200 {
			if forgotten.Load() {
				return
			}
			runtime.GC()
		}
		t.Error("something holds a connection that is closed")
	})
}

// A PING goes out between two frames, whatever the pieces in which net/http writes them.
func TestH2PingBetweenFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var frames []byte
	more := false // fields, in a CONTINUATION
	ends := []int{0}
	for range 200 {
		payload := make([]byte, r.IntN(300))
		kind, flags := byte(h2Data), byte(0)
		switch {
		case r.IntN(3) == 0 || more:
			kind = h2Headers
			if more {
				kind = 9 // CONTINUATION
			}
			if more = r.IntN(3) > 0; !more {
				flags = h2EndHeaders
			}
		}
		frames = append(frames, 0, byte(len(payload)>>8), byte(len(payload)), kind, flags, 0, 0, 0, 1)
		frames = append(frames, payload...)
		ends = append(ends, len(frames))
	}
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	var out bytes.Buffer
	write, ping := upstream.H2Wire(&out)
	for rest := append([]byte(preface), frames...); len(rest) > 0; {
		if r.IntN(3) == 0 {
			ping()
		}
		n := min(1+r.IntN(40), len(rest))
		if r.IntN(3) == 0 { // a whole frame, or the rest of one
			at := len(frames) - len(rest)
			i, _ := slices.BinarySearch(ends, at+1)
			n = ends[i] - at
		}
		_, _ = write(rest[:n])
		rest = rest[n:]
	}
	got, ok := bytes.CutPrefix(out.Bytes(), []byte(preface))
	require.True(t, ok)
	pings := 0
	var others []byte
	more = false
	for len(got) > 0 {
		n := 9 + int(got[1])<<8 + int(got[2])
		if got[3] == h2Ping {
			pings++
			require.False(t, more, "a PING within a block of fields")
		} else {
			others = append(others, got[:n]...)
			more = got[3] != h2Data && got[4]&h2EndHeaders == 0
		}
		got = got[n:]
	}
	require.Equal(t, frames, others)
	require.Greater(t, pings, 5)
}
