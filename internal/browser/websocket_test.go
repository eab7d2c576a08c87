package browser

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// A browser that has a page over HTTP/2 opens its WebSocket on the same connection, by an
// extended CONNECT (RFC 8441). The node has it as an Upgrade over HTTP/1.1.
func TestWebSocketOverHTTP2(t *testing.T) {
	origin := httptest.NewServer(websocket.Handler(func(c *websocket.Conn) { _, _ = io.Copy(c, c); _ = c.Close() }))
	t.Cleanup(origin.Close)
	node := netip.MustParseAddrPort(origin.Listener.Addr().String())

	tunnels := make(chan *gateway.RequestEvent, 1)
	gw := must(gateway.New(&gateway.Options{Trace: &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) {
		if e.Route == "echo" {
			tunnels <- e
		}
	}}}))
	t.Cleanup(func() { _ = gw.Close() })
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles:  []ssl.Config{{ID: "page", Names: []string{"localhost"}, Certificates: []ssl.KeyPair{ssltest.NewCA(t, "servers").Server("localhost")}}},
		Upstreams: []upstream.Config{{ID: "echo", Nodes: []upstream.Node{{Host: node.Addr().String(), Port: int(node.Port()), Weight: 1}}}},
		Routes: []route.Config{
			{ID: "echo", Hosts: []string{"localhost"}, Paths: []string{"/echo"}, Upstream: "echo", WebSocket: true},
			{ID: "page", Hosts: []string{"localhost"}, Paths: []string{"/"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(w, `<link rel="icon" href="data:,"><p>%s</p>`, r.Proto)
			})},
		},
	}})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		if err := gw.ServeTLS(l); err != http.ErrServerClosed {
			t.Error(err)
		}
	}()

	b := newTab(t)
	call(b, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	b.do(chromedp.Navigate("https://localhost:" + port + "/"))
	require.Equal(t, "HTTP/2.0", eval[string](b, `document.querySelector("p").textContent`))
	require.Equal(t, "hello, clean 1000", eval[string](b, `new Promise((resolve, reject) => {
		const socket = new WebSocket("wss://" + location.host + "/echo");
		let got = "";
		socket.onopen = () => socket.send("hello");
		socket.onmessage = (m) => { got = m.data; socket.close(1000); };
		socket.onerror = () => reject("error");
		socket.onclose = (e) => resolve(got + (e.wasClean ? ", clean " : ", broken off ") + e.code);
	})`))
	e := <-tunnels
	require.Equal(t, "HTTP/2.0", e.Protocol)
	require.NoError(t, e.Err)
	b.noTrouble()
}
