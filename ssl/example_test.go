package ssl_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
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

// A Store in a server of one's own: every name has its own certificate and its own
// rule of whose client certificates it takes.
func Example() {
	ca, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = store.Put(
		ssl.Config{ID: "site", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ca.Server("a.test")}},
		ssl.Config{ID: "intern", Names: []string{"intern.test"}, Certificates: []ssl.KeyPair{ca.Server("intern.test")}, Client: &ssl.ClientAuth{CAPEM: people.PEM()}},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("a.test/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the site") })
	mux.HandleFunc("intern.test/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s", ssl.FromContext(r.Context()).Subject())
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{TLSConfig: store.TLSConfig(), Handler: store.Handler(mux)}
	go func() { _ = server.ServeTLS(l, "", "") }() // ends with ErrServerClosed
	defer server.Close()

	show(ssltest.Client(t, l, "a.test").Get("https://a.test/"))
	show(ssltest.Client(t, l, "intern.test", people.Client("alice")).Get("https://intern.test/"))
	show(ssltest.Client(t, l, "intern.test").Get("https://intern.test/"))
	show(ssltest.Client(t, l, "other.test").Get("https://other.test/"))
	// Output:
	// 200 the site
	// 200 hello, CN=alice
	// refused in the handshake
	// refused in the handshake
}

// The wrong use: the certificates of a Store without its guard. The connection is
// made for a name that demands nothing, and the request is for one that does. Put
// [*ssl.Terminator.Handler] in front, and the answer is 421.
func ExampleTerminator_TLSConfig_withoutHandler() {
	ca, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = store.Put(
		ssl.Config{ID: "site", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ca.Server("a.test")}},
		ssl.Config{ID: "intern", Names: []string{"intern.test"}, Certificates: []ssl.KeyPair{ca.Server("intern.test")}, Client: &ssl.ClientAuth{CAPEM: people.PEM()}},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("intern.test/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "for people with a certificate") })

	for _, handler := range []http.Handler{mux, store.Handler(mux)} {
		server := httptest.NewUnstartedServer(handler)
		server.TLS = store.TLSConfig()
		server.StartTLS()
		client := ssltest.Client(t, server.Listener, "a.test") // no certificate, and another name
		show(client.Get("https://intern.test/"))
		server.Close()
	}
	// Output:
	// 200 for people with a certificate
	// 421 this connection was made for another server name than that of the request; connect with the name of the request
}

// Each name has its own CA, and some paths of a name may need no certificate.
func ExampleClientAuth() {
	ca, people, machines := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "machines")
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = store.Put(
		ssl.Config{ID: "people", Names: []string{"people.test"}, Certificates: []ssl.KeyPair{ca.Server("people.test")},
			Client: &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/health$"}}},
		ssl.Config{ID: "machines", Names: []string{"*.machines.test"}, Certificates: []ssl.KeyPair{ca.Server("*.machines.test")},
			Client: &ssl.ClientAuth{CAPEM: machines.PEM(), Depth: ssl.NoIntermediates}},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "come in") })))
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()

	alice, robot := people.Client("alice"), machines.Client("robot")
	show(ssltest.Client(t, server.Listener, "people.test", alice).Get("https://people.test/"))
	show(ssltest.Client(t, server.Listener, "people.test").Get("https://people.test/health"))
	show(ssltest.Client(t, server.Listener, "people.test").Get("https://people.test/health/../"))
	show(ssltest.Client(t, server.Listener, "m1.machines.test", robot).Get("https://m1.machines.test/"))
	show(ssltest.Client(t, server.Listener, "m1.machines.test", alice).Get("https://m1.machines.test/"))
	// Output:
	// 200 come in
	// 200 come in
	// 400 no required client certificate was sent
	// 200 come in
	// refused in the handshake
}

// Client certificates that are asked for and not required. Who has shown none, or one of
// somebody else's CA, has no Identity. A path that is not written plainly needs one all the
// same: of what the origin makes of it, nothing is known.
func ExampleClientAuth_optional() {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/"}},
	}); err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client := ssl.FromContext(r.Context()); client != nil {
			fmt.Fprint(w, "hello, ", client.Subject())
			return
		}
		fmt.Fprint(w, "hello, whoever you are")
	})))
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()

	alice, alien := people.Client("alice"), aliens.Client("alien")
	show(ssltest.Client(t, server.Listener, "a.test", alice).Get("https://a.test/x"))
	show(ssltest.Client(t, server.Listener, "a.test").Get("https://a.test/x"))
	show(ssltest.Client(t, server.Listener, "a.test", alien).Get("https://a.test/x"))
	show(ssltest.Client(t, server.Listener, "a.test", alice).Get("https://a.test/x;y"))
	show(ssltest.Client(t, server.Listener, "a.test").Get("https://a.test/x;y"))
	// Output:
	// 200 hello, CN=alice
	// 200 hello, whoever you are
	// 200 hello, whoever you are
	// 200 hello, CN=alice
	// 400 no required client certificate was sent
}

// The Identity of a request is in its context, behind [*ssl.Terminator.Handler].
func ExampleFromContext() {
	ca := ssltest.NewCA(t, "root")
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{ca.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: ca.PEM(), SkipPaths: []string{"^/public"}},
	}); err != nil {
		fmt.Println(err)
		return
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		client := ssl.FromContext(r.Context())
		if client == nil {
			fmt.Fprint(w, "nobody we know")
			return
		}
		leaf, chain := client.Certificate(), client.Chain()
		fmt.Fprintf(w, "%v, by %s, chain of %d, resumed: %t, organisation: %s, hex digits: %d",
			client, client.Profile().ID(), len(chain), client.Resumed(), leaf.Subject.Organization, len(client.SHA256()))
	}
	server := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(handler)))
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()

	show(ssltest.Client(t, server.Listener, "a.test", ca.Client("alice")).Get("https://a.test/"))
	show(ssltest.Client(t, server.Listener, "a.test").Get("https://a.test/public"))
	// Output:
	// 200 1: CN=alice, by 1, chain of 2, resumed: false, organisation: [], hex digits: 64
	// 200 nobody we know
}

// How a service that demands client certificates is tested.
func ExampleStore_httptest() {
	// func TestService(t *testing.T) {
	ca, aliens := ssltest.NewCA(t, "our CA"), ssltest.NewCA(t, "another CA")
	store, err := ssl.NewStore(nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if _, err := store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{ca.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: ca.PEM()},
	}); err != nil {
		t.Fatalf("%v", err)
	}
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "served") })
	server := httptest.NewUnstartedServer(store.Handler(service))
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()

	for _, cert := range []tls.Certificate{
		ca.Client("alice"),
		ca.Intermediate("department").Client("bob"),
		ca.Client("carol", ssltest.Expired),
		aliens.Client("mallory"),
	} {
		show(ssltest.Client(t, server.Listener, "a.test", cert).Get("https://a.test/"))
	}
	// Output:
	// 200 served
	// 200 served
	// refused in the handshake
	// refused in the handshake
}

// A wrong Config is refused with all that is wrong with it.
func ExampleNew() {
	pair := ssltest.NewCA(t, "root").Server("a.test")
	_, err := ssl.New(ssl.Config{
		ID:           "1",
		Names:        []string{"a.*.test"},
		Certificates: []ssl.KeyPair{{CertPEM: pair.CertPEM, KeyPEM: []byte("key.pem")}},
		Client:       &ssl.ClientAuth{},
	})
	fmt.Println(err)

	var first *ssl.ConfigError
	if errors.As(err, &first) {
		fmt.Println("the first field:", first.FieldPath())
	}
	// Output:
	// ssl: profile "1": Names[0]: "a.*.test": a star must be the first character, as in "*.example.com"
	// ssl: profile "1": Certificates[0].KeyPEM: no line begins with "-----BEGIN"
	// ssl: profile "1": Client.CAPEM: has no certificate: is empty
	// the first field: Names[0]
}

func ExampleCompile() {
	pair := ssltest.NewCA(t, "root").Server("a.test")
	profiles, err := ssl.Compile([]ssl.Config{
		{ID: "1", Names: []string{"A.Test."}, Certificates: []ssl.KeyPair{pair}},
		{ID: "2", Names: []string{"*.a.test", "a.test"}, Certificates: []ssl.KeyPair{pair}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range profiles {
		fmt.Println(p.ID(), p.Names(), p.DemandsClientCert())
	}
	// Output:
	// 1 [a.test] false
	// 2 [*.a.test a.test] false
}

// A private key prints as "[redacted]".
func ExampleLoadKeyPair() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	made := ssltest.NewCA(t, "root").Server("a.test")
	if err := errors.Join(os.WriteFile(cert, made.CertPEM, 0o600), os.WriteFile(key, made.KeyPEM, 0o600)); err != nil {
		fmt.Println(err)
		return
	}

	pair, err := ssl.LoadKeyPair(cert, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(pair.CertPEM[:27]), pair.KeyPEM)
	// Output:
	// -----BEGIN CERTIFICATE----- [redacted]
}

// A change is taken whole or not at all, and holds from the next handshake and the
// next request on.
func ExampleStore_Apply() {
	ca := ssltest.NewCA(t, "root")
	config := func(id string, client *ssl.ClientAuth, names ...string) ssl.Config {
		return ssl.Config{ID: id, Names: names, Certificates: []ssl.KeyPair{ca.Server(names...)}, Client: client}
	}
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Put(config("1", &ssl.ClientAuth{CAPEM: ca.PEM()}, "*.a.test"), config("2", nil, "b.test")); err != nil {
		fmt.Println(err)
		return
	}

	report, err := store.Apply(ssl.Change{
		Delete: []string{"2"},
		Put:    []ssl.Config{config("3", nil, "public.a.test")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range report.Warnings {
		fmt.Println(w)
	}
	_, err = store.Apply(ssl.Change{Delete: []string{"1"}, Put: []ssl.Config{config("4", nil, "c.test"), {ID: "5", Names: []string{"d.test"}}}})
	fmt.Println(err)
	for p := range store.Table().All() {
		fmt.Println(p.ID(), p.Names())
	}
	store.Delete("3")
	fmt.Println(store.Table().Len())
	// Output:
	// profile "3": Names: the server name public.a.test needs no client certificate, but stands below a wildcard of the profile "1", which demands them
	// ssl: profile "5": Certificates: at least one is required
	// 1 [*.a.test]
	// 3 [public.a.test]
	// 1
}

// Exact names go before wildcards, and longer wildcards before shorter. What
// stands below a wildcard that demands client certificates, and is not covered by
// it, is nobody's.
func ExampleTable() {
	ca := ssltest.NewCA(t, "root")
	config := func(id string, client *ssl.ClientAuth, names ...string) ssl.Config {
		return ssl.Config{ID: id, Names: names, Certificates: []ssl.KeyPair{ca.Server("a.test")}, Client: client}
	}
	profiles, err := ssl.Compile([]ssl.Config{
		config("all", nil, "*"),
		config("strict", &ssl.ClientAuth{CAPEM: ca.PEM()}, "*.a.test"),
		config("one", nil, "x.a.test"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var table *ssl.Table
	table = table.With(profiles...)
	for _, name := range []string{"b.test", "X.A.Test.", "y.a.test", "x.y.a.test"} {
		if p := table.Lookup(name); p != nil {
			fmt.Println(name, "->", p.ID())
		} else {
			fmt.Println(name, "-> refused")
		}
	}
	fmt.Println(table.DemandsClientCert(), table.Without("strict").DemandsClientCert(), table.Get("one").Names())
	// Output:
	// b.test -> all
	// X.A.Test. -> one
	// y.a.test -> strict
	// x.y.a.test -> refused
	// true false [x.a.test]
}

// A program with a configuration of its own keeps the table there, and shows it to
// a Terminator.
func ExampleNewTerminator() {
	ca := ssltest.NewCA(t, "root")
	var table atomic.Pointer[ssl.Table]
	terminator, err := ssl.NewTerminator(table.Load, &ssl.Options{FallbackName: "a.test"})
	if err != nil {
		fmt.Println(err)
		return
	}

	p, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ca.Server("a.test")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		config, err := terminator.GetConfigForClient(&tls.ClientHelloInfo{ServerName: "a.test"})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(config.Certificates), "certificate")
		table.Store(table.Load().With(p))
	}
	// Output:
	// 0 certificate
	// 1 certificate
}

// A server that tells why a handshake failed.
func ExampleTerminator_Listener() {
	ca, aliens := ssltest.NewCA(t, "root"), ssltest.NewCA(t, "another root")
	failures := make(chan *ssl.HandshakeError, 1)
	store, err := ssl.NewStore(&ssl.Options{
		MaxHandshakesPerAddr: 64,                            // where no load balancer stands in front
		Logger:               slog.New(slog.DiscardHandler), // or slog.Default()
		Trace: &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
			if e.Err != nil {
				failures <- e.Err
			}
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{ca.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: ca.PEM()},
	}); err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: store.Handler(http.NotFoundHandler())}
	go func() { _ = server.Serve(store.Listener(l)) }() // ends with ErrServerClosed
	defer server.Close()

	for _, c := range []struct {
		name  string
		certs []tls.Certificate
	}{
		{"a.test", nil},
		{"a.test", []tls.Certificate{aliens.Client("mallory")}},
		{"b.test", nil},
	} {
		if _, err := ssltest.Client(t, l, c.name, c.certs...).Get("https://" + c.name); err == nil {
			fmt.Println("that should have failed")
			return
		}
		e := <-failures
		fmt.Printf("%s %q profile=%q", e.Reason, e.ServerName, e.Profile)
		if e.Certificate != nil {
			fmt.Printf(" presented=%s", e.Certificate.Subject)
		}
		fmt.Println()
	}
	// Output:
	// no_client_cert "a.test" profile="1"
	// unknown_ca "a.test" profile="1" presented=CN=mallory
	// unknown_sni "b.test" profile=""
}

// The guard without net/http's types, for a server of another kind.
func ExampleTerminator_Judge() {
	ca := ssltest.NewCA(t, "root")
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Put(
		ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ca.Server("a.test")}, Client: &ssl.ClientAuth{CAPEM: ca.PEM()}},
		ssl.Config{ID: "2", Names: []string{"public.test"}, Certificates: []ssl.KeyPair{ca.Server("public.test")}},
	); err != nil {
		fmt.Println(err)
		return
	}
	connection := &tls.ConnectionState{ServerName: "public.test"} // from (*tls.Conn).ConnectionState
	for _, host := range []string{"public.test:443", "A.test", "a,test"} {
		_, err := store.Judge(store.Table(), connection, host, "/")
		var refusal *ssl.RequestError
		if errors.As(err, &refusal) {
			fmt.Printf("%s %d, profile %q\n", host, refusal.Status, refusal.Profile)
			continue
		}
		fmt.Println(host, "served")
	}
	_, err = store.Judge(store.Table(), nil, "a.test", "/") // plain HTTP
	fmt.Println(err)
	// Output:
	// public.test:443 served
	// A.test 421, profile "1"
	// a,test 400, profile ""
	// ssl: 403: this name is served over TLS only, with a client certificate; use https (server name "", host "a.test", profile "1")
}

func ExampleNewContext() {
	ca := ssltest.NewCA(t, "root")
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Put(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ca.Server("a.test")}, Client: &ssl.ClientAuth{CAPEM: ca.PEM()}}); err != nil {
		fmt.Println(err)
		return
	}
	connection := &tls.ConnectionState{ServerName: "a.test"}
	connection.PeerCertificates = append(connection.PeerCertificates, ca.Client("alice").Leaf)
	identity, err := store.Judge(store.Table(), connection, "a.test", "/")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := ssl.NewContext(context.Background(), identity)
	fmt.Println(ssl.FromContext(ctx))
	fmt.Println(ssl.FromContext(context.Background()) == nil)
	// Output:
	// 1: CN=alice
	// true
}

// Which certificate ends first, and where revocation lists will be out of date.
func ExampleProfile_Client() {
	ca, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	tomorrow := time.Now().Add(24 * time.Hour)
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = store.Put(ssl.Config{
		ID: "intern", Names: []string{"intern.test"}, Certificates: []ssl.KeyPair{ca.Server("intern.test")},
		Client: &ssl.ClientAuth{CAPEM: people.PEM(), CRLs: [][]byte{people.CRL(tomorrow)}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for p := range store.Table().All() {
		for _, cert := range p.Certificates() {
			fmt.Printf("%s: %v, good for more than an hour: %t\n", p.ID(), cert.DNSNames, time.Until(cert.NotAfter) > time.Hour)
		}
		if c := p.Client(); c != nil {
			fmt.Printf("%s: clients of %v with %d intermediate\n", p.ID(), c.CAs[0].Subject, c.Depth)
			for _, list := range c.CRLs {
				fmt.Printf("%s: list of %s, good for more than a week: %t\n", p.ID(), list.Issuer, time.Until(list.NextUpdate) > 7*24*time.Hour)
			}
		}
	}
	// Output:
	// intern: [intern.test], good for more than an hour: true
	// intern: clients of CN=people with 1 intermediate
	// intern: list of CN=people, good for more than a week: false
}
