package ssl_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// exampleListener is a listener of a store with one name, which demands a certificate
// that people has signed, and an end to it.
func exampleListener(o *ssl.Options, people *ssltest.CA) (store *ssl.Store, addr net.Addr, end func()) {
	store, err := ssl.NewStore(o)
	if err != nil {
		panic(err)
	}
	_, err = store.Put(ssl.Config{
		ID: "intern", Names: []string{"intern.test"}, Certificates: []ssl.KeyPair{ssltest.NewCA(t, "servers").Server("intern.test")},
		Client: &ssl.ClientAuth{CAPEM: people.PEM()},
	})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := &http.Server{Handler: store.Handler(http.NotFoundHandler())}
	go server.Serve(store.Listener(l))
	return store, l.Addr(), func() { server.Close() }
}

// shakeHands makes a handshake, and asks for something.
func shakeHands(addr net.Addr, certs ...tls.Certificate) {
	config := ssltest.ClientConfig("intern.test", certs...)
	config.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", addr.String(), config)
	if err != nil {
		return
	}
	defer conn.Close()
	// In TLS 1.3 a client learns after its handshake whether it is let in.
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\nHost: intern.test\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
}

// What became of the handshakes, and when certificates expire.
func ExampleTerminator_Stats() {
	people, strangers := ssltest.NewCA(t, "people"), ssltest.NewCA(t, "strangers")
	over := make(chan struct{}, 3) // handshakes, on the server's side: for the example alone
	trace := &ssl.Trace{HandshakeDone: func(*ssl.HandshakeEvent) { over <- struct{}{} }}
	store, addr, end := exampleListener(&ssl.Options{Trace: trace}, people)
	defer end()
	for _, client := range []tls.Certificate{people.Client("alice"), people.Client("bob"), strangers.Client("mallory")} {
		shakeHands(addr, client)
		<-over
	}

	for _, p := range store.Stats().Profiles {
		fmt.Println("profile", p.ID)
		fmt.Println("TLS 1.3, full:", p.Handshakes.Full.TLS13)
		fmt.Println("failed:", p.Handshakes.Failed)
		fmt.Println("certificates:", len(p.NotAfter))
	}
	// Output:
	// profile intern
	// TLS 1.3, full: 2
	// failed: [{unknown_ca 1}]
	// certificates: 1
}

// The sums alone, for who has many profiles and looks often.
func ExampleTerminator_Handshakes() {
	people := ssltest.NewCA(t, "people")
	over := make(chan struct{}, 2) // as above
	store, addr, end := exampleListener(&ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(*ssl.HandshakeEvent) { over <- struct{}{} }}}, people)
	defer end()
	shakeHands(addr, people.Client("alice"))
	<-over
	shakeHands(addr)
	<-over
	all := store.Handshakes()
	fmt.Println(all.Succeeded(), all.Failed)
	// Output: 1 [{no_client_cert 1}]
}

// When must somebody do something, and about what?
func ExampleStats_Soonest() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	at := func(year int) time.Time { return time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC) }
	config := func(id string, year int) ssl.Config {
		name := id + ".test"
		return ssl.Config{ID: id, Names: []string{name}, Certificates: []ssl.KeyPair{servers.ServerWith([]string{name}, ssltest.Until(at(year)))}}
	}
	strict := config("strict", 2093)
	strict.Client = &ssl.ClientAuth{CAPEM: people.PEM(), CRLs: [][]byte{people.CRL(at(2091))}}
	store := must(ssl.NewStore(nil))
	if _, err := store.Put(config("open", 2092), strict); err != nil {
		fmt.Println(err)
		return
	}
	certificate, revocationList := store.Stats().Soonest()
	fmt.Println("a certificate expires on", certificate.Format(time.DateOnly))
	fmt.Println("a revocation list is past its next update on", revocationList.Format(time.DateOnly))
	// Output:
	// a certificate expires on 2092-06-01
	// a revocation list is past its next update on 2091-06-01
}

// Why was this client refused?
func ExampleHandshakeError_Advice() {
	failed := make(chan *ssl.HandshakeError)
	people, strangers := ssltest.NewCA(t, "people"), ssltest.NewCA(t, "strangers")
	_, addr, end := exampleListener(&ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { failed <- e.Err }}}, people)
	defer end()
	go shakeHands(addr, strangers.Client("mallory"))
	fmt.Println((<-failed).Advice())
	// Output: the client's issuer CN=strangers is not among the CAs of the profile "intern" (CN=people): have the client use a certificate of one of these CAs and send its intermediates along, or add the client's CA to the profile
}

// The guard tells it as well.
func ExampleRequestError_Advice() {
	people := ssltest.NewCA(t, "people")
	store, _, end := exampleListener(nil, people)
	defer end()
	over := &tls.ConnectionState{ServerName: "other.test", PeerCertificates: []*x509.Certificate{people.Client("alice").Leaf}}
	_, err := store.Judge(store.Table(), over, "intern.test", "/")
	var refusal *ssl.RequestError
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Status, refusal.Reason)
		fmt.Println(refusal.Advice())
	}
	// Output:
	// 421 misdirected
	// the request is for "intern.test", and its connection was made for "other.test": have the client open a connection for each name, with the same name in SNI and Host, as browsers do after a 421
}

// The words on each reason, for a page of one's own.
func ExampleReasons() {
	for _, reason := range ssl.Reasons()[:2] {
		fmt.Printf("%s: %s\n\t%s\n", reason, reason.Meaning(), reason.Remedy())
	}
	fmt.Println(len(ssl.HandshakeReasons()), "reasons of handshakes, and", len(ssl.Reasons())-len(ssl.HandshakeReasons()), "of the guard")
	// Output:
	// no_sni: the client sent no server name, as happens when it connects to an IP address, and there is no fallback
	// 	have the client connect by name, or set FallbackName
	// unknown_sni: no profile answers for the server name
	// 	correct the name that the client connects to, or add the name to a profile
	// 13 reasons of handshakes, and 3 of the guard
}

// A record for each handshake.
func ExampleOptions_handshakeLog() {
	people := ssltest.NewCA(t, "people")
	withoutChance := func(_ []string, a slog.Attr) slog.Attr { // what is another each time
		switch a.Key {
		case "time", "took", "remote", "serial", "sha256":
			return slog.Attr{}
		}
		return a
	}
	_, addr, end := exampleListener(&ssl.Options{
		HandshakeLog: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutChance})),
	}, people)
	defer end()
	shakeHands(addr, people.Client("alice", ssltest.URIs("spiffe://example/alice")))
	// Output: level=INFO msg="TLS handshake" server_name=intern.test version="TLS 1.3" protocol=http/1.1 resumed=false profile=intern identity.profile=intern identity.subject="CN=alice" identity.spiffe_id=spiffe://example/alice
}
