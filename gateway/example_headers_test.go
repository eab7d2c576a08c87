package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Who the client is, in a form that the whole gateway has and in a header of one route's
// own. Nothing that a client says there itself arrives.
func ExampleOptions_clientCert() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	gw := gateway.New(&gateway.Options{ClientCert: route.ClientCertXFCC})
	defer gw.Close()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%.5s %s", r.Header.Get("X-Forwarded-Client-Cert"), r.Header.Get("X-User"))
	})
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{
		SSL: []ssl.Config{{
			ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")},
			Client: &ssl.ClientAuth{CAPEM: people.PEM()},
		}},
		Routes: []route.Config{
			{ID: "1", Paths: []string{"/*"}, Handler: handler},
			{ID: "2", Paths: []string{"/own"}, Handler: handler, ClientCert: route.ClientCertNone, Headers: route.HeaderEdits{
				Set: []route.HeaderField{{Name: "X-User", Value: "$ssl_client_s_dn"}},
			}},
		},
	}})
	if err != nil {
		panic(err)
	}
	server := httptest.NewUnstartedServer(gw)
	server.TLS = gw.TLSConfig()
	server.StartTLS()
	defer server.Close()
	client := ssltest.Client(t, server.Listener, "a.test", people.Client("alice"))
	for _, path := range []string{"/", "/own"} {
		req, err := http.NewRequest("GET", "https://a.test"+path, nil)
		if err != nil {
			panic(err)
		}
		req.Header["x_user"] = []string{"CN=admin"}
		show(client.Do(req))
	}
	// Output:
	// 200 Hash=
	// 200 CN=alice
}
