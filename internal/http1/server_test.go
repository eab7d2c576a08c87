package http1

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A Wake is not lost if it comes before the Wait that it is to end.
func TestWakeBeforeWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		c := Server(ours, time.Minute)
		c.Wake()
		begun := time.Now()
		require.ErrorIs(t, c.Wait(time.Hour), os.ErrDeadlineExceeded)
		require.Zero(t, time.Since(begun))
		c.Rest()

		// The head of a request that is there already is read nevertheless.
		d := Server(&script{in: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", step: 1}, time.Minute)
		require.NoError(t, d.Wait(time.Hour))
		d.Wake()
		_, err := d.ReadRequest(&fuzzLimit)
		require.NoError(t, err)
	})
}

// A client may be slow, and take longer for a large write than the limit; it must not take
// nothing for so long.
func TestSlowWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		c := Server(ours, 10*time.Second)
		go func() {
			p := make([]byte, 10)
			for range 100 {
				time.Sleep(5 * time.Second)
				_, _ = io.ReadFull(theirs, p)
			}
		}()
		begun := time.Now()
		n, err := c.Write([]byte(strings.Repeat("x", 1000)))
		require.NoError(t, err)
		require.Equal(t, 1000, n)
		require.Equal(t, 500*time.Second, time.Since(begun))

		begun = time.Now()
		n, err = c.Write([]byte("x"))
		require.Zero(t, n)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(begun))
	})
}

// WriteBy ends a write that goes on, however much is taken, and lets itself be lifted.
func TestWriteBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		c := Server(ours, 10*time.Second)
		go func() {
			time.Sleep(time.Second)
			c.WriteBy(time.Now().Add(5 * time.Second))
			p := make([]byte, 1)
			for range 5 {
				_, _ = theirs.Read(p)
				time.Sleep(time.Second)
			}
		}()
		begun := time.Now()
		_, err := c.Write([]byte(strings.Repeat("x", 1000)))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 6*time.Second, time.Since(begun))
		time.Sleep(time.Minute)
		c.WriteBy(time.Time{})
		go io.Copy(io.Discard, theirs)
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
	})
}

// Each request has limits of its own, and nothing of the one before: neither its trailer, nor
// what it has left of its limits.
func TestRequestsInTurn(t *testing.T) {
	head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nA: " + strings.Repeat("b", 3000) + "\r\n\r\n"
	first := head + strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 10) + "0\r\nX-Sum: 1\r\n\r\n"
	second := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	third := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, step := range steps {
		c := serverOf(strings.Repeat(first+second+third, 3)+"GET / HTTP/1.1\r\nHost: a\r\nA: "+strings.Repeat("b", 4096)+"\r\n\r\n", step)
		for range 3 {
			for i, want := range []string{"xxxxxxxxxx", "abc", ""} {
				require.NoError(t, c.Wait(time.Minute))
				_, err := c.ReadRequest(&fuzzLimit)
				require.NoError(t, err)
				require.Equal(t, i < 2, c.HasBody())
				require.Nil(t, c.Trailer())
				body, err := readAll(c, 100)
				require.NoError(t, err)
				require.Equal(t, want, body)
				require.Equal(t, i == 0, c.Trailer() != nil)
				c.EndRequest()
			}
		}
		require.NoError(t, c.Wait(time.Minute))
		_, err := c.ReadRequest(&fuzzLimit)
		require.Equal(t, ErrHeadTooLarge, err)
	}

	// A head that has begun has its time from then on.
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := Server(ours, time.Minute)
		defer c.Abort()
		go func() {
			time.Sleep(time.Hour)
			_, _ = io.WriteString(theirs, "G")
		}()
		require.NoError(t, c.Wait(2*time.Hour))
		begun := time.Now()
		_, err := c.ReadRequest(&fuzzLimit)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, fuzzLimit.Time, time.Since(begun))
	})
}

// A client that speaks another protocol is told so by its first bytes: its line may never end,
// and it may wait for an answer.
func TestRefusedBeforeTheLineEnds(t *testing.T) {
	method := strings.Repeat("M", maxMethod)
	for in, want := range map[string]error{
		"\x16\x03\x01": errRequestLine, // a ClientHello
		" ":            errRequestLine,
		"GET\t":        errRequestLine,
		method + "M":   errMethod,
		method:         io.ErrUnexpectedEOF,
		method + " ":   io.ErrUnexpectedEOF,
	} {
		for _, step := range steps {
			c := Server(&script{in: in, step: step}, time.Minute)
			require.NoError(t, c.Wait(time.Hour))
			_, err := c.ReadRequest(&fuzzLimit)
			require.Equal(t, want, err, "%q", in)
		}
	}
}

// What follows a fault in a body is not taken for the rest of it, however often it is asked
// for.
func TestBrokenBodyStaysBroken(t *testing.T) {
	for _, body := range []string{"x\r\n0\r\n\r\n", "1\r\na\r\nx\r\n0\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "0\r\nx\r\n\r\n", "0\r\nTrailer: x\r\n\r\n"} {
		for _, step := range steps {
			c := Server(&script{in: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body, step: step}, time.Minute)
			require.NoError(t, c.Wait(time.Hour))
			_, err := c.ReadRequest(&fuzzLimit)
			require.NoError(t, err)
			_, err = readAll(c, 10)
			require.ErrorContains(t, err, "malformed", "%q", body)
			for range 3 {
				n, err := c.ReadBody(make([]byte, 10))
				require.Zero(t, n)
				require.Equal(t, io.ErrUnexpectedEOF, err, "%q", body)
			}
			require.True(t, c.HasBody())
		}
	}
}

// Who asks for nothing waits for nothing.
func TestReadsNothing(t *testing.T) {
	for _, field := range []string{"Content-Length: 3", "Transfer-Encoding: chunked"} {
		c := Server(&script{in: "POST / HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n", step: 1}, time.Minute)
		require.NoError(t, c.Wait(time.Hour))
		_, err := c.ReadRequest(&fuzzLimit)
		require.NoError(t, err)
		n, err := c.ReadBody(nil)
		require.Zero(t, n)
		require.NoError(t, err, field)
	}
}
