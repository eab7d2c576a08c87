package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// echoing switches protocols and then sends everything back, until the other side says
// that there is no more.
func echoing(conn net.Conn) {
	r := bufio.NewReader(conn)
	if _, err := readHead(r); err != nil {
		return
	}
	io.WriteString(conn, switching+"hello ")
	io.Copy(conn, r)
}

func upgrade(t testing.TB) *http.Request {
	t.Helper()
	req := newRequest(t, "GET", "http://a.test/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	return req
}

func TestUpgrade(t *testing.T) {
	ca := newAuthority(t)
	plain := newOrigin(t, echoing)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test")}})
	require.NoError(t, err)
	secure := serveOrigin(t, l, echoing)

	for name, c := range map[string]upstream.Config{
		"http":  {Nodes: []upstream.Node{plain.Node}},
		"https": {Scheme: "https", Nodes: []upstream.Node{secure.Node}, TLS: upstream.TLS{CAPEM: ca.pem}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, c, nil)
			resp, err := p.RoundTrip(upgrade(t))
			require.NoError(t, err)
			require.Equal(t, 101, resp.StatusCode)
			require.EqualValues(t, 1, p.Nodes()[0].InFlight)
			tunnel := resp.Body.(io.ReadWriteCloser)
			_, err = io.WriteString(tunnel, "world")
			require.NoError(t, err)
			require.NoError(t, tunnel.(interface{ CloseWrite() error }).CloseWrite())
			all, err := io.ReadAll(tunnel)
			require.NoError(t, err)
			require.Equal(t, "hello world", string(all))
			require.EqualValues(t, 1, p.Nodes()[0].InFlight, "until it is closed")
			require.NoError(t, tunnel.Close())
			tunnel.Close()
			require.Zero(t, p.Nodes()[0].InFlight)
		})
	}
}

// A tunnel may be silent for as long as it likes, ends with its request's context, and
// a write that the node does not take in time fails.
func TestTunnelTimes(t *testing.T) {
	nodes := map[string]func(net.Conn){"a.test:80": func(conn net.Conn) {
		readHead(bufio.NewReader(conn))
		io.WriteString(conn, switching)
		time.Sleep(100 * time.Hour)
		io.WriteString(conn, "late")
		time.Sleep(time.Hour)
	}}
	inBubble(t, upstream.Config{}, nodes, func(t *testing.T, p *upstream.Pool) {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := p.RoundTrip(upgrade(t).WithContext(ctx))
		require.NoError(t, err)
		defer resp.Body.Close()
		late := make([]byte, 4)
		_, err = io.ReadFull(resp.Body, late)
		require.NoError(t, err)
		require.Equal(t, "late", string(late))

		begun := time.Now()
		_, err = resp.Body.(io.Writer).Write([]byte("x"))
		require.ErrorContains(t, err, "the node took nothing more")
		require.Equal(t, limits.Send, time.Since(begun))

		begun = time.Now()
		cancel()
		_, err = resp.Body.Read(late)
		require.Error(t, err)
		require.Zero(t, time.Since(begun))
	})
}

// httputil.ReverseProxy carries the tunnel from end to end.
func TestUpgradeThroughReverseProxy(t *testing.T) {
	node := newOrigin(t, echoing)
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, Transport: p})
	defer front.Close()

	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(conn)
	head, err := readHead(r)
	require.NoError(t, err)
	require.Contains(t, head, "101 Switching Protocols")
	io.WriteString(conn, "world")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hello world", string(all))
}

// A node that switches before it had all of the request would have the rest of its body
// between what goes through the tunnel.
func TestSwitchBeforeTheWholeRequest(t *testing.T) {
	node := newOrigin(t, func(conn net.Conn) {
		readHead(bufio.NewReaderSize(conn, 16))
		io.WriteString(conn, switching)
		silent(conn)
	})
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	more := make(chan struct{})
	body := newBody(&waitingReader{more})
	req := upgrade(t)
	req.Body = body
	req.ContentLength = -1
	_, err := p.RoundTrip(req)
	wantError(t, err, 502, 1, "switched protocols before it had the whole request")
	close(more)
	<-body.done
}

// What a node switches after is the whole request, a body among it.
func TestUpgradeWithABody(t *testing.T) {
	node := newOrigin(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		readHead(r)
		io.ReadFull(r, make([]byte, 3))
		io.WriteString(conn, switching)
		io.Copy(conn, r)
	})
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	req := upgrade(t)
	req.Body = io.NopCloser(strings.NewReader("abc"))
	req.ContentLength = 3
	resp, err := p.RoundTrip(req)
	require.NoError(t, err)
	tunnel := resp.Body.(io.ReadWriteCloser)
	io.WriteString(tunnel, "world")
	echo := make([]byte, 5)
	_, err = io.ReadFull(tunnel, echo)
	require.NoError(t, err)
	require.Equal(t, "world", string(echo))
	tunnel.Close()
}
