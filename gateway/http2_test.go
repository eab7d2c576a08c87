package gateway_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// handling is a configuration of one name, with a handler for everything.
func handling(h *harness, handler http.HandlerFunc) gateway.Config {
	return gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"})},
		Routes:   []route.Config{{ID: "all", Paths: []string{"/*"}, Handler: handler, AllowPlain: true}},
	}
}

// The last answer of a connection arrives, also at a client that is slow to take it and
// that has meanwhile something to say, to which nobody listens any more.
func TestLastAnswerArrives(t *testing.T) {
	const size = 1 << 20
	done := make(chan struct{})
	h := newHarness(t, &gateway.Options{Trace: &gateway.Trace{RequestDone: func(*gateway.RequestEvent) { close(done) }}})
	h.apply(handling(h, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	}))
	c := quietH2(h.raw(h.http2, "a.test"))
	c.frame(h2Settings, 0, 0, []byte{0, 4, 0, 0x40, 0, 0}) // windows of 4 MiB
	c.frame(h2WindowUpdate, 0, 0, []byte{0, 0x40, 0, 0})
	c.get(1, "https", "a.test", "/")
	c.frame(0x7, 0, 0, make([]byte, 8)) // GOAWAY: it begins nothing more
	<-done                              // all of it is written
	for range 300 {
		c.frame(h2WindowUpdate, 0, 0, []byte{0, 0, 0, 1})
	}
	status, body := c.status(1)
	require.Equal(t, "200", status)
	require.Len(t, body, size)
	c.Close()
}

// A connection that was accepted before the server drains, and is known to it after, is told
// so.
func TestDrainOfNewConnection(t *testing.T) {
	h := newHarness(t, nil)
	client, server := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		h.gw.ServeAsDrained(server)
	}()
	c := newH2(&rawConn{client, t, nil})
	b, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Contains(t, string(b), "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00") // GOAWAY
	c.Close()
	<-served
}

// Fields of one connection alone are no fields of HTTP/2's (RFC 9113, section 8.2.2), in
// whatever head a handler sends them.
func TestInformationalFields(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(handling(h, func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Content-Length", "X-Stays"} {
			w.Header().Set(name, "4")
		}
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "body")
	}))
	for _, d := range []door{h.http2, h.plain2} {
		t.Run(d.name, func(t *testing.T) {
			c := h.h2(d, "a.test")
			c.get(1, d.scheme(), "a.test", "/")
			dec := hpack.NewDecoder(0, nil)
			for _, want := range []string{":status x-stays", ":status content-length content-type date x-stays"} {
				f, ok := c.next(1)
				require.True(t, ok)
				require.EqualValues(t, h2Headers, f.kind)
				fields, err := dec.DecodeFull(f.payload)
				require.NoError(t, err)
				var names []string
				for _, field := range fields {
					names = append(names, field.Name)
				}
				require.ElementsMatch(t, strings.Fields(want), names)
			}
		})
	}
}
