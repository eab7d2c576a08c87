package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/upstream"
)

// An access log of one's own.
func ExampleTrace() {
	origin, node := exampleOrigin()
	defer origin.Close()
	gw := gateway.New(&gateway.Options{Trace: &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) {
		fmt.Printf("%s %s: %d, route %q, upstream %q, %d tried\n", e.Method, e.Path, e.Status, e.Route, e.Upstream, e.Attempts)
	}}})
	defer gw.Close()
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{
		Upstreams: []upstream.Config{{ID: "api", Nodes: []upstream.Node{node}}},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/users/*"}, Upstream: "api"}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []string{"/users/7", "/nobody"} {
		gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://a.test"+path, nil))
	}
	// Output:
	// GET /users/7: 200, route "1", upstream "api", 1 tried
	// GET /nobody: 404, route "", upstream "", 0 tried
}
