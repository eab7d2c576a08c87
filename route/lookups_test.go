package route_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// kinds are what the names of variables begin with.
var kinds = map[string]route.VarKind{
	"http_":     route.VarHeader,
	"arg_":      route.VarArg,
	"cookie_":   route.VarCookie,
	"post_arg_": route.VarPostArg,
}

// lookup returns the value of a variable as an expression would have it, or "absent".
func lookup(l route.Lookups, name string) string {
	if name == "query_string" {
		name = "args"
	}
	kind := route.VarOther
	for prefix, k := range kinds {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			kind, name = k, rest
		}
	}
	if kind == route.VarHeader {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	if kind == route.VarOther {
		if values, ok := l.LookupAll(name); ok {
			return fmt.Sprintf("%q", values)
		}
	}
	value, ok := l.Lookup(kind, name)
	if !ok {
		return "absent"
	}
	return value
}

// serve runs a server that answers with the values of the variables that the header
// field Ask names, a line each.
func serve(t testing.TB, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, strings.Fields(r.Header.Get("Ask")))
	}))
	start(s)
	t.Cleanup(s.Close)
	return s
}

// answer writes the values of variables, a line each. Asked again, they must be the
// same.
func answer(w io.Writer, r *http.Request, names []string) {
	l := route.NewHTTPLookups(r)
	for _, name := range names {
		first := lookup(l, name)
		fmt.Fprintln(w, first)
		if again := lookup(l, name); again != first {
			fmt.Fprintf(w, "and then %q\n", again)
		}
	}
}

// send writes a request as it is and returns the body of the answer.
func send(t testing.TB, s *httptest.Server, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, strings.ReplaceAll(request, "\n", "\r\n"))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode, "%s", body)
	return strings.TrimSuffix(string(body), "\n")
}

// What a server reads.
func TestHTTPLookups(t *testing.T) {
	s := serve(t, (*httptest.Server).Start)
	addr := s.Listener.Addr().(*net.TCPAddr)
	long := "a=" + strings.Repeat("x", route.MaxPostForm-2)
	form := "Content-Type: application/x-www-form-urlencoded\n"
	for _, c := range []struct{ line, header, body, ask, want string }{
		// The request line and the connection.
		{"GET /a%20b?x=1#y HTTP/1.1", "", "", "request_uri args is_args scheme server_protocol", "/a%20b?x=1#y\nx=1#y\n?\nhttp\nHTTP/1.1"},
		{"GET /a HTTP/1.0", "", "", "request_uri args is_args server_protocol", "/a\nabsent\n\nHTTP/1.0"},
		{"GET /a? HTTP/1.1", "", "", "request_uri args is_args", "/a?\n\n"},
		{"GET http://b.test/a?x HTTP/1.1", "", "", "request_uri http_host", "/a?x\nb.test"},
		{"GET http://b.test?x HTTP/1.1", "", "", "request_uri", "/?x"},
		{"GET / HTTP/1.1", "", "", "server_addr server_port", fmt.Sprintf("127.0.0.1\n%d", addr.Port)},
		{"GET / HTTP/1.1", "", "", "ssl_client_verify ssl_protocol ssl_server_name ssl_client_dns_sans nonsense ssl_nonsense", "absent\nabsent\nabsent\n[]\nabsent\nabsent"},

		// Header fields.
		{"GET / HTTP/1.1", "X-A: 1\n", "", "http_x_a http_x_b http_host", "1\nabsent\na.test:80"},
		{"GET / HTTP/1.1", "X-A: 1\nx-a: 2\nX-A:\n", "", "http_x_a", "1, 2, "},
		{"GET / HTTP/1.1", "Cookie: a=1\nCookie: b=2\n", "", "http_cookie cookie_a cookie_b", "a=1; b=2\n1\n2"},
		{"POST / HTTP/1.1", "Content-Type: text/plain\n", "abc", "content_type content_length http_content_type http_content_length", "text/plain\n3\ntext/plain\n3"},
		{"GET / HTTP/1.1", "", "", "content_type content_length http_transfer_encoding", "absent\nabsent\nabsent"},

		// Arguments.
		{"GET /?a=1&a=2&b=&c HTTP/1.1", "", "", "arg_a arg_b arg_c arg_d arg_A", "1\n\n\nabsent\nabsent"},
		{"GET /?a%62=x%20y+z%26&ab=2 HTTP/1.1", "", "", "arg_ab arg_a%62", "x y z&\nabsent"},
		{"GET /?a%zz=%zz%4&b=%&%=1 HTTP/1.1", "", "", "arg_a%zz arg_b arg_%", "%zz%4\n%\n1"},
		{"GET /?a;b=1;c=2&&d=3 HTTP/1.1", "", "", "arg_a arg_c arg_a;b arg_d arg_", "absent\nabsent\n1;c=2\n3\nabsent"},
		{"GET /?=1&a+b=2 HTTP/1.1", "", "", "arg_ arg_a+b", "1\nabsent"},
		{"GET /?abc=1 HTTP/1.1", "", "", "arg_ab arg_abcd", "absent\nabsent"},
		{"GET /?" + strings.Repeat("a=1&", 10_000) + "b=2 HTTP/1.1", "", "", "arg_a arg_b", "1\n2"},

		// Cookies.
		{"GET / HTTP/1.1", "Cookie: a=1; A=2;a=3 ; b=\"x y\"; c=; d; e=\"; =f; g=h=i\n", "", "cookie_a cookie_A cookie_b cookie_c cookie_d cookie_e cookie_ cookie_g cookie_x", "1\n2\nx y\n\n\n\"\nf\nh=i\nabsent"},
		{"GET / HTTP/1.1", "Cookie: a={\"b\":1,\"c\":\"ü\"}\n", "", "cookie_a", `{"b":1,"c":"ü"}`},

		// Forms.
		{"POST / HTTP/1.1", form, "a=1&b=x%20y&a=2", "post_arg_a post_arg_b post_arg_c arg_a", "1\nx y\nabsent\nabsent"},
		{"POST / HTTP/1.1", "Content-Type: Application/X-WWW-Form-Urlencoded ; charset=utf-8\n", "a=1", "post_arg_a", "1"},
		{"POST / HTTP/1.1", "Content-Type: multipart/form-data\n", "a=1", "post_arg_a", "absent"},
		{"POST / HTTP/1.1", "", "a=1", "post_arg_a", "absent"},
		{"POST / HTTP/1.1", form, "", "post_arg_a", "absent"},
		{"GET / HTTP/1.1", form, "a=1", "post_arg_a", "1"},
		{"POST / HTTP/1.1", form, long, "post_arg_a", long[2:]},
		{"POST / HTTP/1.1", form, long + "x", "post_arg_a", "absent"},
		{"POST / HTTP/1.1", form + "Transfer-Encoding: chunked\n", "3\na=1\n0\n\n", "post_arg_a http_transfer_encoding", "1\nchunked"},
		{"POST / HTTP/1.1", form + "Transfer-Encoding: chunked\n", "5\na=1&b\n10001\n" + strings.Repeat("x", 0x10001) + "\n0\n\n", "post_arg_a", "absent"},
	} {
		request := c.line + "\nHost: a.test:80\nConnection: close\nAsk: " + c.ask + "\n" + c.header
		if c.body != "" && !strings.Contains(c.header, "chunked") {
			request += fmt.Sprintf("Content-Length: %d\n", len(c.body))
		}
		want := c.want
		if strings.HasPrefix(c.line, "GET http://b.test") {
			request = strings.Replace(request, "Host: a.test:80", "Host: b.test", 1)
		}
		require.Equal(t, want, send(t, s, request+"\n"+c.body), "%s\n%s\n%.100s", c.line, c.header, c.body)
	}
}

// What a handler finds that was called without a server.
func TestHTTPLookupsByHand(t *testing.T) {
	r, err := http.NewRequest("GET", "http://a.test/a?b=c", nil)
	require.NoError(t, err)
	l := route.NewHTTPLookups(r)
	for name, want := range map[string]string{
		"request_uri": "/a?b=c", "server_addr": "absent", "server_port": "absent", "remote_port": "absent", "http_host": "a.test",
		"post_arg_a": "absent", "arg_b": "c",
	} {
		require.Equal(t, want, lookup(l, name), name)
	}
	_, ok := l.Lookup(-1, "b")
	require.False(t, ok)

	for addr, want := range map[net.Addr]string{
		&net.TCPAddr{IP: net.ParseIP("::1"), Port: 80}:                   "::1 80",
		&net.TCPAddr{IP: net.ParseIP("10.0.0.1").To16(), Port: 81}:       "10.0.0.1 81",
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 82, Zone: "eth0"}: "fe80::1 82",
		&net.UnixAddr{Name: "/run/a.sock"}:                               "absent absent",
		&net.UDPAddr{IP: net.ParseIP("10.0.0.2"), Port: 443}:             "10.0.0.2 443",
	} {
		l := route.NewHTTPLookups(r.WithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, addr)))
		require.Equal(t, want, lookup(l, "server_addr")+" "+lookup(l, "server_port"))
	}

	r.RequestURI = "*"
	require.Equal(t, "*", lookup(l, "request_uri"))
	r.RemoteAddr = "[::1]:1234"
	require.Equal(t, "1234", lookup(l, "remote_port"))
}

// Of a client's certificate there is what crypto/tls has verified.
func TestHTTPLookupsTLS(t *testing.T) {
	ca := ssltest.NewCA(t, "CA")
	alice := ca.Client("alice", ssltest.DNSNames("alice.test", "a.test"), ssltest.URIs("spiffe://td/alice"))
	pair := ca.Server("a.test")
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	sum := sha1.Sum(alice.Leaf.Raw)
	verified := fmt.Sprintf("SUCCESS CN=alice CN=CA %X %s [\"alice.test\" \"a.test\"] [\"spiffe://td/alice\"]",
		alice.Leaf.SerialNumber.Bytes(), hex.EncodeToString(sum[:]))
	const nobody = " absent absent absent absent [] []"
	for _, c := range []struct {
		auth   tls.ClientAuthType
		client []tls.Certificate
		want   string
	}{
		{tls.NoClientCert, nil, "NONE" + nobody},
		{tls.VerifyClientCertIfGiven, nil, "NONE" + nobody},
		{tls.RequireAnyClientCert, []tls.Certificate{alice}, "FAILED:certificate not verified" + nobody},
		{tls.VerifyClientCertIfGiven, []tls.Certificate{alice}, verified},
		{tls.RequireAndVerifyClientCert, []tls.Certificate{alice}, verified},
	} {
		s := serve(t, func(s *httptest.Server) {
			s.EnableHTTP2 = true
			s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: c.auth, ClientCAs: ca.Pool()}
			s.StartTLS()
		})
		config := ssltest.ClientConfig("a.test", c.client...)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
		defer client.CloseIdleConnections()
		ask := func(names string) string {
			req, err := http.NewRequest("GET", s.URL, nil)
			require.NoError(t, err)
			req.Header.Set("Ask", names)
			resp, err := client.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return strings.ReplaceAll(strings.TrimSuffix(string(body), "\n"), "\n", " ")
		}
		require.Equal(t, c.want, ask("ssl_client_verify ssl_client_s_dn ssl_client_i_dn ssl_client_serial ssl_client_fingerprint ssl_client_dns_sans ssl_client_uri_sans"))
		require.Equal(t, "https a.test TLSv1.3 HTTP/2.0", ask("scheme ssl_server_name ssl_protocol server_protocol"))
		require.Contains(t, []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}, ask("ssl_cipher"))

		config.MaxVersion = tls.VersionTLS12
		config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		config.ServerName = ""
		client.CloseIdleConnections()
		require.Equal(t, "absent TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256", ask("ssl_server_name ssl_protocol ssl_cipher"))
	}
	for version, want := range map[uint16]string{tls.VersionTLS10: "TLSv1", tls.VersionTLS11: "TLSv1.1", 0x0300: "SSLv3"} {
		l := route.NewHTTPLookups(&http.Request{TLS: &tls.ConnectionState{Version: version}})
		require.Equal(t, want, lookup(l, "ssl_protocol"))
	}
}

// The names of cipher suites are those that openssl has for the names of the
// standard.
func TestCipherNames(t *testing.T) {
	for _, suites := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, suite := range suites {
			name := route.CipherName(suite.ID)
			require.NotEmpty(t, name)
			tls13 := suite.SupportedVersions[0] == tls.VersionTLS13
			require.Equal(t, tls13, name == suite.Name, name)
		}
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	out, err := exec.Command("openssl", "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").Output()
	require.NoError(t, err)
	known := map[string]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line) // the standard's, a dash, openssl's, and more
		known[fields[0]] = fields[2]
	}
	compared := 0
	for _, suites := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, suite := range suites {
			if want, ok := known[suite.Name]; ok {
				require.Equal(t, want, route.CipherName(suite.ID))
				compared++
			}
		}
	}
	require.Greater(t, compared, 15)
}

// A counted body counts its reads and its closings.
type counted struct {
	io.Reader
	reads, closings int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

func (c *counted) Close() error {
	c.closings++
	c.Reader = iotest.ErrReader(http.ErrBodyReadAfterClose)
	return nil
}

func formRequest(body io.Reader, length int64) (*http.Request, *counted) {
	c := &counted{Reader: body}
	return &http.Request{
		URL:           new(url.URL),
		Header:        http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:          c,
		ContentLength: length,
	}, c
}

// Whoever comes after finds the body as it was.
func TestHTTPLookupsLeaveTheBody(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int{1, 100, 600, route.MaxPostForm - 1, route.MaxPostForm, route.MaxPostForm + 1, route.MaxPostForm + 2, 3 * route.MaxPostForm} {
		for _, end := range []error{io.EOF, broken} {
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"whole":      func(r io.Reader) io.Reader { return r },
				"half":       iotest.HalfReader,
				"with error": iotest.DataErrReader,
			} {
				sent := "a=" + strings.Repeat("x", size)[1:]
				r, body := formRequest(wrap(io.MultiReader(strings.NewReader(sent), iotest.ErrReader(end))), -1)
				l := route.NewHTTPLookups(r)
				require.Zero(t, body.reads)
				want := "absent"
				if end == io.EOF && len(sent) <= route.MaxPostForm {
					want = sent[2:]
				}
				require.Equal(t, want, lookup(l, "post_arg_a"))
				reads := body.reads
				require.Equal(t, "absent", lookup(l, "post_arg_b"))
				require.Equal(t, reads, body.reads)

				got, err := io.ReadAll(r.Body)
				require.Equal(t, sent, string(got), "%s, %d bytes", name, size)
				if end == io.EOF {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, end)
				}
				_, err = r.Body.Read(make([]byte, 1))
				require.ErrorIs(t, err, end)
				if len(sent) <= route.MaxPostForm {
					require.Equal(t, reads, body.reads, "nobody reads on after the end")
				}
			}
		}
	}
}

// A body that is too long by its own account is not read.
func TestHTTPLookupsLeaveALongBodyAlone(t *testing.T) {
	r, body := formRequest(strings.NewReader("a=1"), route.MaxPostForm+1)
	require.Equal(t, "absent", lookup(route.NewHTTPLookups(r), "post_arg_a"))
	require.Zero(t, body.reads)
	require.Same(t, body, r.Body)
}

// The body is the server's to close.
func TestHTTPLookupsCloseTheBody(t *testing.T) {
	for _, sent := range []string{"a=1", strings.Repeat("a=1&", route.MaxPostForm)} {
		r, body := formRequest(strings.NewReader(sent), -1)
		lookup(route.NewHTTPLookups(r), "post_arg_a")
		require.NoError(t, r.Body.Close())
		require.Zero(t, body.closings)
		_, err := r.Body.Read(make([]byte, 1))
		require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
	}
}

// A body that was looked into and is then closed before its end does not become a
// request of its own: net/http sees to that only for the body that it made.
func TestReadingAheadSmugglesNothing(t *testing.T) {
	table := new(route.Table).With(
		mustNew(t, route.Config{ID: "form", Paths: []string{"/*"}, Vars: []any{[]any{"post_arg_a", "==", "1"}}}),
		mustNew(t, route.Config{ID: "rest", Paths: []string{"/*"}}),
	)
	nobody := httptest.NewServer(nil)
	nobody.Close()
	unreachable, err := url.Parse(nobody.URL)
	require.NoError(t, err)
	const inner = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for name, answer := range map[string]http.Handler{
		"close": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Body.Close() }),
		"leave": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}),
		"proxy": &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(unreachable) }, ErrorLog: log.New(io.Discard, "", 0)},
	} {
		served := make(chan string, 10)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m, _ := table.MatchHTTP(r)
			served <- r.URL.Path + " " + idOf(m)
			answer.ServeHTTP(w, r)
		}))
		// net/http reads on for 256 KiB, to keep the connection.
		for _, before := range []int{route.MaxPostForm + 1, route.MaxPostForm + 1 + 256<<10, 256 << 10} {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			require.NoError(t, err)
			body := strings.Repeat("x", before) + inner + strings.Repeat("x", 512<<10)
			fmt.Fprintf(conn, "POST /form HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
				"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
			_, _ = io.Copy(io.Discard, conn) // to the end, which the server makes
			conn.Close()
		}
		s.Close()
		close(served)
		n := 0
		for got := range served {
			require.Equal(t, "/form rest", got, name)
			n++
		}
		require.Equal(t, 3, n, name)
	}
}

// The body that comes after is that of the server, for a handler that reads on
// from there.
func TestHTTPLookupsBeforeAHandler(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, lookup(route.NewHTTPLookups(r), "post_arg_a"), r.ContentLength, r.PostFormValue("a"), r.PostFormValue("b"))
	}))
	defer s.Close()
	resp, err := s.Client().PostForm(s.URL, url.Values{"a": {"1 2"}, "b": {"3"}})
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "1 2 9 1 2 3\n", string(got))
}

// HTTPLookups know every variable that there is no warning for.
func TestHTTPLookupsKnowTheNames(t *testing.T) {
	ca := ssltest.NewCA(t, "CA")
	alice := ca.Client("alice", ssltest.DNSNames("a.test"), ssltest.URIs("spiffe://td/alice"))
	r := httptest.NewRequest("POST", "https://a.test/a?b", strings.NewReader("x"))
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Content-Length", "1")
	r.TLS.ServerName = "a.test"
	r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, alice.Leaf)
	r.TLS.VerifiedChains = append(r.TLS.VerifiedChains, r.TLS.PeerCertificates)
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}))
	l := route.NewHTTPLookups(r)
	for name, several := range route.VarNames {
		values, all := l.LookupAll(name)
		require.Equal(t, several, all, name)
		if several {
			require.NotEmpty(t, values, name)
			continue
		}
		_, ok := l.Lookup(route.VarOther, name)
		require.True(t, ok, name)
	}
}

// What needs no decoding, joining or computing is found without allocation, and what
// was computed is not computed again.
func TestHTTPLookupsAllocate(t *testing.T) {
	r := httptest.NewRequest("POST", "http://a.test/?a%62=x+y&b=1&a=2", strings.NewReader("p=1&q=%20"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Cookie", `a=1; b="2"`)
	r.Header.Set("X-A", "1")
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}))
	l := route.NewHTTPLookups(r)
	for _, c := range []struct {
		kind route.VarKind
		name string
		want string
	}{
		{route.VarHeader, "X-A", "1"},
		{route.VarHeader, "Host", "a.test"},
		{route.VarArg, "a", "2"},
		{route.VarArg, "ab", "x y"},
		{route.VarCookie, "b", "2"},
		{route.VarPostArg, "p", "1"},
		{route.VarPostArg, "q", " "},
		{route.VarOther, "scheme", "http"},
		{route.VarOther, "server_addr", "127.0.0.1"},
		{route.VarOther, "server_port", "8080"},
		{route.VarOther, "args", "a%62=x+y&b=1&a=2"},
		{route.VarOther, "nonsense", ""},
	} {
		value, _ := l.Lookup(c.kind, c.name)
		require.Equal(t, c.want, value)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			l.LookupAll(c.name)
			l.Lookup(c.kind, c.name)
		}), c.name)
	}
}

// FuzzHTTPLookups compares what is found in queries and cookies with what net/http
// finds, where it finds something.
func FuzzHTTPLookups(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "a%20b=c+d", "a=%zz", "a;b=1", "=1", "&&", "a=\"1\"; b", "a = 1", "%"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, query, cookies string) {
		r := &http.Request{URL: &url.URL{RawQuery: query}, Header: http.Header{"Cookie": {cookies}}}
		l := route.NewHTTPLookups(r)
		if parsed, err := url.ParseQuery(query); err == nil {
			for name, values := range parsed {
				got, ok := l.Lookup(route.VarArg, name)
				require.True(t, ok, "%q", name)
				require.Equal(t, values[0], got)
			}
			got, ok := l.Lookup(route.VarArg, query+"x")
			require.Equal(t, parsed.Has(query+"x"), ok, "%q", got)
		}
		seen := map[string]bool{}
		for _, c := range r.Cookies() {
			value, ok := l.Lookup(route.VarCookie, c.Name)
			require.True(t, ok, "%q", c.Name)
			// An earlier one of that name may have a value that net/http does not take.
			odd := strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
			if !seen[c.Name] && !odd {
				require.Equal(t, c.Value, value)
			}
			seen[c.Name] = true
		}
	})
}

func BenchmarkHTTPLookups(b *testing.B) {
	r := httptest.NewRequest("GET", "http://a.test/?x=1&y=2&v=a%20b&w=3", nil)
	r.Header.Set("Cookie", `session=0123456789abcdef; theme=dark; beta="yes"`)
	r.Header.Set("X-Canary", "1")
	l := route.NewHTTPLookups(r)
	for _, c := range []struct {
		name string
		kind route.VarKind
		of   string
	}{
		{"kind=header/hit=y", route.VarHeader, "X-Canary"},
		{"kind=header/hit=n", route.VarHeader, "X-Other"},
		{"kind=arg/hit=y", route.VarArg, "w"},
		{"kind=arg/hit=n", route.VarArg, "z"},
		{"kind=arg_decoded/hit=y", route.VarArg, "v"},
		{"kind=cookie/hit=y", route.VarCookie, "beta"},
		{"kind=cookie/hit=n", route.VarCookie, "other"},
		{"kind=other/hit=y", route.VarOther, "scheme"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Lookup(c.kind, c.of)
			}
		})
	}
}

// The variables of a request that a server has read, for a program that compares
// with them itself.
func ExampleHTTPLookups() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := route.NewHTTPLookups(r)
		version, _ := l.Lookup(route.VarArg, "v")
		session, _ := l.Lookup(route.VarCookie, "session")
		user, ok := l.Lookup(route.VarPostArg, "user")
		_, verified := l.Lookup(route.VarOther, "ssl_client_s_dn")
		fmt.Fprintf(w, "v=%s session=%s user=%s (%t) client certificate: %t\n", version, session, user, ok, verified)

		// Nothing is lost to who reads the form itself.
		fmt.Fprintf(w, "%s\n", r.PostFormValue("user"))
	}))
	defer server.Close()

	req, err := http.NewRequest("POST", server.URL+"/?v=2", strings.NewReader("user=Al+Ice"))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Cookie", "session=abc")
	resp, err := server.Client().Do(req)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(err)
	}
	fmt.Print(string(answer))
	// Output:
	// v=2 session=abc user=Al Ice (true) client certificate: false
	// Al Ice
}

// What takes long for a long request is looked for once, whatever is asked for between.
func TestLookupsOnce(t *testing.T) {
	r := httptest.NewRequest("GET", "/?a=%31&b=2", nil)
	r.Header.Set("Cookie", "a=3; b=4")
	l := route.NewHTTPLookups(r)
	ask := func() (all []string) {
		for _, kind := range []route.VarKind{route.VarArg, route.VarCookie} {
			for _, name := range []string{"a", "b", "c"} {
				value, ok := l.Lookup(kind, name)
				all = append(all, fmt.Sprint(value, ok))
			}
		}
		return all
	}
	want := []string{"1true", "2true", "false", "3true", "4true", "false"}
	require.Equal(t, want, ask())
	r.Header.Set("Cookie", "c=5") // for those who look again
	require.Equal(t, want, ask())
	r.URL.RawQuery = "c=6" // another query is another question
	require.Equal(t, []string{"false", "false", "6true", "3true", "4true", "false"}, ask())
}
