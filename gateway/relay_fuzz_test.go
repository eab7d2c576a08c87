package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/http1"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/upstream"
)

// FuzzRelay lets any bytes come from a client. What the origin gets must be requests of
// which nobody can be mistaken, and no more of them, and no other bodies, than the bytes
// have in them by net/http's reading or by our own.
func FuzzRelay(f *testing.F) {
	for _, in := range []string{
		toOrigin + toOrigin,
		"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc" + toOrigin,
		"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + toOrigin,
		"PUT http://a.test/a?b HTTP/1.1\r\nHost: b.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + toOrigin,
		"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + toOrigin,
		"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + toOrigin,
		"GET / HTTP/1.0\r\nConnection: keep-alive, x-a\r\nX-A: b\r\n\r\n" + toOrigin,
		"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + toOrigin,
		"HEAD / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n\r\n" + toOrigin,
		"GET / HTTP/1.1\nHost: a.test\n\n" + toOrigin,
		"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\r\n c: d\r\n\r\n" + toOrigin,
		"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + toOrigin,
		"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" + toOrigin,
	} {
		f.Add(in, true)
		f.Add(in, false)
	}
	f.Fuzz(func(t *testing.T, in string, whole bool) {
		o := makeOrigin(t)
		gw := must(gateway.New(&gateway.Options{
			Limits: gateway.Limits{HeaderTimeout: 20 * time.Millisecond, IdleTimeout: 20 * time.Millisecond, BodyTimeout: 20 * time.Millisecond, BodyBytes: 1 << 16},
			Upstream: upstream.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := memoryPipe()
				o.accept(theirs)
				return ours, nil
			}},
		}))
		_, err := gw.Apply(gateway.Change{Put: gateway.Config{
			Upstreams: []upstream.Config{upstreamTo("1", "192.0.2.1:80")},
			Routes:    []route.Config{everything("1", "1"), {ID: "2", Paths: []string{"/chat"}, Upstream: "1", WebSocket: true}},
		}})
		require.NoError(t, err)
		l := newMemoryListener()
		served := make(chan struct{})
		go func() { defer close(served); _ = gw.Serve(l) }()
		conn := l.dial()
		defer conn.Close()
		step := len(in)
		if !whole {
			step = max(len(in)/50, 1)
		}
		go func() {
			for rest := in; rest != ""; {
				n := min(step, len(rest))
				if _, err := io.WriteString(conn, rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		_, _ = io.Copy(io.Discard, conn) // to the end, which comes by the limits if by nothing else
		_ = gw.Close()
		<-served
		o.close()
		seen := o.take()
		if !among(seen, bodiesByNetHTTP(in)) && !among(seen, bodiesByOurs(in)) {
			t.Fatalf("%q became %d requests: %+v", in, len(seen), seen)
		}
	})
}

// A bodyOf is the method and the body of a request, as far as it came.
type bodyOf struct{ method, body string }

// among reports whether requests are some of those, in their order.
func among(seen []*received, in []bodyOf) bool {
	for _, r := range seen {
		method, _, _ := strings.Cut(r.line, " ")
		fits := func(b bodyOf) bool {
			return b.method == method && (r.whole && string(r.body) == b.body || !r.whole && r.framing != "")
		}
		for len(in) > 0 && !fits(in[0]) {
			in = in[1:]
		}
		if len(in) == 0 {
			return false
		}
		in = in[1:]
	}
	return true
}

func bodiesByNetHTTP(in string) (all []bodyOf) {
	r := bufio.NewReader(strings.NewReader(in))
	for {
		for b, _ := r.Peek(2); string(b) == "\r\n"; b, _ = r.Peek(2) {
			_, _ = r.Discard(2)
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			return all
		}
		body, err := io.ReadAll(req.Body)
		all = append(all, bodyOf{req.Method, string(body)})
		if err != nil {
			return all
		}
	}
}

func bodiesByOurs(in string) (all []bodyOf) {
	ours, theirs := memoryPipe()
	_, _ = io.WriteString(ours, in)
	ours.Close()
	c := http1.Server(theirs, time.Second)
	for {
		if c.Wait(time.Second) != nil {
			return all
		}
		head, err := c.ReadRequest(&http1.RequestLimit{Bytes: 32 << 10, Fields: 256, Time: time.Second})
		if err != nil {
			return all
		}
		b := bodyOf{method: strings.Clone(head.Method())}
		var body bytes.Buffer
		p := make([]byte, 1024)
		for err == nil {
			var n int
			n, err = c.ReadBody(p)
			body.Write(p[:n])
		}
		b.body = body.String()
		all = append(all, b)
		if err != io.EOF {
			return all
		}
		c.EndRequest()
	}
}
