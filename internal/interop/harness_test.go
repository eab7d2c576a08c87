package interop

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// A front is a gateway for a.test, over TLS, with one upstream.
type front struct {
	gw   *gateway.Server
	addr string
	ca   *ssltest.CA
	log  *syncBuffer
}

// newFront opens a gateway in front of u, which has the ID "1".
func newFront(t testing.TB, o gateway.Options, u upstream.Config) *front {
	t.Helper()
	f := &front{ca: ssltest.NewCA(t, "servers"), log: &syncBuffer{}}
	o.Logger = slog.New(slog.NewTextHandler(f.log, nil))
	f.gw = must(gateway.New(&o))
	f.put(t, u)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.gw.ServeTLS(l) }()
	t.Cleanup(func() {
		require.NoError(t, f.gw.Close())
		require.Equal(t, http.ErrServerClosed, <-served)
	})
	return f
}

func (f *front) put(t testing.TB, u upstream.Config) {
	t.Helper()
	u.ID = "1"
	_, err := f.gw.Configure(gateway.Config{
		Profiles:  []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{f.ca.Server("a.test")}}},
		Upstreams: []upstream.Config{u},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1", WebSocket: true}},
	})
	require.NoError(t, err)
}

func (f *front) roots() *x509.CertPool { return f.ca.Pool() }

func nodeAt(address string) upstream.Node {
	a := netip.MustParseAddrPort(address)
	return upstream.Node{Host: a.Addr().String(), Port: int(a.Port()), Weight: 1}
}

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

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
