package http1

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// securePair returns a connection, and the server's end of it, over TLS.
func securePair(t testing.TB, version uint16) (*Conn, *tls.Conn) {
	t.Helper()
	ours, theirs := pair(t)
	server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MaxVersion: version})
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Handshake() })
	conn := NewConn(ours)
	require.NoError(t, conn.Handshake(t.Context(), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}))
	wg.Wait()
	require.Equal(t, version, conn.TLS().Version)
	return conn, server
}

// serveOne reads a head and answers it.
func serveOne(t testing.TB, server net.Conn, conn *Conn, answer string) {
	t.Helper()
	conn.Begin(time.Minute, 1<<12)
	const request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	_, err := conn.Write([]byte(request))
	require.NoError(t, err)
	head := make([]byte, len(request))
	_, err = io.ReadFull(server, head)
	require.NoError(t, err)
	_, err = io.WriteString(server, answer)
	require.NoError(t, err)
	_, err = conn.ReadResponse("GET")
	require.NoError(t, err)
	// Exactly the body, so that what follows stays where it is.
	body := make([]byte, 2)
	n, err := conn.ReadBody(body)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "ok", string(body[:n]))
}

// An idle connection on which anything happened is not used again.
func TestAlive(t *testing.T) {
	ours, theirs := pair(t)
	conn := NewConn(ours)
	require.True(t, conn.Alive())
	serveOne(t, theirs, conn, okResponse)
	require.True(t, conn.End())
	require.True(t, conn.Alive())
	require.True(t, conn.Alive(), "to look changes nothing")

	_, err := io.WriteString(theirs, "x")
	require.NoError(t, err)
	arrived(t, ours)
	require.False(t, conn.Alive(), "a byte that was not asked for")

	for name, end := range map[string]func(theirs *net.TCPConn){
		"closed": func(theirs *net.TCPConn) { theirs.Close() },
		"half":   func(theirs *net.TCPConn) { theirs.CloseWrite() },
		"reset":  func(theirs *net.TCPConn) { theirs.SetLinger(0); theirs.Close() },
	} {
		ours, theirs := pair(t)
		conn := NewConn(ours)
		require.True(t, conn.Alive())
		end(theirs)
		arrived(t, ours)
		require.False(t, conn.Alive(), name)
	}

	ours, _ = pair(t)
	conn = NewConn(ours)
	ours.Close()
	require.False(t, conn.Alive(), "closed by ourselves")
}

// Alive looks although the last exchange's deadline has passed.
func TestAliveAfterADeadline(t *testing.T) {
	ours, theirs := pair(t)
	conn := NewConn(ours)
	serveOne(t, theirs, conn, okResponse)
	require.True(t, conn.End())
	conn.Await(time.Nanosecond)
	_, err := ours.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.True(t, conn.Alive())
	conn.Await(time.Minute)
	serveOne(t, theirs, conn, okResponse)
}

// Over TLS the same, and what was received along with the response but not read yet:
// the socket is empty then.
func TestAliveOverTLS(t *testing.T) {
	for version, name := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
		t.Run(name, func(t *testing.T) {
			conn, server := securePair(t, version)
			for range 3 {
				serveOne(t, server, conn, okResponse)
				require.True(t, conn.End())
				require.True(t, conn.Alive())
				require.True(t, conn.Alive())
			}
			serveOne(t, server, conn, okResponse)
			require.True(t, conn.End())
			server.Close()
			arrived(t, conn.socket.Conn.(*net.TCPConn))
			require.False(t, conn.Alive(), "close_notify")

			conn, server = securePair(t, version)
			serveOne(t, server, conn, okResponse)
			_, err := io.WriteString(server, "x")
			require.NoError(t, err)
			arrived(t, conn.socket.Conn.(*net.TCPConn))
			require.True(t, conn.End())
			require.False(t, conn.Alive(), "a record that was not asked for")
		})
	}

	// A record that holds more than the response, read by a caller who wants no more
	// than the body.
	conn, server := securePair(t, tls.VersionTLS13)
	head := "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
	conn.Begin(0, 1<<12)
	_, err := io.WriteString(server, head+strings.Repeat("a", 5000)+"HTTP/1.1 200 OK\r\n\r\n")
	require.NoError(t, err)
	_, err = conn.ReadResponse("GET")
	require.NoError(t, err)
	_, err = io.ReadFull(readerFunc(conn.ReadBody), make([]byte, 5000))
	require.NoError(t, err)
	require.True(t, conn.End(), "nothing is left in the buffer")
	require.False(t, conn.Alive(), "but in the record")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A gluedConn gives two writes of the server in one read. It shows its descriptor, which is
// looked at.
type gluedConn struct {
	*net.TCPConn
	want int
}

func (g *gluedConn) Read(p []byte) (int, error) {
	if g.want == 0 {
		return g.TCPConn.Read(p)
	}
	n, err := io.ReadFull(g.TCPConn, p[:min(g.want, len(p))])
	g.want = 0
	return n, err
}

// Without an answer that came to its end, a connection cannot be used again, whatever the
// exchange before left.
func TestEndTooEarly(t *testing.T) {
	for _, c := range []struct {
		in       string
		heads    int
		received bool
	}{
		{"", 0, false},
		{"HTTP/1.1 100 Continue\r\n\r\n", 1, true},
		{"HTTP/1.1 204 No Cont", 1, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 1, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 1, true},
		{"HTTP/1.1 200 OK\r\n\r\n", 1, true},
	} {
		conn := begin(okResponse+c.in, len(okResponse))
		_, err := conn.ReadResponse("GET")
		require.NoError(t, err)
		_, err = readAll(conn, 10)
		require.NoError(t, err)
		require.True(t, conn.End())

		conn.Begin(time.Minute, 1<<12)
		require.False(t, conn.Received())
		for range c.heads {
			_, _ = conn.ReadResponse("GET")
		}
		require.Equal(t, c.received, conn.Received(), c.in)
		require.True(t, conn.HasBody(), c.in)
		require.False(t, conn.End(), c.in)
	}
}

// Each exchange has limits of its own: what one may have, of time, of bytes in its heads and of
// lines around chunks, is neither more nor less for what those before it had.
func TestLimitsOfAnExchange(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: " + strings.Repeat("b", 3000) + "\r\n\r\n"
	lines := strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 10)
	in := head + lines + "0\r\n\r\n"
	conn := begin(strings.Repeat(in, 3)+"HTTP/1.1 200 OK\r\nA: "+strings.Repeat("b", 4096)+"\r\n\r\n", 1)
	for range 3 {
		conn.Begin(time.Minute, 1<<12)
		_, err := conn.ReadResponse("GET")
		require.NoError(t, err)
		body, err := readAll(conn, 100)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("x", 10), body)
		require.True(t, conn.End())
	}
	conn.Begin(time.Minute, 1<<12)
	_, err := conn.ReadResponse("GET")
	require.ErrorContains(t, err, "exceeded")

	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conn := NewConn(ours)
		defer conn.Close()
		conn.Begin(time.Second, 1<<12)
		conn.Await(time.Second)
		time.Sleep(time.Hour)
		conn.Begin(0, 1<<12)
		go func() {
			time.Sleep(time.Hour)
			_, _ = io.ReadFull(theirs, make([]byte, 1))
			time.Sleep(time.Hour)
			_, _ = io.WriteString(theirs, "HTTP/1.1 204 No Content\r\n\r\n")
		}()
		_, err := conn.Write([]byte("x"))
		require.NoError(t, err)
		_, err = conn.ReadResponse("GET")
		require.NoError(t, err)
	})
}

// Whatever there is of a body already, no read that waits for more of it has no limit.
func TestAwaitBody(t *testing.T) {
	for _, fields := range []string{"Content-Length: 3\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3", "Transfer-Encoding: chunked\r\n\r\n3\r\n", "\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			conn := NewConn(ours)
			defer conn.Close()
			conn.Begin(0, 1<<12)
			go func() { _, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\n"+fields) }()
			_, err := conn.ReadResponse("GET")
			require.NoError(t, err)
			defer time.AfterFunc(time.Hour, conn.Abort).Stop() // only if the test fails
			begun := time.Now()
			conn.AwaitBody(time.Second)
			_, err = conn.ReadBody(make([]byte, 10))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, fields)
			require.Equal(t, time.Second, time.Since(begun))
		})
	}
}

// A handshake that fails leaves nothing open.
func TestHandshakeFails(t *testing.T) {
	for name, config := range map[string]*tls.Config{
		"another name":   {ServerName: "b.test"},
		"unknown issuer": {ServerName: "a.test"},
		"too old":        {ServerName: "a.test", MinVersion: tls.VersionTLS13},
	} {
		ours, theirs := pair(t)
		server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MaxVersion: tls.VersionTLS12})
		var wg sync.WaitGroup
		wg.Go(func() { _ = server.Handshake() })
		conn := NewConn(ours)
		require.Error(t, conn.Handshake(t.Context(), config), name)
		wg.Wait()
		_, err := ours.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed, name)
	}
}

// Over TLS, the end of one direction is announced, and the other goes on; so is the end of
// both, after writes of any size.
func TestCloseOverTLS(t *testing.T) {
	for _, size := range []int{1, 64 << 10, 200 << 10} {
		for _, half := range []bool{true, false} {
			ours, theirs := pair(t)
			last := &lastWrite{TCPConn: ours}
			// With TLS 1.3 one does not see from outside what a record is.
			server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MaxVersion: tls.VersionTLS12})
			got := make(chan int)
			go func() {
				all, err := io.ReadAll(server)
				assert.NoError(t, err)
				got <- len(all)
			}()
			conn := NewConn(last)
			require.NoError(t, conn.Handshake(t.Context(), &tls.Config{InsecureSkipVerify: true}))
			conn.Begin(time.Minute, 1<<12)
			_, err := conn.Write(make([]byte, size))
			require.NoError(t, err)
			if half {
				require.NoError(t, conn.CloseWrite())
			} else {
				require.NoError(t, conn.Close())
			}
			require.Equal(t, size, <-got)
			const alert = 21
			require.EqualValues(t, alert, last.record)
			if half {
				_, err = io.WriteString(server, okResponse)
				require.NoError(t, err)
				_, err = conn.ReadResponse("GET")
				require.NoError(t, err)
			}
		}
	}
}

// A lastWrite knows what record began the last write.
type lastWrite struct {
	*net.TCPConn
	record byte
}

func (c *lastWrite) Write(p []byte) (int, error) {
	c.record = p[0]
	return c.TCPConn.Write(p)
}

// A second record, whole or cut, that was received together with the response is
// inside crypto/tls, where no look at the socket finds it.
func TestAliveWithRecordsInside(t *testing.T) {
	for _, cut := range []int{1, 4, 5, 6, 10, 0} {
		ours, theirs := pair(t)
		glue := &gluedConn{TCPConn: ours}
		tapped := &tap{Conn: theirs}
		server := tls.Server(tapped, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
		var wg sync.WaitGroup
		wg.Go(func() { _ = server.Handshake() })
		conn := NewConn(glue)
		if conn.socket.control == nil {
			t.Skip("nothing can be looked at here without being read")
		}
		require.NoError(t, conn.Handshake(t.Context(), &tls.Config{InsecureSkipVerify: true}))
		wg.Wait()
		serveOne(t, server, conn, okResponse) // takes the session tickets along
		require.True(t, conn.End())
		require.True(t, conn.Alive())

		conn.Begin(0, 1<<12)
		tapped.hold = true
		io.WriteString(server, okResponse)
		io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\n")
		first := int(tapped.held[3])<<8 | int(tapped.held[4]) + recordHeader
		out := tapped.held
		if cut > 0 {
			out = out[:first+cut]
		}
		_, err := theirs.Write(out)
		require.NoError(t, err)
		glue.want = len(out)
		_, err = conn.ReadResponse("GET")
		require.NoError(t, err)
		_, err = conn.ReadBody(make([]byte, 2))
		require.Equal(t, io.EOF, err)
		require.True(t, conn.End())
		require.False(t, conn.Alive(), "cut=%d", cut)
	}
}

// A tap can hold back what is written.
type tap struct {
	net.Conn
	hold bool
	held []byte
}

func (c *tap) Write(p []byte) (int, error) {
	if c.hold {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// A body that ends with the connection is whole over TLS only if the end was
// announced: anyone can end a connection (RFC 9112, section 9.8).
func TestTruncationOverTLS(t *testing.T) {
	for _, announced := range []bool{true, false} {
		conn, server := securePair(t, tls.VersionTLS13)
		conn.Begin(0, 1<<12)
		_, err := io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\nabc")
		require.NoError(t, err)
		if announced {
			server.Close()
		} else {
			server.NetConn().Close()
		}
		_, err = conn.ReadResponse("GET")
		require.NoError(t, err)
		body, err := readAll(conn, 10)
		require.Equal(t, "abc", body)
		if announced {
			require.NoError(t, err)
		} else {
			require.Equal(t, io.ErrUnexpectedEOF, err)
		}
		require.False(t, conn.End())
	}
}

// What is written at once over TLS comes as it was, in one write for many records.
func TestWriteOverTLS(t *testing.T) {
	ours, theirs := pair(t)
	counted := &countedConn{Conn: ours}
	server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Handshake() })
	conn := NewConn(counted)
	require.NoError(t, conn.Handshake(context.Background(), &tls.Config{InsecureSkipVerify: true}))
	wg.Wait()
	for _, size := range []int{1, 16 << 10, 16<<10 + 1, 64 << 10, 64<<10 + 1, 200 << 10} {
		conn.Begin(time.Minute, 1<<12)
		payload := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		got := make([]byte, size)
		wg.Go(func() { _, _ = io.ReadFull(server, got) })
		counted.writes = 0
		n, err := conn.Write([]byte(payload))
		require.NoError(t, err)
		require.Equal(t, size, n)
		wg.Wait()
		require.True(t, payload == string(got), size)
		require.True(t, conn.Sent())
		if size <= 64<<10 {
			require.Equal(t, 1, counted.writes, size)
		}
	}
	theirs.SetLinger(0)
	theirs.Close()
	arrived(t, ours)
	conn.Begin(time.Minute, 1<<12)
	n, err := conn.Write(make([]byte, 64<<10))
	require.Error(t, err)
	require.Zero(t, n)
	require.False(t, conn.Sent())
}

type countedConn struct {
	net.Conn
	writes int
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// Time limits are exact though the connection hears of few of them.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		counted := &deadlines{Conn: ours}
		conn := NewConn(counted)
		defer conn.Close()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()

		for range 100 { // each renews the limit
			serveTimed(t, conn, theirs, time.Second, 900*time.Millisecond)
		}
		require.Less(t, counted.set, 250, "reads and writes of 100 exchanges, more than half of the limit each")
		counted.set = 0
		for range 100 {
			serveTimed(t, conn, theirs, time.Hour, time.Millisecond)
		}
		require.Less(t, counted.set, 10)

		// A shorter limit after a long one, no limit after a short one.
		conn.Begin(time.Hour, 1<<12)
		conn.Await(time.Hour)
		conn.Await(time.Second)
		begun := time.Now()
		_, err := conn.ReadResponse("GET")
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
		conn.Begin(time.Hour, 1<<12)
		conn.Await(time.Second)
		conn.Await(0)
		go func() {
			time.Sleep(1000 * time.Hour)
			_, _ = io.WriteString(theirs, "HTTP/1.1 204 No Content\r\n\r\n")
		}()
		_, err = conn.ReadResponse("GET")
		require.NoError(t, err)

		// Abort ends what waits, at once.
		conn.Begin(time.Hour, 1<<12)
		conn.Await(time.Hour)
		begun = time.Now()
		time.AfterFunc(time.Second, conn.Abort)
		_, err = conn.ReadResponse("GET")
		require.Error(t, err)
		require.Equal(t, time.Second, time.Since(begun))
	})
}

// A limit may be as long as a Duration can be, which is a usual way to say that there is
// none. It does not outlive its exchange. In a bubble of synctest, it is too early for the
// clock to overflow.
func TestAwaitForEver(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	conn := NewConn(ours)
	defer conn.Close()
	conn.Begin(math.MaxInt64, 1<<12)
	conn.Await(time.Nanosecond)
	conn.Await(math.MaxInt64)
	go func() { _, _ = io.WriteString(theirs, "HTTP/1.1 103 Early Hints\r\n\r\n") }()
	_, err := conn.ReadResponse("GET")
	require.NoError(t, err)
	conn.Await(time.Millisecond)
	defer time.AfterFunc(10*time.Second, conn.Abort).Stop() // only if the test fails
	_, err = conn.ReadResponse("GET")
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// So may the time at which all writes end.
func TestWriteByTheEndOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conn := Server(Accepted(ours, false), time.Minute)
		defer conn.Abort()
		for _, by := range []time.Time{time.Now().Add(math.MaxInt64), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} {
			conn.WriteBy(by)
			go func() {
				time.Sleep(time.Second)
				_, _ = io.ReadFull(theirs, make([]byte, 1))
			}()
			_, err := conn.Write([]byte("x"))
			require.NoError(t, err)
		}
	})
}

func serveTimed(t *testing.T, conn *Conn, theirs net.Conn, limit, after time.Duration) {
	conn.Begin(limit, 1<<12)
	_, err := conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	conn.Await(limit)
	go func() {
		time.Sleep(after)
		_, _ = io.WriteString(theirs, "HTTP/1.1 204 No Content\r\n\r\n")
	}()
	_, err = conn.ReadResponse("GET")
	require.NoError(t, err)
	require.True(t, conn.End())
}

type deadlines struct {
	net.Conn
	set int
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set++
	return d.Conn.SetReadDeadline(t)
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set++
	return d.Conn.SetWriteDeadline(t)
}

func TestSendLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conn := NewConn(ours)
		defer conn.Close()
		conn.Begin(time.Second, 1<<12)
		go func() { _, _ = io.CopyN(io.Discard, theirs, 10) }()
		_, err := conn.Write(make([]byte, 10))
		require.NoError(t, err)
		time.Sleep(time.Hour) // what was set has passed
		begun := time.Now()
		_, err = conn.Write(make([]byte, 10))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
	})
}

// A time that no duration reaches is past or to come all the same.
func TestWriteByTimesFarOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conn := NewConn(ours)
		defer conn.Close()
		conn.WriteBy(time.Time{}.Add(1))
		time.Sleep(time.Second)
		begun := time.Now()
		_, err := conn.Write(make([]byte, 10))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Less(t, time.Since(begun), time.Second)

		conn.WriteBy(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
		go func() {
			time.Sleep(time.Hour)
			_, _ = io.CopyN(io.Discard, theirs, 10)
		}()
		_, err = conn.Write(make([]byte, 10))
		require.NoError(t, err)
	})
}

// Close ends a write over TLS that the server does not take, and does not wait for it.
func TestCloseWhileWriting(t *testing.T) {
	pair := selfSigned(t)
	for _, size := range []int{100, 50_000} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			// Over a pipe, both sides of TLS 1.3 would wait for the other to read.
			server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12})
			go func() { _ = server.Handshake() }()
			conn := NewConn(ours)
			require.NoError(t, conn.Handshake(t.Context(), &tls.Config{InsecureSkipVerify: true}))
			conn.Begin(time.Hour, 1<<12)
			ended, closed := make(chan error), make(chan struct{})
			go func() {
				_, err := conn.Write(make([]byte, size))
				ended <- err
			}()
			synctest.Wait()
			begun := time.Now()
			go func() {
				conn.Close()
				close(closed)
			}()
			require.Error(t, <-ended)
			<-closed
			require.Zero(t, time.Since(begun))
		})
	}
}
