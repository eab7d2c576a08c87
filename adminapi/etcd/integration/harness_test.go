package integration

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/etcd"
	"github.com/sallyport/sallyport/gateway"
)

func newCluster(t testing.TB, members int) *Cluster {
	t.Helper()
	c, err := NewCluster(t.TempDir(), members)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func newClient(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(), MaxCallSendMsgSize: 8 << 20,
		DialKeepAliveTime: time.Second, DialKeepAliveTimeout: time.Second,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// quick are options with which a test does not wait long.
func quick(prefix string) *etcd.Options {
	return &etcd.Options{Prefix: prefix, Heartbeat: 100 * time.Millisecond, Timeout: 4 * time.Second}
}

func newStorage(t testing.TB, client *clientv3.Client, o *etcd.Options) *etcd.Storage {
	t.Helper()
	s, err := etcd.New(client, o)
	require.NoError(t, err)
	return s
}

// A node is one gateway of a fleet.
type node struct {
	t     *testing.T
	gw    *gateway.Server
	admin *adminapi.Handler
	logs  *buffer
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newNode(t *testing.T, s adminapi.Storage, keyring ...adminapi.Secret) *node {
	t.Helper()
	n := &node{t: t, gw: must(gateway.New(nil)), logs: &buffer{}}
	t.Cleanup(func() { _ = n.gw.Close() })
	var err error
	n.admin, err = adminapi.New(t.Context(), n.gw, &adminapi.Options{
		AllowUnauthenticated: true, Storage: s, Keyring: keyring, Logger: slog.New(slog.NewTextHandler(n.logs, nil))})
	require.NoError(t, err)
	t.Cleanup(n.admin.Close)
	return n
}

func ask(h http.Handler, method, url, body string) (int, string) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, url, strings.NewReader(body)))
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

// do asks the Admin API.
func (n *node) do(method, path, body string) (int, string) {
	return ask(n.admin, method, "http://localhost/apisix/admin"+path, body)
}

// put puts what must be taken.
func (n *node) put(path, body string) {
	n.t.Helper()
	status, answer := n.do("PUT", path, body)
	require.Contains(n.t, []int{200, 201}, status, answer)
}

// get sends a request through the gateway.
func (n *node) get(path string) string {
	_, body := ask(n.gw, "GET", "http://a.test"+path, "")
	return body
}

// route is a route to an origin.
func route(uri, origin string) string {
	return fmt.Sprintf(`{"uri":%q,"upstream":{"type":"roundrobin","nodes":{%q:1}}}`, uri, origin)
}

func newOrigin(t *testing.T) string {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "origin: ", r.URL.Path) }))
	t.Cleanup(origin.Close)
	return origin.Listener.Addr().String()
}

// eventually waits for what another process or connection is to bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 20*time.Second, 5*time.Millisecond, what)
}

// A link is a way to an etcd that can be cut.
type link struct {
	l      net.Listener
	to     string
	silent atomic.Bool // answers are held back, and never come

	mu    sync.Mutex // guards what follows
	cut   bool
	conns map[net.Conn]bool
}

func newLink(t *testing.T, to string) *link {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	k := &link{l: l, to: to, conns: map[net.Conn]bool{}}
	go k.serve()
	t.Cleanup(func() { _ = l.Close(); k.setCut(true) })
	return k
}

func (k *link) addr() string { return k.l.Addr().String() }

func (k *link) serve() {
	for {
		conn, err := k.l.Accept()
		if err != nil {
			return
		}
		go k.pass(conn)
	}
}

func (k *link) pass(conn net.Conn) {
	defer conn.Close()
	there, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer there.Close()
	k.mu.Lock()
	if k.cut {
		k.mu.Unlock()
		return
	}
	k.conns[conn], k.conns[there] = true, true
	k.mu.Unlock()
	go func() {
		_, _ = io.Copy(there, conn)
		_ = there.Close()
	}()
	data := make([]byte, 1<<16)
	for {
		n, err := there.Read(data)
		if err != nil {
			return
		}
		if k.silent.Load() {
			continue
		}
		if _, err := conn.Write(data[:n]); err != nil {
			return
		}
	}
}

// setCut ends all connections, and lets none through until it is undone.
func (k *link) setCut(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = cut
	for conn := range k.conns {
		_ = conn.Close()
	}
	clear(k.conns)
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
