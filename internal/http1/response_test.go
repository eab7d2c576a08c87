package http1

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is accepted, what it means, and what is left of the bytes after it.
func TestResponses(t *testing.T) {
	for _, c := range []struct {
		name     string
		method   string
		in       string
		status   int
		body     string
		rest     string
		reusable bool
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", "", true},
		{"longer than it said", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 200, "abc", "d", false},
		{"twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "", "HTTP/1.1 200 OK\r\n\r\n", false},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "abcde", "", true},
		{"chunked, and more", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nx", 200, "a", "x", false},
		{"chunked with all that is allowed", "GET", "HTTP/1.1 200 OK\r\ntransfer-ENCODING:Chunked\r\n\r\n003;a=b\r\nabc\r\nA ; q=\"x y\"\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n", 200, "abc0123456789", "", true},
		{"chunks of all digits", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n0123456789abcde\r\nF\r\n0123456789abcde\r\n9\r\n012345678\r\n0\r\n\r\n", 200, "0123456789abcde0123456789abcde012345678", "", true},
		{"as long a line as may be before a chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;" + strings.Repeat("x", maxChunkLine-3) + "\r\nabc\r\n0\r\n\r\n", 200, "abc", "", true},
		{"up to the end", "GET", "HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc", "", false},
		{"up to the end, and empty", "GET", "HTTP/1.1 200 OK\r\n\r\n", 200, "", "", false},
		{"close", "GET", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na", 200, "a", "", false},
		{"close in the second field", "GET", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", 200, "a", "", false},
		{"NTLM", "GET", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n", 401, "", "", false},
		{"Negotiate among others", "GET", "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"a, b\", NEGOTIATE abc=\r\nWWW-Authenticate: Digest x=1\r\nContent-Length: 0\r\n\r\n", 401, "", "", false},
		{"no NTLM", "GET", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=NTLM\r\nWWW-Authenticate: NTLMv3 x\r\nX-Authenticate-y: NTLM\r\nContent-Length: 0\r\n\r\n", 401, "", "", true},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", "", false},
		{"HTTP/1.0 that stays", "GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na", 200, "a", "", true},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200, "", "", true},
		{"HEAD with a body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "", "abc", false},
		{"HEAD of chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", "", true},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", "", true},
		{"204 with a body", "GET", "HTTP/1.1 204 No Content\r\n\r\nabc", 204, "", "abc", false},
		{"204 that announces one", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", 204, "", "", false},
		{"204 that announces chunks", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "", "", false},
		{"304 with the length of a 200", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", 304, "", "", true},
		{"no reason", "GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, "", "", true},
		{"not even a space", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", "", true},
		{"999", "GET", "HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n", 999, "", "", true},
		{"after 1xx", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", "", true},
		{"as long a head as may be", "GET", "HTTP/1.1 204 \r\nA: " + strings.Repeat("b", 1<<12-22) + "\r\n\r\n", 204, "", "", true},
		{"tunnel", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nabc", 101, "abc", "", false},
		{"empty values and bytes beyond ASCII", "GET", "HTTP/1.1 200 Tr\xe8s bien\r\nX:\r\nY: \t \r\nZ: \xff\r\nContent-Length: 0\r\n\r\n", 200, "", "", true},
	} {
		for _, step := range steps {
			t.Run(fmt.Sprintf("%s/step=%d", c.name, step), func(t *testing.T) {
				conn := begin(c.in, step)
				var r *Response
				for {
					var err error
					r, err = conn.ReadResponse(c.method)
					require.NoError(t, err)
					if r.Status >= 200 || r.Status == 101 {
						break
					}
				}
				require.Equal(t, c.status, r.Status)
				body, err := readAll(conn, 4)
				require.NoError(t, err)
				require.Equal(t, c.body, body)
				require.Equal(t, c.rest, rest(conn))
				if step == 1 && c.rest != "" {
					return // what came later shows when the connection is used again
				}
				require.Equal(t, c.reusable, conn.End())
			})
		}
	}
}

// What is refused.
func TestMalformedResponses(t *testing.T) {
	const one = "HTTP/1.1 200 OK\r\n"
	const chunks = one + "Transfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name string
		in   string
		text string
	}{
		{"Connection names too much", one + "Connection: " + strings.Repeat("a,", 33) + "\r\n\r\n", "Connection names too many fields"},
		{"another protocol", "SSH-2.0-OpenSSH_9.6\r\n", "malformed HTTP response"},
		{"an empty line first", "\r\n" + one + "\r\n", "malformed HTTP response"},
		{"bytes before it", "x" + one + "\r\n", "malformed HTTP response"},
		{"lower case", "http/1.1 200 OK\r\n\r\n", "malformed HTTP response"},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "malformed HTTP response"},
		{"HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", "malformed HTTP response"},
		{"HTTP/1.10", "HTTP/1.10 200 OK\r\n\r\n", "malformed HTTP response"},
		{"two spaces", "HTTP/1.1  200 OK\r\n\r\n", "malformed HTTP status code"},
		{"tab", "HTTP/1.1\t200 OK\r\n\r\n", "malformed HTTP response"},
		{"two digits", "HTTP/1.1 20 OK\r\n\r\n", "malformed HTTP status code"},
		{"four digits", "HTTP/1.1 2000 OK\r\n\r\n", "malformed HTTP status code"},
		{"sign", "HTTP/1.1 +20 OK\r\n\r\n", "malformed HTTP status code"},
		{"0xx", "HTTP/1.1 099 OK\r\n\r\n", "malformed HTTP status code"},
		{"control character in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", "malformed HTTP response"},
		{"bare LF after the status", "HTTP/1.1 200 OK\n\r\n", "without CR LF"},
		{"bare LF after a field", one + "A: b\n\r\n", "without CR LF"},
		{"bare LF at the end", one + "\n", "without CR LF"},
		{"bare CR in a value", one + "A: b\rC: d\r\n\r\n", "invalid value"},
		{"bare CR in a name", one + "A\rB: d\r\n\r\n", "invalid name"},
		{"two CR", one + "A: b\r\r\n\r\n", "invalid value"},
		{"NUL in a value", one + "A: b\x00\r\n\r\n", "invalid value"},
		{"DEL in a value", one + "A: b\x7f\r\n\r\n", "invalid value"},
		{"folded", one + "A: b\r\n c\r\n\r\n", "folded"},
		{"folded with a tab", one + "A: b\r\n\tc\r\n\r\n", "folded"},
		{"folded first", one + " A: b\r\n\r\n", "folded"},
		{"space before the colon", one + "A : b\r\n\r\n", "invalid name"},
		{"no name", one + ": b\r\n\r\n", "invalid name"},
		{"no colon", one + "A\r\n\r\n", "missing colon"},
		{"name beyond ASCII", one + "\xc4: b\r\n\r\n", "invalid name"},
		{"two lengths", one + "Content-Length: 1\r\ncontent-length: 2\r\n\r\nab", "Content-Length"},
		{"the same length twice", one + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "Content-Length"},
		{"list of lengths", one + "Content-Length: 1, 1\r\n\r\na", "Content-Length"},
		{"no length", one + "Content-Length:\r\n\r\na", "Content-Length"},
		{"signed length", one + "Content-Length: +1\r\n\r\na", "Content-Length"},
		{"negative length", one + "Content-Length: -1\r\n\r\na", "Content-Length"},
		{"hexadecimal length", one + "Content-Length: 0x1\r\n\r\na", "Content-Length"},
		{"length with a comment", one + "Content-Length: 1 a\r\n\r\na", "Content-Length"},
		{"length that does not fit", one + "Content-Length: 9223372036854775808\r\n\r\na", "Content-Length"},
		{"length with chunks", one + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "together with"},
		{"the other way round", one + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", "together with"},
		{"gzip", one + "Transfer-Encoding: gzip\r\n\r\n", "unsupported transfer encoding"},
		{"gzip, chunked", one + "Transfer-Encoding: gzip, chunked\r\n\r\n", "unsupported transfer encoding"},
		{"chunked, identity", one + "Transfer-Encoding: chunked, identity\r\n\r\n", "unsupported transfer encoding"},
		{"chunked twice", one + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "unsupported transfer encoding"},
		{"vertical tab", one + "Transfer-Encoding: \x0bchunked\r\n\r\n", "invalid value"},
		{"empty encoding", one + "Transfer-Encoding:\r\n\r\n", "unsupported transfer encoding"},
		{"chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0"},
		{"1xx with a body", "HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\n\r\na", "a body with the status 103"},
		{"1xx with chunks", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n", "a body with the status 100"},
		{"long head", one + strings.Repeat("A: b\r\n", 1000), "exceeded 4096 bytes"},
		{"long line", one + "A: " + strings.Repeat("b", 5000), "exceeded 4096 bytes"},
		{"long line that ends", one + "A: " + strings.Repeat("b", 5000) + "\r\n\r\n", "exceeded 4096 bytes"},
		{"long line after others", one + strings.Repeat("A: b\r\n", 600) + "A: " + strings.Repeat("b", 600), "exceeded 4096 bytes"},
		{"a byte too many", one + "A: " + strings.Repeat("b", 1<<12-23) + "\r\n\r\n", "exceeded 4096 bytes"},
		{"many 1xx", strings.Repeat("HTTP/1.1 103 \r\n\r\n", 1000), "exceeded 4096 bytes"},

		{"empty chunk line", chunks + "\r\n", "invalid size"},
		{"no chunk size", chunks + ";a\r\n", "invalid size"},
		{"chunk size with a sign", chunks + "+1\r\na\r\n", "invalid size"},
		{"chunk size with a prefix", chunks + "0x1\r\na\r\n", "invalid size"},
		{"chunk size with an underscore", chunks + "1_0\r\na\r\n", "invalid size"},
		{"chunk size after a space", chunks + " 1\r\na\r\n", "invalid size"},
		{"chunk size before a space", chunks + "1 \r\na\r\n", "invalid size"},
		{"chunk size before junk", chunks + "1g\r\na\r\n", "invalid size"},
		{"control character in an extension", chunks + "1;\x00\r\na\r\n", "invalid size"},
		{"bare CR in an extension", chunks + "1;\ra\r\na\r\n", "invalid size"},
		{"bare LF after a chunk size", chunks + "1\na\r\n", "without CR LF"},
		{"bare LF in an extension", chunks + "1;a\nb\r\na\r\n", "without CR LF"},
		{"bare LF after a chunk", chunks + "1\r\na\n0\r\n\r\n", "without CR LF"},
		{"chunk longer than it said", chunks + "1\r\nab\r\n0\r\n\r\n", "no CR LF after the data"},
		{"chunk longer than it said, for ever", chunks + "1\r\nab", "no CR LF after the data"},
		{"chunk size that does not fit", chunks + "8000000000000000\r\na", "too large"},
		{"chunk size of many zeros", chunks + "00000000000000001\r\na", "too large"},
		{"chunk size beyond 64 bits", chunks + "10000000000000001\r\na", "too large"},
		{"long chunk line", chunks + "1;" + strings.Repeat("a", maxChunkLine-2) + "\r\na\r\n", "too long"},
		{"endless chunk line", chunks + strings.Repeat("0", 2000), "too long"},
		{"more extensions than data", chunks + strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 30), "more lines than data"},
		{"bare LF after the last chunk", chunks + "0\n\r\n", "without CR LF"},
		{"bare LF at the end of the trailer", chunks + "0\r\n\n", "without CR LF"},
		{"folded trailer", chunks + "0\r\nA: b\r\n c\r\n\r\n", "folded"},
		{"length in the trailer", chunks + "0\r\nContent-Length: 1\r\n\r\n", "after the body"},
		{"encoding in the trailer", chunks + "0\r\nTransfer-Encoding: chunked\r\n\r\n", "after the body"},
		{"long trailer", chunks + "0\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n", "exceeded 4096 bytes"},
	} {
		for _, step := range steps {
			t.Run(fmt.Sprintf("%s/step=%d", c.name, step), func(t *testing.T) {
				conn := begin(c.in, step)
				r, err := conn.ReadResponse("GET")
				for err == nil && r.Status < 200 {
					r, err = conn.ReadResponse("GET")
				}
				if err == nil {
					_, err = readAll(conn, 100)
				}
				require.Error(t, err)
				require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
				require.ErrorContains(t, err, strings.ReplaceAll(c.text, "\n", ""))
				_, again := conn.ReadBody(make([]byte, 1))
				require.Error(t, again)
				require.NotEqual(t, io.EOF, again)
				require.False(t, conn.End())
			})
		}
	}
}

// A response that ends at any byte is no response, unless it has an end that nobody
// can miss.
func TestTruncatedResponses(t *testing.T) {
	for name, in := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"1xx":     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
	} {
		for end := range len(in) + 1 {
			conn := begin(in[:end], 5)
			r, err := conn.ReadResponse("GET")
			if err == nil && r.Status < 200 {
				_, err = conn.ReadResponse("GET")
			}
			if err == nil {
				_, err = readAll(conn, 2)
			}
			switch end {
			case 0:
				require.Equal(t, io.EOF, err)
			case len(in):
				require.NoError(t, err, name)
			default:
				require.Equal(t, io.ErrUnexpectedEOF, err, "%s: %q", name, in[:end])
			}
			require.Equal(t, end > 0, conn.Received())
			require.Equal(t, end == len(in), conn.End())
		}
	}
}

func TestHeader(t *testing.T) {
	conn := begin("HTTP/1.1 200 All right\r\nx-a:\t 1\t \r\nSET-cookie: a\r\nset-Cookie: b\r\nX-A: 2\r\nx_b: \r\nContent-Length: 0\r\n\r\n", 9)
	r, err := conn.ReadResponse("GET")
	require.NoError(t, err)
	require.Equal(t, "All right", string(r.Reason()))
	require.Equal(t, 6, r.Len())
	for name, value := range r.Fields() {
		_, _ = append(name, "xxxx"...), append(value, "xxxx"...) // they write over nothing that follows
	}
	var fields []string
	for name, value := range r.Fields() {
		fields = append(fields, string(name)+"="+string(value))
	}
	require.Equal(t, []string{"x-a=1", "SET-cookie=a", "set-Cookie=b", "X-A=2", "x_b=", "Content-Length=0"}, fields)
	h := r.Header()
	require.Equal(t, http.Header{"X-A": {"1", "2"}, "Set-Cookie": {"a", "b"}, "X_b": {""}, "Content-Length": {"0"}}, h)
	h.Add("X_b", "c") // writes over no other's value
	require.True(t, conn.End())
	require.Equal(t, []string{"0"}, h["Content-Length"], "it outlives the buffer")
}

func TestTrailer(t *testing.T) {
	conn := begin("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\nX-Sum: 2\r\n\r\n", 3)
	_, err := conn.ReadResponse("GET")
	require.NoError(t, err)
	require.Nil(t, conn.Trailer(), "not yet")
	_, err = readAll(conn, 10)
	require.NoError(t, err)
	require.Equal(t, http.Header{"X-Sum": {"1", "2"}}, conn.Trailer().Header())
	require.True(t, conn.End())
	require.Nil(t, conn.Trailer())
}

// Bytes that came are returned without waiting for more.
func TestChunksAreNotHeldBack(t *testing.T) {
	for _, end := range []struct{ begun, rest string }{{"0", "\r\n\r\n"}, {"0\r\n\r", "\n"}, {"0\r\nX: y\r\n", "\r\n"}} {
		ours, theirs := pair(t)
		conn := NewConn(ours)
		conn.Begin(10*time.Second, 1<<12)
		for _, part := range []struct{ sent, got string }{
			{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na", "a"},
			{"\r\n2\r\nbc\r\n", "bc"},
			{"3\r\nd", "d"},
			{"ef\r\n" + end.begun, "ef"},
		} {
			_, err := theirs.Write([]byte(part.sent))
			require.NoError(t, err)
			if part.got == "a" {
				_, err := conn.ReadResponse("GET")
				require.NoError(t, err)
			}
			var got string
			for len(got) < len(part.got) {
				p := make([]byte, 10)
				n, err := conn.ReadBody(p)
				require.NoError(t, err)
				got += string(p[:n])
			}
			require.Equal(t, part.got, got)
		}
		_, err := theirs.Write([]byte(end.rest))
		require.NoError(t, err)
		_, err = conn.ReadBody(make([]byte, 10))
		require.Equal(t, io.EOF, err)
		require.True(t, conn.End())
	}
}

// The rest of a body can be passed over when it is there.
func TestSkip(t *testing.T) {
	for in, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc":                             true,
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc":                             false,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                true,
		"HTTP/1.1 200 OK\r\n\r\nabc":                                                  false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n":    false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\nabcde": true,
	} {
		conn := begin(in, 1<<20)
		_, err := conn.ReadResponse("GET")
		require.NoError(t, err)
		require.Equal(t, want, conn.Skip(), in)
		require.Equal(t, want && !strings.Contains(in, "abcH"), conn.End(), in)
	}
}

// Every name that may be is spelled as net/http spells it.
func TestCanonical(t *testing.T) {
	for c := range 256 {
		if !tokens[c] {
			continue
		}
		for _, format := range []string{"%c", "a%c", "-%c", "%ca", "A-%c%[1]c-x"} {
			name := fmt.Sprintf(format, c)
			got := []byte(name)
			canonical(got)
			require.Equal(t, http.CanonicalHeaderKey(name), string(got), name)
		}
	}
}

// All chunks that are there are returned together, as far as there is room.
func TestChunksTogether(t *testing.T) {
	for size, want := range map[int]string{100: "abcdef", 6: "abcdef", 5: "abcde", 3: "abc"} {
		conn := begin("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n4\r\ng", 1<<20)
		_, err := conn.ReadResponse("GET")
		require.NoError(t, err)
		p := make([]byte, size)
		n, err := conn.ReadBody(p)
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSuffix(string(p[:n]), "g"))
	}
}

// A connection whose end comes together with the last bytes cannot be used again.
func TestEndWithTheLastBytes(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
	for _, step := range []int{len(head), 1 << 20} {
		conn := NewConn(&ending{script{in: head + "abc", step: step}})
		conn.Begin(time.Minute, 1<<12)
		_, err := conn.ReadResponse("GET")
		require.NoError(t, err)
		body, err := readAll(conn, 10)
		require.NoError(t, err)
		require.Equal(t, "abc", body)
		require.Equal(t, step > len(head), conn.End()) // what came with the head is found by Alive
	}
}

// An ending is a script that ends with its last bytes.
type ending struct{ script }

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.script.Read(p)
	if e.in == "" {
		err = io.EOF
	}
	return n, err
}
