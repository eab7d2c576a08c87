package gateway_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
)

// Where a client that speaks plain HTTP is sent, and what is served to it all the same.
func TestRedirect(t *testing.T) {
	for _, port := range []int{0, 443, 8443} {
		g := newGuarded(t, &gateway.Options{PlainHTTP: gateway.PlainRedirect, HTTPSPort: port, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		at := func(host, target string) string {
			if port == 8443 {
				host += ":8443"
			}
			return "https://" + host + target
		}
		client := g.client(g.plain, "")
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for _, c := range []struct {
			method, host, target string
			status               int
			location             string
		}{
			{"GET", "pub.test", "/", 308, at("pub.test", "/")},
			{"GET", "pub.test:8080", "/", 308, at("pub.test", "/")},
			{"GET", "PUB.test.", "/", 308, at("pub.test", "/")},
			{"POST", "mtls.test", "/x?y=z", 308, at("mtls.test", "/x?y=z")},
			{"HEAD", "mtls.test", "/x?", 308, at("mtls.test", "/x?")},
			{"GET", "x.wild.test", "/a%20b/../c", 308, at("x.wild.test", "/a%20b/../c")},
			{"GET", "mtls.test", "//evil.test/", 308, at("mtls.test", "//evil.test/")},
			{"GET", "mtls.test", "/a|b^`\"<>{}\\", 308, at("mtls.test", "/a%7Cb%5E%60%22%3C%3E%7B%7D%5C")},
			{"GET", "mtls.test", "/caf\xc3\xa9?\xc3\xa9|", 308, at("mtls.test", "/caf%C3%A9?%C3%A9%7C")},
			{"GET", "mtls.test", "/allowed", 200, ""},
			{"GET", "mtls.test", "/.well-known/acme-challenge/token", 200, ""},
			{"GET", "mtls.test", "/.well-known/acme-challenge/../x", 308, at("mtls.test", "/.well-known/acme-challenge/../x")},
			{"GET", "plain.test", "/", 200, ""},
			{"GET", "nobody.test", "/nohost", 403, ""},
			{"GET", "x.y.wild.test", "/", 403, ""},
			{"GET", "evil.test", "/none", 404, ""},
			{"GET", "pub.test@evil.test", "/", 400, ""},
			{"GET", "pub.test/evil.test", "/", 400, ""},
			{"GET", "pub.test", "/..", 400, ""},
		} {
			t.Run(fmt.Sprint(port, " ", c.method, " ", c.host, c.target), func(t *testing.T) {
				req, err := http.NewRequestWithContext(t.Context(), c.method, "http://pub.test/", nil)
				require.NoError(t, err)
				req.URL, req.Host = rawURL("http", "pub.test", c.target), c.host
				req.Header.Set("X-Forwarded-Proto", "https") // from one who is not trusted
				g.origin.take()
				res, err := client.Do(req)
				require.NoError(t, err)
				body := readAll(t, res)
				res.Body.Close()
				require.Equal(t, c.status, res.StatusCode, body)
				require.Equal(t, c.location, res.Header.Get("Location"))
				if c.status != 200 {
					require.Empty(t, g.origin.take())
				}
				if c.location != "" {
					_, err := url.Parse(c.location)
					require.NoError(t, err)
				}
			})
		}
		for _, d := range g.tlsDoors() {
			status, body := g.get(g.client(d, "mtls.test", g.alice), d, "mtls.test", "/")
			require.Equal(t, 200, status, body)
		}
	}
}

// A proxy that speaks TLS for the gateway is not sent round in circles.
func TestRedirectBehindAProxy(t *testing.T) {
	h := newHarness(t, &gateway.Options{PlainHTTP: gateway.PlainRedirect, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	c := gateway.Config{Routes: []route.Config{local("1", "/", "ok", "pub.test", "mtls.test")}}
	c.Profiles = append(c.Profiles, h.profile("pub", []string{"pub.test"}), h.profile("mtls", []string{"mtls.test"}, h.people))
	h.apply(c)
	client := h.client(h.plain, "")
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, c := range []struct {
		host   string
		proto  []string
		status int
	}{
		{"pub.test", nil, 308},
		{"pub.test", []string{"http"}, 308},
		{"pub.test", []string{"https"}, 200},
		{"pub.test", []string{"HTTPS"}, 200},
		{"pub.test", []string{"http", "https"}, 308},
		{"pub.test", []string{"wss"}, 200}, // as some proxies say of a WebSocket over TLS
		{"pub.test", []string{"WSS"}, 200},
		{"pub.test", []string{"ws"}, 308},
		{"pub.test", []string{"ws", "wss"}, 308},
		{"pub.test", []string{"https, http"}, 308}, // which is neither
		{"pub.test", []string{"httpſ"}, 308},
		{"pub.test", []string{"wſs"}, 308},
		{"mtls.test", []string{"https"}, 403}, // the guard's rule stays
		{"mtls.test", []string{"wss"}, 403},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+c.host+"/", nil)
		require.NoError(t, err)
		if c.proto != nil {
			req.Header["X-Forwarded-Proto"] = c.proto
		}
		status, body := h.do(client, req)
		require.Equal(t, c.status, status, "%v: %s", c, body)
	}
}
