package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

const (
	smallRequest = "GET /small?x=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nCookie: session=0123456789\r\n\r\n"
	smallAnswer  = "HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n"
)

// A quietOrigin answers each request, which has no body, with the same bytes, and
// allocates nothing.
func quietOrigin(tb testing.TB, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, bytesOut := make([]byte, 8<<10), []byte(answer)
				n := 0
				for {
					m, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						n = 0
						if _, err := c.Write(bytesOut); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// A quietClient asks the same again and again on one connection, and allocates nothing
// beyond what crypto/tls does.
type quietClient struct {
	tb      testing.TB
	conn    net.Conn
	request []byte
	buf     []byte
	stream  uint32 // with HTTP/2, of the last request
}

func (c *quietClient) ask() {
	if c.stream > 0 {
		c.stream += 2
		binary.BigEndian.PutUint32(c.request[5:], c.stream)
	}
	if _, err := c.conn.Write(c.request); err != nil {
		c.tb.Fatal(err)
	}
	n := 0
	for !bytes.HasSuffix(c.buf[:n], []byte("hello world\n")) {
		m, err := c.conn.Read(c.buf[n:])
		if err != nil {
			c.tb.Fatal(err)
		}
		n += m
	}
}

// newRelay returns a client of a gateway in front of a quiet origin.
func newRelay(tb testing.TB, secure bool) *quietClient { return newRelayOf(tb, secure, nil) }

// newRelayOf is newRelay with options.
func newRelayOf(tb testing.TB, secure bool, o *gateway.Options) *quietClient {
	c := dialRelay(tb, secure, "http/1.1", o)
	c.request = []byte(smallRequest)
	c.ask()
	return c
}

// newRelay2 is newRelayOf with HTTP/2: of each request, all fields are in the table of HPACK.
func newRelay2(tb testing.TB, secure bool, o *gateway.Options) *quietClient {
	c := dialRelay(tb, secure, "h2", o)
	var block, out bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fr := http2.NewFramer(&out, nil)
	ask := func() {
		block.Reset()
		for _, f := range [][2]string{
			{":method", "GET"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", "/small?x=1"},
			{"user-agent", "test/1.0"}, {"accept", "*/*"}, {"accept-encoding", "gzip, deflate"}, {"cookie", "session=0123456789"},
		} {
			require.NoError(tb, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		require.NoError(tb, fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	}
	out.WriteString(http2.ClientPreface)
	require.NoError(tb, fr.WriteSettings())
	require.NoError(tb, fr.WriteWindowUpdate(0, 1<<30))
	ask()
	c.request = bytes.Clone(out.Bytes())
	c.ask()
	out.Reset()
	ask()
	c.request, c.stream = out.Bytes(), 1
	c.ask()
	return c
}

// dialRelay connects with a gateway in front of a quiet origin.
func dialRelay(tb testing.TB, secure bool, protocol string, o *gateway.Options) *quietClient {
	servers, clients := ssltest.NewCA(tb, "servers"), ssltest.NewCA(tb, "clients")
	gw := must(gateway.New(o))
	tb.Cleanup(func() { gw.Close() })
	config := gateway.Config{
		Profiles:  []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}, Client: &ssl.ClientAuth{CAPEM: clients.PEM()}}},
		Upstreams: []upstream.Config{upstreamTo("1", quietOrigin(tb, smallAnswer))},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1"}},
	}
	if !secure {
		config.Profiles = nil
	}
	_, err := gw.Apply(gateway.Change{Put: config})
	require.NoError(tb, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	if secure {
		go gw.ServeTLS(l)
	} else {
		go gw.Serve(l)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(tb, err)
	if secure {
		config := ssltest.ClientConfig("a.test", clients.Client("alice"))
		config.NextProtos = []string{protocol}
		conn = tls.Client(conn, config)
	}
	tb.Cleanup(func() { conn.Close() })
	return &quietClient{tb: tb, conn: conn, buf: make([]byte, 8<<10)}
}

func BenchmarkRelay(b *testing.B) {
	for _, secure := range []bool{false, true} {
		name := "auth=none"
		if secure {
			name = "auth=mtls"
		}
		b.Run(name, func(b *testing.B) {
			client := newRelay(b, secure)
			b.ReportAllocs()
			for b.Loop() {
				client.ask()
			}
		})
	}
}

// BenchmarkRelayTold is BenchmarkRelay with everything on that tells of requests: an access
// log that is discarded, one that is written as JSON in two ways, and a Trace.
func BenchmarkRelayTold(b *testing.B) {
	for _, secure := range []bool{false, true} {
		for _, told := range []struct {
			name string
			o    *gateway.Options
		}{
			{"nobody", nil},
			{"discard", &gateway.Options{AccessLog: slog.New(discard{})}},
			{"json", &gateway.Options{AccessLog: slog.New(slog.NewJSONHandler(io.Discard, nil))}},
			{"lines", &gateway.Options{AccessLog: slog.New(accesslog.New(io.Discard, nil))}},
			{"trace", &gateway.Options{Trace: &gateway.Trace{RequestDone: func(*gateway.RequestEvent) {}}}},
		} {
			name := "auth=none"
			if secure {
				name = "auth=mtls"
			}
			b.Run(name+"/told="+told.name, func(b *testing.B) {
				client := newRelayOf(b, secure, told.o)
				b.ReportAllocs()
				for b.Loop() {
					client.ask()
				}
			})
		}
	}
}

// discard is a handler that wants all records, and does nothing with them.
type discard struct{}

func (discard) Enabled(context.Context, slog.Level) bool  { return true }
func (discard) Handle(context.Context, slog.Record) error { return nil }
func (d discard) WithAttrs([]slog.Attr) slog.Handler      { return d }
func (d discard) WithGroup(string) slog.Handler           { return d }
