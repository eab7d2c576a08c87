package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/freeport"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// patience bounds whatever a test waits for on a socket: it is only reached when
// the test fails.
const patience = 20 * time.Second

// A harness is one gateway behind all its doors, with an origin.
type harness struct {
	t      testing.TB
	gw     *gateway.Server
	origin *origin
	log    *syncBuffer

	servers *ssltest.CA // signed what the gateway shows
	people  *ssltest.CA // signs clients

	http1, http2       door // ServeTLS
	handler1, handler2 door // ServeHTTP and TLSConfig under a server that is not ours
	plain, plain2      door // Serve
}

// byNetHTTP is how the doors are named behind which net/http speaks HTTP/2.
const byNetHTTP = " by net/http"

// A door is a way to a gateway.
type door struct {
	name  string
	tls   bool
	major int // the version of HTTP that is spoken
	addr  net.Addr
}

// Addr lets a door be dialled by [ssltest.Client].
func (d door) Addr() net.Addr { return d.addr }

func (d door) port() string {
	_, port, _ := net.SplitHostPort(d.addr.String())
	return port
}

func (d door) scheme() string {
	if d.tls {
		return "https"
	}
	return "http"
}

// doors are all of them, and tlsDoors those behind the guard's whole table.
func (h *harness) doors() []door {
	doors := append(h.tlsDoors(), h.plain)
	if h.plain2.addr != nil {
		doors = append(doors, h.plain2)
	}
	return doors
}

func (h *harness) tlsDoors() []door { return []door{h.http1, h.http2, h.handler1, h.handler2} }

// http1Doors are those that speak HTTP/1.1.
func (h *harness) http1Doors() []door { return []door{h.http1, h.handler1, h.plain} }

// newHarness opens the doors of a gateway without configuration. At the end of
// the test it closes everything, and whatever goes on then fails the test.
func newHarness(t testing.TB, o *gateway.Options) *harness {
	t.Helper()
	if o == nil {
		o = &gateway.Options{}
	}
	o.H2C = true
	return newHarnessOf(t, o)
}

// newHarnessOf is newHarness with nothing but the Options that are given: plain2 is open
// if they say so.
func newHarnessOf(t testing.TB, o *gateway.Options) *harness {
	t.Helper()
	wantNoLeak(t)
	h := &harness{t: t, log: &syncBuffer{}}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if o.FailuresLogged == 0 {
		o.FailuresLogged = -1 // what is logged is looked at
	}
	h.gw = must(gateway.New(o))
	h.servers, h.people = ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	h.origin = newOrigin(t)

	secure, plain := listen(t), listen(t)
	h.http1 = door{"ServeTLS http/1.1", true, 1, secure.Addr()}
	h.http2 = door{"ServeTLS h2", true, 2, secure.Addr()}
	h.plain = door{"Serve", false, 1, plain.Addr()}
	if o.H2C {
		h.plain2 = door{"Serve h2c", false, 2, plain.Addr()}
	}
	if o.NetHTTP2 {
		h.http2.name += byNetHTTP
		h.plain2.name += byNetHTTP
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := h.gw.ServeTLS(secure); err != http.ErrServerClosed {
			t.Errorf("ServeTLS: %v", err)
		}
	})
	serving.Go(func() {
		if err := h.gw.Serve(plain); err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	front := httptest.NewUnstartedServer(h.gw)
	front.TLS = h.gw.TLSConfig()
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	front.StartTLS()
	h.handler1 = door{"ServeHTTP http/1.1", true, 1, front.Listener.Addr()}
	h.handler2 = door{"ServeHTTP h2", true, 2, front.Listener.Addr()}
	t.Cleanup(func() {
		if err := h.gw.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		front.CloseClientConnections()
		front.Close()
		serving.Wait()
		eventually(t, func() bool { return h.gw.Connections() == 0 }, "connections count that are closed")
		eventually(t, func() bool { return h.gw.CountedAddrs() == 0 }, "something is kept of connections that are closed")
		eventually(t, func() bool { return h.gw.Gauges() == [5]int64{} }, "connections are told of that are closed")
	})
	return h
}

// apply changes the configuration, and must succeed.
func (h *harness) apply(c gateway.Config) gateway.Report {
	h.t.Helper()
	report, err := h.gw.Apply(gateway.Change{Put: c})
	require.NoError(h.t, err)
	return report
}

// profile is a profile with names. With roots, it demands client certificates
// that one of them signed.
func (h *harness) profile(id string, names []string, roots ...*ssltest.CA) ssl.Config {
	h.t.Helper()
	c := ssl.Config{ID: id, Names: names, Certificates: []ssl.KeyPair{h.servers.Server(names...)}}
	if len(roots) > 0 {
		c.Client = &ssl.ClientAuth{}
		for _, root := range roots {
			c.Client.CAPEM = append(c.Client.CAPEM, root.PEM()...)
		}
	}
	return c
}

// upstreamTo is an upstream with nodes of weight 1.
func upstreamTo(id string, addresses ...string) upstream.Config {
	c := upstream.Config{ID: id}
	for _, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			panic(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			panic(err)
		}
		c.Nodes = append(c.Nodes, upstream.Node{Host: host, Port: n, Weight: 1})
	}
	return c
}

// everything is a route for every request to an upstream.
func everything(id, upstreamID string) route.Config {
	return route.Config{ID: id, Paths: []string{"/*"}, Upstream: upstreamID}
}

// client is a client that goes through a door under a server name.
func (h *harness) client(d door, serverName string, certs ...tls.Certificate) *http.Client {
	h.t.Helper()
	client := ssltest.Client(h.t, d, serverName, certs...)
	transport := client.Transport.(*http.Transport)
	transport.DisableCompression = true
	transport.ExpectContinueTimeout = patience
	transport.Protocols = &http.Protocols{}
	transport.Protocols.SetHTTP1(d.major == 1)
	transport.Protocols.SetHTTP2(d.major == 2 && d.tls)
	transport.Protocols.SetUnencryptedHTTP2(d.major == 2 && !d.tls)
	if d.tls && serverName == "" {
		// The transport would take the name from the URL.
		config := ssltest.ClientConfig("", certs...)
		config.NextProtos = []string{map[int]string{1: "http/1.1", 2: "h2"}[d.major]}
		transport.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			dialer := tls.Dialer{Config: config}
			return dialer.DialContext(ctx, network, d.addr.String())
		}
	}
	h.t.Cleanup(transport.CloseIdleConnections)
	return client
}

// get is the status and the body of a GET. host is what stands in the URL.
func (h *harness) get(client *http.Client, d door, host, path string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, d.scheme()+"://"+host+path, nil)
	require.NoError(h.t, err)
	return h.do(client, req)
}

func (h *harness) do(client *http.Client, req *http.Request) (int, string) {
	h.t.Helper()
	res, err := client.Do(req)
	require.NoError(h.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	return res.StatusCode, string(body)
}

// A rawConn is a client that writes what it likes.
type rawConn struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// raw opens a connection through a door, for HTTP/1.1 or whatever protocols say.
func (h *harness) raw(d door, serverName string, certs ...tls.Certificate) *rawConn {
	h.t.Helper()
	return h.rawAfter("", d, serverName, certs...)
}

// rawAfter is raw with something before all else.
func (h *harness) rawAfter(header string, d door, serverName string, certs ...tls.Certificate) *rawConn {
	h.t.Helper()
	protocols := []string{"http/1.1"}
	if d.major == 2 {
		protocols = []string{"h2"}
	}
	conn, err := net.Dial("tcp", d.addr.String())
	require.NoError(h.t, err)
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(conn, header)
	require.NoError(h.t, err)
	if d.tls {
		config := ssltest.ClientConfig(serverName, certs...)
		config.NextProtos = protocols
		secure := tls.Client(conn, config)
		require.NoError(h.t, secure.HandshakeContext(h.t.Context()))
		require.Equal(h.t, protocols[0], secure.ConnectionState().NegotiatedProtocol)
		conn = secure
	}
	h.t.Cleanup(func() { conn.Close() })
	return &rawConn{conn, h.t, bufio.NewReader(conn)}
}

func (c *rawConn) write(s string) {
	c.t.Helper()
	_, err := io.WriteString(c, s)
	require.NoError(c.t, err)
}

// answer reads one answer to a request of a method.
func (c *rawConn) answer(method string) (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	require.NoError(c.t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	return res, string(body)
}

// statuses reads answers to the end of the connection, and returns their statuses.
// How the connection ends does not matter.
func (c *rawConn) statuses() (all []int) {
	c.t.Helper()
	for {
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			require.False(c.t, errors.Is(err, context.DeadlineExceeded), "the connection was kept open")
			return all
		}
		_, _ = io.Copy(io.Discard, res.Body)
		all = append(all, res.StatusCode)
	}
}

// wantEnd checks that the gateway closes the connection and says nothing more.
func (c *rawConn) wantEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	var timeout net.Error
	require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was kept open")
	require.Empty(c.t, string(rest))
}

// An origin is a node that reads HTTP/1.1 by itself, strictly, and remembers all
// of it as it came. What it cannot take for one well-formed request is a fault.
type origin struct {
	address  string
	listener net.Listener
	open     sync.WaitGroup // connections, and the loop that accepts them

	mu     sync.Mutex // guards what follows
	handle func(*visit)
	seen   []*received
	faults []string
	conns  map[net.Conn]struct{}
	dials  int
}

// A received is a request as an origin got it.
type received struct {
	line    string   // "GET / HTTP/1.1"
	header  []string // "Name: value", in order
	framing string   // "", "length" or "chunked"
	length  int64    // of the body, with "length"
	body    []byte
	trailer []string
	whole   bool // all of the body came
}

// A visit is a request and the connection that it came over.
type visit struct {
	*received
	origin *origin
	conn   net.Conn
	r      *bufio.Reader
	close  bool // the connection, after the visit
}

func newOrigin(t testing.TB) *origin {
	o := makeOrigin(t)
	o.listener = listen(t)
	o.address = o.listener.Addr().String()
	o.open.Go(func() {
		for {
			conn, err := o.listener.Accept()
			if err != nil {
				return
			}
			o.accept(conn)
		}
	})
	return o
}

// makeOrigin is an origin without a listener.
func makeOrigin(t testing.TB) *origin {
	o := &origin{handle: answering(okAnswer), conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() {
		o.close()
		for _, fault := range o.faults {
			t.Errorf("the origin got what is no request: %s", fault)
		}
	})
	return o
}

// accept serves a connection until it ends.
func (o *origin) accept(conn net.Conn) {
	o.mu.Lock()
	o.conns[conn] = struct{}{}
	o.dials++
	o.mu.Unlock()
	o.open.Go(func() { o.serve(conn) })
}

// close ends all connections and waits for that.
func (o *origin) close() {
	if o.listener != nil {
		o.listener.Close()
	}
	o.mu.Lock()
	for conn := range o.conns {
		conn.Close()
	}
	o.mu.Unlock()
	o.open.Wait()
}

// connections are those that are open.
func (o *origin) connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// answering reads the body of a request and writes an answer.
func answering(answer string) func(*visit) {
	return func(v *visit) {
		if v.readBody() {
			v.write(answer)
		}
	}
}

// on makes the origin do something with each request from now on.
func (o *origin) on(handle func(*visit)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handle = handle
}

// take returns the requests since the last take. That of an answer which a client
// has is among them.
func (o *origin) take() []*received {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen
	o.seen = nil
	return seen
}

func (o *origin) dialled() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dials
}

func (o *origin) fault(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults = append(o.faults, fmt.Sprintf(format, args...))
}

func (o *origin) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		o.mu.Lock()
		delete(o.conns, conn)
		o.mu.Unlock()
	}()
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		req, ok := o.readHead(r)
		if !ok {
			return
		}
		o.mu.Lock()
		o.seen = append(o.seen, req)
		handle := o.handle
		o.mu.Unlock()
		v := &visit{received: req, origin: o, conn: conn, r: r}
		handle(v)
		if v.close {
			return
		}
	}
}

// readHead reads a head, of which every line must be one that no two readers
// understand differently.
func (o *origin) readHead(r *bufio.Reader) (*received, bool) {
	if _, err := r.Peek(1); err != nil {
		return nil, false
	}
	lines, ok := o.readLines(r)
	if !ok || len(lines) == 0 {
		return nil, false
	}
	req := &received{line: lines[0], header: lines[1:]}
	if parts := strings.Split(req.line, " "); len(parts) != 3 || parts[2] != "HTTP/1.1" || slices.Contains(parts, "") {
		o.fault("request line %q", req.line)
		return nil, false
	}
	hosts := 0
	for _, line := range req.header {
		name, value, _ := strings.Cut(line, ": ")
		switch strings.ToLower(name) {
		case "host":
			hosts++
		case "content-length":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || req.framing != "" {
				o.fault("%q in %q", line, lines)
				return nil, false
			}
			req.framing, req.length = "length", n
		case "transfer-encoding":
			if value != "chunked" || req.framing != "" {
				o.fault("%q in %q", line, lines)
				return nil, false
			}
			req.framing = "chunked"
		}
	}
	if hosts != 1 {
		o.fault("%d Hosts in %q", hosts, lines)
		return nil, false
	}
	return req, true
}

// readLines reads lines up to an empty one.
func (o *origin) readLines(r *bufio.Reader) (lines []string, ok bool) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, false
		}
		text, crlf := strings.CutSuffix(line, "\r\n")
		if !crlf || strings.ContainsAny(text, "\r\x00") {
			o.fault("line %q", line)
			return nil, false
		}
		if text == "" {
			return lines, true
		}
		if name, _, colon := strings.Cut(text, ":"); len(lines) > 0 && (!colon || name == "" || strings.ContainsAny(name, " \t")) {
			o.fault("line %q", line)
			return nil, false
		}
		lines = append(lines, text)
	}
}

// readBody reads the body. It reports false, and ends the connection, if that does
// not come to its end.
func (v *visit) readBody() bool {
	var err error
	switch v.framing {
	case "length":
		v.body = make([]byte, v.length)
		_, err = io.ReadFull(v.r, v.body)
	case "chunked":
		for {
			var piece []byte
			if piece, err = v.readChunk(); err != nil || piece == nil {
				break
			}
			v.body = append(v.body, piece...)
		}
	}
	if err != nil {
		v.close = true
		return false
	}
	v.origin.mu.Lock()
	defer v.origin.mu.Unlock()
	v.whole = true
	return true
}

// readChunk returns a chunk, or nil for the last, upon which trailer has what
// came after it.
func (v *visit) readChunk() ([]byte, error) {
	line, err := v.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseInt(strings.TrimSuffix(line, "\r\n"), 16, 32)
	if err != nil {
		v.origin.fault("chunk line %q", line)
		return nil, err
	}
	if size == 0 {
		var ok bool
		if v.trailer, ok = v.origin.readLines(v.r); !ok {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, nil
	}
	piece := make([]byte, size+2)
	if _, err := io.ReadFull(v.r, piece); err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(piece, []byte("\r\n")) {
		v.origin.fault("the chunk %q does not end", piece)
		return nil, io.ErrUnexpectedEOF
	}
	return piece[:size], nil
}

// write writes a part of the answer. A client that is gone ends the connection.
func (v *visit) write(s string) bool {
	if _, err := io.WriteString(v.conn, s); err != nil {
		v.close = true
		return false
	}
	return true
}

// values returns the values of a header field, whatever the case of its name.
func (r *received) values(name string) (values []string) {
	for _, line := range r.header {
		if n, value, _ := strings.Cut(line, ": "); strings.EqualFold(n, name) {
			values = append(values, value)
		}
	}
	return values
}

func (r *received) target() string { return strings.Split(r.line, " ")[1] }

// folded is a header name as those read it who know letters and digits alone.
func folded(name string) string {
	return strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
}

// saying returns the lines of a header, trailer included, that have a text, or a
// name that folds to one.
func (r *received) saying(text string) (lines []string) {
	for _, line := range slices.Concat(r.header, r.trailer) {
		name, _, _ := strings.Cut(line, ":")
		if strings.Contains(line, text) || folded(name) == folded(text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// listen opens a port of the loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// refusing is an address at which nothing listens.
func refusing(t testing.TB) string {
	t.Helper()
	address, port, err := freeport.Hold()
	require.NoError(t, err)
	t.Cleanup(func() { port.Close() })
	return address
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

// eventually waits for what another goroutine will do.
func eventually(t testing.TB, done func() bool, otherwise string) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); runtime.Gosched() {
		require.True(t, time.Now().Before(end), otherwise)
	}
}

// watched are the tests that wantNoLeak looks after.
var watched sync.Map

// wantNoLeak fails the test if goroutines that came with it are still there when
// everything else that it cleans up is gone.
func wantNoLeak(t testing.TB) {
	if _, twice := watched.LoadOrStore(t, nil); twice {
		return
	}
	before := goroutines()
	t.Cleanup(func() {
		var left []string
		for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
			left = nil
			for id, stack := range goroutines() {
				if _, old := before[id]; !old {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
		}
		t.Errorf("%d goroutines go on:\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

// goroutines returns the stacks of all goroutines that have to do with us or with
// a network, by what identifies them.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := map[string]string{}
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if !strings.Contains(stack, "sallyport/") && !strings.Contains(stack, "net/http") {
			continue
		}
		id, _, _ := strings.Cut(stack, " [")
		if strings.Contains(stack, "testing.tRunner") || strings.Contains(stack, "testing.(*B)") || strings.Contains(stack, "testing.(*M)") {
			continue // tests themselves
		}
		all[id] = stack
	}
	return all
}

// sorted is a header without spelling and order, for a comparison.
func sorted(lines []string) []string {
	var all []string
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		all = append(all, strings.ToLower(name)+":"+textproto.TrimString(value))
	}
	slices.Sort(all)
	return all
}

// linesOf is a header as lines.
func linesOf(h http.Header) (lines []string) {
	for name, values := range h {
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	return lines
}

// rawURL is a URL that a client writes as the target, byte for byte.
func rawURL(scheme, host, target string) *url.URL {
	path, query, hasQuery := strings.Cut(target, "?")
	u := &url.URL{Scheme: scheme, Host: host, RawQuery: query, ForceQuery: hasQuery && query == ""}
	if strings.HasPrefix(path, "//") {
		u.Path = path
	} else {
		u.Opaque = path
	}
	return u
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
