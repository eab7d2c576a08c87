package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// mirror answers with the head that it received.
func mirror(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		head, err := readHead(r)
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+itoa(len(head))+"\r\n\r\n"+head)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// What is sent is what came.
func TestTargetIsForwardedAsItIs(t *testing.T) {
	node := newOrigin(t, mirror)
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	for _, c := range []struct {
		u    *url.URL
		want string
	}{
		{mustURL(t, "http://x"), "/"},
		{mustURL(t, "http://x/a/b?c=d&e"), "/a/b?c=d&e"},
		{mustURL(t, "http://x/a?"), "/a?"},
		{mustURL(t, "http://x/a%2Fb%20c/../d"), "/a%2Fb%20c/../d"},
		{mustURL(t, "http://x//a"), "//a"},
		{&url.URL{Path: "//evil.test/a"}, "//evil.test/a"},
		{&url.URL{Path: "*"}, "*"},
		{&url.URL{Opaque: "*"}, "*"},
		{&url.URL{Opaque: `/a|b^c"d/..;x`, RawQuery: `q={}|"`}, `/a|b^c"d/..;x?q={}|"`},
		{&url.URL{Opaque: "/%zz"}, "/%zz"},
		{&url.URL{Opaque: "/a", ForceQuery: true}, "/a?"},
		{&url.URL{Opaque: "//evil.test/a"}, "//evil.test/a"},
		{&url.URL{Opaque: "//evil.test/a%2Fb", RawQuery: "c"}, "//evil.test/a%2Fb?c"},
		{&url.URL{Opaque: "//a?b"}, "//a?b"},
		{&url.URL{Opaque: "//a?b", RawQuery: "c"}, "//a?b?c"},
		{&url.URL{Opaque: "//a", ForceQuery: true}, "//a?"},
	} {
		req := newRequest(t, "GET", "http://a.test/", nil)
		req.URL = c.u
		status, head := roundTrip(t, p, req)
		require.Equal(t, 200, status)
		line, _, _ := strings.Cut(head, "\r\n")
		require.Equal(t, "GET "+c.want+" HTTP/1.1", line)
	}
	for _, u := range []*url.URL{
		{Opaque: "a.test:80"},
		{Opaque: "http://a.test/"},
		{Opaque: "/a b"},
		{Opaque: "/a HTTP/1.1\r\nX: y"},
		{Opaque: "/a\x7f"},
		{Opaque: "//%zz"},
		{Path: "a"},
		{Path: "http://evil.test/a"},
		{Path: "*a"},
		{Path: "/a", RawPath: "%2Fa"},
		{Path: "/a", RawQuery: "b c"},
		{Path: "/a", RawQuery: "b HTTP/1.1\r\n\r\nGET / "},
		{Path: "/a", RawQuery: "b\x00"},
	} {
		req := newRequest(t, "GET", "http://a.test/", nil)
		req.URL = u
		_, err := p.RoundTrip(req)
		wantError(t, err, 400, 0, "the request's target")
	}
}

func TestHost(t *testing.T) {
	node := newOrigin(t, mirror)
	byName := upstream.Node{Host: "LOCALHOST", Port: node.Port, Weight: 1}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, node.address)
	}
	for _, c := range []struct {
		name   string
		config upstream.Config
		host   string // of the request
		url    string
		want   string
	}{
		{"client", upstream.Config{Nodes: []upstream.Node{byName}}, "A.test:81", "http://x/", "A.test:81"},
		{"client, by its URL", upstream.Config{Nodes: []upstream.Node{byName}}, "", "http://b.test:82/", "b.test:82"},
		{"client without", upstream.Config{Nodes: []upstream.Node{byName}}, "", "/", "localhost:" + itoa(node.Port)},
		{"IPv6 client", upstream.Config{Nodes: []upstream.Node{byName}}, "[::1]:80", "http://x/", "[::1]:80"},
		{"node", upstream.Config{PassHost: upstream.PassNode, Nodes: []upstream.Node{byName}}, "a.test", "http://x/", "localhost:" + itoa(node.Port)},
		{"node at the scheme's port", upstream.Config{PassHost: upstream.PassNode, Nodes: []upstream.Node{{Host: "b.test"}}}, "a.test", "http://x/", "b.test"},
		{"IPv6 node", upstream.Config{PassHost: upstream.PassNode, Nodes: []upstream.Node{{Host: "fe80::1%lo", Port: 81}}}, "a.test", "http://x/", "[fe80::1]:81"},
		{"rewritten", upstream.Config{PassHost: upstream.PassRewrite, Host: "Other.test:83", Nodes: []upstream.Node{byName}}, "a.test", "http://x/", "Other.test:83"},
		{"rewritten, and a bad one came", upstream.Config{PassHost: upstream.PassRewrite, Host: "other.test", Nodes: []upstream.Node{byName}}, "a b", "http://x/", "other.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, c.config, &upstream.Options{Dialer: dial})
			req := newRequest(t, "GET", c.url, nil)
			req.Host = c.host
			_, head := roundTrip(t, p, req)
			require.Contains(t, head, "\r\nHost: "+c.want+"\r\n")
		})
	}
}

// A retry with PassNode sends the name of the node that is asked.
func TestHostOfTheSecondNode(t *testing.T) {
	node := newOrigin(t, mirror)
	p := newPool(t, upstream.Config{PassHost: upstream.PassNode, Nodes: []upstream.Node{refusing(t), node.Node}}, nil)
	_, head := get(t, p, "http://a.test/")
	require.Contains(t, head, "\r\nHost: "+node.address+"\r\n")
}

func TestRequestIsNotChanged(t *testing.T) {
	node := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{refusing(t), node.Node}, PassHost: upstream.PassNode}, nil)
	body := newBody(strings.NewReader("abc"))
	req := newRequest(t, "POST", "http://a.test/p?q", nil)
	req.Body, req.ContentLength = body, 3
	req.Header.Set("X-A", "1")
	before, header, target := *req, maps.Clone(req.Header), *req.URL

	resp, err := p.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Same(t, req, resp.Request)
	require.Equal(t, header, req.Header)
	require.Equal(t, target, *req.URL)
	require.Same(t, before.URL, req.URL)
	require.Equal(t, before.Host, req.Host)
	require.Same(t, body, req.Body)
	require.Nil(t, req.GetBody)
	<-body.done
	require.EqualValues(t, 1, body.closed.Load())
}

// The body is closed once, whatever happens.
func TestBodyIsClosed(t *testing.T) {
	good := newOrigin(t, answering(ok))
	for _, c := range []struct {
		name  string
		nodes []upstream.Node
		edit  func(*http.Request)
	}{
		{"answered", []upstream.Node{good.Node}, nil},
		{"answered by the second", []upstream.Node{refusing(t), good.Node}, nil},
		{"refused", []upstream.Node{refusing(t)}, nil},
		{"all refused", []upstream.Node{refusing(t), refusing(t)}, nil},
		{"reset", []upstream.Node{newOrigin(t, resetting(1)).Node}, nil},
		{"no node", nil, nil},
		{"bad target", []upstream.Node{good.Node}, func(r *http.Request) { r.URL.RawQuery = " " }},
		{"bad host", []upstream.Node{good.Node}, func(r *http.Request) { r.Host = " " }},
		{"bad header", []upstream.Node{good.Node}, func(r *http.Request) { r.Header["X"] = []string{"\n"} }},
		{"no header", []upstream.Node{good.Node}, func(r *http.Request) { r.Header = nil }},
		{"no URL", []upstream.Node{good.Node}, func(r *http.Request) { r.URL = nil }},
		{"CONNECT", []upstream.Node{good.Node}, func(r *http.Request) { r.Method = "CONNECT" }},
		{"GET with a body", []upstream.Node{good.Node}, func(r *http.Request) { r.Method = "GET" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, upstream.Config{Nodes: c.nodes}, nil)
			body := newBody(strings.NewReader("abc"))
			req := newRequest(t, "POST", "http://a.test/", nil)
			req.Body, req.ContentLength = body, 3
			if c.edit != nil {
				c.edit(req)
			}
			if resp, err := p.RoundTrip(req); err == nil {
				resp.Body.Close()
			}
			<-body.done
			require.EqualValues(t, 1, body.closed.Load())
		})
	}
}

func TestInvalidRequests(t *testing.T) {
	node := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node, node.Node}[:1]}, nil)
	for _, c := range []struct {
		name     string
		edit     func(*http.Request)
		status   int
		attempts int
		text     string
	}{
		{"CONNECT", func(r *http.Request) { r.Method = "CONNECT" }, 405, 0, "CONNECT is not forwarded"},
		{"method", func(r *http.Request) { r.Method = "G T" }, 400, 1, "invalid method"},
		{"header", func(r *http.Request) { r.Header["X"] = []string{"a\nb"} }, 400, 1, `invalid header field value for "X"`},
		{"no header", func(r *http.Request) { r.Header = nil }, 400, 0, "no URL or no Header"},
		{"no URL", func(r *http.Request) { r.URL = nil }, 400, 0, "no URL or no Header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := newRequest(t, "GET", "http://a.test/", nil)
			c.edit(req)
			_, err := p.RoundTrip(req)
			wantError(t, err, c.status, c.attempts, c.text)
		})
	}
	require.Zero(t, node.conns.Load())
	require.Zero(t, p.Nodes()[0].Failures)
}

// The pool reads the process's proxy settings no more than nginx does. net/http reads
// them once, so a process of its own has to look.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	const inside = "SALLYPORT_TEST_PROXY"
	if os.Getenv(inside) == "" {
		exe, err := os.Executable()
		require.NoError(t, err)
		proxy := newOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy"))
		cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), inside+"=1")
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
			cmd.Env = append(cmd.Env, name+"=http://"+proxy.address, strings.ToLower(name)+"=http://"+proxy.address)
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Zero(t, proxy.conns.Load())
		return
	}
	proxied, err := http.ProxyFromEnvironment(newRequest(t, "GET", "http://a.test/", nil))
	require.NoError(t, err)
	require.NotNil(t, proxied, "anyone else would use it")

	node := newOrigin(t, mirror)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		require.Equal(t, "a.test:80", address) // not loopback, which is never proxied
		return new(net.Dialer).DialContext(ctx, network, node.address)
	}
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{{Host: "a.test"}}}, &upstream.Options{Dialer: dial})
	_, head := get(t, p, "http://a.test/")
	require.True(t, strings.HasPrefix(head, "GET / HTTP/1.1\r\n"), "%s", head)
}

// An answer is the node's, untouched: no redirect is followed, nothing unpacked.
func TestAnswersComeAsTheyAre(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
	} {
		node := newOrigin(t, answering(answer))
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node, refusing(t)}}, nil)
		resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		require.NoError(t, err)
		require.Contains(t, answer, resp.Status)
		require.Equal(t, strings.Contains(answer, "gzip"), resp.Header.Get("Content-Encoding") == "gzip")
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, strings.Contains(answer, "abc"), string(body) == "abc")
		if strings.Contains(answer, "X-T") {
			require.Equal(t, "1", resp.Trailer.Get("X-T"))
		}
	}

	node := newOrigin(t, mirror)
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	_, head := get(t, p, "http://a.test/")
	require.NotContains(t, head, "Accept-Encoding")
}

// A request that has no fields has none at the node.
func TestNoFieldIsAdded(t *testing.T) {
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header) })
	for scheme, node := range map[upstream.Scheme]*origin{upstream.SchemeHTTP: newServer(t, tell), upstream.SchemeH2C: newH2Server(t, nil, tell)} {
		p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}, nil)
		req := newRequest(t, "GET", "http://a.test/", nil)
		_, header := roundTrip(t, p, req)
		require.Equal(t, "map[]", header, scheme)
		require.Empty(t, req.Header)
		req.Header.Set("User-Agent", "x")
		_, header = roundTrip(t, p, req)
		require.Equal(t, "map[User-Agent:[x]]", header, scheme)
	}
}

// Reading after Close is the caller's mistake.
func TestReadAfterClose(t *testing.T) {
	node := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, resp.Body.Close())
	_, err = resp.Body.Read(make([]byte, 1))
	require.Error(t, err)
	require.Equal(t, upstream.NodeStatus{Address: node.address, Weight: 1, Requests: 1}, p.Nodes()[0])
}

// Who closes the body of an answer while another goroutine reads from it has had enough. It
// is no failure of the node's.
func TestCloseDuringARead(t *testing.T) {
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for scheme, node := range map[upstream.Scheme]*origin{upstream.SchemeHTTP: newServer(t, endless), upstream.SchemeH2C: newH2Server(t, nil, endless)} {
		p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}, nil)
		for range 20 { // as a rule Close comes during the Read
			resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			require.NoError(t, err)
			begun, ended := make(chan bool), make(chan error)
			go func() {
				_, _ = io.ReadFull(resp.Body, make([]byte, len("begun")))
				close(begun)
				_, err := resp.Body.Read(make([]byte, 1))
				ended <- err
			}()
			<-begun
			runtime.Gosched()
			require.NoError(t, resp.Body.Close())
			require.Error(t, <-ended)
		}
		status := p.Nodes()[0]
		require.Zero(t, status.Failures)
		require.Empty(t, status.LastError)
		require.Zero(t, status.InFlight)
	}
}

// 1xx answers reach a caller who asks for them, and limit nothing but the head.
func TestInformationalAnswers(t *testing.T) {
	hinting := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "ok")
	}))
	for scheme, node := range map[upstream.Scheme]*origin{
		upstream.SchemeHTTP: newOrigin(t, answering("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+ok)),
		upstream.SchemeH2C:  hinting,
	} {
		p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}, nil)
		var hints []int
		begun := 0
		req := newRequest(t, "GET", "http://a.test/", nil)
		ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotFirstResponseByte: func() { begun++ },
		})
		req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { hints = append(hints, code); return nil },
		}))
		status, body := roundTrip(t, p, req)
		require.Equal(t, 200, status)
		require.Equal(t, "ok", body)
		require.Equal(t, []int{103}, hints)
		if scheme == upstream.SchemeH2C {
			require.Equal(t, 1, begun, "the other hooks are called once, as net/http does")
		}
	}
}

// Who wants informational answers may refuse to have more, which is not the node's fault, or
// panic. Neither leaves anything behind: the node waits for its connections to end.
func TestInformationalAnswersThatFail(t *testing.T) {
	hints := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	for name, c := range map[string]struct {
		scheme upstream.Scheme
		node   *origin
		o      *upstream.Options
	}{
		"HTTP/1.1":    {upstream.SchemeHTTP, newOrigin(t, answering("HTTP/1.1 103 Early Hints\r\n\r\n"+ok)), nil},
		"HTTP/2":      {upstream.SchemeH2C, newH2Server(t, nil, hints), nil},
		"a Transport": {upstream.SchemeHTTP, newServer(t, hints), &upstream.Options{Transport: &http.Transport{}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, upstream.Config{Scheme: c.scheme, Nodes: []upstream.Node{c.node.Node, refusing(t)}}, c.o)
			for _, broken := range []error{errors.New("broken"), os.ErrDeadlineExceeded} {
				p.Rewind()
				req := newRequest(t, "GET", "http://a.test/", nil)
				_, err := p.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(int, textproto.MIMEHeader) error { return broken },
				})))
				wantError(t, err, upstream.StatusClientClosedRequest, 1, broken.Error())
				require.ErrorIs(t, err, broken)
			}

			p.Rewind()
			body := newBody(strings.NewReader("abc"))
			req := newRequest(t, "PUT", "http://a.test/", body)
			require.PanicsWithValue(t, "a mistake", func() {
				_, _ = p.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(int, textproto.MIMEHeader) error { panic("a mistake") },
				})))
			})
			<-body.done
			require.Zero(t, p.Nodes()[0].Failures)
			require.Zero(t, p.Nodes()[0].InFlight)
		})
	}
}

// Whoever wants informational answers gets no more of them than a head may be long: a node
// could go on with them for ever, and net/http leaves their number to who asks for them.
func TestInformationalAnswersWithoutEnd(t *testing.T) {
	flood := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", strings.Repeat("a", 1000))
		for r.Context().Err() == nil {
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	for name, c := range map[string]struct {
		scheme upstream.Scheme
		node   *origin
		o      upstream.Options
	}{
		"HTTP/1.1":    {upstream.SchemeHTTP, newServer(t, flood), upstream.Options{}},
		"HTTP/2":      {upstream.SchemeGRPC, newH2Server(t, nil, flood), upstream.Options{}},
		"a Transport": {upstream.SchemeHTTP, newServer(t, flood), upstream.Options{Transport: &http.Transport{}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.MaxResponseHeaderBytes = 10 << 10
			p := newPool(t, upstream.Config{Scheme: c.scheme, Nodes: []upstream.Node{c.node.Node}}, &c.o)
			hints := 0
			req := newRequest(t, "GET", "http://a.test/", nil)
			ctx, cancel := context.WithTimeout(req.Context(), 10*time.Second) // only if the test fails
			defer cancel()
			_, err := p.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
				Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil },
			})))
			wantError(t, err, http.StatusBadGateway, 1, "headers exceeded 10240 bytes")
			require.InDelta(t, 9, hints, 1)
			require.EqualValues(t, 1, p.Nodes()[0].Failures, "it is the node's")
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	for range 10 {
		_, body := roundTrip(t, p, newRequest(t, "POST", "http://a.test/", strings.NewReader("abc")))
		require.Equal(t, "abc", body)
		// Over plain HTTP the Host does not matter.
		get(t, p, "http://b.test/")
	}
	require.EqualValues(t, 1, node.conns.Load())
}

// Keep-alive is bounded for each node, over all names.
func TestKeepAliveSize(t *testing.T) {
	ca := newAuthority(t)
	node := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "*.test")}}, echoHost)
	p := newPool(t, upstream.Config{
		Scheme:    "https",
		Nodes:     []upstream.Node{node.Node},
		KeepAlive: upstream.KeepAlive{Size: 1},
		TLS:       upstream.TLS{CAPEM: ca.pem},
	}, nil)
	for range 2 {
		get(t, p, "http://a.test/")
		get(t, p, "http://a.test/")
		get(t, p, "http://b.test/")
	}
	require.EqualValues(t, 4, node.conns.Load(), "one place for two names")
}

func TestNoNode(t *testing.T) {
	p := newPool(t, upstream.Config{ID: "api"}, nil)
	_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	wantError(t, err, 503, 0)
	require.ErrorIs(t, err, upstream.ErrNoNode)
	require.EqualError(t, err, `upstream "api": no node`)
	require.Empty(t, p.Nodes())
}

// A body that cannot be read is its sender's fault, and ends the trying.
func TestBodyThatFails(t *testing.T) {
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node, refusing(t)}}, nil)
	broken := errors.New("broken")

	req := newRequest(t, "PUT", "http://a.test/", nil)
	req.Body, req.ContentLength = io.NopCloser(iotest.ErrReader(broken)), -1
	_, err := p.RoundTrip(req)
	wantError(t, err, 400, 1, "reading the request's body: broken")
	require.ErrorIs(t, err, broken)

	p.Rewind()
	req = newRequest(t, "PUT", "http://a.test/", nil)
	req.Body, req.ContentLength = http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("abcdef")), 3), -1
	_, err = p.RoundTrip(req)
	wantError(t, err, 413, 1, "request body too large")
	require.Zero(t, p.Nodes()[0].Failures)
	require.Zero(t, p.Nodes()[0].InFlight)
}

// An http.Client with a Timeout says twice that it is over, by the context and by a channel.
// The second is not looked at: where it came first, the node had failed.
func TestCancelChannel(t *testing.T) {
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for scheme, node := range map[upstream.Scheme]*origin{"http": newServer(t, handler), "h2c": newH2Server(t, nil, handler)} {
		p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}, nil)
		over := make(chan struct{})
		close(over)
		req := newRequest(t, "GET", "http://a.test/", nil)
		//lint:ignore SA1019 http.Client sets it
		req.Cancel = over
		status, _ := roundTrip(t, p, req)
		require.Equal(t, 200, status)
		require.Zero(t, p.Nodes()[0].Failures)
	}
}

// The pool is a Transport for an http.Client.
func TestUnderClient(t *testing.T) {
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/from" {
			http.Redirect(w, r, "/to", http.StatusFound)
			return
		}
		io.WriteString(w, r.Host+r.URL.Path)
	}))
	client := &http.Client{Transport: newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)}
	resp, err := client.Get("http://api.test/from")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	require.Equal(t, "api.test/to", string(body))
	require.Equal(t, "http://api.test/to", resp.Request.URL.String())

	_, err = (&http.Client{Transport: newPool(t, upstream.Config{Nodes: []upstream.Node{refusing(t)}}, nil)}).Get("http://api.test/")
	wantError(t, err, 502, 1)
}
