package ssl_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Clients that send what net/http's would not: any Host, any path.

// An answer to a raw request.
type answer struct {
	status int // or, negative, the code of the error with which a stream was reset
	body   string

	// closing says that the server ends the connection after it: "Connection:
	// close" on HTTP/1.1, GOAWAY on HTTP/2.
	closing bool
}

// A rawClient sends one request after the other over one connection. Of the
// target, HTTP/2 sends the path alone.
type rawClient interface {
	get(t testing.TB, host, target string) answer
}

// h1Client speaks HTTP/1.1.
type h1Client struct {
	conn io.Writer
	r    *bufio.Reader
}

func newH1Client(conn net.Conn) *h1Client { return &h1Client{conn, bufio.NewReader(conn)} }

func (c *h1Client) get(t testing.TB, host, target string) answer {
	t.Helper()
	return c.send(t, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host))
}

func (c *h1Client) send(t testing.TB, request string) answer {
	t.Helper()
	_, err := io.WriteString(c.conn, request)
	require.NoError(t, err)
	res, err := http.ReadResponse(c.r, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	if res.Close {
		// It says so, and does it.
		_, err = c.r.ReadByte()
		require.Equal(t, io.EOF, err)
	}
	return answer{res.StatusCode, string(body), res.Close}
}

// h2Client speaks as much HTTP/2 (RFC 9113) as a request without a body takes.
type h2Client struct {
	conn    net.Conn
	r       *bufio.Reader
	stream  uint32 // the next
	answers map[uint32]*answer
	ended   map[uint32]bool
	goAway  bool
}

const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	framePing     = 6
	frameGoAway   = 7
	flagAck       = 1
	flagEndStream = 1
	flagEndHeader = 4
	protocolError = 1
)

func newH2Client(t testing.TB, conn net.Conn) *h2Client {
	t.Helper()
	c := &h2Client{conn: conn, r: bufio.NewReader(conn), stream: 1, answers: map[uint32]*answer{}, ended: map[uint32]bool{}}
	_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	require.NoError(t, err)
	c.writeFrame(t, frameSettings, 0, 0, []byte{0, 1, 0, 0, 0, 0}) // no header table
	return c
}

func (c *h2Client) writeFrame(t testing.TB, kind, flags byte, stream uint32, payload []byte) {
	t.Helper()
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	_, err := c.conn.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
	require.NoError(t, err)
}

func (c *h2Client) readFrame(t testing.TB) (kind, flags byte, stream uint32, payload []byte) {
	t.Helper()
	head := make([]byte, 9)
	_, err := io.ReadFull(c.r, head)
	require.NoError(t, err)
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(c.r, payload)
	require.NoError(t, err)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload
}

func (c *h2Client) get(t testing.TB, host, target string) answer {
	t.Helper()
	headers := [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", target}}
	if host != "" {
		headers = append(headers, [2]string{":authority", host})
	}
	return c.read(t, c.open(t, headers...))
}

// open sends the header of a request and returns its stream.
func (c *h2Client) open(t testing.TB, headers ...[2]string) uint32 {
	t.Helper()
	var block []byte
	text := func(s string) {
		// A length over 126 goes on in further bytes (RFC 7541, section 5.1).
		if n := len(s); n < 127 {
			block = append(block, byte(n))
		} else {
			block = append(block, 127)
			for n -= 127; n >= 128; n /= 128 {
				block = append(block, byte(n%128)|128)
			}
			block = append(block, byte(n))
		}
		block = append(block, s...)
	}
	for _, h := range headers {
		block = append(block, 0) // literal, not to be remembered, new name
		text(h[0])
		text(h[1])
	}
	stream := c.stream
	c.stream += 2
	c.answers[stream] = &answer{}
	c.writeFrame(t, frameHeaders, flagEndHeader|flagEndStream, stream, block)
	return stream
}

// read reads until a stream has ended, and whatever comes on the others before.
func (c *h2Client) read(t testing.TB, stream uint32) answer {
	t.Helper()
	for !c.ended[stream] {
		c.next(t)
	}
	// A GOAWAY may come right behind: the answer to a ping says that none did.
	if !c.goAway {
		c.writeFrame(t, framePing, 0, 0, make([]byte, 8))
		for !c.goAway && !c.next(t) {
		}
	}
	a := *c.answers[stream]
	a.closing = c.goAway
	return a
}

// next handles one frame. It reports whether that was the answer to a ping.
func (c *h2Client) next(t testing.TB) (pong bool) {
	t.Helper()
	kind, flags, stream, payload := c.readFrame(t)
	a := c.answers[stream]
	switch kind {
	case frameSettings:
		if flags&flagAck == 0 {
			c.writeFrame(t, frameSettings, flagAck, 0, nil)
		}
	case framePing:
		return flags&flagAck != 0
	case frameGoAway:
		c.goAway = true
	case frameHeaders:
		if a.status == 0 {
			a.status = statusOf(t, payload)
		}
		c.ended[stream] = flags&flagEndStream != 0
	case frameData:
		a.body += string(payload)
		c.ended[stream] = flags&flagEndStream != 0
	case frameReset:
		a.status = -int(binary.BigEndian.Uint32(payload))
		c.ended[stream] = true
	}
	return false
}

// statusOf reads :status, which is the first field of a header block (RFC 7541,
// appendices A and B).
func statusOf(t testing.TB, block []byte) int {
	t.Helper()
	for block[0]&0xe0 == 0x20 {
		block = block[1:] // the size of the table
	}
	if indexed := map[byte]int{0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500}[block[0]]; indexed != 0 {
		return indexed
	}
	// A literal, with any of the seven names :status of the table.
	require.True(t, block[0]&0x0f >= 8 && block[0]&0x0f <= 14, "not :status: % x", block)
	n, value := block[1]&0x7f, block[2:]
	if block[1]&0x80 == 0 {
		status, err := strconv.Atoi(string(value[:n]))
		require.NoError(t, err)
		return status
	}
	var bits strings.Builder
	for _, b := range value[:n] {
		fmt.Fprintf(&bits, "%08b", b)
	}
	status := 0
	for rest := bits.String(); len(rest) >= 5 && rest[0] == '0'; {
		if code, _ := strconv.ParseUint(rest[:5], 2, 8); code <= 2 {
			status, rest = status*10+int(code), rest[5:]
			continue
		}
		code, err := strconv.ParseUint(rest[:6], 2, 8)
		require.NoError(t, err)
		status, rest = status*10+int(code-0b011001)+3, rest[6:]
	}
	return status
}
