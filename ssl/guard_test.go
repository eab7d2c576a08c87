package ssl_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/urlpath"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// whoami is the handler behind the guard: it tells whom the guard let in.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	identity := ssl.FromContext(r.Context())
	if identity == nil {
		_, _ = io.WriteString(w, "nobody")
		return
	}
	_, _ = io.WriteString(w, identity.Profile().ID()+" "+identity.Subject())
})

// doors are the ways in which a server can stand behind a Terminator.
var doors = []struct {
	name string
	open func(t *testing.T, store *ssl.Store, handler http.Handler) net.Addr
}{
	{"http.Server", func(t *testing.T, store *ssl.Store, handler http.Handler) net.Addr {
		l := listen(t)
		server := &http.Server{TLSConfig: store.TLSConfig(), Handler: store.Handler(handler), ErrorLog: silent}
		serve(t, server, func() error { return server.ServeTLS(l, "", "") })
		return l.Addr()
	}},
	{"httptest", func(t *testing.T, store *ssl.Store, handler http.Handler) net.Addr {
		server := httptest.NewUnstartedServer(store.Handler(handler))
		server.Config.ErrorLog = silent
		server.TLS = store.TLSConfig()
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.Listener.Addr()
	}},
	{"Listener", func(t *testing.T, store *ssl.Store, handler http.Handler) net.Addr {
		l := listen(t)
		server := &http.Server{Handler: store.Handler(handler), ErrorLog: silent}
		serve(t, server, func() error { return server.Serve(store.Listener(l)) })
		return l.Addr()
	}},
}

func forDoors(t *testing.T, store *ssl.Store, test func(t *testing.T, connect func(t *testing.T, serverName string, certs ...tls.Certificate) rawClient)) {
	for _, door := range doors {
		addr := door.open(t, store, whoami)
		for _, protocol := range []string{"http/1.1", "h2"} {
			t.Run(door.name+"/"+protocol, func(t *testing.T) {
				test(t, func(t *testing.T, serverName string, certs ...tls.Certificate) rawClient {
					t.Helper()
					config := ssltest.ClientConfig(serverName, certs...)
					config.NextProtos = []string{protocol}
					conn := dial(t, addr, config)
					require.Equal(t, protocol, conn.ConnectionState().NegotiatedProtocol)
					if protocol == "h2" {
						return newH2Client(t, conn)
					}
					return newH1Client(conn)
				})
			})
		}
	}
}

// want is an answer in short: the status; "close" if the connection ends with it
// on HTTP/2 too; and for 200, whom the handler saw.
func requireAnswer(t *testing.T, want string, client rawClient, got answer, message string) {
	t.Helper()
	status, rest, _ := strings.Cut(want, " ")
	if status == "400" && got.status == -protocolError {
		return // the same, of net/http's own
	}
	require.Equal(t, status, fmt.Sprint(got.status), message)
	if got.status == http.StatusOK {
		require.Equal(t, rest, got.body, message)
	} else {
		require.NotContains(t, got.body, "CN=", message)
	}
	closing := rest == "close"
	if _, h1 := client.(*h1Client); h1 && got.status == http.StatusMisdirectedRequest {
		closing = true
	}
	if got.status != http.StatusBadRequest { // net/http also closes after some that are its own
		require.Equal(t, closing, got.closing, "%s: closing", message)
	}
}

// The table of answers, by the server name of the connection, the client's
// certificate, the Host and the path.
func TestGuard(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	store := must(ssl.NewStore(&ssl.Options{FallbackName: "public.test"}))
	report, err := store.Put(
		server(servers, "public", nil, "public.test", "www.public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test", "*.strict.test", "also.test", "10.0.0.1", "[::1]"),
		server(servers, "other", &ssl.ClientAuth{CAPEM: aliens.PEM()}, "other.test"),
		server(servers, "same CA", &ssl.ClientAuth{CAPEM: people.PEM()}, "sameca.test"),
		server(servers, "optional", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/free/"}}, "optional.test", "optional2.test"),
		server(servers, "hole", nil, "hole.strict.test"),
	)
	require.NoError(t, err)
	require.Len(t, report.Warnings, 3, "two addresses and a hole")

	certs := map[string][]tls.Certificate{
		"-":       nil,
		"alice":   {people.Client("alice")},
		"deep":    {people.Intermediate("middle").Client("deep")},
		"mallory": {aliens.Client("mallory")},
		"forged":  {ssltest.NewCA(t, "people").Client("alice")},
		"expired": {people.Client("alice", ssltest.Expired)},
	}
	const (
		nobody   = "200 nobody"
		alice    = "200 strict CN=alice"
		optional = "200 optional CN=alice"
	)
	for _, group := range []struct {
		sni, cert string
		rows      [][3]string // Host, path, answer
	}{
		// A name that demands nothing. "" is a client that connects by address,
		// and has the fallback's name.
		{"public.test", "-", [][3]string{
			{"public.test", "/", nobody}, {"PUBLIC.test", "/", nobody}, {"public.test.", "/", nobody}, {"public.test:443", "/", nobody}, {"public.test:", "/", nobody}, {"Public.Test.:65535", "/", nobody},
			{"www.public.test", "/", nobody}, {"hole.strict.test", "/", nobody}, {"unknown.test", "/", nobody}, {"10.0.0.2", "/", nobody}, {"[::2]:443", "/", nobody}, {"", "/", nobody},
			{"strict.test", "/", "421"}, {"STRICT.test", "/", "421"}, {"strict.test.", "/", "421"}, {"strict.test:443", "/", "421"}, {"strict.test:", "/", "421"}, {"sTrIcT.TeSt.:1", "/", "421"},
			{"x.strict.test", "/", "421"}, {"x.y.strict.test", "/", "421"}, {"HOLE.x.strict.test.", "/", "421"}, {"also.test", "/", "421"}, {"10.0.0.1", "/", "421"}, {"10.0.0.1:443", "/", "421"}, {"[::1]", "/", "421"}, {"[0:0::1]:443", "/", "421"},
			{"other.test", "/", "421"}, {"optional.test", "/", "421"}, {"optional.test", "/free/", "421"},
			{"public.test,strict.test", "/", "400"}, {"strict.test,public.test", "/", "400"}, {"public.test@strict.test", "/", "400"}, {"strict.test:443@public.test", "/", "400"}, {"*.strict.test", "/", "400"},
			{"strict..test", "/", "400"}, {".strict.test", "/", "400"}, {"strict.test..", "/", "400"}, {"strict.test:x", "/", "400"}, {"strict.test:123456", "/", "400"}, {"strict.test:443:443", "/", "400"}, {"[::1", "/", "400"}, {"[strict.test]", "/", "400"}, {"%73trict.test", "/", "400"}, {"strict%2etest", "/", "400"}, {"strict.test;", "/", "400"}, {"strict.test'", "/", "400"},
		}},
		{"", "-", [][3]string{
			{"public.test", "/", nobody}, {"www.public.test", "/", nobody}, {"127.0.0.1", "/", nobody}, {"", "/", nobody},
			{"strict.test", "/", "421"}, {"optional.test", "/free/", "421"}, {"x.y.strict.test", "/", "421"}, {"10.0.0.1", "/", "421"},
		}},
		// Whatever certificate is at hand, a name that does not ask for it never
		// sees it.
		{"public.test", "alice", [][3]string{{"public.test", "/", nobody}, {"strict.test", "/", "421"}, {"optional.test", "/free/", "421"}}},
		{"hole.strict.test", "-", [][3]string{{"hole.strict.test", "/", nobody}, {"public.test", "/", nobody}, {"x.strict.test", "/", "421"}}},

		// A name that demands a certificate.
		{"strict.test", "alice", [][3]string{
			{"strict.test", "/", alice}, {"STRICT.TEST", "/", alice}, {"strict.test.", "/", alice}, {"strict.test:9443", "/", alice}, {"x.strict.test", "/", alice}, {"also.test", "/", alice}, {"10.0.0.1:443", "/", alice}, {"[::1]", "/", alice},
			{"strict.test", "/free/", alice},
			{"public.test", "/", "421"}, {"hole.strict.test", "/", "421"}, {"x.y.strict.test", "/", "421"}, {"unknown.test", "/", "421"}, {"", "/", "421"}, {"10.0.0.2", "/", "421"},
			{"other.test", "/", "421"}, {"sameca.test", "/", "421"}, {"optional.test", "/", "421"}, {"optional.test", "/free/", "421"}, {"strict.test,strict.test", "/", "400"},
		}},
		{"X.Strict.TEST", "alice", [][3]string{{"strict.test", "/", alice}, {"y.strict.test", "/", alice}, {"hole.strict.test", "/", "421"}}},
		{"strict.test", "deep", [][3]string{{"also.test", "/", "200 strict CN=deep"}}},
		{"other.test", "mallory", [][3]string{{"other.test", "/", "200 other CN=mallory"}, {"strict.test", "/", "421"}, {"public.test", "/", "421"}}},
		{"sameca.test", "alice", [][3]string{{"sameca.test", "/", "200 same CA CN=alice"}, {"strict.test", "/", "421"}}},

		// A name of which some paths need none.
		{"optional.test", "-", [][3]string{
			{"optional.test", "/", "400"}, {"optional.test", "/free/x", nobody}, {"OPTIONAL.test.:443", "/free/x", nobody}, {"optional2.test", "/free/x", nobody}, {"optional2.test", "/", "400"},
			{"strict.test", "/free/", "421"}, {"public.test", "/free/", "421"}, {"", "/free/", "421"},
		}},
		{"optional.test", "alice", [][3]string{{"optional.test", "/", optional}, {"optional.test", "/free/", optional}, {"strict.test", "/", "421"}}},
		{"optional.test", "mallory", [][3]string{{"optional.test", "/", "400"}, {"optional.test", "/free/", nobody}, {"other.test", "/", "421"}}},
		{"optional.test", "forged", [][3]string{{"optional.test", "/", "400"}, {"optional.test", "/free/", nobody}}},
		{"optional.test", "expired", [][3]string{{"optional.test", "/", "400"}, {"optional.test", "/free/", nobody}}},
	} {
		t.Run(fmt.Sprintf("%q with %s", group.sni, group.cert), func(t *testing.T) {
			forDoors(t, store, func(t *testing.T, connect func(*testing.T, string, ...tls.Certificate) rawClient) {
				for _, row := range group.rows {
					client := connect(t, group.sni, certs[group.cert]...)
					got := client.get(t, row[0], row[1])
					requireAnswer(t, row[2], client, got, fmt.Sprintf("Host %q, path %q: %v", row[0], row[1], got))
				}
			})
		})
	}
}

// What HTTP/1 alone can say.
func TestGuardHTTP1(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := newStore(t, nil,
		server(servers, "public", nil, "public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test"),
		server(servers, "optional", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/free/"}}, "optional.test"),
	)
	alice := people.Client("alice")
	forDoors(t, store, func(t *testing.T, connect func(*testing.T, string, ...tls.Certificate) rawClient) {
		for _, c := range []struct {
			sni     string
			request string
			want    string
		}{
			// The absolute form counts, not the Host beside it (RFC 9112, section
			// 3.2.2).
			{"public.test", "GET https://strict.test/ HTTP/1.1\r\nHost: public.test\r\n\r\n", "421"},
			{"public.test", "GET HTTP://STRICT.test:80/ HTTP/1.1\r\nHost: public.test\r\n\r\n", "421"},
			{"public.test", "GET https://public.test@strict.test/ HTTP/1.1\r\nHost: public.test\r\n\r\n", "421"},
			{"public.test", "GET https://strict.test@public.test/ HTTP/1.1\r\nHost: strict.test\r\n\r\n", "200 nobody"},
			{"public.test", "GET https://public.test/ HTTP/1.1\r\nHost: strict.test\r\n\r\n", "200 nobody"},
			{"strict.test", "GET https://strict.test/ HTTP/1.1\r\nHost: public.test\r\n\r\n", "200 strict CN=alice"},
			{"strict.test", "GET https://public.test/ HTTP/1.1\r\nHost: strict.test\r\n\r\n", "421"},
			{"optional.test", "GET https://optional.test/free/ HTTP/1.1\r\nHost: optional.test\r\n\r\n", "200 nobody"},
			{"optional.test", "GET https://optional.test/free/../x HTTP/1.1\r\nHost: optional.test\r\n\r\n", "400"},
			{"optional.test", "GET https://optional.test HTTP/1.1\r\nHost: optional.test\r\n\r\n", "400"},
			{"optional.test", "GET https://optional.test?/free/ HTTP/1.1\r\nHost: optional.test\r\n\r\n", "400"},
			// No form at all, but net/http reads a path in it, and that is judged.
			{"optional.test", "GET http:/free/ HTTP/1.1\r\nHost: optional.test\r\n\r\n", "200 nobody"},
			{"optional.test", "GET x:/free/../y HTTP/1.1\r\nHost: optional.test\r\n\r\n", "400"},
			{"optional.test", "GET http:free/ HTTP/1.1\r\nHost: optional.test\r\n\r\n", "400"},

			// No Host at all, and several.
			{"public.test", "GET / HTTP/1.0\r\n\r\n", "200 nobody"},
			{"strict.test", "GET / HTTP/1.0\r\n\r\n", "421"},
			{"strict.test", "GET / HTTP/1.0\r\nHost: strict.test\r\n\r\n", "200 strict CN=alice"},
			{"public.test", "GET / HTTP/1.1\r\n\r\n", "400"},
			{"public.test", "GET / HTTP/1.1\r\nHost: public.test\r\nHost: strict.test\r\n\r\n", "400"},
			{"public.test", "GET / HTTP/1.1\r\nHost: public.test\r\nX-Forwarded-Host: strict.test\r\nForwarded: host=strict.test\r\n\r\n", "200 nobody"},

			// Methods with a target of their own.
			{"public.test", "CONNECT strict.test:443 HTTP/1.1\r\nHost: public.test\r\n\r\n", "421"},
			{"optional.test", "CONNECT optional.test:443 HTTP/1.1\r\nHost: optional.test\r\n\r\n", "400"},
			{"optional.test", "OPTIONS * HTTP/1.1\r\nHost: optional.test\r\n\r\n", "200 "}, // net/http's own answer
			{"optional.test", "GET * HTTP/1.1\r\nHost: optional.test\r\n\r\n", "400"},
		} {
			var certs []tls.Certificate
			if c.sni == "strict.test" {
				certs = append(certs, alice)
			}
			client, ok := connect(t, c.sni, certs...).(*h1Client)
			if !ok {
				t.Skip("HTTP/2 has no such requests")
			}
			got := client.send(t, c.request)
			status, body, _ := strings.Cut(c.want, " ")
			require.Equal(t, status, fmt.Sprint(got.status), "%q: %v", c.request, got)
			if got.status == http.StatusOK {
				require.Equal(t, body, got.body, "%q", c.request)
			}
		}
	})
}

// What a client may send to be taken for another path. A skip holds for none of
// it.
func TestSkipPathsHostile(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := newStore(t, nil,
		server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/free/", "/open$", "^/caf\u00e9$"}}, "a.test"),
	)
	free := []string{
		"/free/", "/free/x", "/free/x/y.html", "/free/..x", "/free/x..", "/free/...", "/free/.x", "/free/x?/../admin", "/free/?..", "/free/%7Euser", "/free/a%20b", "/fre%65/x",
		"/free/%E2%80%AE", "/open", "/x/open", "/caf%C3%A9", "/free/admin", "/free/a:b@c=d&e+f,g!h$i'(j)*",
	}
	refused := []string{
		"/", "/admin", "/free", "/FREE/x", "/Free/", "/x/free/", "/opening", "/open/", "/x?/open", "/?/free/", "/caf%E9",
		"/free/../admin", "/free/%2e%2e/admin", "/free/.%2E/admin", "/free/%2E./admin", "/free/./admin", "/free/%2e/admin", "/free/x/../../admin", "/free/..", "/free/.", "/free/../", "/free/..?",
		"/free//admin", "//free/admin", "/free//", "/free/x//", "//free/", "///free/x", "/./free/x", "/x/../free/x", "/free/x/..", "/../free/x", "/free/../../admin",
		"/free/..;/admin", "/free/..;x/admin", "/free;x/admin", "/free/;/admin", "/free/x;y", "/free/%3b/admin", "/free/x%3by",
		"/free%2fx", "/free%2Fadmin", "/free/..%2fadmin", "/free%2f..%2fadmin", "/free/x%2fy", "/free/%2e%2e%2fadmin",
		"/free/%252e%252e/admin", "/free/%252fadmin", "/%2566ree/x", "/free/%25", "/free/%5cadmin", `/free/..\admin`, `/free\admin`, "/free/..%5cadmin", "/free/%5c..%5cadmin",
		"/free/%3fx", "/free/%23x", "/free/%00", "/free/%0d%0ax", "/free/%09", "/free/%7f", "/free/x%0a/open", "/admin%0a/open", "/admin%3f/open", "/admin%23/open", "/admin;/open", "/admin/..;/open", "/admin/..%2f/open",
		"/free/%c0%ae%c0%ae/admin", "/free/%c0%af..%c0%afadmin", "/free/%ff", "/free/%e0%80%af", "/free/%u002e%u002e/admin", "/free/%zz", "/free/%", "/free/%2", "/free/#/admin",
	}
	forDoors(t, store, func(t *testing.T, connect func(*testing.T, string, ...tls.Certificate) rawClient) {
		client := connect(t, "a.test")
		ask := func(path string) answer {
			got := client.get(t, "a.test", path)
			if got.closing || got.status < 0 {
				client = connect(t, "a.test") // net/http refused it by itself
			}
			return got
		}
		for _, path := range free {
			got := ask(path)
			require.Equal(t, http.StatusOK, got.status, "%q: %v", path, got)
			require.Equal(t, "nobody", got.body, "%q", path)
		}
		for _, path := range refused {
			got := ask(path)
			if got.status >= 0 { // or a stream error
				require.Equal(t, http.StatusBadRequest, got.status, "%q: %v", path, got)
			}
		}
	})
}

// A browser sends the requests for two names over one connection, if the
// certificate has both. What is refused is the one request.
func TestTwoAuthoritiesOnOneConnection(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := newStore(t, nil,
		server(servers, "public", nil, "public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test", "also.test"),
	)
	get := func(host string) [][2]string {
		return [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", host}}
	}
	forDoors(t, store, func(t *testing.T, connect func(*testing.T, string, ...tls.Certificate) rawClient) {
		client, ok := connect(t, "strict.test", people.Client("alice")).(*h2Client)
		if !ok {
			t.Skip("HTTP/1.1 has one Host after the other: see TestGuard")
		}
		one, two, three := client.open(t, get("strict.test")...), client.open(t, get("public.test")...), client.open(t, get("also.test")...)
		require.Equal(t, answer{200, "strict CN=alice", false}, client.read(t, one))
		refused := client.read(t, two)
		require.Equal(t, 421, refused.status)
		require.False(t, refused.closing)
		require.Equal(t, answer{200, "strict CN=alice", false}, client.read(t, three))
		require.Equal(t, answer{200, "strict CN=alice", false}, client.get(t, "strict.test", "/"))

		// The other way round nothing is won either.
		client = connect(t, "public.test").(*h2Client)
		for range 2 {
			require.Equal(t, 200, client.get(t, "public.test", "/").status)
			require.Equal(t, 421, client.get(t, "strict.test", "/").status)
		}

		// :authority counts, not a Host beside it.
		stream := client.open(t, append(get("public.test"), [2]string{"host", "strict.test"})...)
		require.NotContains(t, client.read(t, stream).body, "CN=")
		stream = client.open(t, append(get("strict.test"), [2]string{"host", "public.test"})...)
		require.NotEqual(t, 200, client.read(t, stream).status)
		stream = client.open(t, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"host", "strict.test"}}...)
		require.NotEqual(t, 200, client.read(t, stream).status)
		stream = client.open(t, [][2]string{{":method", "CONNECT"}, {":authority", "strict.test:443"}}...)
		require.NotEqual(t, 200, client.read(t, stream).status)
	})
}

// A request is governed by what holds now, on a connection that was made under
// something else.
func TestPolicyReplaced(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	alice, deep := people.Client("alice"), people.Intermediate("middle").Client("deep")
	pair := servers.Server("a.test", "b.test", "x.y.a.test", "*.a.test")
	profile := func(id string, client *ssl.ClientAuth, names ...string) ssl.Config {
		return ssl.Config{ID: id, Names: names, Certificates: []ssl.KeyPair{pair}, Client: client}
	}
	auth := func(depth int, skip string, cas ...*ssltest.CA) *ssl.ClientAuth {
		c := &ssl.ClientAuth{Depth: depth}
		if skip != "" {
			c.SkipPaths = []string{skip}
		}
		for _, ca := range cas {
			c.CAPEM = append(c.CAPEM, ca.PEM()...)
		}
		return c
	}
	puts := func(configs ...ssl.Config) ssl.Change { return ssl.Change{Put: configs} }
	strict, optional := auth(0, "", people), auth(0, "^/free/", people)
	for _, c := range []struct {
		name   string
		before []ssl.Config
		cert   *tls.Certificate
		first  [3]string // Host, path, answer
		change ssl.Change
		then   [][3]string // each on a connection of its own
	}{
		{"an equal profile", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			puts(profile("1", strict, "a.test")), [][3]string{{"a.test", "/", "200 1 CN=alice"}}},
		{"a CA more", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			puts(profile("1", auth(0, "", aliens, people), "a.test")), [][3]string{{"a.test", "/", "200 1 CN=alice"}}},
		{"another CA", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			puts(profile("1", auth(0, "", aliens), "a.test")), [][3]string{{"a.test", "/", "421 close"}, {"A.TEST:443", "/x", "421 close"}}},
		{"another CA and free paths", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			puts(profile("1", auth(0, "^/free/", aliens), "a.test")), [][3]string{{"a.test", "/", "421 close"}, {"a.test", "/free/", "421 close"}}},
		{"free paths", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			puts(profile("1", optional, "a.test")), [][3]string{{"a.test", "/", "200 1 CN=alice"}, {"a.test", "/free/", "200 1 CN=alice"}}},
		{"a lower depth", []ssl.Config{profile("1", strict, "a.test")}, &deep, [3]string{"a.test", "/", "200 1 CN=deep"},
			puts(profile("1", auth(ssl.NoIntermediates, "", people), "a.test")), [][3]string{{"a.test", "/", "421 close"}}},
		{"another profile with the same policy", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			ssl.Change{Delete: []string{"1"}, Put: []ssl.Config{profile("2", strict, "a.test")}}, [][3]string{{"a.test", "/", "200 2 CN=alice"}}},
		{"nothing demanded any more", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			puts(profile("1", nil, "a.test")), [][3]string{{"a.test", "/", "200 nobody"}}},
		{"deleted, and nobody's", []ssl.Config{profile("1", strict, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			ssl.Change{Delete: []string{"1"}}, [][3]string{{"a.test", "/", "200 nobody"}, {"b.test", "/", "200 nobody"}}},
		{"deleted, and below a strict wildcard", []ssl.Config{profile("1", nil, "x.y.a.test"), profile("2", strict, "*.a.test")}, nil, [3]string{"x.y.a.test", "/", "200 nobody"},
			ssl.Change{Delete: []string{"1"}}, [][3]string{{"x.y.a.test", "/", "421"}, {"nobodys.test", "/", "421"}}},

		{"a certificate demanded from now on", []ssl.Config{profile("1", nil, "a.test")}, nil, [3]string{"a.test", "/", "200 nobody"},
			puts(profile("1", strict, "a.test")), [][3]string{{"a.test", "/", "400"}}},
		{"and on some paths", []ssl.Config{profile("1", nil, "a.test")}, nil, [3]string{"a.test", "/", "200 nobody"},
			puts(profile("1", optional, "a.test")), [][3]string{{"a.test", "/", "400"}, {"a.test", "/free/", "200 nobody"}, {"a.test", "/free/../x", "400"}}},
		{"free paths no more", []ssl.Config{profile("1", optional, "a.test")}, nil, [3]string{"a.test", "/free/", "200 nobody"},
			puts(profile("1", strict, "a.test")), [][3]string{{"a.test", "/free/", "400"}}},
		{"other free paths", []ssl.Config{profile("1", optional, "a.test")}, nil, [3]string{"a.test", "/free/", "200 nobody"},
			puts(profile("1", auth(0, "^/open/", people), "a.test")), [][3]string{{"a.test", "/free/", "400"}, {"a.test", "/open/", "200 nobody"}}},
		{"an unverified certificate becomes good", []ssl.Config{profile("1", auth(0, "^/free/", aliens), "a.test")}, &alice, [3]string{"a.test", "/free/", "200 nobody"},
			puts(profile("1", optional, "a.test")), [][3]string{{"a.test", "/", "200 1 CN=alice"}}},
		{"a good one is good no more", []ssl.Config{profile("1", optional, "a.test")}, &alice, [3]string{"a.test", "/", "200 1 CN=alice"},
			puts(profile("1", auth(0, "^/free/", aliens), "a.test")), [][3]string{{"a.test", "/", "400"}, {"a.test", "/free/", "200 nobody"}}},

		{"two names part", []ssl.Config{profile("1", strict, "a.test", "b.test")}, &alice, [3]string{"b.test", "/", "200 1 CN=alice"},
			puts(profile("1", strict, "a.test"), profile("2", strict, "b.test")), [][3]string{{"a.test", "/", "200 1 CN=alice"}, {"b.test", "/", "421"}}},
		{"two names come together", []ssl.Config{profile("1", strict, "a.test"), profile("2", strict, "b.test")}, &alice, [3]string{"b.test", "/", "421"},
			puts(profile("1", strict, "a.test", "b.test"), profile("2", strict, "c.test")), [][3]string{{"b.test", "/", "200 1 CN=alice"}}},
		{"the other name becomes strict", []ssl.Config{profile("1", nil, "a.test"), profile("2", nil, "b.test")}, nil, [3]string{"b.test", "/", "200 nobody"},
			puts(profile("2", strict, "b.test")), [][3]string{{"b.test", "/", "421"}, {"a.test", "/", "200 nobody"}}},
		{"a strict wildcard comes", []ssl.Config{profile("1", nil, "*")}, nil, [3]string{"x.y.a.test", "/", "200 nobody"},
			puts(profile("2", strict, "*.a.test")), [][3]string{{"x.y.a.test", "/", "421"}, {"x.a.test", "/", "421"}, {"a.test", "/", "200 nobody"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, then := range c.then {
				store := must(ssl.NewStore(nil))
				forDoors(t, store, func(t *testing.T, connect func(*testing.T, string, ...tls.Certificate) rawClient) {
					_, err := store.Apply(ssl.Change{Delete: []string{"1", "2"}, Put: c.before})
					require.NoError(t, err)
					sni := "a.test"
					if store.Table().Lookup(sni) == nil {
						sni = c.first[0]
					}
					var certs []tls.Certificate
					if c.cert != nil {
						certs = append(certs, *c.cert)
					}
					client := connect(t, sni, certs...)
					got := client.get(t, c.first[0], c.first[1])
					requireAnswer(t, c.first[2], client, got, fmt.Sprintf("before: %v", got))
					if got.closing {
						client = connect(t, sni, certs...)
					}
					_, err = store.Apply(c.change)
					require.NoError(t, err)
					got = client.get(t, then[0], then[1])
					requireAnswer(t, then[2], client, got, fmt.Sprintf("then: %v: %v", then, got))
				})
			}
		})
	}
}

// A certificate that expires while the connection is open.
func TestExpiryOnAnOpenConnection(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	end := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	alice := people.Client("alice", ssltest.Until(end))
	for _, c := range []struct{ path, skip, before, after string }{
		{"/", "", "200 1 CN=alice", "421 close"},
		{"/", "^/free/", "200 1 CN=alice", "400"},
		{"/free/", "^/free/", "200 1 CN=alice", "200 nobody"},
	} {
		clock := newClock()
		store := must(ssl.NewStore(&ssl.Options{Base: &tls.Config{Time: clock.Now}}))
		auth := &ssl.ClientAuth{CAPEM: people.PEM()}
		if c.skip != "" {
			auth.SkipPaths = []string{c.skip}
		}
		put(t, store, server(servers, "1", auth, "a.test"))
		forDoors(t, store, func(t *testing.T, connect func(*testing.T, string, ...tls.Certificate) rawClient) {
			clock.Set(time.Now())
			client := connect(t, "a.test", alice)
			for _, at := range []struct {
				time time.Time
				want string
			}{{time.Now(), c.before}, {end, c.before}, {end.Add(time.Second), c.after}} {
				clock.Set(at.time)
				got := client.get(t, "a.test", c.path)
				requireAnswer(t, at.want, client, got, fmt.Sprint(got))
			}
		})
	}
}

// Without TLS there is nobody to demand a certificate of.
func TestGuardPlainHTTP(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := must(ssl.NewStore(&ssl.Options{FallbackName: "strict.test"}))
	_, err := store.Put(
		server(servers, "public", nil, "public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test", "*.strict.test"),
		server(servers, "optional", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/free/"}}, "optional.test"),
		server(servers, "hole", nil, "hole.strict.test"),
	)
	require.NoError(t, err)
	l := listen(t)
	protocols := http1Only()
	protocols.SetUnencryptedHTTP2(true)
	web := &http.Server{Handler: store.Handler(whoami), Protocols: protocols, ErrorLog: silent}
	serve(t, web, func() error { return web.Serve(l) })
	const token = "/.well-known/acme-challenge/token"
	rows := [][3]string{
		{"public.test", "/", "200 nobody"}, {"unknown.test", "/", "200 nobody"}, {"", "/", "200 nobody"}, {"hole.strict.test", "/", "200 nobody"},
		{"strict.test", "/", "403"}, {"STRICT.TEST", "/", "403"}, {"strict.test.", "/", "403"}, {"strict.test:80", "/", "403"}, {"x.strict.test", "/", "403"}, {"x.y.strict.test", "/", "403"},
		{"optional.test", "/", "403"}, {"optional.test", "/free/", "403"},
		{"public.test,strict.test", "/", "400"}, {"strict..test", "/", "400"}, {"strict..test", token, "400"},

		{"strict.test", token, "200 nobody"}, {"x.y.strict.test", token, "200 nobody"}, {"optional.test", token, "200 nobody"}, {"strict.test", "/.well-known/acme-challenge/", "200 nobody"}, {"strict.test", token + "?x=..", "200 nobody"},
		{"strict.test", "/.well-known/acme-challenge", "403"}, {"strict.test", "/.well-known/acme-challengex/token", "403"}, {"strict.test", "/.WELL-KNOWN/acme-challenge/token", "403"}, {"strict.test", "/x" + token, "403"}, {"strict.test", "/?" + token, "403"},
		{"strict.test", "/.well-known/acme-challenge/../secret", "403"}, {"strict.test", "/.well-known/acme-challenge/../../secret", "403"}, {"strict.test", "/.well-known/acme-challenge/%2e%2e/%2e%2e/secret", "403"},
		{"strict.test", "/.well-known/acme-challenge/..%2f..%2fsecret", "403"}, {"strict.test", `/.well-known/acme-challenge/..\..\secret`, "403"}, {"strict.test", "/.well-known/acme-challenge/..;/..;/secret", "403"}, {"strict.test", "/.well-known/acme-challenge//x", "403"}, {"strict.test", "/" + token, "403"},
		{"strict.test", "/.well-known/acme-challenge/%252e%252e/secret", "403"}, {"strict.test", "/secret/.." + token, "403"}, {"strict.test", "/.well-known%2facme-challenge/token", "403"}, {"strict.test", "/.well-known/acme-challenge/%00", "403"}, {"strict.test", "/.well-known/acme-challenge/;x", "403"},
	}
	for name, connect := range map[string]func(net.Conn) rawClient{
		"http/1.1": func(c net.Conn) rawClient { return newH1Client(c) },
		"h2c":      func(c net.Conn) rawClient { return newH2Client(t, c) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, row := range rows {
				conn, err := net.Dial("tcp", l.Addr().String())
				require.NoError(t, err)
				_ = conn.SetDeadline(time.Now().Add(patience))
				client := connect(conn)
				got := client.get(t, row[0], row[1])
				requireAnswer(t, row[2], client, got, fmt.Sprintf("%q: %v", row, got))
				if h1, ok := client.(*h1Client); ok && row[0] != "" && got.status != 400 {
					// The absolute form is the same request, whatever Host says.
					got = h1.get(t, "public.test", "http://"+row[0]+row[1])
					requireAnswer(t, row[2], client, got, fmt.Sprintf("absolute, %q: %v", row, got))
				}
				conn.Close()
			}
		})
	}
	require.True(t, urlpath.ACMEChallenge(token))
	require.False(t, urlpath.ACMEChallenge("/.well-known/acme-challenge/../x"))
	require.False(t, urlpath.ACMEChallenge(""))
}

// For every spelling of every name, a connection and a request are governed by the
// same profile: gateways have had fast paths that differ by the size of the table.
func TestSameRuleForServerNameAndHost(t *testing.T) {
	m := newMaker(t)
	m.pair = ssltest.NewCA(t, "root").Server("any.test")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, size := range []int{1, 31, 101, 10_001} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(size)))
			name := func() string {
				labels := make([]string, 1+r.IntN(4))
				for i := range labels {
					labels[i] = fmt.Sprintf("%c%d", 'a'+r.IntN(26), r.IntN(1+size/20))
				}
				return strings.Join(labels, ".") + ".test"
			}
			var table *ssl.Table
			var known []string
			for id := 0; len(known) < size; id++ {
				var patterns []string
				for range min(size-len(known), 100) {
					pattern := name()
					if kind := r.IntN(10); kind < 3 {
						pattern = "*." + pattern
					} else if kind == 3 {
						pattern = "*" + pattern
					}
					patterns = append(patterns, pattern)
				}
				known = append(known, patterns...)
				table = table.With(m.profile(fmt.Sprint(id), id%2 == 0, patterns...))
			}
			tm := must(ssl.NewTerminator(func() *ssl.Table { return table }, nil))
			spell := func(name string) string {
				b := []byte(name)
				for i := range b {
					if r.IntN(3) == 0 {
						b[i] = strings.ToUpper(string(b[i]))[0]
					}
				}
				return string(b) + []string{"", "."}[r.IntN(2)]
			}
			for range 2000 {
				name := name()
				if pattern := known[r.IntN(len(known))]; r.IntN(3) > 0 {
					name = strings.Replace(pattern, "*", []string{"x", "x.y", "xy-z"}[r.IntN(3)], 1)
				}
				serverName, host := strings.TrimSuffix(spell(name), "."), spell(name)+[]string{"", ":443", ":"}[r.IntN(3)]

				// What crypto/tls is told for the server name.
				config, err := tm.GetConfigForClient(&tls.ClientHelloInfo{ServerName: serverName})
				require.NoError(t, err)
				unknown, asks := len(config.Certificates) == 0, config.ClientAuth != tls.NoClientCert

				// What the guard does with the Host, without TLS and with it.
				_, err = tm.Judge(table, nil, host, "/")
				plain, refused := err.(*ssl.RequestError)
				require.Equal(t, table.Lookup(name).DemandsClientCert(), asks, "%q", name)
				require.Equal(t, table.Lookup(name) == nil, unknown, "%q", name)
				if refused {
					require.Equal(t, 403, plain.Status)
					require.True(t, asks || unknown, "%q: the Host is closed, the server name open", name)
				}
				if asks {
					require.True(t, refused, "%q: the server name asks, the Host does not", name)
					require.Equal(t, table.Lookup(name).ID(), plain.Profile)
				}
				if unknown {
					continue // no connection is made
				}
				_, err = tm.Judge(table, &tls.ConnectionState{ServerName: serverName}, host, "/")
				if asks {
					require.Equal(t, 400, err.(*ssl.RequestError).Status, "%q: one profile, no certificate", name)
				} else {
					require.NoError(t, err, "%q", name)
				}
			}
		})
	}
}

// Whatever Host, server name and path there are: without a certificate nobody is
// served under a name that demands one, and nobody has an identity.
func FuzzJudge(f *testing.F) {
	ca := ssltest.NewCA(f, "root")
	store := newStore(f, &ssl.Options{FallbackName: "public.test"},
		server(ca, "public", nil, "public.test", "*"),
		server(ca, "strict", &ssl.ClientAuth{CAPEM: ca.PEM()}, "strict.test", "*.strict.test"),
		server(ca, "optional", &ssl.ClientAuth{CAPEM: ca.PEM(), SkipPaths: []string{"^/free/"}}, "optional.test"),
	)
	f.Add("strict.test", "strict.test", "/")
	f.Add("STRICT.test.:443", "public.test", "/free/../x")
	f.Add("x.y.strict.test", "x.y.strict.test", "/free/x")
	f.Add("optional.test", "optional.test", "/free/x")
	f.Add("[::1]:443", "", "*")
	f.Fuzz(func(t *testing.T, host, serverName, path string) {
		for _, cs := range []*tls.ConnectionState{nil, {ServerName: serverName}} {
			identity, err := store.Judge(store.Table(), cs, host, path)
			require.Nil(t, identity)
			if err != nil {
				refusal, ok := err.(*ssl.RequestError)
				require.True(t, ok)
				require.Contains(t, []int{400, 403, 421}, refusal.Status)
				require.NotContains(t, refusal.Message, "optional")
				continue
			}
			name := strings.ToLower(host)
			if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
				name = name[:i]
			}
			name = strings.TrimSuffix(name, ".")
			acme := cs == nil && strings.HasPrefix(path, "/")
			if name == "strict.test" || strings.HasSuffix(name, ".strict.test") {
				require.True(t, acme && urlpath.ACMEChallenge(path), "%q %q %q", host, serverName, path)
			}
			if name == "optional.test" && !(acme && urlpath.ACMEChallenge(path)) {
				require.NotContains(t, path, "..")
				require.True(t, strings.EqualFold(serverName, "optional.test") || strings.EqualFold(serverName, "optional.test."))
			}
		}
	})
}

func TestRefusal(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	store := newStore(t, nil,
		server(ca, "the secret profile", &ssl.ClientAuth{CAPEM: ca.PEM()}, "strict.test"),
		server(ca, "public", nil, "public.test"))
	for _, c := range []struct {
		cs         *tls.ConnectionState
		host       string
		status     int
		message    string
		profile    string
		h1, h2     bool
		serverName string
	}{
		{&tls.ConnectionState{ServerName: "public.test"}, "strict.test:1", 421, "this connection was made for another server name than that of the request; connect with the name of the request", "the secret profile", true, false, "public.test"},
		{&tls.ConnectionState{ServerName: "strict.test"}, "strict.test", 400, "no required client certificate was sent", "the secret profile", false, false, "strict.test"},
		{connection("strict.test", ssltest.NewCA(t, "x").Client("mallory")), "strict.test", 400, "the client certificate is not accepted for this server name", "the secret profile", false, false, "strict.test"},
		{nil, "strict.test", 403, "this name is served over TLS only, with a client certificate; use https", "the secret profile", false, false, ""},
		{nil, "a\nb", 400, "the Host is not a valid name", "", false, false, ""},
	} {
		_, err := store.Judge(store.Table(), c.cs, c.host, "/")
		refusal, ok := err.(*ssl.RequestError)
		require.True(t, ok)
		require.Equal(t, c.status, refusal.Status)
		require.Equal(t, c.message, refusal.Message)
		require.Equal(t, c.host, refusal.Host)
		require.Equal(t, c.profile, refusal.Profile)
		require.Equal(t, c.serverName, refusal.ServerName)
		require.Equal(t, fmt.Sprintf("ssl: %d: %s (server name %q, host %q, profile %q)", c.status, c.message, c.serverName, c.host, c.profile), refusal.Error())
		require.NotContains(t, refusal.Error(), "\n")
		require.Equal(t, c.h1, refusal.Closes(&http.Request{ProtoMajor: 1, ProtoMinor: 1}))
		require.Equal(t, c.h2, refusal.Closes(&http.Request{ProtoMajor: 2}))

		// The client learns nothing of the configuration.
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.TLS, r.Host = c.cs, c.host
		store.Handler(whoami).ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code)
		require.Equal(t, c.message+"\n", w.Body.String())
	}
}
