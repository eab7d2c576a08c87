package http1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What Connection says of the connection, and of fields; and that it says so of its own head
// alone: those of the cases follow each other on one connection.
func TestConnectionField(t *testing.T) {
	const empty = ",, ,\t,"
	letters := "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	cases := []struct {
		fields     string
		p          persistence
		named, not []string
	}{
		{"Connection: x-a, X-B\r\nCONNECTION:\tx-c\t,x-d", persistence{}, []string{"x-a", "X-A", "x-b", "x-c", "X-d"}, []string{"x", "x-", "x-aa", "x-e", ""}},
		{"X: y", persistence{}, nil, []string{"x-a", "x-b", "x-c", "x-d", "x"}},
		{"Connection: close, x, keep-alive, UPGRADE", persistence{Close: true, keep: true, Upgrade: true}, []string{"x"}, []string{"close", "keep-alive", "upgrade"}},
		{"Connection: closed, keep-alives, upgrade/2", persistence{}, nil, nil},
		{"Connection: " + letters, persistence{}, []string{letters, strings.ToLower(letters)}, nil},
		{"Connection: " + strings.ToLower(letters), persistence{}, []string{letters, strings.ToLower(letters)}, nil},
		{"Connection: x^", persistence{}, []string{"x^", "X^"}, []string{"x~"}}, // which differ by the bit that tells cases apart
		{"Connection: " + strings.Repeat(empty, maxNamed) + "x," + empty, persistence{}, []string{"x"}, []string{""}},
		{"Connection: close" + strings.Repeat(",x", maxNamed), persistence{Close: true}, []string{"x"}, nil},
	}
	for _, step := range steps {
		var in strings.Builder
		for _, c := range cases {
			fmt.Fprintf(&in, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", c.fields)
		}
		in.WriteString("GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("x,", maxNamed) + "\r\nConnection: y\r\n\r\n")
		conn := serverOf(in.String(), step)
		for _, c := range cases {
			require.NoError(t, conn.Wait(time.Minute))
			r, err := conn.ReadRequest(&fuzzLimit)
			require.NoError(t, err, c.fields)
			require.Equal(t, c.p, r.persistence, c.fields)
			for _, name := range c.named {
				require.True(t, r.Names(name), "%s: %q", c.fields, name)
			}
			for _, name := range c.not {
				require.False(t, r.Names(name), "%s: %q", c.fields, name)
			}
			conn.EndRequest()
		}
		require.NoError(t, conn.Wait(time.Minute))
		_, err := conn.ReadRequest(&fuzzLimit)
		require.Equal(t, ErrTooManyFields, err)
	}
}

// An error shows no more than a little of what came, outlives the buffer, and says nothing of
// a value, which may be a secret.
func TestFaultsShowLittle(t *testing.T) {
	const one = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("x", 3000)
	for in, want := range map[string]string{
		"HTTP/1.1 2" + long + "\r\n":                         "malformed HTTP status code",
		"HTTP/1.1" + long + "\r\n":                           "malformed HTTP response",
		one + "A: b\r\n" + long + "\r\n\r\n":                 "missing colon",
		one + long + " : b\r\n\r\n":                          "invalid name",
		one + "Set-Cookie: secret\x00\r\n\r\n":               "invalid value",
		one + "Content-Length: 1" + long + "\r\n\r\n":        "bad Content-Length",
		one + "Transfer-Encoding: " + long + "\r\n\r\n":      "unsupported transfer encoding",
		one + "Transfer-Encoding: chunked\r\n\r\nx" + long:   "too long",
		one + "Transfer-Encoding: chunked\r\n\r\n1 x\r\n":    "invalid size",
		one + "Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n": "missing colon",
	} {
		conn := begin(in, 1<<20)
		_, err := conn.ReadResponse("GET")
		if err == nil {
			_, err = readAll(conn, 10)
		}
		require.ErrorContains(t, err, want)
		text := err.Error()
		require.Less(t, len(text), 2*maxQuoted, want)
		require.NotContains(t, text, "secret")
		clear(conn.in.buf)
		for ; err != nil; err = errors.Unwrap(err) {
			require.Contains(t, text, err.Error())
		}
	}
}
