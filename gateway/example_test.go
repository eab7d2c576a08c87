package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// t stands for the *testing.T of a test: an example has none, and package ssltest
// wants one.
var t testing.TB = exampleT{}

type exampleT struct{ testing.TB }

func (exampleT) Helper()                        {}
func (exampleT) Cleanup(func())                 {}
func (exampleT) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// show prints the status and the body of an answer, or that there was none. The
// client's error would name the alert, or only that the connection broke: in TLS
// 1.3 the client learns late that its certificate is refused.
func show(res *http.Response, err error) {
	if err != nil {
		fmt.Println("refused in the handshake")
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.StatusCode, strings.TrimSpace(string(body)))
}

// exampleOrigin is a server that says what it got, and the node that it is.
func exampleOrigin() (*httptest.Server, upstream.Node) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the origin got %s for %s", r.URL, r.Host)
	}))
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	return server, upstream.Node{Host: addr.Addr().String(), Port: int(addr.Port()), Weight: 1}
}

// A gateway of one's own: a server name that demands client certificates, a route
// and an upstream.
func Example() {
	origin, node := exampleOrigin()
	defer origin.Close()
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")

	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{
			ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")},
			Client: &ssl.ClientAuth{CAPEM: people.PEM()},
		}},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1"}},
		Upstreams: []upstream.Config{{ID: "1", Nodes: []upstream.Node{node}}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = gw.ServeTLS(l) }() // ends with ErrServerClosed

	show(ssltest.Client(t, l, "a.test", people.Client("alice")).Get("https://a.test/hello?x=1"))
	show(ssltest.Client(t, l, "a.test").Get("https://a.test/hello"))
	show(ssltest.Client(t, l, "b.test").Get("https://b.test/hello"))
	// Output:
	// 200 the origin got /hello?x=1 for a.test
	// refused in the handshake
	// refused in the handshake
}

// Where no configuration is, nothing is served.
func ExampleNew() {
	gw, err := gateway.New(&gateway.Options{
		Logger:         slog.New(slog.DiscardHandler),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, // a load balancer's
		Limits:         gateway.Limits{HeaderBytes: 16 << 10},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	server := httptest.NewServer(gw)
	defer server.Close()
	show(server.Client().Get(server.URL))
	// Output: 404 {"error_msg":"404 Route Not Found"}
}

// A handler of one's own as the target of a route, under httptest. It knows its
// client by the verified certificate, and cannot be told another by a header.
func ExampleServer_ServeHTTP() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s; headers say: %q", ssl.FromContext(r.Context()).Subject(), r.Header.Get("X-SSL-Client-S-DN"))
	}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Configure(gateway.Config{
		Profiles: []ssl.Config{{
			ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")},
			Client: &ssl.ClientAuth{CAPEM: people.PEM()},
		}},
		Routes: []route.Config{{ID: "hello", Paths: []string{"/hello"}, Handler: http.HandlerFunc(hello)}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewUnstartedServer(gw)
	server.TLS = gw.TLSConfig()
	server.StartTLS()
	defer server.Close()

	req, err := http.NewRequest("GET", "https://a.test/hello", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("X-SSL-Client-S-DN", "CN=root")
	show(ssltest.Client(t, server.Listener, "a.test", people.Client("alice")).Do(req))
	// Output: 200 hello, CN=alice; headers say: ""
}

// A server of one's own needs both: the TLS configuration chooses the certificate,
// and the gateway as its handler judges each request. A request for another name
// than the connection's does not get past the demand of that name.
func ExampleServer_TLSConfig() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	text := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s) })
	}
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Configure(gateway.Config{
		Profiles: []ssl.Config{
			{ID: "pub", Names: []string{"pub.test"}, Certificates: []ssl.KeyPair{servers.Server("pub.test")}},
			{ID: "mtls", Names: []string{"mtls.test"}, Certificates: []ssl.KeyPair{servers.Server("mtls.test")}, Client: &ssl.ClientAuth{CAPEM: people.PEM()}},
		},
		Routes: []route.Config{
			{ID: "pub", Hosts: []string{"pub.test"}, Paths: []string{"/"}, Handler: text("for everybody")},
			{ID: "mtls", Hosts: []string{"mtls.test"}, Paths: []string{"/"}, Handler: text("for some")},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{TLSConfig: gw.TLSConfig(), Handler: gw}
	go func() { _ = server.ServeTLS(l, "", "") }() // ends with ErrServerClosed
	defer server.Close()

	client := ssltest.Client(t, l, "pub.test")
	show(client.Get("https://pub.test/"))
	req, err := http.NewRequest("GET", "https://pub.test/", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Host = "mtls.test"
	show(client.Do(req))
	// Output:
	// 200 for everybody
	// 421 {"error_msg":"this connection was made for another server name than that of the request; connect with the name of the request"}
}

// All that is wrong with the options is told, and no Server made.
func ExampleNew_refused() {
	_, err := gateway.New(&gateway.Options{
		TLS:            ssl.Options{FallbackName: "*.a.test"},
		HTTPSPort:      84430,
		TrustedProxies: make([]netip.Prefix, 1),
	})
	fmt.Println(err)
	// Output:
	// gateway: Options.TLS.FallbackName: "*.a.test": stands for many names, and a connection is made for one
	// gateway: Options.HTTPSPort: 84430 is no port
	// gateway: Options.TrustedProxies[0]: is no prefix
}

// A change is made whole or not at all, and all that is wrong with it is told.
func ExampleServer_Apply() {
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	server := httptest.NewServer(gw)
	defer server.Close()
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })

	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/a"}, Handler: ok}}}})
	fmt.Println(err)
	show(server.Client().Get(server.URL + "/a")) // no waiting

	_, err = gw.Apply(gateway.Change{
		Put: gateway.Config{
			Routes:    []route.Config{{ID: "2", Paths: []string{"b"}, Handler: ok}},
			Upstreams: []upstream.Config{{ID: "1", Scheme: "ftp"}},
		},
		Delete: gateway.IDs{Routes: []string{"1"}},
	})
	fmt.Println(err)
	show(server.Client().Get(server.URL + "/a"))

	_, err = gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"1"}}})
	fmt.Println(err)
	show(server.Client().Get(server.URL + "/a"))
	// Output:
	// <nil>
	// 200 ok
	// route "2": Paths[0]: "b" does not begin with a slash, as every path does
	// upstream "1": Scheme: is "ftp", and must be "http", "https", "h2c", "grpc" or "grpcs"
	// 200 ok
	// <nil>
	// 404 {"error_msg":"404 Route Not Found"}
}

// Configure is for those who have the whole configuration at hand, such as a file:
// what is not in it any more is gone.
func ExampleServer_Configure() {
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	server := httptest.NewServer(gw)
	defer server.Close()
	text := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s) })
	}
	for _, paths := range [][]string{{"/a", "/b"}, {"/b", "/c"}} {
		var c gateway.Config
		for _, path := range paths {
			c.Routes = append(c.Routes, route.Config{ID: path, Paths: []string{path}, Handler: text(path)})
		}
		if _, err := gw.Configure(c); err != nil {
			fmt.Println(err)
			return
		}
		for _, path := range []string{"/a", "/b", "/c"} {
			show(server.Client().Get(server.URL + path))
		}
	}
	// Output:
	// 200 /a
	// 200 /b
	// 404 {"error_msg":"404 Route Not Found"}
	// 404 {"error_msg":"404 Route Not Found"}
	// 200 /b
	// 200 /c
}

// Between the checking and the change there is room for what may fail, such as
// storing it: after that, nothing can.
func ExampleServer_Prepare() {
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	server := httptest.NewServer(gw)
	defer server.Close()
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })

	prepared, err := gw.Prepare(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/"}, Handler: ok}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	show(server.Client().Get(server.URL)) // nothing has changed yet
	fmt.Println("stored")
	prepared.Commit()
	show(server.Client().Get(server.URL))
	// Output:
	// 404 {"error_msg":"404 Route Not Found"}
	// stored
	// 200 ok
}

// The report tells what does not work the way it may seem to.
func ExamplePrepared_Commit() {
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	prepared, err := gw.Prepare(gateway.Change{Put: gateway.Config{Upstreams: []upstream.Config{{
		ID: "1", Scheme: upstream.SchemeHTTPS, Nodes: []upstream.Node{{Host: "origin.internal", Weight: 1}},
		TLS: upstream.TLS{DangerouslySkipServerVerify: true},
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range prepared.Commit().Warnings {
		fmt.Println(w)
	}
	// Output: upstream "1": TLS.DangerouslySkipServerVerify: the certificates of its nodes are not verified: whoever sits between reads and changes everything
}

// References are checked, and the error says which object does not fit.
func ExampleConfigError() {
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/"}, Upstream: "2"}}}})
	fmt.Println(err)

	var fault *gateway.ConfigError
	if errors.As(err, &fault) {
		fmt.Println(fault.Kind, fault.ID, fault.FieldPath(), errors.Is(err, gateway.ErrNoUpstream))
	}
	// Output:
	// gateway: route "1": Upstream: "2": there is no such upstream
	// route 1 Upstream true
}

// Over plain HTTP nobody shows a certificate. What demands one over TLS is not
// served there, unless its route allows it.
func ExampleServer_Serve() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Configure(gateway.Config{
		Profiles: []ssl.Config{{
			ID: "1", Names: []string{"mtls.test"}, Certificates: []ssl.KeyPair{servers.Server("mtls.test")},
			Client: &ssl.ClientAuth{CAPEM: people.PEM()},
		}},
		Routes: []route.Config{
			{ID: "1", Hosts: []string{"mtls.test"}, Paths: []string{"/*"}, Handler: ok},
			{ID: "2", Hosts: []string{"mtls.test"}, Paths: []string{"/healthz"}, Handler: ok, AllowPlain: true},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = gw.Serve(l) }() // ends with ErrServerClosed

	for _, path := range []string{"/", "/healthz"} {
		req, err := http.NewRequest("GET", "http://"+l.Addr().String()+path, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		req.Host = "mtls.test"
		show(http.DefaultClient.Do(req))
	}
	// Output:
	// 403 {"error_msg":"this name is served over TLS only, with a client certificate; use https"}
	// 200 ok
}

// The log says of each client that was refused in the handshake who it was and
// why.
func ExampleServer_ServeTLS() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	reasons := make(chan string, 1)
	gw, err := gateway.New(&gateway.Options{Logger: slog.New(reasonHandler{slog.DiscardHandler, reasons})})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Configure(gateway.Config{Profiles: []ssl.Config{{
		ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client: &ssl.ClientAuth{CAPEM: people.PEM()},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- gw.ServeTLS(l) }()

	show(ssltest.Client(t, l, "a.test", servers.Client("mallory")).Get("https://a.test/"))
	fmt.Println(<-reasons)
	fmt.Println(gw.Close(), <-served)
	// Output:
	// refused in the handshake
	// CN=mallory: unknown_ca
	// <nil> http: Server closed
}

// A reasonHandler is a slog.Handler that picks out who was refused in a handshake,
// and why.
type reasonHandler struct {
	slog.Handler
	reasons chan<- string
}

func (reasonHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h reasonHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "handshake" {
			said := map[string]string{}
			for _, field := range a.Value.Resolve().Group() {
				said[field.Key] = field.Value.String()
			}
			h.reasons <- said["subject"] + ": " + said["reason"]
		}
		return true
	})
	return nil
}

// Shutdown lets the requests that go on come to their end, and then Serve returns.
func ExampleServer_Shutdown() {
	begun, end := make(chan struct{}), make(chan struct{})
	slow := func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-end
		fmt.Fprint(w, "done")
	}
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = gw.Configure(gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/"}, Handler: http.HandlerFunc(slow)}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served, shut := make(chan error, 1), make(chan error, 1)
	go func() { served <- gw.Serve(l) }()
	go func() {
		<-begun
		go func() { shut <- gw.Shutdown(context.Background()) }() // a real one: with a timeout
		fmt.Println(<-served)                                     // no new connection is taken
		close(end)
	}()
	show(http.Get("http://" + l.Addr().String()))
	fmt.Println(<-shut)
	// Output:
	// http: Server closed
	// 200 done
	// <nil>
}

// Close breaks everything off at once. It is also what a test defers.
func ExampleServer_Close() {
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- gw.Serve(l) }()
	fmt.Println(gw.Close())
	fmt.Println(<-served)
	// Output:
	// <nil>
	// http: Server closed
}

// PlainOpen serves over plain HTTP what it serves over TLS, as APISIX does: whoever
// reaches the plain port needs no certificate.
func ExamplePlainHTTP() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	for _, plain := range []gateway.PlainHTTP{gateway.PlainGuarded, gateway.PlainOpen} {
		gw, err := gateway.New(&gateway.Options{PlainHTTP: plain})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = gw.Configure(gateway.Config{
			Profiles: []ssl.Config{{
				ID: "1", Names: []string{"mtls.test"}, Certificates: []ssl.KeyPair{servers.Server("mtls.test")},
				Client: &ssl.ClientAuth{CAPEM: people.PEM()},
			}},
			Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: ok}}, // for every host
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		w := httptest.NewRecorder()
		gw.ServeHTTP(w, httptest.NewRequest("GET", "http://a.test/", nil))
		fmt.Println(w.Code)
		gw.Close()
	}
	// Output:
	// 403
	// 200
}

// Behind a load balancer that passes connections on, the PROXY protocol says whose they
// are. Its address alone is taken at its word, and must send it.
func ExampleOptions_proxyProtocol() {
	gw, err := gateway.New(&gateway.Options{
		ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, // the load balancer's
		Limits:        gateway.Limits{ConnectionsPerAddr: 100},               // of a client's, not of its
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Configure(gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello, ", r.RemoteAddr)
	})}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = gw.Serve(l) }() // ends with ErrServerClosed

	through := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			_, err = io.WriteString(conn, "PROXY TCP4 192.0.2.1 198.51.100.7 40000 80\r\n")
		}
		return conn, err
	}}}
	show(through.Get("http://" + l.Addr().String()))
	// Output: 200 hello, 192.0.2.1:40000
}

// Limits that are reached cost a connection, and are told of.
func ExampleLimits() {
	reached := make(chan gateway.LimitEvent, 1)
	gw, err := gateway.New(&gateway.Options{
		Limits: gateway.Limits{Connections: 1},
		Trace:  &gateway.Trace{LimitReached: func(e gateway.LimitEvent) { reached <- e }},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = gw.Serve(l) }() // ends with ErrServerClosed
	for range 2 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		defer conn.Close()
	}
	e := <-reached
	fmt.Println(e.Limit, e.Count)
	// Output: Connections 1
}

// Which route would answer a request, and why not another?
func ExampleServer_Routes() {
	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{
		{ID: "canary", Paths: []string{"/*"}, Vars: []any{[]any{"http_x_canary", "==", "1"}}, Priority: 1, Handler: ok},
		{ID: "all", Paths: []string{"/*"}, Handler: ok},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	explanation, err := gw.Routes().ExplainHTTP(httptest.NewRequest("GET", "http://a.test/x", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(explanation)
	// Output:
	// GET a.test/x: route "all"
	// - route "canary" (/*, priority 1): passed over: Vars[0]: http_x_canary is absent, not == "1"
	// - route "all" (/*, priority 0): found
}
