package adminapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
)

// FuzzHandler sends a request of any method, path and body to a handler with some
// documents. Whatever it is: nothing panics, the answer is of a known form and
// shows no private key, whoever is not let in changes nothing, and what is stored
// can be loaded again.
func FuzzHandler(f *testing.F) {
	w := newWorld(f, setup{})
	w.put("/upstreams/u", w.upstreamDoc(1))
	w.put("/routes/1", map[string]any{"uri": "/1", "upstream_id": "u"})
	w.put("/routes/2", w.routeDoc("/2", 1))
	w.put("/ssls/1", w.sslDoc(w.pair))
	w.put("/services/s", map[string]any{"upstream": w.upstreamDoc(1)})
	w.put("/routes/3", map[string]any{"uri": "/3", "service_id": "s"})
	stored, err := w.memory.Load(f.Context())
	if err != nil {
		f.Fatal(err)
	}

	// The seeds are what the conversations send to the Admin API. Variables are put
	// in by the target, so that a key is that of the process that looks for it.
	files, err := filepath.Glob("testdata/conversations/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	v := w.variables()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		c, err := parseConversation(string(text))
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range c.exchanges {
			if e.target[0] == '/' {
				f.Add(e.method, e.target, strings.Join(e.body, "\n"), true)
			}
		}
	}
	for _, target := range targets {
		f.Add("DELETE", target, "", false)
		f.Add("PUT", target, `{"uri":"/x","upstream":{"nodes":[]}}`, true)
	}
	for _, property := range []string{"uri", "host", "upstream_id", "id", "desc", "labels", "methods", "unheard_of"} {
		f.Add("PUT", "/apisix/admin/routes/1", `{"uri":"/1","upstream_id":"u","`+property+`":"$KEY"}`, true)
		f.Add("PUT", "/apisix/admin/routes/1", `{"uri":"/1","upstream_id":"u","`+property+`":{"$KEY":["$RAW_KEY"]}}`, true)
	}
	f.Add("PUT", "/apisix/admin/ssls/1", `{"sni":"$KEY","snis":["$LOST_KEY"],"cert":"$KEY","key":"$BACKSLASHED_KEY"}`, true)
	f.Add("GET", "/apisix/admin/routes?page=%zz&page_size=;", "", true)

	key := string([]byte(w.pair.KeyPEM))
	statuses := []int{200, 201, 202, 204, 400, 401, 404, 412, 415}
	f.Fuzz(func(t *testing.T, method, target, body string, known bool) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		body, _ = expand(body, v)
		s := &adminapi.Memory{}
		for _, r := range stored {
			if _, err := save(t.Context(), s, r.Key, r.Value, adminapi.AnyRevision); err != nil {
				t.Fatal(err)
			}
		}
		gw := must(gateway.New(nil))
		defer gw.Close()
		h, err := adminapi.New(t.Context(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: s})
		if err != nil {
			t.Fatal(err)
		}
		h.SetNow(func() time.Time { return time.Unix(began, 0) })
		defer h.Close()
		before, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		r := &http.Request{Method: method, URL: u, RequestURI: target, Header: http.Header{}, Host: "localhost", Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
		r.Header.Set("X-Digest", "x")
		if known {
			r.Header.Set("X-API-KEY", adminKey)
		}
		rec := serveOne(h, r)
		if !slices.Contains(statuses, rec.Code) {
			t.Errorf("status %d", rec.Code)
		}
		if !known && rec.Code != 401 && method != http.MethodOptions {
			t.Errorf("status %d without a key", rec.Code)
		}
		if method != http.MethodOptions {
			if why := wellFormed(method, answer{rec.Code, rec.Header(), rec.Body.String()}); why != "" {
				t.Errorf("%s: %q", why, rec.Body)
			}
		}
		if rec.Body.Len() > 0 && rec.Header().Get("Content-Type") == "application/json" && rec.Body.Bytes()[0] == '{' {
			var a map[string]any
			if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
				t.Errorf("%v: %q", err, rec.Body)
			}
			_, refused := a["error_msg"]
			_, missing := a["message"]
			if failed := rec.Code >= 400; failed != (refused || missing) {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		}
		if found := leak(rec.Body.String(), []byte(key)); found != "" && !spread(body, v) {
			t.Errorf("a private key: %s", found)
		}

		after, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		changed := !slices.EqualFunc(before, after, func(a, b adminapi.Record) bool {
			return a.Key == b.Key && a.Modified == b.Modified
		})
		done := rec.Code == 201 || rec.Code == 202 || rec.Code == 200 && (method == http.MethodPut || method == http.MethodPatch || method == http.MethodDelete)
		if changed != done {
			t.Errorf("changed: %t, and the answer is %d %s", changed, rec.Code, rec.Body)
		}
		if !changed {
			return
		}
		restarted := must(gateway.New(nil))
		defer restarted.Close()
		if _, err := adminapi.New(t.Context(), restarted, &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: s}); err != nil {
			t.Errorf("what was taken cannot be loaded: %v", err)
		}
	})
}

// spread reports whether a body has parts of a key apart from the key in PEM:
// nobody can tell those from any other text.
func spread(body string, v map[string]string) bool {
	for _, name := range []string{"$KEY", "$RAW_KEY", "$LOST_KEY", "$JOINED_KEY", "$BACKSLASHED_KEY", "$LOCKED_KEY"} {
		text, _ := expand(name, v)
		body = strings.ReplaceAll(body, text, "")
	}
	return leak(body, []byte(v["KEY"])) != ""
}
