package ssl_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Handshakes fail here on purpose, and net/http logs them.
func init() { log.SetOutput(io.Discard) }

// patience bounds whatever a test waits for on a socket: it is only reached when
// the test fails.
const patience = 20 * time.Second

// The alerts that the tests look for (RFC 8446, section 6).
const (
	noAlert             = -1
	handshakeFailure    = 40
	badCertificate      = 42
	certificateExpired  = 45
	unknownCA           = 48
	decodeError         = 50
	protocolVersion     = 70
	unrecognizedName    = 112
	certificateRequired = 116
	noApplication       = 120
)

// versions are what every test of a handshake runs under.
var versions = []struct {
	name    string
	version uint16

	// none is the alert for a missing client certificate.
	none int
}{
	{"TLS1.2", tls.VersionTLS12, handshakeFailure},
	{"TLS1.3", tls.VersionTLS13, certificateRequired},
}

func forVersions(t *testing.T, test func(t *testing.T, version uint16, none int)) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) { test(t, v.version, v.none) })
	}
}

// put puts configurations into a store and expects no warning.
func put(t testing.TB, store *ssl.Store, configs ...ssl.Config) {
	t.Helper()
	report, err := store.Put(configs...)
	require.NoError(t, err)
	require.Empty(t, report.Warnings)
}

func newStore(t testing.TB, o *ssl.Options, configs ...ssl.Config) *ssl.Store {
	t.Helper()
	store := must(ssl.NewStore(o))
	put(t, store, configs...)
	return store
}

// server makes the configuration of a profile that answers for some names.
func server(ca *ssltest.CA, id string, client *ssl.ClientAuth, names ...string) ssl.Config {
	var covered []string
	for _, name := range names {
		if name != "*" {
			covered = append(covered, name)
		}
	}
	if covered == nil {
		covered = []string{"any.test"}
	}
	return ssl.Config{ID: id, Names: names, Certificates: []ssl.KeyPair{ca.Server(covered...)}, Client: client}
}

func profile(t testing.TB, c ssl.Config) *ssl.Profile {
	t.Helper()
	p, err := ssl.New(c)
	require.NoError(t, err)
	return p
}

// alertOf returns the alert that the other side sent, or noAlert.
func alertOf(err error) int {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		// crypto/tls has no exported type for it.
		if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
			return int(v.Uint())
		}
	}
	return noAlert
}

// tlsServer is bare crypto/tls: it makes each handshake, tells how it went, and
// sends one byte.
type tlsServer struct {
	net.Listener
	results chan side
}

// A side of a handshake that is over.
type side struct {
	state tls.ConnectionState
	err   error
}

func serveTLS(t testing.TB, config *tls.Config) *tlsServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &tlsServer{l, make(chan side, 64)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				conn := tls.Server(c, config)
				err := conn.Handshake()
				if err == nil {
					_, err = conn.Write([]byte("x"))
				}
				s.results <- side{conn.ConnectionState(), err}
				// What the client has sent is read, lest the kernel resets the
				// connection before the client sees the alert.
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return s
}

// visit makes a handshake with the server and reads its byte: in TLS 1.3 the
// alert about a client's certificate, and the session ticket, come only then.
func (s *tlsServer) visit(t testing.TB, config *tls.Config) (client, server side) {
	t.Helper()
	client = handshake(t, s.Addr(), config)
	return client, <-s.results
}

func handshake(t testing.TB, addr net.Addr, config *tls.Config) (client side) {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	conn := tls.Client(c, config)
	err = conn.Handshake()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	return side{conn.ConnectionState(), err}
}

// client is ssltest.ClientConfig with one TLS version.
func client(version uint16, name string, certs ...tls.Certificate) *tls.Config {
	c := ssltest.ClientConfig(name, certs...)
	c.MinVersion, c.MaxVersion = version, version
	return c
}

// dial makes a TLS connection to speak raw HTTP over.
func dial(t testing.TB, addr net.Addr, config *tls.Config) *tls.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	conn := tls.Client(c, config)
	require.NoError(t, conn.Handshake())
	return conn
}

// A stolenSession is the session cache of an attacker: it offers the sessions of
// one name at every other.
type stolenSession struct {
	mu      sync.Mutex
	session *tls.ClientSessionState
	keep    bool // what is in it stays
}

func (s *stolenSession) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.session != nil
}

func (s *stolenSession) Put(_ string, session *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session != nil && !s.keep {
		s.session = session
	}
}

// rsaKey is made once: it takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func parseCert(t testing.TB, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	require.NotNil(t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// clock is a time that a test moves: for Options.Base.Time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

var silent = log.New(io.Discard, "", 0)

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// serve runs a server until the test ends.
func serve(t testing.TB, server *http.Server, run func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- run() }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
