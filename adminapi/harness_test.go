package adminapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// adminKey is the key of every world that is not about keys.
const adminKey = "the key of the administrator"

// began is when every world begins. Its clock stands still until it is set.
const began = 1700000000

// A world is a gateway on loopback with its Admin API, two origins, and the
// certificates of a test. What it logs is searched for private keys at its end.
type world struct {
	t       testing.TB
	gw      *gateway.Server
	handler *adminapi.Handler
	admin   *httptest.Server
	http    net.Listener
	https   net.Listener
	storage adminapi.Storage
	memory  *adminapi.Memory // what is behind storage
	now     atomic.Int64
	logs    *buffer
	key     string

	people, strangers *ssltest.CA
	pair, pair2       ssl.KeyPair // both for a.test and *.a.test
	origins           [2]string   // addresses
}

// A buffer may be written by many at a time.
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

// A setup is what is special about a world.
type setup struct {
	wrap    func(adminapi.Storage) adminapi.Storage // stands between the handler and the memory
	keys    []adminapi.Key                          // instead of adminKey; the first is the world's
	keyless bool                                    // AllowUnauthenticated
}

func newWorld(t testing.TB, special setup) *world {
	t.Helper()
	w := &world{t: t, memory: &adminapi.Memory{}, logs: &buffer{}, key: adminKey}
	w.storage = w.memory
	if special.wrap != nil {
		w.storage = special.wrap(w.memory)
	}
	w.now.Store(began)
	options := &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: w.storage}
	switch {
	case special.keyless:
		options.Keys, options.AllowUnauthenticated, w.key = nil, true, ""
	case special.keys != nil:
		options.Keys, w.key = special.keys, string(special.keys[0].Value)
	}
	servers := ssltest.NewCA(t, "servers")
	w.people, w.strangers = ssltest.NewCA(t, "people"), ssltest.NewCA(t, "strangers")
	names, both := []string{"a.test", "*.a.test"}, ssltest.Usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth) // nodes are shown them too
	w.pair, w.pair2 = servers.ServerWith(names, both), servers.ServerWith(names, both)
	for i := range w.origins {
		origin := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(rw, "origin %d: %s %s", i+1, r.Method, r.URL.Path)
			if name := r.URL.Query().Get("show"); name != "" {
				fmt.Fprintf(rw, " %s: %q", name, r.Header[name])
			}
		}))
		t.Cleanup(origin.Close)
		w.origins[i] = origin.Listener.Addr().String()
	}

	debug := &slog.HandlerOptions{Level: slog.LevelDebug}
	logger := slog.New(slog.NewMultiHandler(slog.NewTextHandler(w.logs, debug), slog.NewJSONHandler(w.logs, debug)))
	w.gw = must(gateway.New(&gateway.Options{Logger: logger}))
	t.Cleanup(func() { w.gw.Close() })
	options.Logger = logger
	handler, err := adminapi.New(t.Context(), w.gw, options)
	require.NoError(t, err)
	handler.SetNow(func() time.Time { return time.Unix(w.now.Load(), 0) })
	w.handler = handler
	w.admin = httptest.NewServer(handler)
	t.Cleanup(w.admin.Close)
	w.http, w.https = listen(t), listen(t)
	go serve(t, w.gw.Serve, w.http)
	go serve(t, w.gw.ServeTLS, w.https)

	t.Cleanup(func() {
		if found := leak(w.logs.String(), w.pair.KeyPEM, w.pair2.KeyPEM); found != "" {
			t.Errorf("a private key is in the log: %s", found)
		}
	})
	return w
}

// mtlsOrigin starts an origin that asks for a client certificate, and answers with its
// name. It returns its address.
func (w *world) mtlsOrigin() string {
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprint(rw, "mtls origin: ", name)
	}))
	origin.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	origin.StartTLS()
	w.t.Cleanup(origin.Close)
	return origin.Listener.Addr().String()
}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l // which those who serve it close
}

func serve(t testing.TB, serve func(net.Listener) error, l net.Listener) {
	if err := serve(l); err != http.ErrServerClosed {
		t.Errorf("serve: %v", err)
	}
}

// An answer is what comes back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request to the Admin API.
func (w *world) do(method, path, body string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.admin.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("X-API-KEY", w.key)
	return w.send(req)
}

// doWith is do with a header field.
func (w *world) doWith(method, path, body, name, value string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.admin.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("X-API-KEY", w.key)
	req.Header.Set(name, value)
	return w.send(req)
}

func read(t testing.TB, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func (w *world) send(req *http.Request) answer {
	w.t.Helper()
	a, err := fetch(w.admin.Client(), req)
	require.NoError(w.t, err)
	return a
}

func fetch(client *http.Client, req *http.Request) (answer, error) {
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

// put puts a document and wants it to be taken.
func (w *world) put(path string, doc map[string]any) {
	w.t.Helper()
	a := w.do("PUT", "/apisix/admin"+path, encode(w.t, doc))
	require.Contains(w.t, []int{200, 201}, a.status, a.body)
}

func encode(t testing.TB, doc any) string {
	text, err := json.Marshal(doc)
	require.NoError(t, err)
	return string(text)
}

func (w *world) sslDoc(pair ssl.KeyPair) map[string]any {
	return map[string]any{"sni": "a.test", "cert": string(pair.CertPEM), "key": string([]byte(pair.KeyPEM))}
}

// routeDoc is a route with an upstream of its own to origin 1 or 2.
func (w *world) routeDoc(uri string, origin int) map[string]any {
	return map[string]any{"uri": uri, "upstream": w.upstreamDoc(origin)}
}

func (w *world) upstreamDoc(origin int) map[string]any {
	return map[string]any{"type": "roundrobin", "nodes": map[string]any{w.origins[origin-1]: 1}}
}

// visit sends a request through the gateway, on a connection of its own.
func (w *world) visit(req *http.Request, certs ...tls.Certificate) (answer, error) {
	w.t.Helper()
	l := w.http
	if req.URL.Scheme == "https" {
		l = w.https
	}
	client := ssltest.Client(w.t, l, req.URL.Hostname(), certs...)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	a, err := fetch(client, req)
	if err != nil && req.URL.Scheme == "https" {
		// In TLS 1.3 the alert comes after the client's handshake, and net/http
		// may have another error by then.
		return a, alert(w.t, l.Addr().String(), ssltest.ClientConfig(req.URL.Hostname(), certs...))
	}
	return a, err
}

// alert returns the error with which a handshake ends.
func alert(t testing.TB, addr string, config *tls.Config) error {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = conn.Read(make([]byte, 1))
	return err
}

// get is visit with GET; a failure is a part of what it returns.
func (w *world) get(url string, certs ...tls.Certificate) string {
	w.t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	require.NoError(w.t, err)
	a, err := w.visit(req, certs...)
	if err != nil {
		return "failed: " + err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.body))
}

// running describes what a gateway does: what it answers to some requests, with
// which certificate or alert to some server names, and whether it has some
// upstreams. Two gateways of one configuration have the same description.
func running(t testing.TB, gw *gateway.Server) string {
	t.Helper()
	var b strings.Builder
	for _, host := range []string{"a.test", "b.a.test", "z.test"} {
		for _, path := range []string{"/", "/1", "/2", "/api/x", "/ip"} {
			r := httptest.NewRequest("GET", "http://"+host+path, nil)
			rec := httptest.NewRecorder()
			gw.ServeHTTP(rec, r)
			fmt.Fprintf(&b, "%s%s: %d %s\n", host, path, rec.Code, strings.TrimSpace(rec.Body.String()))
		}
		fmt.Fprintf(&b, "%s: %s\n", host, handshake(gw, host))
	}
	for _, id := range []string{"u", "1", "routes/1", "routes/2", "routes/own-0-0", "services/1"} {
		fmt.Fprintf(&b, "upstream %s: %t\n", id, hasUpstream(gw, id))
	}
	return b.String()
}

// hasUpstream reports whether a gateway has an upstream, which only a route that
// would use it can tell.
func hasUpstream(gw *gateway.Server, id string) bool {
	_, err := gw.Prepare(gateway.Change{Put: gateway.Config{
		Routes: []route.Config{{ID: "a route that is not put", Paths: []string{"/"}, Upstream: id}},
	}})
	return !errors.Is(err, gateway.ErrNoUpstream)
}

// handshake returns the digest of the certificate that a name gets and whether
// one of the client is asked for, or the alert.
func handshake(gw *gateway.Server, name string) string {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		_ = tls.Server(server, gw.TLSConfig()).Handshake()
	}()
	asked := false
	config := ssltest.ClientConfig(name)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return &tls.Certificate{}, nil
	}
	conn := tls.Client(client, config)
	if err := conn.Handshake(); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x, asked %t", sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw), asked)
}

// check checks what always holds: the Admin API shows what the storage holds, and
// the gateway runs what one that starts with this storage would.
func (w *world) check() {
	w.t.Helper()
	records, err := w.memory.Load(context.Background())
	require.NoError(w.t, err)
	expires := false
	stored := map[string][]any{"routes": {}, "services": {}, "ssls": {}, "upstreams": {}}
	for _, r := range records {
		kind, _, ok := strings.Cut(strings.TrimPrefix(r.Key, "/"), "/")
		if !ok {
			require.Contains(w.t, []string{"/gen_id", "/configs"}, r.Key)
			continue
		}
		expires = expires || !r.Expires.IsZero()
		var doc any
		require.NoError(w.t, json.Unmarshal(r.Value, &doc))
		hideKeys(&doc)
		stored[kind] = append(stored[kind], map[string]any{
			"key": "/apisix" + r.Key, "value": doc,
			"createdIndex": float64(r.Created), "modifiedIndex": float64(r.Modified),
		})
	}
	for _, kind := range slices.Sorted(maps.Keys(stored)) {
		req := httptest.NewRequest("GET", "http://localhost/apisix/admin/"+kind, nil)
		req.Header.Set("X-API-KEY", w.key)
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, req)
		require.JSONEq(w.t, encode(w.t, map[string]any{"list": stored[kind], "total": len(stored[kind])}), rec.Body.String(), kind)
	}

	if expires {
		return // whoever starts with it has another clock
	}
	restarted := must(gateway.New(nil))
	defer restarted.Close()
	again, err := adminapi.New(w.t.Context(), restarted, &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: w.memory})
	require.NoError(w.t, err, "what was taken must be loaded again")
	whole := func(h http.Handler, key string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("GET", "http://localhost/apisix/admin/configs", nil)
		req.Header.Set("X-API-KEY", key)
		return serveOne(h, req)
	}
	before, after := whole(w.handler, w.key), whole(again, adminKey)
	require.Equal(w.t, before.Header(), after.Header())
	require.JSONEq(w.t, before.Body.String(), after.Body.String())
	require.Equal(w.t, running(w.t, restarted), running(w.t, w.gw), "the gateway runs something else than what is stored")
}

// hideKeys does what the Admin API does to what it shows.
func hideKeys(v *any) {
	switch part := (*v).(type) {
	case string:
		if strings.Contains(part, "PRIVATE KEY") {
			*v = "[redacted]"
		}
	case []any:
		for i := range part {
			hideKeys(&part[i])
		}
	case map[string]any:
		for k, inner := range part {
			hideKeys(&inner)
			part[k] = inner
		}
	}
}

func load(t testing.TB, s adminapi.Storage) map[string]adminapi.Record {
	t.Helper()
	records, err := s.Load(t.Context())
	require.NoError(t, err)
	byKey := map[string]adminapi.Record{}
	for _, r := range records {
		byKey[r.Key] = r
	}
	require.Len(t, byKey, len(records), "one record a key")
	return byKey
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
