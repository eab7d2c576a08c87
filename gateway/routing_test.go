package gateway_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// routed is a route that answers with its ID and with what its path has captured.
func routed(c route.Config) route.Config {
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, c.ID)
		for _, name := range []string{"id", "rest", ":ext"} {
			if value := r.PathValue(name); value != "" {
				fmt.Fprintf(w, " %s=%s", name, value)
			}
		}
	})
	return c
}

// vars is an expression of one condition.
func vars(condition ...any) []any { return []any{condition} }

// What routes ask of a request is answered alike through every door.
func TestRoutingThroughEveryDoor(t *testing.T) {
	h := newHarness(t, &gateway.Options{Route: route.Options{Router: route.RouterURIWithParameter}})
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("open", []string{"a.test"})},
		Routes: []route.Config{
			routed(route.Config{ID: "parameter", Paths: []string{"/users/:id/files/*rest"}}),
			routed(route.Config{ID: "star", Paths: []string{"/a/*/z"}}),
			routed(route.Config{ID: "inside", Paths: []string{"/addr"}, RemoteAddrs: []string{"127.0.0.0/8"}}),
			routed(route.Config{ID: "outside", Paths: []string{"/addr2"}, RemoteAddrs: []string{"192.0.2.0/24"}}),
			routed(route.Config{ID: "host", Paths: []string{"/host"}, Hosts: []string{"a.test:1"}}),
			routed(route.Config{ID: "header", Paths: []string{"/v"}, Vars: vars("http_x_canary", "==", "1")}),
			routed(route.Config{ID: "argument", Paths: []string{"/v"}, Vars: vars("arg_n", ">", 10)}),
			routed(route.Config{ID: "cookie", Paths: []string{"/v"}, Vars: vars("cookie_beta", "~~", "^y")}),
			routed(route.Config{ID: "form", Paths: []string{"/v"}, Vars: vars("post_arg_name", "==", "jack & jill")}),
			routed(route.Config{ID: "id", Paths: []string{"/p/:id"}, Vars: vars("uri_param_id", "~~", "^[0-9]+$")}),
			routed(route.Config{ID: "secure", Paths: []string{"/scheme"}, Vars: vars("scheme", "==", "https")}),
			routed(route.Config{ID: "none", Paths: []string{"/verify"}, Vars: vars("ssl_client_verify", "==", "NONE")}),
			routed(route.Config{ID: "absent", Paths: []string{"/verify"}, Vars: vars("ssl_client_verify", "==", nil)}),
			routed(route.Config{ID: "plain", Paths: []string{"/scheme"}}),
			routed(route.Config{ID: "rest", Paths: []string{"/*"}, Methods: []string{"GET", "POST"}}),
		},
	})
	for _, c := range []struct {
		method, target, host string
		header               http.Header
		body                 string
		want                 string // of the TLS doors and of the plain one, if they differ
	}{
		{target: "/users/4711/files/x/y.png", want: "parameter id=4711 rest=x/y.png"},
		{target: "/users/a%20b/files/%2561", want: "parameter id=a b rest=%61"},
		{target: "/users//files/x", want: "rest :ext=users/files/x"},
		{target: "/a/b/c/z", want: "star :ext=b/c"},
		{target: "/addr", want: "inside"},
		{target: "/addr2", want: "rest :ext=addr2"},
		{target: "/host", want: "rest :ext=host"},
		{target: "/host", host: "A.test:1", want: "host"},
		{target: "/v", want: "rest :ext=v"},
		{target: "/v", header: header("X-Canary", "1"), want: "header"},
		{target: "/v", header: header("X-Canary", "1", "X-Canary", "1"), want: "rest :ext=v"},
		{target: "/v?n=11", want: "argument"},
		{target: "/v?n=11x&n=12", want: "rest :ext=v"},
		{target: "/v", header: header("Cookie", "a=b; beta=yes"), want: "cookie"},
		{method: "POST", target: "/v", header: header("Content-Type", "application/x-www-form-urlencoded"), body: "name=jack+%26%20jill", want: "form"},
		{method: "POST", target: "/v", body: "name=jack+%26%20jill", want: "rest :ext=v"},
		{target: "/p/17", want: "id id=17"},
		{target: "/p/x", want: "rest :ext=p/x"},
		{target: "/scheme", want: "secure|plain"},
		{target: "/verify", want: "none|absent"},
	} {
		for _, d := range h.doors() {
			want := strings.Split(c.want+"|"+c.want, "|")
			host, method := "a.test", http.MethodGet
			if c.host != "" {
				host = c.host
			}
			if c.method != "" {
				method = c.method
			}
			req, err := http.NewRequestWithContext(t.Context(), method, d.scheme()+"://a.test"+c.target, strings.NewReader(c.body))
			require.NoError(t, err)
			req.Host = host
			maps.Copy(req.Header, c.header)
			status, body := h.do(h.client(d, "a.test"), req)
			if !d.tls {
				want = want[1:]
			}
			require.Equal(t, "200 "+want[0], fmt.Sprint(status, " ", body), "%s: %s %s %v", d.name, method, c.target, c.header)
		}
	}
}

// A form that was read to find the route goes to the node as it came.
func TestFormIsForwarded(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("open", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes: []route.Config{
			{ID: "never", Paths: []string{"/*"}, Upstream: "1", Vars: vars("post_arg_a", "==", "never"), Priority: 1},
			everything("1", "1"),
		},
	})
	for _, d := range h.doors() {
		for _, body := range []string{"a=b", strings.Repeat("a=b&", 100_000), ""} {
			for _, chunked := range []bool{false, true} {
				var in io.Reader = strings.NewReader(body)
				if chunked {
					in = io.MultiReader(in)
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.scheme()+"://a.test/", in)
				require.NoError(t, err)
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				status, _ := h.do(h.client(d, "a.test"), req)
				require.Equal(t, 200, status)
				seen := h.origin.take()
				require.Len(t, seen, 1)
				require.True(t, seen[0].whole)
				require.Equal(t, len(body), len(seen[0].body), d.name)
				require.Equal(t, body, string(seen[0].body))
			}
		}
	}
}

// The client's certificate is what the guard says it is.
func TestRoutingByIdentity(t *testing.T) {
	h := newHarness(t, nil)
	skipping := h.profile("skipping", []string{"skip.test"}, h.people)
	skipping.Client.SkipPaths = []string{"^/"}
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("mtls", []string{"mtls.test"}, h.people), skipping, h.profile("open", []string{"open.test"})},
		Routes: []route.Config{
			routed(route.Config{ID: "alice", Paths: []string{"/*"}, Vars: vars("ssl_client_s_dn", "==", "CN=alice")}),
			routed(route.Config{ID: "verified", Paths: []string{"/*"}, Vars: vars("ssl_client_verify", "==", "SUCCESS")}),
			routed(route.Config{ID: "failed", Paths: []string{"/*"}, Vars: vars("ssl_client_verify", "~~", "^FAILED")}),
			routed(route.Config{ID: "named", Paths: []string{"/*"}, Vars: []any{"OR", []any{"ssl_client_i_dn", "~=", nil}, []any{"ssl_client_serial", "~=", nil}, []any{"ssl_client_dns_sans", "has", "forged"}}}),
			routed(route.Config{ID: "none", Paths: []string{"/*"}}),
		},
	})
	strangers := newHarness(t, nil).people
	alice, bob, forged := h.people.Client("alice"), h.people.Client("bob"), strangers.Client("alice")
	for _, d := range h.tlsDoors() {
		for _, c := range []struct {
			host, want string
			client     *http.Client
		}{
			{"mtls.test", "alice", h.client(d, "mtls.test", alice)},
			{"mtls.test", "verified", h.client(d, "mtls.test", bob)},
			{"skip.test", "alice", h.client(d, "skip.test", alice)},
			{"skip.test", "none", h.client(d, "skip.test")},
			{"skip.test", "failed", h.client(d, "skip.test", forged)},
			{"open.test", "none", h.client(d, "open.test", alice)},
		} {
			status, body := h.get(c.client, d, c.host, "/")
			require.Equal(t, 200, status, "%s: %s", d.name, c.host)
			word, _, _ := strings.Cut(body, " ")
			require.Equal(t, c.want, word, "%s: %s", d.name, c.host)
		}
	}
}

// The client of a request that came through a proxy is the one that the proxy
// names, if it is trusted.
func TestRoutingByClient(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		o := &gateway.Options{}
		want := "peer"
		if trusted {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("198.51.100.0/24")}
			want = "client"
		}
		h := newHarness(t, o)
		h.apply(gateway.Config{
			Profiles: []ssl.Config{h.profile("open", []string{"a.test"})},
			Routes: []route.Config{
				routed(route.Config{ID: "client", Paths: []string{"/"}, RemoteAddrs: []string{"192.0.2.1"}}),
				routed(route.Config{ID: "peer", Paths: []string{"/"}, Vars: vars("remote_addr", "ipmatch", []any{"127.0.0.1"})}),
			},
		})
		for _, d := range h.doors() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.scheme()+"://a.test/", nil)
			require.NoError(t, err)
			req.Header.Set("X-Forwarded-For", "203.0.113.9, 192.0.2.1, 198.51.100.7")
			status, body := h.do(h.client(d, "a.test"), req)
			require.Equal(t, "200 "+want, fmt.Sprint(status, " ", body), d.name)
		}
	}
}

// What a client must not say of itself, or of those that it came through, chooses no
// route.
func TestRoutingByForgedHeader(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		o := &gateway.Options{}
		if trusted {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		h := newHarness(t, o)
		h.apply(gateway.Config{
			Profiles: []ssl.Config{h.profile("open", []string{"a.test"})},
			Routes: []route.Config{
				routed(route.Config{ID: "identity", Paths: []string{"/*"}, Vars: []any{"OR",
					[]any{"http_x_client_verify", "~=", nil}, []any{"http_x_ssl_client_s_dn", "~=", nil},
					[]any{"http_x.client.verify", "~=", nil}, []any{"http_client_cert", "~=", nil}}}),
				routed(route.Config{ID: "prefix", Paths: []string{"/prefix"}, Vars: vars("http_x_forwarded_prefix", "==", "/forged")}),
				routed(route.Config{ID: "for", Paths: []string{"/for"}, Vars: vars("http_x_forwarded_for", "~~", "^192.0.2.1$")}),
				routed(route.Config{ID: "proto", Paths: []string{"/proto"}, Vars: vars("http_x_forwarded_proto", "==", "forged")}),
				routed(route.Config{ID: "forwarded", Paths: []string{"/forwarded"}, Vars: vars("http_forwarded", "==", "for=forged")}),
				routed(route.Config{ID: "own", Paths: []string{"/*"}, Vars: []any{
					[]any{"http_x_forwarded_proto", "~~", "^https?$"}, []any{"http_x_forwarded_for", "127.0.0.1"},
					[]any{"http_x_real_ip", "127.0.0.1"}, []any{"http_x_forwarded_host", "a.test"}, []any{"http_x_other", "1"}}}),
				routed(route.Config{ID: "none", Paths: []string{"/*"}}),
			},
		})
		for _, d := range h.doors() {
			for path, whenTrusted := range map[string]string{"/": "none", "/prefix": "prefix", "/for": "for", "/proto": "proto", "/forwarded": "forwarded"} {
				want := "own"
				if trusted {
					want = whenTrusted
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.scheme()+"://a.test"+path, nil)
				require.NoError(t, err)
				req.Header = header("X-Client-Verify", "SUCCESS", "X_Ssl_Client_S_Dn", "CN=alice", "X-Ssl-Client-S-Dn", "CN=alice",
					"X.client.verify", "SUCCESS", "Client-Cert", ":AA==:", "X-Forwarded-Prefix", "/forged", "X-Forwarded-For", "192.0.2.1",
					"X-Forwarded-Proto", "forged", "Forwarded", "for=forged", "X-Real-Ip", "192.0.2.1", "X-Forwarded-Host", "forged", "X-Other", "1")
				status, body := h.do(h.client(d, "a.test"), req)
				word, _, _ := strings.Cut(body, " ")
				require.Equal(t, "200 "+want, fmt.Sprint(status, " ", word), "%s: %s", d.name, path)
			}
		}
	}
}

// Whatever the options make of a path, the guard skips for none that they change:
// it would skip for one path, and the route of another would answer.
func TestPathOptionsAndTheGuard(t *testing.T) {
	h := newHarness(t, &gateway.Options{Route: route.Options{Paths: route.PathOptions{DeleteTailSlash: true, Servlet: true, EncodedSlash: true}}})
	p := h.profile("mtls", []string{"mtls.test"}, h.people)
	p.Client.SkipPaths = []string{"^/public(/|$)"}
	h.apply(gateway.Config{
		Profiles: []ssl.Config{p},
		Routes: []route.Config{
			routed(route.Config{ID: "public", Paths: []string{"/public"}}),
			routed(route.Config{ID: "slash", Paths: []string{"/public/a%2Fb"}}),
			routed(route.Config{ID: "below", Paths: []string{"/public/*"}}),
		},
	})
	alice := h.people.Client("alice")
	for _, d := range h.tlsDoors() {
		for target, want := range map[string][2]string{ // without a certificate, and with one
			"/public":           {"200 public", "200 public"},
			"/public/":          {"400 ", "200 public"},
			"/public/x":         {"200 below :ext=x", "200 below :ext=x"},
			"/public;v=1/x":     {"400 ", "200 below :ext=x"},
			"/public/a%2Fb":     {"400 ", "200 slash"},
			"/public/..;/x":     {"400 ", "400 "},
			"/public/a%252Fb":   {"400 ", "400 "},
			"/public//x":        {"400 ", "200 below :ext=x"},
			"/public/%2e%2e/x":  {"400 ", "404 "},
			"/public%2f..%2f/x": {"400 ", "400 "},
		} {
			for i, client := range []*http.Client{h.client(d, "mtls.test"), h.client(d, "mtls.test", alice)} {
				status, body := h.get(client, d, "mtls.test", target)
				if got := fmt.Sprint(status, " ", body); !strings.HasPrefix(got, want[i]) {
					t.Errorf("%s %s: got %s, want %s", d.name, target, got, want[i])
				}
			}
		}
	}
}

func TestRouteWarnings(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{local("a", "/a", "a")}}})
	require.NoError(t, err)
	report, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{local("b", "/a", "b"), local("c", "/c/:id", "c")}}})
	require.NoError(t, err)
	require.Equal(t, []gateway.Warning{
		{Kind: "route", ID: "b", Text: `it is never found: route "a" goes before it and takes all of its requests`},
		{Kind: "route", ID: "c", Field: "Paths[0]", Text: `the path "/c/:id" has no parameter: a colon is one to the router uri_with_parameter alone, and this is the router host_uri`},
	}, report.Warnings)
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "d", Paths: []string{"/"}, Upstream: "u", Vars: vars("host", "~~", "(?=x)")}}}})
	require.ErrorContains(t, err, `route "d": Vars[0][2]: `)
	require.ErrorContains(t, err, "lookahead")
}

// A disabled route is not found, and is where it was when it comes back.
func TestDisabledRoute(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	first, second := local("first", "/", "first"), local("second", "/", "second")
	off := first
	off.Disabled = true
	for _, c := range []struct {
		put  route.Config
		want string
	}{{first, "first"}, {second, "first"}, {off, "second"}, {second, "second"}, {first, "first"}} {
		_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{c.put}}})
		require.NoError(t, err)
		w := httptest.NewRecorder()
		gw.ServeHTTP(w, httptest.NewRequest("GET", "http://a.test/", nil))
		require.Equal(t, c.want, w.Body.String())
	}
}
