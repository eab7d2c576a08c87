package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// records are what a logger was told, as JSON.
type records struct {
	mu  sync.Mutex
	all []map[string]any
	now chan struct{} // one for each
}

func newRecords() *records { return &records{now: make(chan struct{}, 10_000)} }

func (r *records) Write(line []byte) (int, error) {
	var record map[string]any
	if err := json.Unmarshal(bytes.TrimSpace(line), &record); err != nil {
		return 0, err
	}
	for key := range record {
		if bytes.Count(line, []byte(`,"`+key+`":`)) > 1 {
			record["twice"] = key
		}
	}
	r.mu.Lock()
	r.all = append(r.all, record)
	r.mu.Unlock()
	r.now <- struct{}{}
	return len(line), nil
}

func (r *records) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(r, nil)) }

// next waits for a record, and returns the last.
func (r *records) next(t *testing.T) map[string]any {
	t.Helper()
	select {
	case <-r.now:
	case <-time.After(patience):
		t.Fatal("nothing is logged")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[len(r.all)-1]
}

func (r *records) take() []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// A record says what became of a request, alike at every door, and is the only one.
func TestAccessLog(t *testing.T) {
	access := newRecords()
	for name, log := range map[string]*slog.Logger{
		"slog":      access.logger(),
		"accesslog": slog.New(accesslog.New(access, &accesslog.Options{AtOnce: slog.LevelInfo})),
	} {
		t.Run(name, func(t *testing.T) { testAccessLog(t, access, log) })
	}
}

func testAccessLog(t *testing.T, access *records, log *slog.Logger) {
	rest := newRecords()
	h := observed(t, &gateway.Options{AccessLog: log, Logger: rest.logger(), FailuresLogged: -1})
	alice := h.people.Client("alice", ssltest.URIs("spiffe://test/alice"))
	for _, d := range h.doors() {
		client := h.client(d, "a.test", alice)
		host := "a.test"
		if !d.tls {
			host = "c.test"
		}
		for _, c := range []struct {
			host, path, body string
			status           int
			level            string
			want             map[string]any // beyond what all have
		}{
			{host, "/x", "body", 200, "INFO", map[string]any{"route": "here", "upstream": "1", "node": h.origin.address, "attempts": 1.0, "received": 4.0, "sent": 2.0}},
			{host, "/two", "", 200, "INFO", map[string]any{"route": "two", "upstream": "3", "node": h.origin.address, "attempts": 2.0, "received": 0.0, "sent": 2.0}},
			{host, "/gone", "", 502, "ERROR", map[string]any{"route": "gone", "upstream": "2", "attempts": 1.0, "received": 0.0}},
			{host, "/local", "body", 418, "INFO", map[string]any{"route": "local", "received": 4.0, "sent": 3.0}},
			{host, "/nowhere", "", 404, "INFO", map[string]any{}},
			{host, "/never", "", 403, "WARN", map[string]any{"route": "never", "upstream": "1", "reason": "not_allowed", "profile": map[bool]any{true: "a"}[d.tls]}},
			{"b.test", "/x", "", 421, "WARN", map[string]any{"reason": "misdirected", "profile": "b"}},
		} {
			if c.status == 421 && !d.tls {
				continue
			}
			method := "GET"
			if c.body != "" {
				method = "POST"
			}
			for range 3 { // of a connection, each time a little more is known
				req, err := http.NewRequest(method, d.scheme()+"://"+c.host+c.path+"?secret", strings.NewReader(c.body))
				require.NoError(t, err)
				status, _ := h.do(client, req)
				require.Equal(t, c.status, status)
				got := access.next(t)
				at, err := time.Parse(time.RFC3339Nano, got["time"].(string))
				require.NoError(t, err)
				require.WithinDuration(t, time.Now(), at, time.Minute)
				protocol := map[int]string{1: "HTTP/1.1", 2: "HTTP/2.0"}[d.major]
				want := map[string]any{
					"level": c.level, "msg": "request", "status": float64(c.status), "method": method,
					"host": c.host, "path": c.path, "protocol": protocol, "client": "127.0.0.1",
				}
				maps.Copy(want, c.want)
				for key, value := range want {
					require.Equal(t, value, got[key], "%s %s: %s", d.name, c.path, key)
				}
				require.NotContains(t, got, "twice")
				require.Positive(t, got["took"])
				require.True(t, strings.HasPrefix(got["remote"].(string), "127.0.0.1:"))
				require.Equal(t, c.want["attempts"] != nil, got["waited"] != nil)
				if got["waited"] != nil {
					require.Positive(t, got["waited"])
					require.LessOrEqual(t, got["waited"], got["took"])
				}
				require.Equal(t, c.level == "WARN", got["advice"] != nil)
				require.Equal(t, c.status == 502 || c.path == "/never", got["error"] != nil, "%v", got)
				for _, key := range []string{"reason", "profile", "route", "upstream", "node"} {
					if want[key] == nil && (key != "node" || c.status != 502) {
						require.NotContains(t, got, key, "%s %s", d.name, c.path)
					}
				}
				if d.tls {
					require.Equal(t, "a.test", got["server_name"])
				}
				if d.tls && c.status != 421 {
					identity := got["identity"].(map[string]any)
					require.Equal(t, []any{"a", "CN=alice", "spiffe://test/alice"}, []any{identity["profile"], identity["subject"], identity["spiffe_id"]})
					require.Len(t, identity["sha256"], 64)
					require.NotEmpty(t, identity["serial"])
				} else {
					require.NotContains(t, got, "identity")
				}
			}
		}
	}
	for _, record := range rest.take() {
		require.NotContains(t, record["msg"], "request", "%v", record)
	}
}

// Requests that have no reading are there as well.
func TestAccessLogOfTheIllegible(t *testing.T) {
	access := newRecords()
	h := observed(t, &gateway.Options{AccessLog: access.logger(), Limits: gateway.Limits{BodyBytes: 2}})
	for request, status := range map[string]float64{
		"GET /%zz HTTP/1.1\r\nHost: c.test\r\n\r\n":                              400,
		"GET /%zy?secret HTTP/1.1\r\nHost: c.test\r\n\r\n":                       400,
		"GET /x HTTP/1.1\r\nHost: c..test\r\n\r\n":                               400,
		"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n":                405,
		"POST /x HTTP/1.1\r\nHost: c.test\r\nContent-Length: 3\r\n\r\nabc":       413,
		"GET http:// HTTP/1.1\r\nHost: c.test\r\n\r\n":                           400,
		"GET /x|y HTTP/1.1\r\nHost: c.test\r\nConnection: close\r\n\r\n":         404,
		"GET /local HTTP/1.0\r\nHost: c.test\r\n\r\n":                            418,
		"POST /local HTTP/1.1\r\nHost: c.test\r\nContent-Length: 1\r\n\r\na\r\n": 418,
	} {
		conn := h.raw(h.plain, "")
		conn.write(request)
		res, err := http.ReadResponse(conn.r, nil)
		require.NoError(t, err)
		require.EqualValues(t, status, res.StatusCode, request)
		got := access.next(t)
		require.Equal(t, status, got["status"], request)
		method, _, _ := strings.Cut(request, " ")
		require.Equal(t, method, got["method"])
		require.NotContains(t, got["path"], "secret")
		conn.Close()
	}
}

// An answer that the node breaks off is told as an error, with what came.
func TestAccessLogOfBrokenAnswers(t *testing.T) {
	access := newRecords()
	h := observed(t, &gateway.Options{AccessLog: access.logger()})
	h.origin.on(func(v *visit) {
		v.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		v.close = true
	})
	for _, d := range h.doors() {
		host := "a.test"
		if !d.tls {
			host = "c.test"
		}
		res, err := h.client(d, "a.test", h.people.Client("alice")).Get(d.scheme() + "://" + host + "/x")
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		require.Error(t, err, d.name)
		got := access.next(t)
		require.Equal(t, []any{"ERROR", 200.0, "here"}, []any{got["level"], got["status"], got["route"]}, d.name)
		require.NotEmpty(t, got["error"], d.name)
	}
}

// So is a handler that panics, at every door.
func TestAccessLogOfPanics(t *testing.T) {
	access := newRecords()
	h := newHarness(t, &gateway.Options{AccessLog: access.logger()})
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("a", []string{"a.test"})},
		Routes:   []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}},
	})
	for _, d := range h.tlsDoors() {
		_, err := h.client(d, "a.test").Get("https://a.test/x")
		require.Error(t, err, d.name)
		got := access.next(t)
		require.Equal(t, []any{"ERROR", 0.0, "1", "gateway: the handler panicked"}, []any{got["level"], got["status"], got["route"], got["error"]}, d.name)
	}
}

// A client that goes away is no error of anybody's, before the answer and within it.
func TestAccessLogOfTheImpatient(t *testing.T) {
	access := newRecords()
	h := observed(t, &gateway.Options{AccessLog: access.logger()})
	for _, begins := range []bool{false, true} {
		for _, d := range []door{h.http1, h.http2, h.handler2} {
			waits := make(chan struct{}, 1)
			h.origin.on(func(v *visit) {
				if begins {
					v.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
				}
				waits <- struct{}{}
				_, _ = v.r.ReadByte() // until the gateway gives up
				v.close = true
			})
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "GET", "https://a.test/x", nil)
			require.NoError(t, err)
			if !begins {
				go func() {
					<-waits
					cancel()
				}()
			}
			res, err := h.client(d, "a.test", h.people.Client("alice")).Do(req)
			require.Equal(t, begins, err == nil, d.name)
			status := 0.0
			if begins {
				status = 200
				cancel()
				res.Body.Close()
			}
			got := access.next(t)
			require.Equal(t, []any{"INFO", status, "here"}, []any{got["level"], got["status"], got["route"]}, "%s: %v", d.name, got)
			cancel()
		}
	}
}

// A flood of what no route serves does not flood the log; what a route serves is all
// there. The same holds for the Logger, where there is no access log.
func TestFloodOfRecords(t *testing.T) {
	for _, to := range []string{"AccessLog", "Logger"} {
		t.Run(to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newRecords()
				o := &gateway.Options{FailuresLogged: 5}
				if to == "AccessLog" {
					o.AccessLog = log.logger()
				} else {
					o.Logger = log.logger()
				}
				gw := must(gateway.New(o))
				defer gw.Close()
				_, err := gw.Apply(gateway.Change{Put: gateway.Config{
					Profiles: []ssl.Config{{ID: "1", Names: []string{"strict.test"}, Certificates: []ssl.KeyPair{ssltest.NewCA(t, "s").Server("strict.test")},
						Client: &ssl.ClientAuth{CAPEM: ssltest.NewCA(t, "c").PEM()}}},
					Routes: []route.Config{
						{ID: "1", Hosts: []string{"a.test"}, Paths: []string{"/fine"}, AllowPlain: true, Handler: named("fine")},
						{ID: "2", Hosts: []string{"a.test"}, Paths: []string{"/failing"}, AllowPlain: true, Upstream: "none"},
						{ID: "3", Hosts: []string{"a.test"}, Paths: []string{"/failing too"}, AllowPlain: true, Upstream: "none"},
					},
					Upstreams: []upstream.Config{{ID: "none"}},
				}})
				require.NoError(t, err)
				ask := func(host, path string) {
					r := httptest.NewRequest("GET", "http://a.test"+path, nil)
					r.Host = host
					gw.ServeHTTP(httptest.NewRecorder(), r)
				}
				count := func() map[string]int {
					counts := map[string]int{}
					for _, r := range log.take() {
						key, _ := r["reason"].(string)
						if route, ok := r["route"].(string); ok {
							key += route
						}
						counts[key]++
						if n, ok := r["unreported"].(float64); ok {
							counts[key+" unreported"] += int(n)
						}
					}
					return counts
				}
				flood := func(n int) {
					for range n {
						ask("strict.test", "/")
						ask("b..test", "/")
						ask("a.test", "/nowhere")
						ask("a.test", "/fine")
						ask("a.test", "/failing")
						ask("a.test", "/failing%20too")
					}
				}
				flood(100)
				want := map[string]int{"plain_http": 5, "bad_host": 5, "": 5, "1": 100, "2": 100, "3": 100}
				if to == "Logger" {
					want = map[string]int{"plain_http": 5, "bad_host": 5, "2": 5, "3": 5}
				}
				require.Equal(t, want, count())
				time.Sleep(time.Second)
				flood(1)
				want = map[string]int{"plain_http": 1, "plain_http unreported": 95, "bad_host": 1, "bad_host unreported": 95, "": 1, " unreported": 95, "1": 1, "2": 1, "3": 1}
				if to == "Logger" {
					want = map[string]int{"plain_http": 1, "plain_http unreported": 95, "bad_host": 1, "bad_host unreported": 95, "2": 1, "2 unreported": 95, "3": 1, "3 unreported": 95}
				}
				require.Equal(t, want, count())
				require.EqualValues(t, 202, gw.Stats().RefusalsTotal, "they are counted all the same")
			})
		})
	}
}

// Levels are the handler's to choose.
func TestAccessLogLevels(t *testing.T) {
	access := newRecords()
	logger := slog.New(slog.NewJSONHandler(access, &slog.HandlerOptions{Level: slog.LevelWarn}))
	gw := must(gateway.New(&gateway.Options{AccessLog: logger}))
	defer gw.Close()
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{local("1", "/*", "fine")}}})
	require.NoError(t, err)
	for _, host := range []string{"a.test", "b..test"} {
		r := httptest.NewRequest("GET", "http://a.test/", nil)
		r.Host = host
		gw.ServeHTTP(httptest.NewRecorder(), r)
	}
	all := access.take()
	require.Len(t, all, 1)
	require.Equal(t, "bad_host", all[0]["reason"])
}

// What clients say cannot make a record look like two, nor tell of a secret that is in
// the query.
func TestAccessLogIsSafe(t *testing.T) {
	var out syncBuffer
	gw := must(gateway.New(&gateway.Options{AccessLog: slog.New(slog.NewTextHandler(&out, nil))}))
	defer gw.Close()
	evil := "x\nlevel=INFO msg=request\x1b[31m\u202e"
	r := httptest.NewRequest("GET", "http://a.test/?token=secret", nil)
	r.Host, r.URL.Path, r.Method, r.RemoteAddr = evil, "/"+evil, evil, evil
	r.TLS = &tls.ConnectionState{ServerName: evil}
	gw.ServeHTTP(httptest.NewRecorder(), r)
	r = r.Clone(context.Background())
	r.Host = "a.test"
	gw.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
	require.NotContains(t, out.String(), "\x1b")
	require.NotContains(t, out.String(), "secret")
}

// What must be escaped is, on a connection of which much is known already too, and nothing is
// lost of what the others have.
func TestAccessLogEscapes(t *testing.T) {
	access := newRecords()
	log := accesslog.New(access, &accesslog.Options{AtOnce: slog.LevelInfo}).WithAttrs([]slog.Attr{slog.String("gateway", `"1"`)})
	h := observed(t, &gateway.Options{AccessLog: slog.New(log), FailuresLogged: -1})
	alice := h.people.Client(`"alice\"`)
	for _, d := range h.doors() {
		client, host := h.client(d, "a.test", alice), "a.test"
		if !d.tls {
			host = "c.test"
		}
		for _, path := range []string{"/x", "/x", "/%22%0a%5c", "/%22%0a%5c", "/%22%0a%5c", "/x", "/%c3%a9", "/%22%0a%5c"} {
			req, err := http.NewRequest("GET", d.scheme()+"://"+host+path, nil)
			require.NoError(t, err)
			h.do(client, req)
			got := access.next(t)
			require.NotContains(t, got, "twice")
			require.Equal(t, map[string]string{"/x": "/x", "/%22%0a%5c": "/\"\n\\", "/%c3%a9": "/é"}[path], got["path"])
			require.Equal(t, []any{`"1"`, "127.0.0.1", host, "GET"}, []any{got["gateway"], got["client"], got["host"], got["method"]})
			if d.tls {
				require.Contains(t, got["identity"].(map[string]any)["subject"], "alice")
			}
		}
	}
}

// A handler that changes what an accesslog.Handler gets is not passed by, though it has all of
// that one's methods.
func TestAccessLogOfEmbedders(t *testing.T) {
	access := newRecords()
	log := redacting{accesslog.New(access, &accesslog.Options{AtOnce: slog.LevelInfo})}
	h := observed(t, &gateway.Options{AccessLog: slog.New(log)})
	for _, d := range h.doors() {
		client, host := h.client(d, "a.test", h.people.Client("alice")), "a.test"
		if !d.tls {
			host = "c.test"
		}
		for range 3 {
			req, err := http.NewRequest("GET", d.scheme()+"://"+host+"/x", nil)
			require.NoError(t, err)
			h.do(client, req)
			require.Equal(t, "redacted", access.next(t)["msg"])
		}
	}
}

type redacting struct{ *accesslog.Handler }

func (h redacting) Handle(ctx context.Context, r slog.Record) error {
	r.Message = "redacted"
	return h.Handler.Handle(ctx, r)
}

func (h redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return redacting{h.Handler.WithAttrs(attrs).(*accesslog.Handler)}
}

// Handshakes that succeed have a record if there is a HandshakeLog, and those that fail
// have theirs there.
func TestHandshakeLog(t *testing.T) {
	shakes, rest := newRecords(), newRecords()
	h := observed(t, &gateway.Options{TLS: ssl.Options{HandshakeLog: shakes.logger()}, Logger: rest.logger()})
	client := h.client(h.http2, "a.test", h.people.Client("alice"))
	status, _ := h.get(client, h.http2, "a.test", "/x")
	require.Equal(t, 200, status)
	got := shakes.next(t)
	require.Equal(t, []any{"INFO", "TLS handshake", "a", "a.test", "TLS 1.3", "h2", false},
		[]any{got["level"], got["msg"], got["profile"], got["server_name"], got["version"], got["protocol"], got["resumed"]})
	require.Equal(t, "CN=alice", got["identity"].(map[string]any)["subject"])
	require.Positive(t, got["took"])
	_, err := tls.Dial("tcp", h.http1.addr.String(), ssltest.ClientConfig("unknown.test"))
	require.Error(t, err)
	got = shakes.next(t)
	require.Equal(t, []any{"WARN", "TLS handshake failed"}, []any{got["level"], got["msg"]})
	require.Equal(t, "unknown_sni", got["handshake"].(map[string]any)["reason"])
	for _, record := range rest.take() {
		require.NotContains(t, record["msg"], "handshake")
	}
}

// What is said of one request is not said of another on its connection, though neither got
// as far as its route: a RequestBegun that panics ends the one before.
func TestAccessLogOfWaysNotGone(t *testing.T) {
	for _, kind := range []string{"slog", "accesslog"} {
		t.Run(kind, func(t *testing.T) {
			access := newRecords()
			log := access.logger()
			if kind == "accesslog" {
				log = slog.New(accesslog.New(access, &accesslog.Options{AtOnce: slog.LevelInfo}))
			}
			h := observed(t, &gateway.Options{AccessLog: log, FailuresLogged: -1, Trace: &gateway.Trace{
				RequestBegun: func(_ context.Context, r *gateway.RequestStart) context.Context {
					if r.Event.Route != "" {
						panic("a mistake")
					}
					return nil
				},
			}})
			client := h.client(h.plain2, "")
			for _, c := range [][2]any{{"/x", "here"}, {"/x", "here"}, {"/x", "here"}, {"/local", "local"}, {"/nowhere", nil}, {"/nowhere", nil}, {"/nowhere", nil}, {"/x", "here"}} {
				if res, err := client.Get("http://c.test" + c[0].(string)); err == nil {
					res.Body.Close()
				}
				got := access.next(t)
				require.Equal(t, []any{c[0], c[1]}, []any{got["path"], got["route"]})
			}
		})
	}
}

// A node that answers at once is not waited for, where the clock does not say how long it took.
func TestAccessLogOfNoTime(t *testing.T) {
	access := newRecords()
	inBubbleOf(t, gateway.Options{AccessLog: access.logger()}, nil, func(b *bubble) {
		conn := b.raw(false)
		conn.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		conn.answer("GET")
		synctest.Wait()
		all := access.take()
		require.Len(b.t, all, 1)
		require.Contains(b.t, all[0], "node")
		require.Equal(b.t, []any{0.0, 0.0}, []any{all[0]["waited"], all[0]["took"]})
	})
}

// The path is what the client asked for, at every door, and not what it was read as.
func TestAccessLogOfPaths(t *testing.T) {
	access := newRecords()
	h := observed(t, &gateway.Options{AccessLog: access.logger(), FailuresLogged: -1})
	for _, d := range h.doors() {
		client, host := h.client(d, "a.test", h.people.Client("alice")), "a.test"
		if !d.tls {
			host = "c.test"
		}
		for path, want := range map[string]string{
			"/x": "/x", "/y/../x": "/y/../x", "//x": "//x", "/%78": "/x", "/%79/%2e%2e/x": "/y/../x", "/y/../local": "/y/../local", "/y%2f..": "/y/..",
		} {
			req, err := http.NewRequest("GET", d.scheme()+"://"+host+path, nil)
			require.NoError(t, err)
			h.do(client, req)
			require.Equal(t, want, access.next(t)["path"], "%s: %s", d.name, path)
		}
	}
}

// What is said of a request stays so when there are others on its connection: no part of it is
// a part of a buffer.
func TestAccessLogKeepsItsWords(t *testing.T) {
	said := func(path, host, method, client any) string {
		return fmt.Sprint(method, " ", host, " ", path, " ", client)
	}
	for _, kind := range []string{"slog", "accesslog"} {
		t.Run(kind, func(t *testing.T) {
			var out bytes.Buffer
			lines := accesslog.New(&out, &accesslog.Options{Interval: time.Hour})
			keeper := &keeping{}
			var log slog.Handler = keeper
			if kind == "accesslog" {
				log = lines
			}
			h := newHarness(t, &gateway.Options{AccessLog: slog.New(log), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
			r := everything("all", "origin")
			r.AllowPlain = true
			local := route.Config{ID: "local", Paths: []string{"/local/*"}, AllowPlain: true, Handler: http.NotFoundHandler()}
			h.apply(gateway.Config{Routes: []route.Config{r, local}, Upstreams: []upstream.Config{upstreamTo("origin", h.origin.address)}})
			var want []string
			for _, d := range []door{h.plain, h.plain2} {
				client := h.client(d, "")
				for i := range 30 { // and none fills a batch
					method := []string{"GET", "PUT", "ODD"}[i%3]
					path, host, from := fmt.Sprintf("/%s/%d%s", []string{"x", "local"}[i%2], i, strings.Repeat("y", i)), fmt.Sprintf("h%d.test", i), fmt.Sprintf("10.0.0.%d", i)
					req, err := http.NewRequest(method, d.scheme()+"://c.test"+path, nil)
					require.NoError(t, err)
					req.Host = host
					req.Header.Set("X-Forwarded-For", from)
					h.do(client, req)
					want = append(want, said(path, host, method, from))
				}
			}
			require.NoError(t, h.gw.Shutdown(t.Context())) // the last is over
			require.NoError(t, lines.Flush())
			keeper.tell(t, slog.NewJSONHandler(&out, nil))
			var got []string
			for line := range bytes.Lines(out.Bytes()) {
				var r map[string]any
				require.NoError(t, json.Unmarshal(line, &r))
				got = append(got, said(r["path"], r["host"], r["method"], r["client"]))
			}
			require.ElementsMatch(t, want, got)
		})
	}
}

// A handler may take the connection over, whose buffer is another's from then on, and return much
// later: what is said of its request is what it was.
func TestAccessLogOfTakenConnections(t *testing.T) {
	access := newRecords()
	h := newHarness(t, &gateway.Options{
		AccessLog:      slog.New(accesslog.New(access, &accesslog.Options{AtOnce: slog.LevelInfo})),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	takes := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		for range 20 { // one of them gets the buffer
			other := h.raw(h.plain, "")
			other.write("GET /other HTTP/1.1\r\nHost: another.test\r\nX-Forwarded-For: 10.99.99.99\r\nX-Padding: " + strings.Repeat("x", 200) + "\r\n\r\n")
			other.answer("GET")
		}
	})
	h.apply(gateway.Config{Routes: []route.Config{
		{ID: "takes", Paths: []string{"/takes"}, AllowPlain: true, Handler: takes},
		{ID: "other", Paths: []string{"/other"}, AllowPlain: true, Handler: http.NotFoundHandler()},
	}})
	for range 10 {
		access.take()
		c := h.raw(h.plain, "")
		c.write("GET /takes HTTP/1.0\r\nHost: c.test\r\nX-Forwarded-For: 10.1.2.3\r\n\r\n")
		c.wantEnd()
		var got map[string]any
		eventually(t, func() bool {
			for _, r := range access.take() {
				if r["route"] == "takes" {
					got = r
				}
			}
			return got != nil
		}, "the request is not logged")
		for key, want := range map[string]any{"client": "10.1.2.3", "protocol": "HTTP/1.0", "host": "c.test", "path": "/takes", "method": "GET"} {
			require.Equal(t, want, got[key], key)
		}
	}
}

// Of a WebSocket it is said where it went, by whatever protocol it came.
func TestAccessLogOfWebSockets(t *testing.T) {
	access, events := newRecords(), make(chan *gateway.RequestEvent, 10)
	for name, o := range map[string]*gateway.Options{
		"log":   {AccessLog: access.logger()},
		"trace": {Trace: &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) { events <- e }}},
	} {
		t.Run(name, func(t *testing.T) {
			h := tunnelHarness(t, o)
			node := func() (string, any) {
				if o.Trace != nil {
					e := <-events
					require.Positive(t, e.Waited)
					return e.Node, float64(e.Attempts)
				}
				r := access.next(t)
				require.Contains(t, r, "waited")
				return fmt.Sprint(r["node"]), r["attempts"]
			}
			for _, d := range []door{h.http1, h.http2} {
				if d.major == 2 {
					c := h.h2(d, "a.test")
					c.opened(1, "a.test", "/ws")
					c.frame(h2Data, h2EndStream, 1, nil)
					require.Equal(t, "end", c.ends(1))
				} else {
					c := h.raw(d, "a.test")
					c.write("GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
					res, err := http.ReadResponse(c.r, nil)
					require.NoError(t, err)
					require.Equal(t, 101, res.StatusCode)
					require.NoError(t, c.Close())
				}
				got, attempts := node()
				require.Equal(t, h.origin.address, got, d.name)
				require.Equal(t, 1.0, attempts, d.name)
			}
		})
	}
}

// A keeping handler looks at what it is given when it is asked to tell.
type keeping struct {
	mu  sync.Mutex
	all []slog.Record
}

func (k *keeping) Enabled(context.Context, slog.Level) bool { return true }
func (k *keeping) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *keeping) WithGroup(string) slog.Handler            { return k }

func (k *keeping) Handle(_ context.Context, r slog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, r)
	return nil
}

func (k *keeping) tell(t *testing.T, h slog.Handler) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.all {
		require.NoError(t, h.Handle(t.Context(), r))
	}
}

// Requests that share a connection, at once and with routes that are replaced meanwhile, have
// records of their own.
func TestAccessLogOfSharedConnections(t *testing.T) {
	access := newRecords()
	h := newHarness(t, &gateway.Options{
		AccessLog:      slog.New(accesslog.New(access, &accesslog.Options{AtOnce: slog.LevelInfo})),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	config := func(upstreams ...string) (c gateway.Config) {
		for _, id := range upstreams {
			r := everything("route of "+id[:1], id)
			r.Paths, r.AllowPlain = []string{"/" + id[:1] + "/*"}, true
			c.Routes, c.Upstreams = append(c.Routes, r), append(c.Upstreams, upstreamTo(id, h.origin.address))
		}
		return c
	}
	h.apply(config("a1", "b1"))
	client := h.client(h.plain2, "")
	ask := func(upstream, host, from string) {
		req, err := http.NewRequest("GET", "http://c.test/"+upstream[:1]+"/"+upstream+"/"+host+"/"+from, nil)
		if err != nil {
			panic(err)
		}
		req.Host = host // of one connection
		req.Header.Set("X-Forwarded-For", from)
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		res.Body.Close()
	}
	check := func(n int) {
		for range n {
			access.next(t)
		}
		all := access.take()
		require.Len(t, all, n)
		for _, r := range all {
			words := strings.Split(r["path"].(string), "/")
			require.Equal(t, []any{"route of " + words[1], words[2], words[3], words[4]}, []any{r["route"], r["upstream"], r["host"], r["client"]})
			require.NotContains(t, r, "twice")
			require.LessOrEqual(t, r["waited"], r["took"])
		}
	}
	ask("a1", "c.test", "127.0.0.1") // from the peer itself, as far as is known
	check(1)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 60 {
				ask([]string{"a1", "b1"}[(i+n/4)%2], []string{"c.test", "d.test"}[(i+n/3)%2], []string{"10.0.0.1", "127.0.0.1"}[(i+n/5)%2])
			}
		})
	}
	all.Wait()
	check(8 * 60)
	for _, upstream := range []string{"a1", "a2", "a1"} {
		h.apply(config(upstream))
		for i := range 12 {
			ask(upstream, []string{"c.test", "d.test", "c.test"}[i/4], []string{"10.0.0.1", "127.0.0.1", "10.0.0.1"}[(i+2)/5])
		}
		check(12)
	}
}
