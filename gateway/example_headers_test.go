package gateway_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Who the client is, in a form that the whole gateway has and in a header of one route's
// own. Nothing that a client says there itself arrives.
func ExampleOptions_clientCert() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	gw, err := gateway.New(&gateway.Options{ClientCert: route.ClientCertXFCC})
	if err != nil {
		panic(err)
	}
	defer gw.Close()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%.5s %s", r.Header.Get("X-Forwarded-Client-Cert"), r.Header.Get("X-User"))
	})
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{
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

// ownUser lets a client ask for what is its own. An error is for the log.
func ownUser(ctx context.Context, r *route.AuthorizeRequest) error {
	name := ssl.FromContext(ctx).Certificate().Subject.CommonName
	if id, ok := r.Param("id"); !ok || id != name {
		return fmt.Errorf("%s is not %s's", r.Path, name)
	}
	return nil
}

// The client of /users/:id must be that user, however the path is spelled, and the client of
// /admin must be of an organization.
func ExampleServer_authorize() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	gw, err := gateway.New(&gateway.Options{Route: route.Options{Router: route.RouterURIWithParameter}})
	if err != nil {
		panic(err)
	}
	defer gw.Close()
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello ", r.PathValue("id")) })
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{
			ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")},
			Client: &ssl.ClientAuth{CAPEM: people.PEM()},
		}},
		Routes: []route.Config{
			{ID: "1", Paths: []string{"/users/:id", "/users/:id/*"}, Handler: hello, RequireIdentity: true, Authorize: ownUser},
			{ID: "2", Paths: []string{"/admin/*"}, Handler: hello, RequireIdentity: true, Authorize: func(ctx context.Context, _ *route.AuthorizeRequest) error {
				client := ssl.FromContext(ctx)
				if !slices.Contains(client.Certificate().Subject.Organization, "Admins") {
					return errors.New("no admin")
				}
				return nil
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
	admin := func(c *x509.Certificate) { c.Subject.Organization = []string{"Admins"} }
	alice := ssltest.Client(t, server.Listener, "a.test", people.Client("alice", admin))
	bob := ssltest.Client(t, server.Listener, "a.test", people.Client("bob"))
	show(alice.Get("https://a.test/users/alice"))
	show(bob.Get("https://a.test/users/alice"))
	show(bob.Get("https://a.test/users/bob/mail"))
	show(bob.Get("https://a.test/users/bob%2f..%2falice/mail"))
	show(alice.Get("https://a.test/admin/"))
	show(bob.Get("https://a.test/admin/"))
	// Output:
	// 200 hello alice
	// 403 {"error_msg":"the client may not make this request"}
	// 200 hello bob
	// 403 {"error_msg":"the client may not make this request"}
	// 200 hello
	// 403 {"error_msg":"the client may not make this request"}
}

// Answers in a format of one's own (RFC 9457), but for those who want text.
func ExampleErrorBody() {
	gw, err := gateway.New(&gateway.Options{ErrorBody: func(status int, message, accept string) (string, []byte) {
		if contentType, body := gateway.ErrorBody(status, message, accept); contentType != "application/json" {
			return contentType, body
		}
		body, err := json.Marshal(map[string]any{"status": status, "title": http.StatusText(status), "detail": message})
		if err != nil {
			panic(err) // then the body is that of gateway.ErrorBody
		}
		return "application/problem+json", body
	}})
	if err != nil {
		panic(err)
	}
	defer gw.Close()
	for _, accept := range []string{"*/*", "text/html, */*;q=0.1"} {
		r := httptest.NewRequest("GET", "http://a.test/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		gw.ServeHTTP(w, r)
		fmt.Println(w.Header().Get("Content-Type"), strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// application/problem+json {"detail":"404 Route Not Found","status":404,"title":"Not Found"}
	// text/plain; charset=utf-8 404 Route Not Found
}

// The plain port sends to https what TLS serves.
func ExamplePlainHTTP_redirect() {
	gw, err := gateway.New(&gateway.Options{PlainHTTP: gateway.PlainRedirect, HTTPSPort: 8443})
	if err != nil {
		panic(err)
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{{
		ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ssltest.NewCA(t, "servers").Server("a.test")},
	}}}})
	if err != nil {
		panic(err)
	}
	for _, host := range []string{"a.test", "b.test"} {
		w := httptest.NewRecorder()
		gw.ServeHTTP(w, httptest.NewRequest("GET", "http://"+host+"/x?y=z", nil))
		fmt.Println(w.Code, w.Header().Get("Location"))
	}
	// Output:
	// 308 https://a.test:8443/x?y=z
	// 404
}
