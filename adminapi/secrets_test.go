package adminapi_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
)

// leak returns the place where a text shows a part of a private key, or "": its
// base64 as in PEM or on one line, its bytes or those of its PEM in hex, in
// decimal, or in base64 once more.
func leak(text string, keys ...[]byte) string {
	for _, key := range keys {
		list, ok := needlesOf.Load(string(key))
		if !ok {
			list = needles(key)
			needlesOf.Store(string(key), list)
		}
		for _, n := range list.([]string) {
			if i := strings.Index(text, n); i >= 0 {
				return text[max(0, i-60):min(len(text), i+60)]
			}
		}
	}
	return ""
}

// needlesOf remembers what needles returned.
var needlesOf sync.Map

// needles returns what only a text has that shows a part of a private key. What
// its PEM shares with that of every key, and with its certificate, is left out.
func needles(key []byte) (out []string) {
	block, _ := pem.Decode(key)
	if block == nil {
		panic("no PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	var private []byte
	switch k := parsed.(type) {
	case *ecdsa.PrivateKey:
		private, err = k.Bytes()
	case *rsa.PrivateKey:
		private = k.D.Bytes()
	}
	at := bytes.Index(block.Bytes, private)
	if err != nil || len(private) == 0 || at < 0 {
		panic("no private part")
	}

	// The lines of the PEM that hold nothing else, and those that hold some of it.
	line := base64.StdEncoding.EncodeToString(block.Bytes)
	from, to := (at*8+5)/6, (at+len(private))*8/6
	text := line[from:to]
	const enough = 12
	for i := 0; i+enough <= len(text); i++ {
		out = append(out, text[i:i+enough])
	}
	decimal := func(b []byte, between string) string {
		return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(b), "[]")), between)
	}
	for _, b := range [][]byte{private, []byte(text)} {
		for i := 0; i+enough <= len(b); i++ {
			some := b[i : i+enough]
			out = append(out,
				hex.EncodeToString(some), strings.ToUpper(hex.EncodeToString(some)),
				decimal(some, " "), decimal(some, ","), decimal(some, ", "))
		}
		for align := range 3 { // of the base64 that it is in
			again := base64.RawStdEncoding.EncodeToString(b[align : align+3*(len(b)/3-1)])
			for i := 0; i+enough <= len(again); i++ {
				out = append(out, again[i:i+enough])
			}
		}
	}
	return out
}

// What finds leaks must be able to find one.
func TestLeakFinds(t *testing.T) {
	w := newWorld(t, setup{})
	key := []byte(w.pair.KeyPEM)
	block, _ := pem.Decode(key)
	line := base64.StdEncoding.EncodeToString(block.Bytes)
	for name, text := range map[string]string{
		"pem":           string(key),
		"json":          encode(t, string(key)),
		"one line":      line,
		"second line":   strings.Split(string(key), "\n")[2],
		"some of it":    line[60:80],
		"quoted":        fmt.Sprintf("%q", key),
		"hex":           fmt.Sprintf("%x", key),
		"upper hex":     fmt.Sprintf("%X", key),
		"decimal":       fmt.Sprint(key),
		"Go syntax":     fmt.Sprintf("%d", []any{key}),
		"der decimal":   fmt.Sprint(block.Bytes),
		"der hex":       fmt.Sprintf("%x", block.Bytes),
		"json of bytes": encode(t, key),
		"json of json":  encode(t, []byte(encode(t, string(key)))),
	} {
		require.NotEmpty(t, leak(name+text, key), name)
	}
	require.Empty(t, leak(string(w.pair.CertPEM), key), "the certificate has the public key")
	require.Empty(t, leak(string(w.pair2.KeyPEM), key), "another key")
}

// A hostileStorage fails with errors that repeat what they were given.
type hostileStorage struct {
	adminapi.Storage
	fail bool
}

func (s *hostileStorage) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	if s.fail {
		return nil, fmt.Errorf("INSERT INTO documents VALUES (%q, '%s')", writes[0].Key, writes[0].Value)
	}
	return s.Storage.Commit(ctx, writes...)
}

// Whatever is done with a private key, it comes back from nowhere.
func TestPrivateKeysNeverLeave(t *testing.T) {
	hostile := &hostileStorage{}
	w := newWorld(t, setup{wrap: func(s adminapi.Storage) adminapi.Storage { hostile.Storage = s; return hostile }})
	key := string([]byte(w.pair.KeyPEM))
	key2 := string([]byte(w.pair2.KeyPEM))
	lines := strings.Split(strings.TrimSpace(key), "\n")
	oneLine := strings.Join(lines, "")
	spaces := strings.Join(lines, " ")
	noBegin := strings.Join(lines[1:], "\n")
	bare := strings.Join(lines[1:len(lines)-1], "")
	seen := func(what string, a answer) {
		t.Helper()
		var head bytes.Buffer
		require.NoError(t, a.header.Write(&head))
		require.Empty(t, leak(head.String()+a.body, []byte(key), []byte(key2)), what)
	}
	doc := func() map[string]any { return w.sslDoc(w.pair) }
	tls := func(key string) map[string]any {
		return map[string]any{
			"scheme": "https", "nodes": map[string]any{w.origins[0]: 1},
			"tls": map[string]any{"client_cert": string(w.pair.CertPEM), "client_key": key},
		}
	}

	// What is taken.
	full := with(with(doc(), "certs", []any{string(w.pair2.CertPEM)}), "keys", []any{key2})
	full["desc"] = key // 256 characters have room for it
	full["client"] = map[string]any{"ca": string(w.people.PEM()), "note": key, key: "note"}
	taken := []struct {
		method, path string
		doc          map[string]any
	}{
		{"PUT", "/ssls/1", doc()},
		{"PUT", "/ssls/1", full},
		{"PUT", "/ssls", with(doc(), "id", "body")},
		{"POST", "/ssls", doc()},
		{"PUT", "/ssls/off", with(doc(), "status", 0)},
		{"PUT", "/ssls/client", map[string]any{"type": "client", "cert": doc()["cert"], "key": key}},
		{"PUT", "/upstreams/1", tls(key)},
		{"PUT", "/upstreams/2", map[string]any{"nodes": []any{map[string]any{"host": "127.0.0.1", "weight": 1, "metadata": map[string]any{"k": []any{key}}}}}},
		{"PUT", "/routes/1", map[string]any{"uri": "/1", "upstream": tls(key)}},
		{"PUT", "/services/1", map[string]any{"upstream": tls(key)}},
		{"PATCH", "/ssls/1", map[string]any{"desc": key2[:200]}},
		{"PATCH", "/ssls/1", map[string]any{"cert": string(w.pair2.CertPEM), "key": key2}},
		{"PATCH", "/ssls/1", map[string]any{"cert": string(w.pair.CertPEM), "key": key}},
		{"PATCH", "/upstreams/1/tls", map[string]any{"client_cert": string(w.pair2.CertPEM), "client_key": key2}},
		{"PATCH", "/services/1/upstream/tls", map[string]any{"client_cert": string(w.pair2.CertPEM), "client_key": key2}},
	}
	for _, c := range taken {
		a := w.do(c.method, "/apisix/admin"+c.path, encode(t, c.doc))
		require.Contains(t, []int{200, 201}, a.status, "%s %s: %s", c.method, c.path, a.body)
		require.Contains(t, a.body, "[redacted]")
		seen(c.method+" "+c.path, a)
	}
	// What is shown.
	for _, path := range []string{
		"/ssls/1", "/ssls", "/ssls?page=1&page_size=10", "/ssls/body", "/ssls/off", "/ssls/client",
		"/upstreams/1", "/upstreams/2", "/upstreams", "/routes/1", "/routes", "/services/1", "/services", "/configs",
	} {
		a := w.do("GET", "/apisix/admin"+path, "")
		require.Equal(t, 200, a.status)
		require.Contains(t, a.body, "[redacted]", path)
		seen("GET "+path, a)
		seen("HEAD "+path, w.do("HEAD", "/apisix/admin"+path, ""))
	}
	seen("DELETE", w.do("DELETE", "/apisix/admin/ssls/body", ""))

	// What is refused: the key in every wrong place, in the forms in which it goes
	// wrong.
	for _, k := range []string{key, oneLine, spaces, noBegin, bare, strings.ReplaceAll(key, "\n", `\n`), strings.ReplaceAll(key, "\n", "\r\n")} {
		for _, property := range []string{"sni", "id", "type", "status", "ssl_protocols", "cert", "client", "labels", "snis", "certs", "keys", "unheard_of", k} {
			for _, v := range []any{k, []any{k}, map[string]any{"a": k}, map[string]any{k: 1}} {
				seen("ssls: "+property, w.do("PUT", "/apisix/admin/ssls/x", encode(t, with(doc(), property, v))))
				seen("routes: "+property, w.do("PUT", "/apisix/admin/routes/x", encode(t, with(w.routeDoc("/x", 1), property, v))))
				seen("upstreams: "+property, w.do("PUT", "/apisix/admin/upstreams/x", encode(t, with(w.upstreamDoc(1), property, v))))
			}
		}
		for _, property := range []string{"uri", "host", "methods", "upstream_id", "vars", "plugins", "remote_addr", "nodes", "scheme", "upstream_host", "timeout", "upstream"} {
			for _, v := range []any{k, []any{k}, map[string]any{k: 1}} {
				seen("routes: "+property, w.do("PUT", "/apisix/admin/routes/x", encode(t, with(w.routeDoc("/x", 1), property, v))))
				seen("upstreams: "+property, w.do("PUT", "/apisix/admin/upstreams/x", encode(t, with(w.upstreamDoc(1), property, v))))
				seen("services: "+property, w.do("PUT", "/apisix/admin/services/x", encode(t, map[string]any{property: v})))
				seen("patch: "+property, w.do("PATCH", "/apisix/admin/routes/1", encode(t, map[string]any{property: v})))
				seen("patch by path: "+property, w.do("PATCH", "/apisix/admin/routes/1/"+property, encode(t, v)))
				seen("schema: "+property, w.do("POST", "/apisix/admin/schema/validate/routes", encode(t, map[string]any{property: v})))
				seen("explain: "+property, w.do("POST", "/apisix/admin/explain", encode(t, map[string]any{"url": "http://a.test/", property: v})))
				whole := encode(t, map[string]any{"routes": []any{with(w.routeDoc("/x", 1), property, v)}, "ssls": []any{map[string]any{"id": 1, property: v}}})
				seen("validate: "+property, w.do("POST", "/apisix/admin/configs/validate", whole))
				seen("configs: "+property, w.doWith("PUT", "/apisix/admin/configs", whole, "X-Digest", "x"))
			}
		}
		seen("in a path", w.do("PATCH", "/apisix/admin/routes/1/"+url.PathEscape(k)+"/x", "1"))
		seen("in a path", w.do("PATCH", "/apisix/admin/routes/1/uri/"+url.PathEscape(k), "1"))
		seen("in a query", w.do("GET", "/apisix/admin/routes?name="+url.QueryEscape("("+k), ""))
		seen("in client.ca", w.do("PUT", "/apisix/admin/ssls/x", encode(t, with(doc(), "client", map[string]any{"ca": k}))))
		seen("in tls", w.do("PUT", "/apisix/admin/upstreams/x", encode(t, tls(k))))
		for _, broken := range []string{`{"key":"` + k, k, `"` + k + `"`, `{"` + k + `":1,}`, `{"key":"\q` + k + `"}`} {
			seen("invalid JSON", w.do("PUT", "/apisix/admin/ssls/x", broken))
			seen("invalid JSON in GET", w.do("GET", "/apisix/admin/ssls/x", broken))
		}
	}
	a := w.do("PUT", "/apisix/admin/ssls/x", encode(t, with(doc(), "key", key2)))
	require.Equal(t, 400, a.status)
	seen("mismatching pair", a)

	// What fails.
	hostile.fail = true
	for _, method := range []string{"PUT /apisix/admin/ssls/1", "PUT /apisix/admin/ssls/new", "POST /apisix/admin/ssls"} {
		verb, path, _ := strings.Cut(method, " ")
		a := w.do(verb, path, encode(t, doc()))
		require.Equal(t, http.StatusServiceUnavailable, a.status)
		seen("storage failure", a)
	}
	hostile.fail = false
	require.Contains(t, w.logs.String(), "storage failed")
	require.Empty(t, leak(w.logs.String(), []byte(key), []byte(key2)), "the log")

	// What is printed.
	records, err := w.memory.Load(t.Context())
	require.NoError(t, err)
	i := slices.IndexFunc(records, func(r adminapi.Record) bool { return r.Key == "/ssls/1" })
	ssl := records[i]
	options := &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: w.memory}
	var printed bytes.Buffer
	for _, v := range []any{w.handler, options, *options, options.Keys, records, ssl, &ssl, adminapi.Write{Key: ssl.Key, Value: ssl.Value}, w.memory, w.gw} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
			text := fmt.Sprintf(verb, v)
			require.Empty(t, leak(text, []byte(key), []byte(key2)), "%s of a %T", verb, v)
			printed.WriteString(text)
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("x", "v", v)
	}
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("x", "record", ssl, "options", options.Keys, "write", adminapi.Write{Key: ssl.Key, Value: ssl.Value})
	require.Empty(t, leak(printed.String(), []byte(key), []byte(key2)), "printed")
	hash := sha256.Sum256([]byte(adminKey)) // which a short key would be guessed from
	require.NotContains(t, printed.String(), fmt.Sprint(hash[:]))
	require.NotContains(t, printed.String(), fmt.Sprintf("%x", hash))
	require.NotContains(t, printed.String(), strings.Trim(fmt.Sprintf("%#v", hash[:]), "[]byte{}"))
	require.NotContains(t, printed.String(), adminKey)
	require.NotContains(t, printed.String(), hex.EncodeToString([]byte(adminKey)))
	require.NotContains(t, printed.String(), strings.Trim(fmt.Sprint([]byte(adminKey)), "[]"))
}

// A stored document that is broken keeps its key to itself too.
func TestPrivateKeysNotInErrorsOfNew(t *testing.T) {
	w := newWorld(t, setup{})
	key := string([]byte(w.pair.KeyPEM))
	for name, value := range map[string]string{
		"refused late": encode(t, map[string]any{"sni": "a.test", "cert": string(w.pair.CertPEM), "key": key, "client": map[string]any{"ca": string(w.people.PEM()), "skip_mtls_uri_regex": []any{"(" + key}}}),
		"no JSON":      `{"key":"` + key,
		"scalar":       encode(t, key),
		"wrong place":  encode(t, map[string]any{"sni": key, "cert": string(w.pair.CertPEM), "key": key}),
		"another's":    encode(t, map[string]any{"sni": "a.test", "cert": string(w.pair2.CertPEM), "key": key}),
		"no cert":      encode(t, map[string]any{"sni": "a.test", "cert": key, "key": key}),
		"unknown name": encode(t, map[string]any{"sni": "a.test", "cert": string(w.pair.CertPEM), "key": key, key: 1}),
	} {
		memory := &adminapi.Memory{}
		_, err := save(t.Context(), memory, "/ssls/1", []byte(value), adminapi.AnyRevision)
		require.NoError(t, err)
		_, err = adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{AllowUnauthenticated: true, Storage: memory})
		require.ErrorContains(t, err, "/ssls/1", name)
		for e := err; e != nil; e = errors.Unwrap(e) {
			require.Empty(t, leak(fmt.Sprintf("%v %+v %#v", e, e, e), []byte(key)), name)
		}
	}
}

// The text of an API key is in nothing that is printed, encoded or logged.
func TestSecretNeverPrints(t *testing.T) {
	const text = "hunter2-hunter2"
	k := adminapi.Key{Value: text}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", k, &k, k.Value)
	}
	encoded, err := json.Marshal([]any{k, k.Value})
	require.NoError(t, err)
	out.Write(encoded)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", k, "value", k.Value)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", k, "value", k.Value)
	fmt.Fprint(&out, k.Value.String())

	_, err = adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{Keys: []adminapi.Key{k, k, {Value: text + "\n"}, {Value: text, Role: 7}}})
	require.Error(t, err)
	fmt.Fprintf(&out, "%v %+v %#v", err, err, err)

	require.Contains(t, out.String(), "[redacted]")
	for _, form := range []string{text, hex.EncodeToString([]byte(text)), strings.Trim(fmt.Sprint([]byte(text)), "[]"), base64.StdEncoding.EncodeToString([]byte(text))} {
		require.NotContains(t, strings.ToLower(out.String()), strings.ToLower(form))
	}
}

// A key that a client sends by the wrong way is not repeated either.
func TestSentKeysAreNotLogged(t *testing.T) {
	var logs bytes.Buffer
	h, err := adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{
		Keys:   []adminapi.Key{{Value: "right"}},
		Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	r := httptest.NewRequest("PUT", "/apisix/admin/routes/1?api_key=hunter2", nil)
	r.Header.Set("X-API-KEY", "hunter2")
	r.AddCookie(&http.Cookie{Name: "x_api_key", Value: "hunter2"})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	require.Equal(t, 401, rec.Code)
	require.NotContains(t, rec.Body.String(), "hunter2")
	require.Contains(t, logs.String(), "wrong apikey")
	require.NotContains(t, logs.String(), "hunter2")
}

// What a client writes stands quoted in a log, and makes no line of its own.
func TestLogLines(t *testing.T) {
	var logs bytes.Buffer
	hostile := &hostileStorage{Storage: &adminapi.Memory{}, fail: true}
	logger := slog.New(slog.NewTextHandler(&logs, nil))
	h, err := adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{AllowUnauthenticated: true, Storage: hostile, Logger: logger})
	require.NoError(t, err)
	const line = "\nlevel=INFO msg=\"all is well\"\x1b[2J"
	r := httptest.NewRequest("GET", "/apisix/admin/routes", nil)
	r.Host, r.RemoteAddr = "evil"+line, "evil"+line
	require.Equal(t, 403, serveOne(h, r).Code)
	r = httptest.NewRequest("PUT", "/apisix/admin/routes/1", strings.NewReader(encode(t, map[string]any{
		"uri": "/1", "desc": "evil" + line, "upstream": map[string]any{"nodes": []any{}},
	})))
	r.Host, r.RemoteAddr = "localhost", "evil"+line
	require.Equal(t, 503, serveOne(h, r).Code)
	require.Equal(t, 2, strings.Count(logs.String(), "\n"))
	require.NotContains(t, logs.String(), "\x1b")
}
