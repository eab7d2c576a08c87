package gateway_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// exampleGateway is a gateway with a route to an upstream and one to a handler.
func exampleGateway(o *gateway.Options) (gw *gateway.Server, end func()) {
	origin, node := exampleOrigin()
	gw, err := gateway.New(o)
	if err != nil {
		panic(err)
	}
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
		Upstreams: []upstream.Config{{ID: "api", Nodes: []upstream.Node{node}}},
		Routes: []route.Config{
			{ID: "users", Paths: []string{"/users/*"}, Upstream: "api"},
			{ID: "hello", Paths: []string{"/hello"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })},
		},
	}})
	if err != nil {
		panic(err)
	}
	return gw, func() { gw.Close(); origin.Close() }
}

// ask lets a gateway answer a request.
func ask(gw *gateway.Server, url string) {
	gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, url, nil))
}

// What a gateway has counted.
func ExampleServer_Stats() {
	gw, end := exampleGateway(nil)
	defer end()
	for _, path := range []string{"/users/7", "/users/8", "/hello", "/nowhere"} {
		ask(gw, "http://a.test"+path)
	}
	stats := gw.Stats()
	fmt.Println("revision", stats.Config.Revision)
	for _, r := range stats.Routes {
		fmt.Printf("route %s: %d answers, %d of them 2xx\n", r.ID, r.Requests.Total(), r.Requests[2])
	}
	for _, u := range stats.Upstreams {
		fmt.Printf("upstream %s: %d answers, %d retries, %d node\n", u.ID, u.Answers.Total(), u.Retries, len(u.Nodes))
	}
	fmt.Println("no route:", stats.NotFound)
	// Output:
	// revision 1
	// route hello: 1 answers, 1 of them 2xx
	// route users: 2 answers, 2 of them 2xx
	// upstream api: 2 answers, 0 retries, 1 node
	// no route: 1
}

// What happened lately.
func ExampleServer_History() {
	gw, end := exampleGateway(nil)
	defer end()
	ask(gw, "http://a.test/hello")
	ask(gw, "http://a.test/nowhere")
	history := gw.History()
	var requests gateway.StatusCounts
	for _, m := range history.Minutes {
		for class, n := range m.Requests {
			requests[class] += n
		}
	}
	fmt.Println("in the last hour:", requests[2], "2xx,", requests[4], "4xx")
	for _, r := range history.Routes {
		fmt.Printf("route %s: %d\n", r.ID, r.Hour.Total())
	}
	// Output:
	// in the last hour: 1 2xx, 1 4xx
	// route hello: 1
}

// Why was this client refused?
func ExampleServer_Refusals() {
	servers, people, strangers := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "strangers")
	failed := make(chan struct{})
	gw, err := gateway.New(&gateway.Options{TLS: ssl.Options{Trace: &ssl.Trace{
		HandshakeDone: func(*ssl.HandshakeEvent) { failed <- struct{}{} }, // for the example alone
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{{
		ID: "intern", Names: []string{"intern.test"}, Certificates: []ssl.KeyPair{servers.Server("intern.test")},
		Client: &ssl.ClientAuth{CAPEM: people.PEM()},
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go gw.ServeTLS(l)
	go tls.Dial("tcp", l.Addr().String(), ssltest.ClientConfig("intern.test", strangers.Client("mallory")))
	<-failed
	ask(gw, "http://intern.test/") // and another, over plain HTTP

	for _, r := range gw.Refusals() {
		fmt.Printf("%d %s %q\n", r.Status, r.Reason, r.Subject)
		fmt.Println(r.Advice)
	}
	// Output:
	// 403 plain_http ""
	// the request for "intern.test" came over plain HTTP, and client certificates are demanded: have the client use https; if the route is meant to be open, set AllowPlain in it
	// 0 unknown_ca "CN=mallory"
	// the client's issuer CN=strangers is not among the CAs of the profile "intern" (CN=people): have the client use a certificate of one of these CAs and send its intermediates along, or add the client's CA to the profile
}

// A record for each request.
func ExampleOptions_accessLog() {
	withoutChance := func(_ []string, a slog.Attr) slog.Attr { // what is another each time
		switch a.Key {
		case "time", "took", "waited", "node":
			return slog.Attr{}
		}
		return a
	}
	gw, end := exampleGateway(&gateway.Options{
		AccessLog: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutChance})),
	})
	defer end()
	ask(gw, "http://a.test/users/7?token=secret")
	ask(gw, "http://a.test/nowhere")
	// Output:
	// level=INFO msg=request remote=192.0.2.1:1234 client=192.0.2.1 protocol=HTTP/1.1 host=a.test route=users upstream=api status=200 method=GET path=/users/7 attempts=1 received=0 sent=47
	// level=INFO msg=request remote=192.0.2.1:1234 client=192.0.2.1 protocol=HTTP/1.1 host=a.test status=404 method=GET path=/nowhere received=0 sent=36
}

// The upstream that an id means now.
func ExampleServer_Upstream() {
	gw, end := exampleGateway(nil)
	defer end()
	fmt.Println(gw.Upstream("api").Scheme())
	fmt.Println(gw.Upstream("nobody") == nil)
	// Output:
	// http
	// true
}
