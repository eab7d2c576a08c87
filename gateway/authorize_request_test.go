package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// judged are the requests that were judged, with what was to be seen of each.
type judged struct {
	mu   sync.Mutex
	all  []*route.AuthorizeRequest
	seen []string
}

// seenOf writes down what there is to see of a request without its Lookups.
func seenOf(r *route.AuthorizeRequest) string {
	id, ok := r.Param("id")
	return fmt.Sprint(r.Method, " ", r.Host, " ", r.Port, " ", r.Path, " ", r.ClientAddr, " ", r.Route.ID(), " ", r.Pattern(), " ", id, ok)
}

// askedOf writes down what its Lookups know.
func askedOf(r *route.AuthorizeRequest) string {
	text := ""
	for _, name := range []string{"host", "X-Role", "Cookie", "X-Client-Dn", "x-forwarded-for", "X_Real_IP", "X-None"} {
		if value, ok := r.Header(name); ok {
			text += fmt.Sprintf("%s=%s|", name, value)
		}
	}
	for _, name := range []string{"args", "arg_x", "post_arg_f", "uri_param_id", "remote_addr", "ssl_client_s_dn", "ssl_client_dns_sans"} {
		if value, ok := r.Var(name); ok {
			text += fmt.Sprintf("%s=%s|", name, value)
		}
	}
	return text
}

func (j *judged) judge(ctx context.Context, r *route.AuthorizeRequest) error {
	seen := seenOf(r)
	if who := ssl.FromContext(ctx); who != nil {
		seen += " " + who.Subject()
	}
	if value, _ := r.Header("X-Ask"); value != "" {
		seen += "\n" + askedOf(r)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all, j.seen = append(j.all, r), append(j.seen, seen)
	if strings.HasPrefix(r.Path, "/denied/") {
		return errors.New("denied")
	}
	return nil
}

// take returns what was seen since it was called last.
func (j *judged) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := j.seen
	j.seen = nil
	return seen
}

// sights are requests to a host, with what is to be seen of them. Their paths follow the
// prefix of a route.
var sights = []struct {
	method, suffix, path, query, form string // suffix is what stands behind the host

	port, normal, pattern, id string
}{
	{"GET", "", "/users/alice", "", "", "", "/users/alice", "/users/:id", "alice"},
	{"GET", "", "/users/alice/", "?x=1&x=2", "", "", "/users/alice/", "/users/:id/*", "alice"},
	{"PURGE", "", "/users/al%69ce", "?x=%41", "", "", "/users/alice", "/users/:id", "alice"},
	{"DELETE", ".:8443", "/.//users/.//alice", "?", "", "8443", "/users/alice", "/users/:id", "alice"},
	{"POST", "", "/users/bob/../alice", "?x=2", "f=1+2", "", "/users/alice", "/users/:id", "alice"},
	{"POST", "", "/users/bob%2f..%2Falice", "", "f=" + strings.Repeat("x", 20_000), "", "/users/alice", "/users/:id", "alice"},
	{"PUT", "", "/users/alice/..;/bob", "", "f", "", "/users/alice/..;/bob", "/users/:id/*", "alice"},
	{"GET", "", "/users/%2e%2e/users/a%20b%252e", "", "", "", "/users/a b%2e", "/users/:id", "a b%2e"},
}

// Who authorizes sees the same through every door: what the route was found by, however the
// client spells it, and what conditions see of the rest. The body stays whole.
func TestAuthorizeSees(t *testing.T) {
	for name, c := range map[string]struct {
		o           gateway.Options
		client      string // its address
		forwarded   string // X-Forwarded-For, as it is to be seen
		conditional bool
	}{
		"plain":       {client: "127.0.0.1", forwarded: "127.0.0.1"},
		"conditional": {client: "127.0.0.1", forwarded: "127.0.0.1", conditional: true},
		"trusting":    {o: gateway.Options{TrustedProxies: loopback}, client: "192.0.2.1", forwarded: "203.0.113.9, ::ffff:192.0.2.1"},
		"net/http":    {o: gateway.Options{NetHTTP2: true}, client: "127.0.0.1", forwarded: "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Route.Router = route.RouterURIWithParameter
			h := newHarness(t, &c.o)
			j := &judged{}
			paths := func(prefix string) []string { return []string{prefix + "/users/:id", prefix + "/users/:id/*"} }
			repeat := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body) // all of it first: HTTP/1.1 is not read while the answer is written
				_, _ = w.Write(body)
			})
			config := gateway.Config{
				Profiles:  []ssl.Config{h.profile("a", []string{"a.test"}), h.profile("m", []string{"m.test"}, h.people)},
				Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
				Routes: []route.Config{
					{ID: "node", Paths: paths("/node"), Upstream: "1", AllowPlain: true, Authorize: j.judge},
					{ID: "denied", Paths: paths("/denied"), Upstream: "1", AllowPlain: true, Authorize: j.judge},
					{ID: "local", Paths: paths("/local"), Handler: repeat, AllowPlain: true, Authorize: j.judge},
				},
			}
			if c.conditional {
				config.Routes = append(config.Routes, route.Config{ID: "none", Paths: []string{"/*"}, Upstream: "1", Vars: vars("http_x_none", "==", "1")})
			}
			h.apply(config)

			// look sends a request to a route, and checks what was seen and what became of it.
			look := func(d door, client *http.Client, host, id string, n int, asks bool) {
				x := sights[n]
				what := fmt.Sprintf("%s: %s %s /%s%s, asks %v", d.name, x.method, host, id, x.path, asks)
				authority := strings.ToUpper(host) + x.suffix
				req, err := http.NewRequestWithContext(t.Context(), x.method, d.scheme()+"://"+host+"/", strings.NewReader(x.form))
				require.NoError(t, err)
				req.Host = authority
				req.URL = &url.URL{Scheme: d.scheme(), Host: host, Opaque: "/" + id + x.path, RawQuery: strings.TrimPrefix(x.query, "?"), ForceQuery: x.query == "?"}
				req.Header = http.Header{
					"X-Role": {"user", "admin"}, "Cookie": {"a=b; c=d"}, "X-Client-Dn": {"CN=root"},
					"X-Forwarded-For": {"203.0.113.9, ::ffff:192.0.2.1"}, "X_Real_IP": {"203.0.113.9"},
					"Content-Type": {"application/x-www-form-urlencoded"},
				}
				want := fmt.Sprint(x.method, " ", host, " ", x.port, " /", id, x.normal, " ", c.client, " ", id, " /", id, x.pattern, " ", x.id, "true")
				if host == "m.test" {
					want += " CN=alice"
				}
				if asks {
					req.Header["X-Ask"] = []string{"1"}
					want += "\nhost=" + authority + "|X-Role=user, admin|Cookie=a=b; c=d|x-forwarded-for=" + c.forwarded + "|"
					if x.query != "" {
						want += "args=" + x.query[1:] + "|"
					}
					for _, arg := range [][3]string{{"arg_x", "x", strings.TrimPrefix(x.query, "?")}, {"post_arg_f", "f", x.form}} {
						if values, err := url.ParseQuery(arg[2]); err == nil && values.Has(arg[1]) {
							want += arg[0] + "=" + values.Get(arg[1]) + "|"
						}
					}
					want += "uri_param_id=" + x.id + "|remote_addr=" + c.client + "|"
					if host == "m.test" {
						want += "ssl_client_s_dn=CN=alice|"
					}
				}
				status, body := h.do(client, req)
				require.Equal(t, []string{want}, j.take(), what)
				seen := h.origin.take()
				switch id {
				case "node":
					require.Equal(t, 200, status, what)
					require.Len(t, seen, 1, what)
					require.Equal(t, x.form, string(seen[0].body), what)
				case "local":
					require.Equal(t, 200, status, what)
					require.Equal(t, x.form, body, what)
					require.Empty(t, seen, what)
				default:
					require.Equal(t, 403, status, what)
					require.Empty(t, seen, what)
				}
			}
			alice := h.people.Client("alice")
			for _, d := range h.doors() {
				clients := map[string]*http.Client{"a.test": h.client(d, "a.test")}
				if d.tls {
					clients["m.test"] = h.client(d, "m.test", alice)
				}
				for host, client := range clients {
					for _, id := range []string{"node", "local", "denied"} {
						for n := range sights {
							look(d, client, host, id, n, false)
							look(d, client, host, id, n, true)
						}
					}
				}
			}
		})
	}
}

// What was kept of requests is what was seen of them, when their buffers have others. Their
// Lookups know nothing any more.
func TestAuthorizeKeeps(t *testing.T) {
	h := newHarness(t, nil)
	j := &judged{}
	var values []string
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("a", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes: []route.Config{{ID: "1", Paths: []string{"/users/*id"}, Upstream: "1", AllowPlain: true, Authorize: func(ctx context.Context, r *route.AuthorizeRequest) error {
			host, _ := r.Header("X-Forwarded-Host")
			ask, _ := r.Header("X-Ask")
			values = append(values, host, ask)
			r.Path = strings.TrimSuffix(r.Path, "!") // which is nobody else's
			return j.judge(ctx, r)
		}}},
	})
	for _, d := range h.doors() {
		values, j.all = nil, nil
		client := h.client(d, "a.test")
		var want, wantValues []string
		for i := range 20 {
			id := strings.Repeat(fmt.Sprint(i%10), 40)
			method := fmt.Sprintf("M%02d", i)
			host := fmt.Sprintf("a.test:%d", 1000+i)
			req, err := http.NewRequestWithContext(t.Context(), method, d.scheme()+"://a.test/users/"+id+"!", nil)
			require.NoError(t, err)
			req.Host = host
			req.Header.Set("X-Ask", id)
			h.origin.take()
			status, body := h.do(client, req)
			require.Equal(t, 200, status, body)
			seen := h.origin.take()
			require.Len(t, seen, 1)
			require.Equal(t, method+" /users/"+id+"! HTTP/1.1", seen[0].line)
			want = append(want, fmt.Sprint(method, " a.test ", 1000+i, " /users/", id, " 127.0.0.1 1 /users/*id ", id, "!true"))
			wantValues = append(wantValues, host, id)
		}
		var kept []string
		for _, r := range j.all {
			kept = append(kept, seenOf(r))
			_, ok := r.Header("X-Ask")
			require.False(t, ok, d.name)
			_, ok = r.Var("ssl_client_dns_sans")
			require.False(t, ok, d.name)
		}
		require.Equal(t, want, kept, d.name)
		require.Equal(t, wantValues, values, d.name)
	}
}

// A goroutine that who judges has left behind learns nothing of the requests that follow, and
// does them no harm.
func TestAuthorizeLeftBehind(t *testing.T) {
	h := newHarness(t, nil)
	var asking sync.WaitGroup
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("a", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1", AllowPlain: true, Authorize: func(_ context.Context, r *route.AuthorizeRequest) error {
			var started sync.WaitGroup
			for range 3 {
				started.Add(1)
				asking.Go(func() {
					want, known := r.Var("args")
					started.Done()
					for range 100 {
						if got, ok := r.Var("args"); ok && (!known || got != want) {
							t.Errorf("%q, after %q", got, want)
						}
					}
				})
			}
			started.Wait()
			return nil
		}}},
	})
	for _, d := range h.doors() {
		client := h.client(d, "a.test")
		for i := range 20 {
			status, body := h.get(client, d, "a.test", fmt.Sprint("/?n=", i))
			require.Equal(t, 200, status, body)
		}
	}
	asking.Wait()
}

// The address is that of the client which the PROXY protocol tells of.
func TestAuthorizeSeesProxiedClient(t *testing.T) {
	h := newHarness(t, &gateway.Options{ProxyProtocol: loopback})
	j := &judged{}
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("a", []string{"a.test"})},
		Routes:   []route.Config{{ID: "1", Paths: []string{"/*"}, AllowPlain: true, Authorize: j.judge, Handler: named("ok")}},
	})
	for address, want := range map[string]string{
		"TCP4 192.0.2.7 192.0.2.1":             "192.0.2.7",
		"TCP6 2001:db8::7 2001:db8::1":         "2001:db8::7",
		"TCP6 ::ffff:192.0.2.7 ::ffff:1.2.3.4": "192.0.2.7",
	} {
		for _, d := range []door{h.http1, h.plain} {
			c := h.rawAfter("PROXY "+address+" 40000 443\r\n", d, "a.test")
			c.write("GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			res, _ := c.answer("GET")
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, []string{"GET a.test  /x " + want + " 1 /* false"}, j.take(), d.name)
		}
		for _, d := range []door{h.http2, h.plain2} {
			c := newH2(h.rawAfter("PROXY "+address+" 40000 443\r\n", d, "a.test"))
			c.get(1, d.scheme(), "a.test", "/x")
			status, _ := c.status(1)
			require.Equal(t, "200", status)
			require.Equal(t, []string{"GET a.test  /x " + want + " 1 /* false"}, j.take(), d.name)
		}
	}
}

// A tunnel is judged before it is opened, as the GET that it is for the route.
func TestAuthorizeSeesTunnels(t *testing.T) {
	h := newHarness(t, nil)
	j := &judged{}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("a", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes: []route.Config{
			{ID: "1", Paths: []string{"/users/*id", "/denied/*id"}, Methods: []string{"GET"}, Upstream: "1", WebSocket: true, AllowPlain: true, Authorize: j.judge},
		},
	})
	want := func(path, authority string) []string {
		return []string{"GET a.test  " + path + "/alice 127.0.0.1 1 " + path + "/*id alicetrue\nhost=" + authority +
			"|X-Role=user, admin|Cookie=a=b; c=d|x-forwarded-for=127.0.0.1|args=x=1|arg_x=1|uri_param_id=alice|remote_addr=127.0.0.1|"}
	}
	for path, opens := range map[string]bool{"/users": true, "/denied": false} {
		for _, d := range h.http1Doors() {
			h.origin.on(switchAndEcho)
			c := h.raw(d, "a.test")
			c.write(upgrade(path+"/bob/../alice?x=1", "Connection: Upgrade\r\nUpgrade: websocket\r\nX-Ask: 1\r\nX-Role: user\r\nX-Role: admin\r\nCookie: a=b\r\nCookie: c=d\r\nX-Client-Dn: CN=root\r\n"))
			res, err := http.ReadResponse(c.r, nil)
			require.NoError(t, err)
			require.Equal(t, want(path, "a.test"), j.take(), d.name)
			if opens {
				require.Equal(t, 101, res.StatusCode, d.name)
				c.wantEcho("hello")
			} else {
				require.Equal(t, 403, res.StatusCode, d.name)
				require.Empty(t, h.origin.take())
			}
			h.origin.take()
		}
		for _, d := range []door{h.http2, h.plain2} {
			h.origin.on(acceptAndEcho)
			c := h.h2(d, "a.test")
			c.connect(1, "A.test", path+"/bob/../alice?x=1", "sec-websocket-version", "13", "x-ask", "1", "x-role", "user", "x-role", "admin", "cookie", "a=b", "cookie", "c=d", "x-client-dn", "CN=root")
			f, ok := c.next(1)
			require.True(t, ok)
			require.Equal(t, want(path, "A.test"), j.take(), d.name)
			if opens {
				require.Equal(t, "200", statusIn(f.payload), d.name)
				c.frame(h2Data, 0, 1, []byte("hello"))
				c.comes(1, "hello")
			} else {
				require.Equal(t, "403", statusIn(f.payload), d.name)
				require.Empty(t, h.origin.take())
			}
			h.origin.take()
		}
	}
}

// A field that does not go on to the node, because Connection names it, is nothing to judge
// by; a handler gets it, and so is it judged.
func TestAuthorizeSeesWhatGoesOn(t *testing.T) {
	h := newHarness(t, nil)
	seen := make(chan string, 1)
	judge := func(_ context.Context, r *route.AuthorizeRequest) error {
		tenant, _ := r.Header("x-tenant")
		host, _ := r.Header("Host")
		forwarded, _ := r.Header("X-Forwarded-Proto")
		seen <- tenant + " " + host + " " + forwarded
		return nil
	}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes: []route.Config{
			{ID: "node", Paths: []string{"/node"}, Upstream: "1", AllowPlain: true, Authorize: judge},
			{ID: "local", Paths: []string{"/local"}, AllowPlain: true, Authorize: judge, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})},
		},
	})
	for _, d := range h.http1Doors() {
		for _, c := range []struct{ path, connection, want string }{
			{"/node", "close", "alice a.test " + d.scheme()},
			{"/node", "close, x-TENANT\t, Host,X-Forwarded-Proto", " a.test " + d.scheme()},
			{"/local", "close, x-tenant", "alice a.test " + d.scheme()},
		} {
			conn := h.raw(d, "a.test")
			conn.write("GET " + c.path + " HTTP/1.1\r\nHost: a.test\r\nConnection: " + c.connection + "\r\nX-Tenant: alice\r\n\r\n")
			res, _ := conn.answer("GET")
			require.Equal(t, 200, res.StatusCode, d.name)
			require.Equal(t, c.want, <-seen, "%s %+v", d.name, c)
			for _, received := range h.origin.take() {
				require.Equal(t, c.connection == "close", len(received.saying("alice")) > 0, "%s %+v", d.name, c)
			}
		}
	}
}
