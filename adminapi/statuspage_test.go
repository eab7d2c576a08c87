package adminapi_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// pageRequest asks for the status page. The header comes in pairs.
func pageRequest(query string, header ...string) *http.Request {
	r := httptest.NewRequest("GET", "http://localhost/status"+query, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// reportOf returns what the status page of a world says as JSON.
func (w *world) reportOf(query string) *statuspage.Report {
	w.t.Helper()
	rec := serveOne(w.handler.StatusPage(), pageRequest(query, "X-API-KEY", w.key, "Accept", "application/json"))
	require.Equal(w.t, 200, rec.Code, rec.Body.String())
	require.Equal(w.t, "application/json", rec.Header().Get("Content-Type"))
	d := json.NewDecoder(rec.Body)
	d.DisallowUnknownFields()
	var r statuspage.Report
	require.NoError(w.t, d.Decode(&r))
	return &r
}

// htmlOf returns what it says to people.
func (w *world) htmlOf(query string) string {
	w.t.Helper()
	rec := serveOne(w.handler.StatusPage(), pageRequest(query, "X-API-KEY", w.key))
	require.Equal(w.t, 200, rec.Code, rec.Body.String())
	require.Equal(w.t, "text/html; charset=utf-8", rec.Header().Get("Content-Type"))
	return rec.Body.String()
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// Who gets to see the page.
func TestStatusPageLetsIn(t *testing.T) {
	keyed := &adminapi.Options{Keys: []adminapi.Key{{Value: "admin:ü key"}, {Value: "viewer", Role: adminapi.RoleViewer}}}
	auth := func(user, password string) []string { return []string{"Authorization", basic(user, password)} }
	for name, test := range map[string]struct {
		o      *adminapi.Options
		method string
		host   string
		query  string
		header []string
		want   int
	}{
		"no key":                {o: keyed, want: 401},
		"header":                {o: keyed, header: []string{"X-API-KEY", "viewer"}, want: 200},
		"wrong header":          {o: keyed, header: []string{"X-API-KEY", "x"}, want: 401},
		"password":              {o: keyed, header: auth("anyone", "admin:ü key"), want: 200},
		"password, no name":     {o: keyed, header: auth("", "viewer"), want: 200},
		"wrong password":        {o: keyed, header: auth("viewer", "x"), want: 401},
		"no password":           {o: keyed, header: auth("viewer", ""), want: 401},
		"wrong header counts":   {o: keyed, header: append(auth("", "viewer"), "X-API-KEY", "x"), want: 401},
		"a bearer":              {o: keyed, header: []string{"Authorization", "Bearer viewer"}, want: 401},
		"in the query":          {o: keyed, query: "?api_key=viewer", want: 401},
		"in a cookie":           {o: keyed, header: []string{"Cookie", "x_api_key=viewer"}, want: 401},
		"HEAD":                  {o: keyed, method: "HEAD", header: auth("", "viewer"), want: 200},
		"POST":                  {o: keyed, method: "POST", header: auth("", "admin:ü key"), want: 405},
		"POST of a viewer":      {o: keyed, method: "POST", header: auth("", "viewer"), want: 401},
		"OPTIONS":               {o: keyed, method: "OPTIONS", want: 401},
		"a link elsewhere":      {o: keyed, header: append(auth("", "viewer"), "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), want: 200},
		"typed in":              {o: keyed, header: append(auth("", "viewer"), "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), want: 200},
		"its own script":        {o: keyed, header: append(auth("", "viewer"), "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), want: 200},
		"a script elsewhere":    {o: keyed, header: append(auth("", "viewer"), "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty"), want: 403},
		"an image elsewhere":    {o: keyed, header: append(auth("", "viewer"), "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"), want: 403},
		"a frame elsewhere":     {o: keyed, header: append(auth("", "viewer"), "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), want: 403},
		"another origin":        {o: keyed, header: append(auth("", "viewer"), "Origin", "http://evil.example"), want: 403},
		"keyless":               {o: &adminapi.Options{AllowUnauthenticated: true}, want: 200},
		"keyless, another name": {o: &adminapi.Options{AllowUnauthenticated: true}, host: "evil.example", want: 403},
		"headless":              {o: &adminapi.Options{Headless: true}, want: 403},
		"headless, keyless":     {o: &adminapi.Options{Headless: true, AllowUnauthenticated: true}, want: 200},
		"headless, no key":      {o: &adminapi.Options{Headless: true, Keys: keyed.Keys}, want: 401},
		"headless, keyed":       {o: &adminapi.Options{Headless: true, Keys: keyed.Keys}, header: auth("", "viewer"), want: 200},
		"another address":       {o: &adminapi.Options{Keys: keyed.Keys, AllowClients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, header: auth("", "viewer"), want: 403},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHandler(t, test.o)
			r := pageRequest(test.query, test.header...)
			if test.method != "" {
				r.Method = test.method
			}
			if test.host != "" {
				r.Host = test.host
			}
			rec := serveOne(h.StatusPage(), r)
			require.Equal(t, test.want, rec.Code, rec.Body.String())
			require.Equal(t, test.want == 401, rec.Header().Get("WWW-Authenticate") != "")
			require.Equal(t, test.want == 405, rec.Header().Get("Allow") != "")
			if test.want != 200 {
				require.NotContains(t, rec.Body.String(), "<")
				require.Equal(t, "text/plain; charset=utf-8", rec.Header().Get("Content-Type"))
			}
			// What a browser adds by itself opens the page alone.
			r = httptest.NewRequest("GET", "http://localhost/apisix/admin/routes", nil)
			r.Header.Set("Authorization", basic("", "viewer"))
			if len(test.o.Keys) > 0 {
				require.Contains(t, []int{401, 403}, serveOne(h, r).Code)
			}
		})
	}
}

// A browser is asked for the key with the first request, and nobody has done wrong by then.
func TestStatusPageLogsFailures(t *testing.T) {
	w := newWorld(t, setup{})
	serveOne(w.handler.StatusPage(), pageRequest(""))
	require.NotContains(t, w.logs.String(), "status page")
	serveOne(w.handler.StatusPage(), pageRequest("", "Authorization", basic("", "guessed")))
	require.Contains(t, w.logs.String(), "wrong apikey")
	require.NotContains(t, w.logs.String(), "guessed")
}

// Whatever it answers, nothing keeps it, frames it, guesses what it is, or is told where
// somebody came from.
func TestStatusPageHeader(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{Keys: []adminapi.Key{{Value: "k"}}})
	for _, header := range [][]string{nil, {"X-API-KEY", "k"}, {"X-API-KEY", "k", "Accept", "application/json"}, {"Accept", "application/json"}} {
		got := serveOne(h.StatusPage(), pageRequest("", header...)).Header()
		for name, want := range map[string]string{
			"Cache-Control":                "no-store",
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Vary":                         "Accept",
			"Access-Control-Allow-Origin":  "",
			"Set-Cookie":                   "",
		} {
			require.Equal(t, want, got.Get(name), name)
		}
		policy := got.Get("Content-Security-Policy")
		require.True(t, strings.HasPrefix(policy, "default-src 'none'; "), policy)
		require.Contains(t, policy, "frame-ancestors 'none'")
		require.NotContains(t, policy, "unsafe")
	}
}

// Who gets which form.
func TestStatusPageForms(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	for accept, want := range map[string]string{
		"":                            "text/html; charset=utf-8",
		"*/*":                         "text/html; charset=utf-8",
		"application/json":            "application/json",
		"application/json, */*;q=0.5": "application/json",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html; charset=utf-8",
	} {
		for query, status := range map[string]int{"": 200, "?page_size=1": 400} {
			rec := serveOne(h.StatusPage(), pageRequest(query, "Accept", accept))
			require.Equal(t, status, rec.Code)
			if status == 400 && want != "application/json" {
				require.Equal(t, "text/plain; charset=utf-8", rec.Header().Get("Content-Type"))
				require.Equal(t, "page_size must be a number from 10 to 500\n", rec.Body.String())
				continue
			}
			require.Equal(t, want, rec.Header().Get("Content-Type"))
		}
	}
	head := pageRequest("")
	head.Method = "HEAD"
	require.Empty(t, serveOne(h.StatusPage(), head).Body.String())
}

// The names of members are what programs rely on.
func TestStatusPageMembers(t *testing.T) {
	var list func(typ reflect.Type, path string) []string
	list = func(typ reflect.Type, path string) (all []string) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			return list(typ.Elem(), path)
		case reflect.Struct:
			if typ == reflect.TypeFor[time.Time]() {
				return []string{path}
			}
			for field := range typ.Fields() {
				if field.Anonymous {
					all = append(all, list(field.Type, path)...)
					continue
				}
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				require.NotEmpty(t, name, "%v.%s", typ, field.Name)
				all = append(all, list(field.Type, strings.TrimPrefix(path+"."+name, "."))...)
			}
			return all
		}
		return []string{path}
	}
	members := list(reflect.TypeFor[statuspage.Report](), "")
	slices.Sort(members)
	require.Equal(t, strings.Fields(read(t, "testdata/statuspage.txt")), members)
}

// What is configured is there, and what is empty is a list all the same.
func TestStatusPageObjects(t *testing.T) {
	w := newWorld(t, setup{})
	doc := w.sslDoc(w.pair)
	doc["client"] = map[string]any{"ca": string(w.people.PEM()), "depth": 2, "skip_mtls_uri_regex": []any{"^/open/"}}
	doc["snis"] = []any{"a.test", "*.a.test"}
	delete(doc, "sni")
	w.put("/ssls/1", doc)
	w.put("/upstreams/u", map[string]any{"scheme": "https", "type": "chash", "key": "uri", "nodes": map[string]any{w.origins[0]: 3}})
	w.put("/routes/1", map[string]any{"uri": "/1", "hosts": []any{"A.test"}, "methods": []any{"GET"}, "priority": 7, "upstream_id": "u"})
	w.put("/routes/2", map[string]any{"uris": []any{"/2", "/3/*"}, "status": 0, "upstream_id": "u"})

	r := w.reportOf("")
	require.Equal(t, statuspage.Configuration{
		Revision: r.Configuration.Revision, Changed: r.Configuration.Changed, Names: 1, Routes: 2, Upstreams: 1,
		Storage: statuspage.Storage{Kind: "memory", Rejected: []statuspage.Rejected{}, Files: []statuspage.File{}},
	}, r.Configuration)

	require.Len(t, r.Names.List, 1)
	name := r.Names.List[0]
	require.Equal(t, []string{"a.test", "*.a.test"}, name.Names)
	require.Equal(t, &statuspage.Client{SkipPaths: []string{"^/open/"}, Depth: 2, CAs: []string{"CN=people"}, CRLs: []statuspage.CRL{}}, name.Client)
	require.Len(t, name.Certificates, 1)
	leaf := name.Certificates[0]
	require.Equal(t, []string{"CN=servers", "ECDSA P-256", statuspage.Valid}, []string{leaf.Issuer, leaf.Key, leaf.State})
	require.Len(t, leaf.SHA256, 64)

	ids := []string{r.Routes.List[0].ID, r.Routes.List[1].ID}
	require.Equal(t, []string{"1", "2"}, ids)
	first := r.Routes.List[0]
	require.Equal(t, []any{[]string{"a.test"}, []string{"/1"}, []string{"GET"}, 7, "u"}, []any{first.Hosts, first.Paths, first.Methods, first.Priority, first.Upstream})
	require.True(t, r.Routes.List[1].Disabled)

	require.Len(t, r.Upstreams.List, 1)
	up := r.Upstreams.List[0]
	require.Equal(t, []string{"u", "https", "chash"}, []string{up.ID, up.Scheme, up.Balancer})
	require.Equal(t, []string{"tls.verify: the certificates of its nodes are not verified: whoever sits between reads and changes everything"}, up.Warnings)
	require.Equal(t, []statuspage.Node{{Address: w.origins[0], Weight: 3, Health: "healthy"}}, up.Nodes)

	page := w.htmlOf("")
	for _, want := range []string{"a.test", "CN=people", "required but for some paths", "^/open/", "/3/*", w.origins[0], "not verified", "ECDSA P-256"} {
		require.Contains(t, page, want)
	}

	// Nothing is null where a list should be.
	rec := serveOne(newEmptyPage(t), pageRequest("", "Accept", "application/json"))
	require.NotContains(t, rec.Body.String(), "null")
}

func newEmptyPage(t testing.TB) http.Handler {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	return h.StatusPage()
}

// A warning is told of the property that the document has.
func TestStatusPageWarnings(t *testing.T) {
	w := newWorld(t, setup{})
	doc := w.sslDoc(w.pair)
	doc["sni"] = "127.0.0.1"
	w.put("/ssls/1", doc)
	w.put("/upstreams/u", map[string]any{"nodes": map[string]any{w.origins[0]: 3}, "retry_timeout": 1e-6})
	w.put("/routes/1", map[string]any{"uri": "/1/{id}", "upstream_id": "u"})
	w.put("/routes/2", map[string]any{"uris": []any{"/2", "/2/{id}"}, "upstream_id": "u"})
	w.put("/services/s", map[string]any{"plugins": map[string]any{"proxy-rewrite": map[string]any{"headers": map[string]any{"X-A": "$nobody"}}}})
	w.put("/routes/3", map[string]any{"uri": "/3", "service_id": "s", "upstream": map[string]any{"nodes": map[string]any{w.origins[0]: 3, w.origins[1]: 0}, "retry_timeout": 1e-6}})

	r := w.reportOf("")
	begin := func(warnings []string) (begins []string) {
		for _, text := range warnings {
			begins = append(begins, strings.Join(strings.Fields(text)[:4], " "))
		}
		return begins
	}
	require.Equal(t, []string{"cert: the certificate (CN=a.test)"}, begin(r.Names.List[0].Warnings))
	require.Equal(t, []string{`uri: the path "/1/{id}"`}, begin(r.Routes.List[0].Warnings))
	require.Equal(t, []string{`uris[1]: the path "/2/{id}"`}, begin(r.Routes.List[1].Warnings))
	require.Equal(t, []string{`service "s": plugins.proxy-rewrite.headers: "nobody"`}, begin(r.Routes.List[2].Warnings))
	require.Equal(t, []string{"upstream.retry_timeout: is 1µs (1e-06"}, begin(r.Upstreams.List[0].Warnings))
	require.Equal(t, []string{"retry_timeout: is 1µs (1e-06"}, begin(r.Upstreams.List[1].Warnings))
}

// Lists come in parts, a filter looks at all of them, and what is beyond the end is the last.
func TestStatusPageLists(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true})
	require.NoError(t, err)
	ca := ssltest.NewCA(t, "servers")
	var c gateway.Change
	c.AllowDangling = true
	for i := range 45 {
		id := fmt.Sprintf("%02d", i)
		c.Put.Routes = append(c.Put.Routes, route.Config{ID: "r" + id, Hosts: []string{"Host" + id + ".test"}, Paths: []string{"/Path/" + id}, Upstream: "up" + id})
	}
	for i := range 15 { // the last ends first
		id := fmt.Sprintf("%02d", i)
		c.Put.Profiles = append(c.Put.Profiles, ssl.Config{
			ID: "s" + id, Names: []string{"name" + id + ".test"},
			Certificates: []ssl.KeyPair{ca.ServerWith([]string{"name" + id + ".test"}, ssltest.Until(time.Now().Add(time.Duration(100-i)*24*time.Hour)))},
		})
	}
	_, err = gw.Apply(c)
	require.NoError(t, err)
	report := func(query string) *statuspage.Report {
		rec := serveOne(h.StatusPage(), pageRequest(query, "Accept", "application/json"))
		require.Equal(t, 200, rec.Code, rec.Body.String())
		var r statuspage.Report
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &r))
		return &r
	}
	type part struct {
		total, matching, page, pages int
		first, last                  string
	}
	routes := func(query string) part {
		l := report(query).Routes
		p := part{l.Total, l.Matching, l.Page, l.Pages, "", ""}
		if len(l.List) > 0 {
			p.first, p.last = l.List[0].ID, l.List[len(l.List)-1].ID
		}
		return p
	}
	for query, want := range map[string]part{
		"":                             {45, 45, 1, 3, "r00", "r19"},
		"?routes_page=3":               {45, 45, 3, 3, "r40", "r44"},
		"?routes_page=9":               {45, 45, 3, 3, "r40", "r44"},
		"?page_size=45":                {45, 45, 1, 1, "r00", "r44"},
		"?page_size=10&routes_page=2":  {45, 45, 2, 5, "r10", "r19"},
		"?routes=R1":                   {45, 10, 1, 1, "r10", "r19"},
		"?routes=host44":               {45, 1, 1, 1, "r44", "r44"},
		"?routes=%20path/3":            {45, 10, 1, 1, "r30", "r39"},
		"?routes=up4":                  {45, 5, 1, 1, "r40", "r44"},
		"?routes=nothing":              {45, 0, 1, 1, "", ""},
		"?routes=test&routes_page=2":   {45, 45, 2, 3, "r20", "r39"},
		"?routes_sort=id&page_size=10": {45, 45, 1, 5, "r00", "r09"},
	} {
		require.Equal(t, want, routes(query), query)
	}
	names := report("").Names
	require.Equal(t, 15, len(names.List))
	require.Equal(t, "s14", names.List[0].ID)
	require.Equal(t, "s00", names.List[14].ID)
	require.Equal(t, 1, report("?names=NAME03").Names.Matching)
	require.Equal(t, 15, report("?names=cn%3Dservers").Names.Matching)
	rec := serveOne(h.StatusPage(), pageRequest(""))
	require.Contains(t, rec.Body.String(), "45 routes, of which 25 are not shown here.")
}

// Routes come in the order that is asked for: by what went through them, by what failed, and
// otherwise by id.
func TestStatusPageSortsRoutes(t *testing.T) {
	w := newWorld(t, setup{})
	for i := range 4 {
		w.put(fmt.Sprintf("/routes/%d", i), w.routeDoc(fmt.Sprintf("/%d", i), 1))
	}
	w.put("/routes/3", map[string]any{"uri": "/3", "upstream": map[string]any{"nodes": map[string]any{}}}) // 503
	for path, n := range map[string]int{"/1": 2, "/2": 5, "/3": 3} {
		for range n {
			serveOne(w.gw, httptest.NewRequest("GET", "http://a.test"+path, nil))
		}
	}
	for query, want := range map[string]string{"": "2310", "?routes_sort=errors": "3012", "?routes_sort=id": "0123"} {
		var got string
		for _, r := range w.reportOf(query).Routes.List {
			got += r.ID
		}
		require.Equal(t, want, got, query)
	}
	list := w.reportOf("").Routes.List
	require.Equal(t, 1.0, list[1].ErrorShare)
	require.Equal(t, statuspage.Answers{ServerError: 3}, list[1].LastHour)
	require.EqualValues(t, 5, list[0].Answers.Success)
	require.Contains(t, w.htmlOf("?routes_sort=errors"), `<b aria-current="true">errors</b>`)
}

// The form explains as POST /explain does.
func TestStatusPageExplains(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/ssls/1", w.sslDoc(w.pair))
	w.put("/routes/canary", map[string]any{"uri": "/1", "vars": []any{[]any{"http_x_canary", "==", "1, 2"}}, "remote_addr": "192.0.2.0/24", "methods": []any{"POST"}, "upstream": w.upstreamDoc(2)})
	w.put("/routes/plain", w.routeDoc("/1", 1))
	asked := url.Values{
		"url": {"https://a.test/1"}, "method": {" POST "}, "client": {"192.0.2.9"}, "sni": {"b.a.test"},
		"header": {"X-Canary: 1\r\n\r\nx-canary:2\r\nAccept: */*"},
	}
	r := w.reportOf("?" + asked.Encode())
	require.Equal(t, "canary", r.Explain["route"])
	want := w.do("POST", "/apisix/admin/explain", `{"url":"https://a.test/1","method":"POST","client":"192.0.2.9","sni":"b.a.test","header":{"X-Canary":"1, 2"}}`)
	require.JSONEq(t, want.body, encode(t, r.Explain))
	page := w.htmlOf("?" + asked.Encode())
	require.Contains(t, page, "It goes to the route <b><bdi>canary</bdi></b> and the upstream")
	require.Contains(t, page, `value="https://a.test/1"`)

	asked.Set("header", "no colon")
	require.Equal(t, map[string]any{"error_msg": "header should have a field in each line", "description": `as in "X-Canary: 1"`}, w.reportOf("?"+asked.Encode()).Explain)
	require.Contains(t, w.htmlOf("?"+asked.Encode()), "header should have a field in each line: as in &#34;X-Canary: 1&#34;")
	require.Contains(t, w.htmlOf("?url=a.test"), "url should be a whole one")
	require.Contains(t, w.htmlOf("?url=http://a.test/none"), "No route takes it. No route fits: the answer is 404.")
	require.Nil(t, w.reportOf("").Explain)
}

// What somebody should look at stands on top.
func TestStatusPageConcerns(t *testing.T) {
	w := newWorld(t, setup{})
	require.Empty(t, w.reportOf("").Concerns)
	ca := ssltest.NewCA(t, "servers")
	life := func(from, to time.Duration) ssl.KeyPair {
		return ca.ServerWith([]string{"a.test", "b.test", "c.test", "d.test", "e.test"}, ssltest.Until(time.Now().Add(to)), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(from) })
	}
	const day = 24 * time.Hour
	_, err := w.gw.Apply(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{
		{ID: "ended", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{life(-90*day, -day)}},
		{ID: "soon", Names: []string{"b.test"}, Certificates: []ssl.KeyPair{life(-90*day, 300*day), life(-80*day, 10*day)}},
		{ID: "short", Names: []string{"c.test"}, Certificates: []ssl.KeyPair{life(-day, 6*day)}}, // meant to be
		{ID: "early", Names: []string{"d.test"}, Certificates: []ssl.KeyPair{life(day, 300*day)}},
		{ID: "odd", Names: []string{"other.example"}, Certificates: []ssl.KeyPair{life(-day, 300*day)}},
		{ID: "stale", Names: []string{"e.test"}, Certificates: []ssl.KeyPair{life(-day, 300*day)}, Client: &ssl.ClientAuth{CAPEM: w.people.PEM(), CRLs: [][]byte{w.people.CRL(time.Now().Add(-time.Hour))}}},
	}}})
	require.NoError(t, err)
	require.Equal(t, []statuspage.Concern{
		{Section: "names", Text: "A certificate has ended: ssl ended."},
		{Section: "names", Text: "A certificate ends soon: ssl soon."},
		{Section: "names", Text: "A certificate is not valid yet: ssl early."},
		{Section: "names", Text: "A revocation list is past its next update: ssl stale."},
		{Section: "names", Text: "Does not work the way it may seem to: ssl odd."},
	}, w.reportOf("").Concerns)
	states := map[string]string{}
	for _, n := range w.reportOf("").Names.List {
		states[n.ID] = n.Certificates[len(n.Certificates)-1].State
	}
	require.Equal(t, map[string]string{
		"ended": statuspage.Ended, "soon": statuspage.EndsSoon, "short": statuspage.Valid, "early": statuspage.NotYetValid, "odd": statuspage.Valid, "stale": statuspage.Valid,
	}, states)
}

// A file that is not taken, and stored documents that are not in force, are told.
func TestStatusPageStorage(t *testing.T) {
	w := newWorld(t, setup{})
	path := filepath.Join(t.TempDir(), "apisix.json")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(`{"routes":[{"uri":"/1","upstream":{"nodes":{}}}]}`)
	watcher, err := w.handler.WatchFile(path, &adminapi.WatchFileOptions{Interval: time.Hour})
	require.NoError(t, err)
	require.Equal(t, []statuspage.File{{Path: path}}, w.reportOf("").Configuration.Storage.Files)
	write(`{"routes":[{"uri":"1","upstream":{"nodes":{}}}]}  `)
	require.Error(t, watcher.Check())
	r := w.reportOf("")
	file := r.Configuration.Storage.Files[0]
	require.Contains(t, file.Error, "routes")
	require.Equal(t, int64(began), file.Since.Unix())
	require.Equal(t, []statuspage.Concern{{Section: "configuration", Text: "The file " + path + " is not taken as it is now: the last good configuration goes on."}}, r.Concerns)
	require.Contains(t, w.htmlOf(""), "not taken, ")
	w.now.Add(10)
	require.Error(t, watcher.Check())
	require.Equal(t, file, w.reportOf("").Configuration.Storage.Files[0])
	write(`{"routes":[{"uri":"/2","upstream":{"nodes":{}}}]}   `)
	require.NoError(t, watcher.Check())
	require.Empty(t, w.reportOf("").Concerns)
	watcher.Close()
	require.Empty(t, w.reportOf("").Configuration.Storage.Files)
}

// How a gateway of a fleet stands to the storage of the fleet, is told.
func TestStatusPageFollowed(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	s.write(t, "/routes/1", encode(t, w.routeDoc("/1", 1)))
	m := join(t, s)
	s.write(t, "/routes/1", `{"uri":"/","plugins":{"limit-count":{}}}`)
	s.write(t, "/routes/2", "{")
	s.tell(adminapi.Update{Err: errors.New("no leader")})
	s.settle()
	ask := func(accept string) string {
		rec := serveOne(m.h.StatusPage(), pageRequest("", "X-API-KEY", adminKey, "Accept", accept))
		require.Equal(t, 200, rec.Code, rec.Body.String())
		return rec.Body.String()
	}
	var r statuspage.Report
	require.NoError(t, json.Unmarshal([]byte(ask("application/json")), &r))
	storage := r.Configuration.Storage
	require.Equal(t, []any{true, int64(3), "no leader"}, []any{storage.Followed, storage.Revision, storage.Error})
	require.False(t, storage.Since.IsZero())
	require.Len(t, storage.Rejected, 2)
	require.Equal(t, []any{"/routes/1", true, "/routes/2", false}, []any{storage.Rejected[0].Key, storage.Rejected[0].LastGood, storage.Rejected[1].Key, storage.Rejected[1].LastGood})
	require.Equal(t, []statuspage.Concern{
		{Section: "configuration", Text: "The storage is out of reach: the last good configuration goes on, and nothing can be changed."},
		{Section: "configuration", Text: "Stored and not in force: /routes/1, /routes/2."},
	}, r.Concerns)
	require.Contains(t, ask("text/html"), "followed up to revision 3")
}

// While objects come and go, each page is whole: what is gone is missing, and nothing else.
func TestStatusPageWhileThingsChange(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/routes/stays", w.routeDoc("/stays", 1))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				for _, accept := range []string{"text/html", "application/json"} {
					rec := serveOne(w.handler.StatusPage(), pageRequest("?routes=stays", "X-API-KEY", w.key, "Accept", accept))
					if rec.Code != 200 || !strings.Contains(rec.Body.String(), "/stays") {
						t.Errorf("%d %s", rec.Code, rec.Body)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 30 {
		w.put("/ssls/1", w.sslDoc(w.pair))
		w.put("/routes/1", w.routeDoc("/1", 1))
		serveOne(w.gw, httptest.NewRequest("GET", "http://a.test/1", nil))
		require.Equal(t, 200, w.do("DELETE", "/apisix/admin/routes/1", "").status)
		require.Equal(t, 200, w.do("DELETE", "/apisix/admin/ssls/1", "").status)
	}
	close(done)
	readers.Wait()
}

// No private key is in any form of the page, also not where somebody asks with one.
func TestStatusPageShowsNoKey(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/ssls/1", w.sslDoc(w.pair))
	w.put("/upstreams/u", map[string]any{
		"scheme": "https", "nodes": map[string]any{w.origins[0]: 1},
		"tls": map[string]any{"client_cert": string(w.pair2.CertPEM), "client_key": string([]byte(w.pair2.KeyPEM))},
	})
	// GET does not show it here either.
	misplaced := strings.ReplaceAll(string([]byte(w.pair.KeyPEM)), "//", "/")
	w.put("/routes/1", map[string]any{"uri": "/*" + misplaced, "upstream_id": "u"})
	w.put("/routes/2", map[string]any{"uri": "/" + misplaced + "/:x", "upstream_id": "u"})
	for _, accept := range []string{"text/html", "application/json"} {
		rec := serveOne(w.handler.StatusPage(), pageRequest("?url=http://a.test/", "X-API-KEY", w.key, "Accept", accept))
		require.Equal(t, 200, rec.Code)
		require.Contains(t, rec.Body.String(), "passed over")
		require.Empty(t, leak(rec.Body.String(), w.pair.KeyPEM, w.pair2.KeyPEM))
		for _, name := range []string{"names", "url", "header", "sni"} {
			rec = serveOne(w.handler.StatusPage(), pageRequest("?"+url.Values{name: {string([]byte(w.pair.KeyPEM))}}.Encode(), "X-API-KEY", w.key, "Accept", accept))
			require.Equal(t, 400, rec.Code)
			require.Empty(t, leak(rec.Body.String(), w.pair.KeyPEM))
		}
	}
}

// In JSON, what a client has sent can be nothing but a string, wherever the answer is put.
func TestStatusPageEscapesJSON(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/routes/1", map[string]any{"uri": `/</script><img src=x onerror=alert(1)>"'&*`, "upstream": w.upstreamDoc(1)})
	rec := serveOne(w.handler.StatusPage(), pageRequest("", "X-API-KEY", w.key, "Accept", "application/json"))
	require.False(t, bytes.ContainsAny(rec.Body.Bytes(), "<>&"), rec.Body.String())
	require.Equal(t, []string{`/</script><img src=x onerror=alert(1)>"'&*`}, w.reportOf("").Routes.List[0].Paths)
	require.NotContains(t, w.htmlOf(""), "<img")
}

// Who was refused in the handshake, or with a request, is on the page when the client knows,
// with what was wrong; and whatever it has sent is text there.
func TestStatusPageRefusals(t *testing.T) {
	failed, done := make(chan struct{}, 10), make(chan struct{}, 10)
	gw := must(gateway.New(&gateway.Options{
		TLS: ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
			if e.Err != nil {
				failed <- struct{}{}
			}
		}}},
		Trace: &gateway.Trace{RequestDone: func(*gateway.RequestEvent) { done <- struct{}{} }},
	}))
	defer gw.Close()
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true})
	require.NoError(t, err)
	servers, people, strangers := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "strangers")
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{ID: "mtls", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}, Client: &ssl.ClientAuth{CAPEM: people.PEM()}}},
		Routes: []route.Config{{ID: "r", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/500" {
				w.WriteHeader(500)
			}
			fmt.Fprint(w, "fine")
		})}},
	}})
	require.NoError(t, err)
	secure, plain := listen(t), listen(t)
	go serve(t, gw.ServeTLS, secure)
	go serve(t, gw.Serve, plain)

	const evil = `"><img src=x onerror=alert(1)>`
	stranger := strangers.Client(evil)
	config := ssltest.ClientConfig("a.test")
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	require.Error(t, alert(t, secure.Addr().String(), config))
	<-failed
	conn, err := net.Dial("tcp", secure.Addr().String())
	require.NoError(t, err)
	_, err = conn.Write(ssltest.ClientHello(t, evil))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	<-failed
	require.NoError(t, conn.Close())
	request := httptest.NewRequest("GET", "http://b.test/", nil)
	request.Host = evil
	require.Equal(t, 400, serveOne(gw, request).Code)
	<-done
	client := ssltest.Client(t, secure, "a.test", people.Client("alice"))
	for _, path := range []string{"/", "/", "/404", "/500"} {
		res, err := client.Get("https://a.test" + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		<-done
	}

	get := func(query, accept string) string {
		rec := serveOne(h.StatusPage(), pageRequest(query, "Accept", accept))
		require.Equal(t, 200, rec.Code, rec.Body.String())
		return rec.Body.String()
	}
	var r statuspage.Report
	require.NoError(t, json.Unmarshal([]byte(get("", "application/json")), &r))
	require.EqualValues(t, 3, r.Refused)
	list := r.Refusals.List
	require.Len(t, list, 3)
	require.Equal(t, []any{400, "bad_host", evil}, []any{list[0].Status, list[0].Reason, list[0].Host})
	require.Equal(t, []any{0, "unknown_sni", evil, ""}, []any{list[1].Status, list[1].Reason, list[1].ServerName, list[1].Profile})
	require.Equal(t, []any{0, "unknown_ca", "a.test", "mtls", "CN=strangers", ""}, []any{list[2].Status, list[2].Reason, list[2].ServerName, list[2].Profile, list[2].Issuer, list[2].Client})
	require.Contains(t, list[2].Advice, "strangers")
	require.Len(t, list[2].SHA256, 64)
	require.Equal(t, 1, reportRefusals(t, get("?refusals=STRANGERS", "application/json")).Matching)

	require.EqualValues(t, 2, r.Traffic.Failed)
	require.EqualValues(t, 1, r.Traffic.Handshakes)
	require.Len(t, r.Traffic.Reasons, 2)
	require.EqualValues(t, 3, r.Traffic.Answers.Success)
	require.EqualValues(t, 1, r.Traffic.Answers.ServerError)
	require.Equal(t, map[string]uint64{"unknown_ca": 1}, r.Names.List[0].Failed)
	require.EqualValues(t, 1, r.Names.List[0].Handshakes)
	require.EqualValues(t, 4, r.Routes.List[0].LastHour.Total())
	require.Equal(t, 0.25, r.Routes.List[0].ErrorShare)
	require.Positive(t, r.Routes.List[0].MeanSeconds)
	require.Equal(t, "the program itself", r.Routes.List[0].Target)

	page := get("", "text/html")
	require.NotContains(t, page, "<img")
	require.NotContains(t, page, evil)
	require.Contains(t, page, "&#34;&gt;&lt;img src=x onerror=alert(1)&gt;")
	for _, want := range []string{"unknown_ca", "unknown_sni", "bad_host", "answered with 400", "issued by <bdi>CN=strangers</bdi>"} {
		require.Contains(t, page, want)
	}
}

func reportRefusals(t testing.TB, text string) statuspage.List[statuspage.Refusal] {
	var r statuspage.Report
	require.NoError(t, json.Unmarshal([]byte(text), &r))
	return r.Refusals
}
