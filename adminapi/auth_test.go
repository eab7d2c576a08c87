package adminapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
)

func TestNewRefusesOptions(t *testing.T) {
	key := adminapi.Key{Value: "a"}
	for _, test := range []struct {
		name string
		o    *adminapi.Options
		want []string // parts of the error; none if it is taken
	}{
		{"nil", nil, []string{"Options.Keys: has no key", "AllowUnauthenticated"}},
		{"no key", &adminapi.Options{}, []string{"Options.Keys: has no key"}},
		{"no key, allowed", &adminapi.Options{AllowUnauthenticated: true}, nil},
		{"a key", &adminapi.Options{Keys: []adminapi.Key{key}}, nil},
		{"a key, allowed", &adminapi.Options{Keys: []adminapi.Key{key}, AllowUnauthenticated: true}, nil},
		{"empty key", &adminapi.Options{Keys: []adminapi.Key{key, {}}}, []string{"Keys[1].Value: is empty"}},
		{"empty key, allowed", &adminapi.Options{Keys: []adminapi.Key{{}}, AllowUnauthenticated: true}, []string{"Keys[0].Value: is empty"}},
		{"line feed", &adminapi.Options{Keys: []adminapi.Key{{Value: "a\n"}}}, []string{"Keys[0].Value: begins or ends with white space"}},
		{"blank", &adminapi.Options{Keys: []adminapi.Key{{Value: " "}}}, []string{"Keys[0].Value"}},
		{"blanks around", &adminapi.Options{Keys: []adminapi.Key{{Value: " a"}, {Value: "b "}}}, []string{"Keys[0].Value", "Keys[1].Value"}},
		{"control character", &adminapi.Options{Keys: []adminapi.Key{{Value: "a\x00b"}, {Value: "a\x7f"}}}, []string{"Keys[0].Value", "Keys[1].Value"}},
		{"blank inside", &adminapi.Options{Keys: []adminapi.Key{{Value: "a b"}, {Value: "ü"}}}, nil},
		{"twice", &adminapi.Options{Keys: []adminapi.Key{key, {Value: "b"}, {Value: "a", Role: adminapi.RoleViewer}}}, []string{"Keys[2].Value: is that of Keys[0] too"}},
		{"no role", &adminapi.Options{Keys: []adminapi.Key{{Value: "a", Role: 2}, {Value: "b", Role: -1}}}, []string{"Keys[0].Role: 2 is no role", "Keys[1].Role: -1 is no role"}},
		{"all at once", &adminapi.Options{Keys: []adminapi.Key{{Role: 9}}}, []string{"Keys[0].Value: is empty", "Keys[0].Role: 9 is no role"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := adminapi.New(t.Context(), must(gateway.New(nil)), test.o)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.Nil(t, h)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	_, err := adminapi.New(t.Context(), nil, nil)
	require.ErrorContains(t, err, "adminapi: New: there is no server")
	require.ErrorContains(t, err, "Options.Keys: has no key")
}

// newHandler returns a handler that needs no network, and what it was given to
// store.
func newHandler(t testing.TB, o *adminapi.Options) (*adminapi.Handler, *recorder) {
	t.Helper()
	gw := must(gateway.New(nil))
	t.Cleanup(func() { gw.Close() })
	if o.Storage == nil {
		o.Storage = &adminapi.Memory{}
	}
	r := &recorder{Storage: o.Storage}
	o.Storage = r
	h, err := adminapi.New(t.Context(), gw, o)
	require.NoError(t, err)
	return h, r
}

// A recorder keeps the keys of all that is written.
type recorder struct {
	adminapi.Storage
	writes []string
}

func (r *recorder) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	for _, w := range writes {
		r.writes = append(r.writes, verb(w)+" "+w.Key)
	}
	return r.Storage.Commit(ctx, writes...)
}

// verb is what a write does.
func verb(w adminapi.Write) string {
	if w.Delete {
		return "delete"
	}
	return "save"
}

// save stores one record.
func save(ctx context.Context, s adminapi.Storage, key string, value []byte, prev int64) (adminapi.Record, error) {
	records, err := s.Commit(ctx, adminapi.Write{Key: key, Value: value, Prev: prev})
	if err != nil {
		return adminapi.Record{}, err
	}
	return records[0], nil
}

func serveOne(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

// Without keys, only a Host that cannot be another machine's name is answered.
func TestLoopbackHosts(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	for host, ok := range map[string]bool{
		"localhost":                           true,
		"localhost:9180":                      true,
		"LOCALHOST":                           true,
		"LocalHost:80":                        true,
		"localhost.":                          true,
		"127.0.0.1":                           true,
		"127.0.0.1:9180":                      true,
		"127.0.0.1:":                          true,
		"127.255.255.254":                     true,
		"127.0.0.1.":                          true, // an address to every browser
		"[::1]":                               true,
		"[::1]:9180":                          true,
		"[0:0:0:0:0:0:0:1]":                   true,
		"[::ffff:127.0.0.1]":                  true,
		"[::FFFF:7f00:1]:80":                  true,
		"":                                    false,
		".":                                   false,
		"0.0.0.0":                             false,
		"0.0.0.0:9180":                        false,
		"[::]":                                false,
		"[::ffff:0.0.0.0]":                    false,
		"[::ffff:10.0.0.1]":                   false,
		"::1":                                 false,
		"[::1":                                false,
		"[::1]x":                              false,
		"[::1%25lo]":                          false,
		"[::1]:80:80":                         false,
		"[127.0.0.1]":                         false,
		"127.1":                               false,
		"127.0.1":                             false,
		"2130706433":                          false,
		"0x7f.0.0.1":                          false,
		"0177.0.0.1":                          false,
		"127.0.0.01":                          false,
		"127.0.0.1.evil.example":              false,
		"127.0.0.1.nip.io":                    false,
		"localhost.evil.example":              false,
		"evil.example":                        false,
		"evil.example:80":                     false,
		"notlocalhost":                        false,
		"localhost..":                         false,
		"localhost:x":                         false,
		"localhost@evil.example":              false,
		"evil.example@localhost":              false,
		"localhost,evil.example":              false,
		"localhost evil":                      false,
		"localhost\x00":                       false,
		"localho\u017ft":                      false, // the same under Unicode case folding
		"10.0.0.1":                            false,
		"128.0.0.1":                           false,
		"192.168.0.1:9180":                    false,
		"xn--localhost":                       false,
		"localhost.localdomain":               false,
		strings.Repeat("a", 300) + ".example": false,
	} {
		r := httptest.NewRequest("GET", "/apisix/admin/routes", nil)
		r.Host = host
		rec := serveOne(h, r)
		if ok {
			require.Equal(t, 200, rec.Code, "%q", host)
			continue
		}
		require.Equal(t, 403, rec.Code, "%q", host)
		require.JSONEq(t, `{"error_msg":"without an API key, only requests for localhost or a loopback address are answered"}`, rec.Body.String())
	}

	// With keys, the Host does not matter: the key does.
	h, _ = newHandler(t, &adminapi.Options{Keys: []adminapi.Key{{Value: "k"}}, AllowUnauthenticated: true})
	r := httptest.NewRequest("GET", "/apisix/admin/routes", nil)
	r.Host = "localhost"
	require.Equal(t, 401, serveOne(h, r).Code)
	r.Host = "admin.example"
	r.Header.Set("X-API-KEY", "k")
	require.Equal(t, 200, serveOne(h, r).Code)
}

// Requests as browsers make them for pages.
func TestCrossOrigin(t *testing.T) {
	keyed, _ := newHandler(t, &adminapi.Options{Keys: []adminapi.Key{{Value: "k"}}})
	open, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	for _, test := range []struct {
		name, host, origin, site string
		keyed, open              int
	}{
		{"curl", "localhost:9180", "", "", 200, 200},
		{"the address bar", "localhost:9180", "", "none", 200, 200},
		{"a page of this server", "localhost:9180", "http://localhost:9180", "same-origin", 200, 200},
		{"an old browser, a page of this server", "localhost:9180", "http://localhost:9180", "", 200, 200},
		{"a page elsewhere", "localhost:9180", "https://evil.example", "cross-site", 403, 403},
		{"an old browser, a page elsewhere", "localhost:9180", "https://evil.example", "", 403, 403},
		{"a page on another port", "localhost:9180", "http://localhost:8080", "same-site", 403, 403},
		{"an old browser, another port", "localhost:9180", "http://localhost:8080", "", 403, 403},
		{"a file or a frame in a sandbox", "localhost:9180", "null", "", 403, 403},
		{"an image or a form", "127.0.0.1:9180", "", "cross-site", 403, 403},
		{"a lie about the site", "127.0.0.1:9180", "", "bogus", 403, 403},
		{"DNS rebinding", "evil.example:9180", "http://evil.example:9180", "same-origin", 200, 403},
		{"DNS rebinding, an old browser", "evil.example", "http://evil.example", "", 200, 403},
		{"DNS rebinding, an image", "evil.example", "", "same-origin", 200, 403},
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"} {
			for h, want := range map[http.Handler]int{keyed: test.keyed, open: test.open} {
				r := httptest.NewRequest(method, "/apisix/admin/routes", strings.NewReader(""))
				r.Host = test.host
				r.Header.Set("X-API-KEY", "k")
				if test.origin != "" {
					r.Header.Set("Origin", test.origin)
				}
				if test.site != "" {
					r.Header.Set("Sec-Fetch-Site", test.site)
				}
				code := serveOne(h, r).Code
				if want == 200 {
					require.NotEqual(t, 403, code, "%s: %s", test.name, method)
				} else {
					require.Equal(t, want, code, "%s: %s", test.name, method)
				}
			}
		}
	}
}

// Only the header brings a key, and only whole.
func TestKeys(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{Keys: []adminapi.Key{{Value: "first"}, {Value: "viewer", Role: adminapi.RoleViewer}, {Value: "last"}}})
	for _, test := range []struct {
		name  string
		bring func(*http.Request)
		want  string // description; "" if let in
	}{
		{"nothing", func(*http.Request) {}, "missing apikey"},
		{"empty", func(r *http.Request) { r.Header.Set("X-API-KEY", "") }, "missing apikey"},
		{"first", func(r *http.Request) { r.Header.Set("X-API-KEY", "first") }, ""},
		{"last", func(r *http.Request) { r.Header.Set("X-API-KEY", "last") }, ""},
		{"viewer", func(r *http.Request) { r.Header.Set("X-API-KEY", "viewer") }, ""},
		{"upper case", func(r *http.Request) { r.Header.Set("X-API-KEY", "FIRST") }, "wrong apikey"},
		{"the beginning", func(r *http.Request) { r.Header.Set("X-API-KEY", "firs") }, "wrong apikey"},
		{"more", func(r *http.Request) { r.Header.Set("X-API-KEY", "first ") }, "wrong apikey"},
		{"both", func(r *http.Request) { r.Header.Set("X-API-KEY", "first, last") }, "wrong apikey"},
		{"the redacted form", func(r *http.Request) { r.Header.Set("X-API-KEY", "[redacted]") }, "wrong apikey"},
		{"very long", func(r *http.Request) { r.Header.Set("X-API-KEY", strings.Repeat("first", 1<<16)) }, "wrong apikey"},
		{"Bearer", func(r *http.Request) { r.Header.Set("Authorization", "Bearer first") }, "missing apikey"},
		{"Basic", func(r *http.Request) { r.SetBasicAuth("first", "first") }, "missing apikey"},
		{"query", func(r *http.Request) { r.URL.RawQuery = "api_key=first&x-api-key=first" }, "missing apikey"},
		{"cookie", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "x_api_key", Value: "first"}) }, "missing apikey"},
		{"underscores", func(r *http.Request) { r.Header["X_API_KEY"] = []string{"first"} }, "missing apikey"},
		{"wrong and right", func(r *http.Request) { r.Header["X-Api-Key"] = []string{"wrong", "first"} }, "wrong apikey"},
	} {
		r := httptest.NewRequest("GET", "/apisix/admin/routes", nil)
		test.bring(r)
		rec := serveOne(h, r)
		if test.want == "" {
			require.Equal(t, 200, rec.Code, test.name)
			continue
		}
		require.Equal(t, 401, rec.Code, test.name)
		require.Equal(t, `{"description":"`+test.want+`","error_msg":"failed to check token"}`+"\n", rec.Body.String(), test.name)
	}
	// So many that a comparison of one byte of the hashes would let some in.
	for i := range 1 << 12 {
		r := &http.Request{Method: "HEAD", URL: &url.URL{Path: "/apisix/admin"}, Header: http.Header{"X-Api-Key": {fmt.Sprintf("wrong-%d", i)}}}
		require.Equal(t, 401, serveOne(h, r).Code)
	}
}

// A role is of a key, wherever in the list it stands.
func TestRolesAreOfTheKey(t *testing.T) {
	viewer := adminapi.Key{Value: "viewer", Role: adminapi.RoleViewer}
	for _, keys := range [][]adminapi.Key{
		{viewer, {Value: "a"}, {Value: "b"}},
		{{Value: "a"}, viewer, {Value: "b"}},
		{{Value: "a"}, {Value: "b"}, viewer},
	} {
		h, _ := newHandler(t, &adminapi.Options{Keys: keys})
		for key, want := range map[string]int{"viewer": 401, "a": 404, "b": 404} {
			r := httptest.NewRequest("DELETE", "/apisix/admin/routes/1", nil)
			r.Header.Set("X-API-KEY", key)
			require.Equal(t, want, serveOne(h, r).Code)
		}
	}
}

// targets are spellings of paths that somebody on the way might read as the path
// of a route.
var targets = []string{
	"/apisix/admin/routes/1", "/apisix/admin/routes/1/", "/apisix/admin/routes", "/apisix/admin/routes/",
	"/apisix/admin/routes/01", "/apisix/admin/routes/1.", "/apisix/admin/routes/1%20", "/apisix/admin/routes/1%00",
	"/apisix/admin//routes/1", "//apisix/admin/routes/1", "/apisix//admin/routes/1", "/apisix/admin/routes//1", "/apisix/admin/routes/1//",
	"/apisix/admin/routes%2f1", "/apisix/admin%2froutes/1", "/apisix%2fadmin/routes/1", "/apisix/admin/routes/%31", "/apisix/admin/%72outes/1",
	"/apisix/admin/routes/%2e%2e/routes/1", "/apisix/admin/routes/../routes/1", "/apisix/admin/./routes/1", "/apisix/admin/ssls/../routes/1",
	"/apisix/admin/x/../../admin/routes/1", "/../apisix/admin/routes/1", "/apisix/admin/routes/1/..", "/apisix/admin/routes/1/.",
	"/apisix/admin/routes;/1", "/apisix/admin/routes/1;x=y", "/apisix/admin/..;/admin/routes/1", "/apisix/admin/routes\\1", "/apisix/admin/routes%5c1",
	"/APISIX/admin/routes/1", "/apisix/ADMIN/routes/1", "/apisix/admin/Routes/1", "/apisix/admin/routes/1/methods", "/apisix/admin/routes/1/uri/",
	"/apisix/admin", "/apisix/admin/", "/apisix/admin-x/routes/1", "/apisix/adminroutes/1", "/apisix/admin.routes/1",
	"/apisix/admin/routes/1?method=GET", "/apisix/admin/routes/1?_method=PUT&X-HTTP-Method-Override=GET",
}

// A viewer writes nothing, however the path is written, and finds documents under
// their own path only.
func TestViewerAndPaths(t *testing.T) {
	h, stored := newHandler(t, &adminapi.Options{Keys: []adminapi.Key{{Value: "admin"}, {Value: "viewer", Role: adminapi.RoleViewer}}})
	send := func(key, method, target, body string) *httptest.ResponseRecorder {
		u, err := url.ParseRequestURI(target)
		require.NoError(t, err, target)
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL, r.RequestURI = u, target
		r.Header.Set("X-API-KEY", key)
		r.Header.Set("X-HTTP-Method-Override", "PUT")
		r.Header.Set("X-Original-URL", "/apisix/admin/routes/1")
		return serveOne(h, r)
	}
	const doc = `{"uri":"/1","upstream":{"nodes":{"127.0.0.1:1":1}}}`
	require.Equal(t, 201, send("admin", "PUT", "/apisix/admin/routes/1", doc).Code)
	require.Equal(t, []string{"save /routes/1"}, stored.writes)
	stored.writes = nil

	found := map[string]bool{
		"/apisix/admin/routes/1": true, "/apisix/admin/routes/1/": true,
		"/apisix/admin/routes": true, "/apisix/admin/routes/": true,
		"/apisix/admin/routes/1?method=GET": true, "/apisix/admin/routes/1?_method=PUT&X-HTTP-Method-Override=GET": true,
	}
	for _, target := range targets {
		for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "put", "CONNECT", "TRACE", "MOVE", "GETX"} {
			rec := send("viewer", method, target, doc)
			require.Equal(t, 401, rec.Code, "%s %s", method, target)
			require.Contains(t, rec.Body.String(), "invalid method for role viewer")
		}
		rec := send("viewer", "GET", target, "")
		if found[target] {
			require.Equal(t, 200, rec.Code, target)
			require.Contains(t, rec.Body.String(), "/apisix/routes/1", target)
		} else {
			require.Equal(t, 404, rec.Code, "%s: %s", target, rec.Body)
			require.NotContains(t, rec.Body.String(), "127.0.0.1", target)
		}
	}
	require.Empty(t, stored.writes)

	// An administrator who writes to such a path makes nothing that is found
	// under another, if anything at all.
	for _, target := range targets {
		for _, method := range []string{"PUT", "POST", "DELETE"} {
			stored.writes = nil
			rec := send("admin", method, target, doc)
			for _, write := range stored.writes {
				if found[target] || write == "save /gen_id" {
					continue
				}
				_, id, _ := strings.Cut(strings.TrimPrefix(write, "save "), "/routes/")
				require.Equal(t, "/apisix/admin/routes/"+id, strings.TrimSuffix(target, "/"), "%s: %d %s", method, rec.Code, write)
			}
		}
	}
}

// untouchable is a body that must not be read.
type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}
func (u untouchable) Close() error { return nil }

// Whoever is not let in has nothing done for him, not even his body read.
func TestNothingBeforeTheGate(t *testing.T) {
	h, stored := newHandler(t, &adminapi.Options{Keys: []adminapi.Key{{Value: "k"}, {Value: "viewer", Role: adminapi.RoleViewer}}})
	open, storedOpen := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	refused := []func(*http.Request) http.Handler{
		func(r *http.Request) http.Handler { return h },
		func(r *http.Request) http.Handler { r.Header.Set("X-API-KEY", "wrong"); return h },
		func(r *http.Request) http.Handler { r.Header.Set("X-API-KEY", "viewer"); return h },
		func(r *http.Request) http.Handler {
			r.Header.Set("X-API-KEY", "k")
			r.Header.Set("Origin", "null")
			return h
		},
		func(r *http.Request) http.Handler { r.Host = "evil.example"; return open },
	}
	for i, prepare := range refused {
		for _, method := range []string{"PUT", "POST", "DELETE", "PATCH"} {
			for _, path := range []string{"/apisix/admin/routes/1", "/apisix/admin/routes", "/apisix/admin/nothing", "/elsewhere"} {
				r := httptest.NewRequest(method, path, untouchable{t})
				r.ContentLength = 1 << 40
				handler := prepare(r)
				rec := serveOne(handler, r)
				require.Contains(t, []int{401, 403}, rec.Code, "%d: %s %s", i, method, path)
			}
		}
	}
	r := httptest.NewRequest("OPTIONS", "/apisix/admin/routes", untouchable{t})
	require.Equal(t, 200, serveOne(h, r).Code)
	require.Empty(t, stored.writes)
	require.Empty(t, storedOpen.writes)
}

// A refused request tells nothing of what is there.
func TestRefusalsAreAlike(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{Keys: []adminapi.Key{{Value: "k"}}})
	r := httptest.NewRequest("PUT", "/apisix/admin/routes/1", strings.NewReader(`{"uri":"/1","upstream":{"nodes":{}}}`))
	r.Header.Set("X-API-KEY", "k")
	require.Equal(t, 201, serveOne(h, r).Code)
	var first *httptest.ResponseRecorder
	for _, path := range []string{"/apisix/admin/routes/1", "/apisix/admin/routes/2", "/apisix/admin/routes", "/apisix/admin/nothing", "/"} {
		rec := serveOne(h, httptest.NewRequest("GET", path, nil))
		if first == nil {
			first = rec
		}
		require.Equal(t, first.Code, rec.Code)
		require.Equal(t, first.Body.String(), rec.Body.String())
		require.Equal(t, first.Header(), rec.Header())
	}
}

// Only the addresses that are allowed get an answer, whatever the headers say.
func TestAllowClients(t *testing.T) {
	h, stored := newHandler(t, &adminapi.Options{
		Keys:         []adminapi.Key{{Value: "k"}},
		AllowClients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24"), netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("2001:db8::/32")},
	})
	for remote, want := range map[string]int{
		"127.0.0.1:1": 200, "127.0.1.1:1": 403, "10.9.9.9:1": 200, "[::ffff:10.9.9.9]:1": 200, "11.0.0.1:1": 403,
		"[2001:db8::1]:1": 200, "[2001:db8::1%eth0]:1": 200, "[2001:db9::1]:1": 403, "[::1]:1": 403,
		"@": 403, "": 403, "127.0.0.1": 403, "localhost:1": 403,
	} {
		for _, method := range []string{"GET", "OPTIONS", "PUT"} {
			r := httptest.NewRequest(method, "http://a.test/apisix/admin/upstreams/1", strings.NewReader(`{"nodes":{}}`))
			r.RemoteAddr = remote
			r.Header.Set("X-API-KEY", "k")
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			r.Header.Set("X-Real-IP", "127.0.0.1")
			stored.writes = nil
			code := serveOne(h, r).Code
			if want == 403 {
				require.Equal(t, 403, code, "%s from %q", method, remote)
				require.Empty(t, stored.writes)
			} else {
				require.Contains(t, []int{200, 201, 404}, code, "%s from %q", method, remote)
			}
		}
	}
	_, err := adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{Keys: []adminapi.Key{{Value: "k"}}, AllowClients: make([]netip.Prefix, 2)})
	require.ErrorContains(t, err, "Options.AllowClients[1]: is no prefix")
}
