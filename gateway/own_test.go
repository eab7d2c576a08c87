package gateway_test

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Bodies of the user's own, through every door and for every kind of answer.
func TestErrorBody(t *testing.T) {
	h := newHarness(t, &gateway.Options{ServerHeader: "gate/1", ErrorBody: func(status int, message, accept string) (string, []byte) {
		switch {
		case accept == "panic/now":
			panic("a mistake")
		case accept == "control/now":
			return "text/x\r\nX-Evil: 1", []byte("evil")
		case accept == "none/now":
			return "", []byte("<b>none</b>")
		case accept == "empty/now":
			return "", nil
		}
		return "text/x-own", fmt.Appendf(nil, "%d %s %s", status, message, accept)
	}})
	dangling := route.Config{ID: "dangling", Hosts: []string{"a.test"}, Paths: []string{"/dangling"}, Upstream: "nobody"}
	_, err := h.gw.Apply(gateway.Change{AllowDangling: true, Put: gateway.Config{
		Profiles: []ssl.Config{h.profile("a", []string{"a.test"}), h.profile("m", []string{"mtls.test"}, h.people)},
		Routes: []route.Config{
			dangling,
			{ID: "refused", Hosts: []string{"a.test"}, Paths: []string{"/refused"}, Upstream: "refused"},
			{ID: "403", Hosts: []string{"a.test"}, Paths: []string{"/403"}, Upstream: "refused", RequireIdentity: true},
		},
		Upstreams: []upstream.Config{upstreamTo("refused", refusing(t))},
	}})
	require.NoError(t, err)
	for _, d := range h.doors() {
		client := h.client(d, "a.test")
		misdirected, message421 := 421, "421 "
		if !d.tls {
			misdirected, message421 = 403, "403 "
		}
		for _, c := range []struct {
			method, host, path, accept string
			status                     int
			contentType, body          string // "+" at its end: begins so
		}{
			{"GET", "a.test", "/none", "", 404, "text/x-own", "404 404 Route Not Found "},
			{"HEAD", "a.test", "/none", "", 404, "text/x-own", ""},
			{"GET", "a.test", "/none", "x/y", 404, "text/x-own", "404 404 Route Not Found x/y"},
			{"GET", "a.test", "/none", "panic/now", 404, "application/json", "{\"error_msg\":\"404 Route Not Found\"}\n"},
			{"GET", "a.test", "/none", "control/now", 404, "application/json", "{\"error_msg\":\"404 Route Not Found\"}\n"},
			{"GET", "a.test", "/none", "none/now", 404, "", "<b>none</b>"},
			{"GET", "a.test", "/none", "empty/now", 404, "", ""},
			{"GET", "a.test", "/%00", "", 400, "text/x-own", "400 +"},
			{"GET", "a.test", "/dangling", "", 502, "text/x-own", "502 the upstream of the route does not exist "},
			{"GET", "a.test", "/refused", "", 502, "text/x-own", "502 the upstream could not be reached "},
			{"GET", "a.test", "/403", "", 403, "text/x-own", "403 this is for clients with a verified certificate+"},
			{"GET", "mtls.test", "/", "", misdirected, "text/x-own", message421 + "+"},
		} {
			t.Run(fmt.Sprint(d.name, " ", c.method, " ", c.host, c.path, " ", c.accept), func(t *testing.T) {
				req, err := http.NewRequestWithContext(t.Context(), c.method, d.scheme()+"://a.test/", nil)
				require.NoError(t, err)
				req.URL, req.Host = rawURL(d.scheme(), "a.test", c.path), c.host
				if c.accept != "" {
					req.Header.Set("Accept", c.accept)
				}
				res, err := client.Do(req)
				require.NoError(t, err)
				defer res.Body.Close()
				body := readAll(t, res)
				require.Equal(t, c.status, res.StatusCode, body)
				if begin, ok := strings.CutSuffix(c.body, "+"); ok {
					require.True(t, strings.HasPrefix(body, begin), body)
				} else {
					require.Equal(t, c.body, body)
				}
				require.Equal(t, c.contentType, res.Header.Get("Content-Type"))
				require.Equal(t, []string{"nosniff"}, res.Header["X-Content-Type-Options"])
				require.Equal(t, []string{"Accept"}, res.Header["Vary"])
				require.Equal(t, []string{"gate/1"}, res.Header["Server"])
				require.Empty(t, res.Header["X-Evil"])
				if c.method != "HEAD" {
					require.EqualValues(t, len(body), res.ContentLength)
				}
			})
		}
	}
	require.Contains(t, h.log.String(), "a mistake")
	require.Contains(t, h.log.String(), "has a control character")

	// What is no request gets one too.
	c := h.raw(h.plain, "")
	c.write("GET / HTTP/1.1\r\nHost : x\r\n\r\n")
	res, body := c.answer("GET")
	require.Equal(t, 400, res.StatusCode)
	require.Equal(t, "gate/1", res.Header.Get("Server"))
	require.Equal(t, "text/x-own", res.Header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(body, "400 "), body)
}

// Whose name stands in Server.
func TestServerHeader(t *testing.T) {
	for _, name := range []string{"", "gate"} {
		h := newHarness(t, &gateway.Options{ServerHeader: name})
		silent := local("silent", "/silent", "ok")
		own := route.Config{ID: "own", Paths: []string{"/own"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", "mine")
		})}
		websocket := everything("ws", "1")
		websocket.Paths, websocket.WebSocket = []string{"/ws"}, true
		h.apply(gateway.Config{
			Profiles:  []ssl.Config{h.profile("a", []string{"a.test"})},
			Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
			Routes:    []route.Config{everything("1", "1"), silent, own, websocket},
		})
		server := func(s string) []string {
			if s == "" {
				return nil
			}
			return []string{s}
		}
		for _, d := range h.doors() {
			t.Run(fmt.Sprintf("%s name=%q", d.name, name), func(t *testing.T) {
				client := h.client(d, "a.test")
				get := func(path string) []string {
					res, err := client.Get(d.scheme() + "://a.test" + path)
					require.NoError(t, err)
					readAll(t, res)
					res.Body.Close()
					return res.Header["Server"]
				}
				h.origin.on(answering("HTTP/1.1 103 Early Hints\r\nLink: 1\r\n\r\nHTTP/1.1 200 OK\r\nSERVER: node\r\nContent-Length: 2\r\n\r\nok"))
				require.Equal(t, server(cmp.Or(name, "node")), get("/"))
				h.origin.on(answering(okAnswer))
				require.Equal(t, server(name), get("/"))
				require.Equal(t, server(name), get("/silent"))
				require.Equal(t, []string{"mine"}, get("/own"))
				if d.major == 1 {
					h.origin.on(func(v *visit) {
						v.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nServer: node\r\n\r\n")
						v.close = true
					})
					c := h.raw(d, "a.test")
					c.write("GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
					res, err := http.ReadResponse(c.r, nil)
					require.NoError(t, err)
					require.Equal(t, 101, res.StatusCode)
					require.Equal(t, server(cmp.Or(name, "node")), res.Header["Server"])
				}
			})
		}
	}
}

func readAll(t *testing.T, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body)
}
