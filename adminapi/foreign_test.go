package adminapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// configure puts an object of each kind as a program does: the route "hello", the upstream
// "a", which the route "uses" uses, and the ssl object "s".
func (w *world) configure(gw *gateway.Server) {
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{ID: "s", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{w.pair}}},
		Routes: []route.Config{
			{ID: "hello", Paths: []string{"/hello"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })},
			{ID: "uses", Paths: []string{"/uses"}, Upstream: "a"},
		},
		Upstreams: []upstream.Config{{ID: "a"}},
	}})
	require.NoError(w.t, err)
}

// What the program has configured, the Admin API neither replaces nor deletes, whether it
// was there before it or not.
func TestForeign(t *testing.T) {
	w := newWorld(t, setup{})
	w.configure(w.gw)
	uri := encode(t, w.routeDoc("/other", 1))
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/routes/hello", uri, 409, "routes/hello is configured by the program, and can be changed by it alone"},
		{"PUT", "/routes", strings.Replace(uri, "{", `{"id":"hello",`, 1), 409, "routes/hello is configured"},
		{"PATCH", "/routes/hello", `{"desc":"x"}`, 409, "routes/hello is configured"},
		{"PATCH", "/routes/hello/desc", `"x"`, 409, "routes/hello is configured"},
		{"DELETE", "/routes/hello", "", 409, "routes/hello is configured"},
		{"DELETE", "/routes/hello?force=true", "", 409, "routes/hello is configured"},
		{"GET", "/routes/hello", "", 404, "Key not found"},
		{"PUT", "/upstreams/a", `{"nodes":{}}`, 409, "upstreams/a is configured"},
		{"DELETE", "/upstreams/a", "", 409, "upstreams/a is configured"},
		{"PUT", "/ssls/s", encode(t, w.sslDoc(w.pair2)), 409, "ssls/s is configured"},
		{"DELETE", "/ssls/s", "", 409, "ssls/s is configured"},
		{"POST", "/configs/validate", `{"routes":[` + strings.Replace(uri, "{", `{"id":"hello",`, 1) + `]}`, 400, `"error":"routes/hello is configured`},

		// As in APISIX, and with the reason beside.
		{"PUT", "/routes/1", `{"uri":"/","upstream_id":"a"}`, 400, `"error_msg":"failed to fetch upstream info by upstream id [a], response code: 404"`},
		{"PUT", "/routes/1", `{"uri":"/","upstream_id":"a"}`, 400, `"description":"upstreams/a is configured by the program`},

		// The same ids of other kinds, and other ids, are nobody's.
		{"PUT", "/upstreams/hello", `{"nodes":{}}`, 201, ""},
		{"PUT", "/services/hello", `{}`, 201, ""},
		{"PUT", "/routes/a", uri, 201, ""},
		{"PUT", "/routes/a", uri, 200, ""},
		{"DELETE", "/routes/a", "", 200, ""},
		{"DELETE", "/routes/b", "", 404, "Key not found"},
	} {
		a := w.do(c.method, "/apisix/admin"+c.path, c.body)
		require.Equal(t, c.status, a.status, "%s %s: %s", c.method, c.path, a.body)
		require.Contains(t, a.body, c.says, "%s %s", c.method, c.path)
	}

	// A whole configuration leaves it alone, and does not replace it.
	require.ErrorContains(t, w.load(map[string]any{"routes": list{w.routeDoc("/1", 1)}, "upstreams": list{map[string]any{"id": "a", "nodes": map[string]any{}}}}),
		`upstreams[0], id "a": upstreams/a is configured by the program`)
	require.NoError(t, w.load(map[string]any{}))
	a := w.doWith("PUT", "/apisix/admin/configs", "{}", "X-Digest", "empty")
	require.Equal(t, 202, a.status, a.body)
	require.Equal(t, []string{"hello", "uses"}, routeIDs(w.gw))
	_, body := ask(w.gw, "GET", "http://a.test/hello", "")
	require.Equal(t, "hello", body)
	require.NotNil(t, w.gw.Upstream("a"))
	require.NotNil(t, w.gw.Profiles().Get("s"))

	// The program gives it up.
	_, err := w.gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"hello"}}})
	require.NoError(t, err)
	require.Equal(t, 404, w.do("DELETE", "/apisix/admin/routes/hello", "").status)
	w.put("/routes/hello", w.routeDoc("/hello", 2))
	_, body = ask(w.gw, "GET", "http://a.test/hello", "")
	require.Equal(t, "origin 2: GET /hello", body)
}

func routeIDs(gw *gateway.Server) (ids []string) {
	for r := range gw.Routes().All() {
		ids = append(ids, r.ID())
	}
	return ids
}

// The id of a POST is none that the program has taken.
func TestForeignPost(t *testing.T) {
	w := newWorld(t, setup{})
	taken := fmt.Sprintf("%020d", 1)
	_, err := w.gw.Apply(gateway.Change{Put: gateway.Config{Upstreams: []upstream.Config{{ID: taken}}}})
	require.NoError(t, err)
	w.put("/upstreams/u", map[string]any{"nodes": map[string]any{}}) // so that there is a second try
	_, err = w.gw.Apply(gateway.Change{Put: gateway.Config{Upstreams: []upstream.Config{{ID: fmt.Sprintf("%020d", 2)}}}})
	require.NoError(t, err)
	a := w.do("POST", "/apisix/admin/upstreams", `{"nodes":{}}`)
	require.Equal(t, 201, a.status, a.body)
	require.Contains(t, a.body, fmt.Sprintf(`"key":"/apisix/upstreams/%020d"`, 3))
}

// What is stored when a Handler is made goes before what the program has configured.
func TestForeignStored(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/routes/hello", w.routeDoc("/hello", 1))
	gw := must(gateway.New(nil))
	t.Cleanup(func() { gw.Close() })
	w.configure(gw)
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: w.memory})
	require.NoError(t, err)
	_, body := ask(gw, "GET", "http://a.test/hello", "")
	require.Equal(t, "origin 1: GET /hello", body)
	status, _ := ask(h, "DELETE", "http://localhost/apisix/admin/routes/hello", "")
	require.Equal(t, 200, status)
	status, _ = ask(h, "DELETE", "http://localhost/apisix/admin/routes/uses", "")
	require.Equal(t, 409, status)
}

// So it is with a storage that is followed, also where what is stored only refuses.
func TestForeignStoredFollowed(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	s.write(t, "/routes/hello", `{"uri":"/hello","plugins":{"key-auth":{}}}`)
	s.write(t, "/routes/uses", encode(t, w.routeDoc("/uses", 1)))
	gw := must(gateway.New(nil))
	t.Cleanup(func() { gw.Close() })
	w.configure(gw)
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s})
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	m := &member{gw: gw, h: h}
	require.Contains(t, m.get("/hello"), "cannot be used")
	require.Equal(t, "origin 1: GET /uses", m.get("/uses"))
	require.Len(t, h.Status().Rejected, 1)
	s.write(t, "/routes/hello", encode(t, w.routeDoc("/hello", 2)))
	require.Equal(t, "origin 2: GET /hello", m.get("/hello"))
	s.write(t, "/upstreams/a", `{"nodes":{}}`)
	require.Len(t, h.Status().Rejected, 1, "what comes later is kept out")
}

// What others store under an id of the program is kept out, whatever is wrong with it
// besides, and when they delete it, what the program has stays.
func TestForeignFollowed(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	m := join(t, s)
	s.write(t, "/routes/1", encode(t, w.routeDoc("/1", 1)))
	w.configure(m.gw)
	for _, value := range []string{encode(t, w.routeDoc("/other", 1)), `{"uri":"/other","plugins":{"key-auth":{}}}`, "{", encode(t, w.routeDoc("/more", 1))} {
		s.write(t, "/routes/hello", value)
		rejected := m.h.Status().Rejected
		require.Len(t, rejected, 1)
		require.Equal(t, "/routes/hello", rejected[0].Key)
		require.False(t, rejected[0].LastGood)
		if value != "{" {
			require.EqualError(t, rejected[0].Err, "routes/hello is configured by the program, and can be changed by it alone")
		}
		require.Equal(t, "hello", m.get("/hello"), value)
	}
	status, body := m.do("PUT", "/routes/hello", encode(t, w.routeDoc("/other", 1)))
	require.Equal(t, 409, status, body)
	s.remove(t, "/routes/hello")
	require.Empty(t, m.h.Status().Rejected)
	require.Equal(t, "hello", m.get("/hello"))

	// Whoever has stored it can delete it here.
	s.write(t, "/upstreams/a", `{"nodes":{}}`)
	require.Len(t, m.h.Status().Rejected, 1)
	status, body = m.do("DELETE", "/upstreams/a", "")
	require.Equal(t, 200, status, body)
	s.settle()
	require.Empty(t, m.h.Status().Rejected)
	require.NotNil(t, m.gw.Upstream("a"))
	status, _ = m.do("DELETE", "/upstreams/a", "")
	require.Equal(t, 409, status)

	// What refuses in the place of a document is not the program's.
	s.write(t, "/routes/bad", `{"uri":"/bad","plugins":{"key-auth":{}}}`)
	require.Contains(t, m.get("/bad"), "cannot be used")
	s.write(t, "/routes/bad", "{")
	require.Contains(t, m.get("/bad"), "cannot be used")
	s.write(t, "/routes/bad", encode(t, w.routeDoc("/bad", 2)))
	require.Equal(t, "origin 2: GET /bad", m.get("/bad"))
	require.Equal(t, "origin 1: GET /1", m.get("/1"))
}
