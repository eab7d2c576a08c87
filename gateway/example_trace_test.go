package gateway_test

import (
	"context"
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
	gw, err := gateway.New(&gateway.Options{Trace: &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) {
		fmt.Printf("%s %s: %d, route %q, upstream %q, %d tried\n", e.Method, e.Path, e.Status, e.Route, e.Upstream, e.Attempts)
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
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

type requestIDKey struct{}

// Each request has an id, which the target and the log are told. What the client says in
// the field goes nowhere.
func ExampleTrace_requestBegun() {
	last := 0
	gw, err := gateway.New(&gateway.Options{Trace: &gateway.Trace{
		RequestBegun: func(ctx context.Context, r *gateway.RequestStart) context.Context {
			last++ // a gateway that serves several at a time needs an atomic
			id := fmt.Sprint("request-", last)
			r.Set("X-Request-Id", id)
			return context.WithValue(ctx, requestIDKey{}, id)
		},
		RequestDone: func(e *gateway.RequestEvent) {
			fmt.Println(e.Context.Value(requestIDKey{}), e.Path, e.Status)
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{
		ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Println("the handler sees", r.Header.Get("X-Request-Id"))
			w.WriteHeader(http.StatusNoContent)
		}),
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest(http.MethodGet, "http://a.test/users/7", nil)
	r.Header.Set("X-Request-Id", "mine")
	gw.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// the handler sees request-1
	// request-1 /users/7 204
}
