package gateway_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

const preface2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// h2c opens a connection with HTTP/2 on the plain port of a bubble.
func (b *bubble) h2c() *h2Conn { return newH2(b.raw(false)) }

// The preface has the time of a head, however it is sent (CVE-2026-56853), and what only
// begins as one is a request like any other.
func TestH2CPreface(t *testing.T) {
	o := gateway.Options{H2C: true}
	inBubbleOf(t, o, nil, func(b *bubble) {
		conn := b.raw(false)
		b.after(testLimits.HeaderTimeout, conn.wantEnd)
		for n := 1; n < len(preface2); n++ {
			conn := b.raw(false)
			conn.write(preface2[:n])
			b.after(testLimits.HeaderTimeout, func() { require.Equal(t, []int{408}, conn.statuses(), n) })
		}
		slow := b.raw(false)
		var writing sync.WaitGroup
		writing.Go(func() {
			for _, c := range preface2 {
				_, _ = slow.Write([]byte{byte(c)})
				time.Sleep(time.Second)
			}
		})
		b.after(testLimits.HeaderTimeout, func() { require.Equal(t, []int{408}, slow.statuses()) })
		writing.Wait()

		// The time that was taken is gone.
		conn = b.raw(false)
		conn.write("P")
		b.after(testLimits.HeaderTimeout, func() {
			time.Sleep(testLimits.HeaderTimeout - time.Second)
			conn.write("OST / HTTP/1.1\r\nHost: a.test\r\n")
			require.Equal(t, []int{408}, conn.statuses())
		})
		for _, request := range []string{
			"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
			"PRI / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		} {
			for at := range request {
				if at > 20 {
					break
				}
				conn := b.raw(false)
				conn.write(request[:at])
				synctest.Wait()
				conn.write(request[at:])
				res, _ := conn.answer("POST")
				require.Equal(t, 200, res.StatusCode)
			}
		}
		for _, junk := range []string{"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\nHost: a.test\r\n\r\n"} {
			conn = b.raw(false)
			conn.write(junk)
			require.Equal(t, []int{505}, conn.statuses())
		}
		// And not as the second request.
		conn = b.raw(false)
		conn.write(toOrigin + preface2)
		require.Equal(t, []int{200, 505}, conn.statuses())

		// It may come in pieces, late, and with what follows.
		for _, wait := range []time.Duration{0, 3 * time.Second} {
			for at := range len(preface2) {
				conn = b.raw(false)
				time.Sleep(wait)
				conn.write(preface2[:at])
				synctest.Wait()
				conn.write(preface2[at:] + "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00")
				h2 := &h2Conn{conn, map[uint32][]h2Frame{}}
				h2.get(1, "http", "a.test", "/")
				status, _ := h2.status(1)
				require.Equal(t, "200", status)
			}
		}
	})
}

// Without the option there is no HTTP/2, and with it there is no Upgrade to it.
func TestH2COff(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		conn := b.raw(false)
		conn.write(preface2)
		require.Equal(t, []int{505}, conn.statuses())
	})
	inBubbleOf(t, gateway.Options{H2C: true}, nil, func(b *bubble) {
		for _, upgrade := range []string{"h2c", "h2c, websocket", "H2C", "HTTP/2.0"} {
			conn := b.raw(false)
			conn.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + upgrade + "\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
			res, _ := conn.answer("GET")
			require.Equal(t, 200, res.StatusCode)
			r := b.origin.take()
			require.Len(t, r, 1)
			require.Empty(t, r[0].saying("h2c"))
			require.Empty(t, r[0].values("Upgrade"))
			require.Empty(t, r[0].values("HTTP2-Settings"))
		}
		// TLS says by itself what is spoken.
		conn := b.raw(true)
		conn.write(preface2)
		require.Equal(t, []int{505}, conn.statuses())
	})
}

// The limits of HTTP/2 and Shutdown are those over TLS.
func TestH2CLifeCycle(t *testing.T) {
	o := gateway.Options{H2C: true}
	inBubbleOf(t, o, nil, func(b *bubble) {
		conn := b.h2c()
		conn.get(1, "http", "a.test", "/")
		status, _ := conn.status(1)
		require.Equal(t, "200", status)
		begun := time.Now()
		status, _ = conn.status(3)
		require.Equal(t, "closed", status)
		require.Less(t, time.Since(begun), testLimits.IdleTimeout+5*time.Second)

		release := make(chan struct{})
		b.origin.on(func(v *visit) {
			<-release
			v.write(okAnswer)
		})
		busy, fresh, secure := b.h2c(), b.raw(false), b.tls("h2")
		for i := range uint32(4) {
			busy.get(1+2*i, "http", "a.test", "/")
		}
		status, _ = busy.status(7)
		require.Equal(t, "reset", status, "one more than Limits.Streams")
		synctest.Wait()
		done := make(chan error)
		go func() { done <- b.gw.Shutdown(context.Background()) }()
		synctest.Wait()
		// Who has connected before is not turned away.
		late := newH2(fresh)
		late.get(1, "http", "a.test", "/")
		late2 := newH2(secure)
		late2.get(1, "https", "a.test", "/")
		synctest.Wait()
		close(release)
		for i := range uint32(3) {
			status, _ = busy.status(1 + 2*i)
			require.Equal(t, "200", status)
		}
		for _, late := range []*h2Conn{late, late2} {
			status, _ = late.status(1)
			require.Equal(t, "200", status)
		}
		require.NoError(t, <-done)
		require.Zero(t, b.gw.Connections())
	})
}

// The plain port's rules hold: whose Host demands client certificates is refused, however
// the authority is told. That all else is alike, the doors' tables say.
func TestH2CGuard(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"mtls.test"}, h.people), h.profile("2", []string{"a.test"})},
		Routes:   []route.Config{local("1", "/*", "mtls", "mtls.test"), local("2", "/*", "open", "a.test")},
	})
	conn := h.h2(h.plain2, "")
	for i, c := range []struct{ authority, scheme, status string }{
		{"a.test", "http", "200"},
		{"mtls.test", "http", "403"},
		{"MTLS.test:443", "http", "403"},
		{"mtls.test", "https", "403"},
		{"a.test", "http", "200"},
	} {
		stream := uint32(1 + 2*i)
		conn.get(stream, c.scheme, c.authority, "/", "x-forwarded-proto", "https", "x-client-cert", "forged")
		status, body := conn.status(stream)
		require.Equal(t, c.status, status, "%v %s", c, body)
		require.Equal(t, status == "200", strings.HasPrefix(body, "open"))
	}
}

// Hijacked or handed over, a connection is whose it is: bytes after the preface are not
// lost when many come at once.
func TestH2CAhead(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}})
	recorded := &keptWrites{}
	conn := newH2(&rawConn{recorded, t, bufio.NewReader(strings.NewReader(""))})
	for i := range uint32(50) {
		conn.get(1+2*i, "http", "a.test", "/"+strings.Repeat("x", 1000))
	}
	raw := h.raw(h.plain2, "")
	raw.write(recorded.String())
	conn.rawConn = raw
	for i := range uint32(50) {
		status, _ := conn.status(1 + 2*i)
		require.Equal(t, "200", status)
	}
}

// keptWrites is a connection that keeps what is written.
type keptWrites struct {
	net.Conn
	strings.Builder
}

func (k *keptWrites) Write(p []byte) (int, error) { return k.Builder.Write(p) }
