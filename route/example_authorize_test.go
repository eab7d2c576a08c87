package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/route"
)

// inside lets everybody read, and lets those write who are near and say in which tenant's
// name.
func inside(_ context.Context, r *route.AuthorizeRequest) error {
	tenant, _ := r.Param("tenant")
	switch said, _ := r.Header("X-Tenant"); {
	case r.Method == "GET":
		return nil
	case !netip.MustParsePrefix("10.0.0.0/8").Contains(r.ClientAddr):
		return errors.New("too far away")
	case said != tenant:
		return fmt.Errorf("the tenant is %s, and the header says %q", tenant, said)
	}
	return nil
}

// A function that authorizes is tested without a gateway.
func ExampleAuthorizeRequest() {
	table := must(route.NewTable(&route.Options{Router: route.RouterURIWithParameter})).With(
		must(route.New(route.Config{ID: "orders", Paths: []string{"/:tenant/orders"}, Upstream: "u", Authorize: inside})),
	)
	for _, c := range []struct{ method, client, tenant string }{
		{"GET", "192.0.2.1", ""},
		{"POST", "192.0.2.1", "acme"},
		{"POST", "10.0.0.1", "acme"},
		{"POST", "10.0.0.1", "other"},
	} {
		sent := httptest.NewRequest(c.method, "/acme/orders", nil)
		sent.Header.Set("X-Tenant", c.tenant)
		r := &route.AuthorizeRequest{Request: route.Request{
			Method: c.method, Path: "/acme/orders", ClientAddr: netip.MustParseAddr(c.client), Lookups: route.NewHTTPLookups(sent),
		}}
		r.Match = table.Match(&r.Request)
		fmt.Println(c.method, c.client, inside(context.Background(), r))
	}
	// Output:
	// GET 192.0.2.1 <nil>
	// POST 192.0.2.1 too far away
	// POST 10.0.0.1 <nil>
	// POST 10.0.0.1 the tenant is acme, and the header says "other"
}

// A server of another kind asks who authorizes, of a request that may be a part of a buffer.
func ExampleNewAuthorizeRequest() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "1", Paths: []string{"/users/*id"}, Upstream: "u", Authorize: func(_ context.Context, r *route.AuthorizeRequest) error {
			if id, _ := r.Param("id"); strings.Contains(id, "/") {
				return fmt.Errorf("%s: only the user itself, and not %s", r.Route.ID(), r.Path)
			}
			return nil
		}})),
	)
	for _, path := range []string{"/users/alice", "/users/alice/mail"} {
		req := route.Request{Method: "GET", Path: path}
		m := table.Match(&req)
		if authorize := m.Route.Authorize(); authorize != nil {
			fmt.Println(authorize(context.Background(), route.NewAuthorizeRequest(&req, &m)))
		}
	}
	// Output:
	// <nil>
	// 1: only the user itself, and not /users/alice/mail
}
