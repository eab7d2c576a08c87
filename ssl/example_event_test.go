package ssl_test

import (
	"fmt"
	"net"
	"net/http"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Whoever wants to know of all handshakes, and how long they took.
func ExampleTrace() {
	ca := ssltest.NewCA(t, "root")
	events := make(chan *ssl.HandshakeEvent, 1)
	store, err := ssl.NewStore(&ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { events <- e }}})
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

	for _, client := range []*http.Client{ssltest.Client(t, l, "a.test", ca.Client("alice")), ssltest.Client(t, l, "a.test")} {
		res, err := client.Get("https://a.test/")
		if err == nil {
			res.Body.Close()
		}
		e := <-events
		fmt.Print(e.Profile, " ", e.Took > 0)
		if e.Err != nil {
			fmt.Println(":", e.Err.Reason)
		} else {
			fmt.Println(": resumed", e.State.DidResume)
		}
	}
	// Output:
	// 1 true: resumed false
	// 1 true: no_client_cert
}
