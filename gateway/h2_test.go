package gateway_test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// An h2Conn is a client that writes what it likes, in HTTP/2 (RFC 9113). Header
// fields go out as literals (RFC 7541, section 6.2.2), and of an answer it reads
// the status and the body alone.
type h2Conn struct {
	*rawConn
	frames map[uint32][]h2Frame // of streams that were not asked for yet
}

type h2Frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

// Types and flags of frames.
const (
	h2Data         = 0x0
	h2Headers      = 0x1
	h2Priority     = 0x2
	h2Reset        = 0x3
	h2Settings     = 0x4
	h2Ping         = 0x6
	h2WindowUpdate = 0x8
	h2Continuation = 0x9

	h2Ack        = 0x1
	h2EndStream  = 0x1
	h2EndHeaders = 0x4
)

// h2 opens a connection through a door.
func (h *harness) h2(d door, serverName string, certs ...tls.Certificate) *h2Conn {
	h.t.Helper()
	return newH2(h.raw(d, serverName, certs...))
}

// newH2 begins with HTTP/2 on a connection.
func newH2(conn *rawConn) *h2Conn {
	conn.t.Helper()
	c := &h2Conn{conn, map[uint32][]h2Frame{}}
	c.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	// No dynamic table: each answer's head can be read by itself.
	c.frame(h2Settings, 0, 0, []byte{0, 1, 0, 0, 0, 0})
	return c
}

func (c *h2Conn) frame(kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	c.write(string(binary.BigEndian.AppendUint32(head, stream)) + string(payload))
}

// headers sends a header block: of a request, or a trailer.
func (c *h2Conn) headers(stream uint32, end bool, fields ...string) {
	c.t.Helper()
	var block []byte
	for i, field := range fields {
		if i%2 == 0 {
			block = append(block, 0) // a literal without indexing
		}
		block = append(appendInt(block, len(field)), field...)
	}
	const most = 16 << 10 // of a frame
	kind, flags := byte(h2Headers), byte(0)
	if end {
		flags = h2EndStream
	}
	for ; len(block) > most; block = block[most:] {
		c.frame(kind, flags, stream, block[:most])
		kind, flags = h2Continuation, 0
	}
	c.frame(kind, flags|h2EndHeaders, stream, block)
}

// appendInt appends the length of a string (RFC 7541, section 5.1, with a prefix
// of 7 bits).
func appendInt(b []byte, n int) []byte {
	if n < 0x7f {
		return append(b, byte(n))
	}
	b = append(b, 0x7f)
	for n -= 0x7f; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// get sends a request without body. extra are further fields.
func (c *h2Conn) get(stream uint32, scheme, authority, path string, extra ...string) {
	c.t.Helper()
	c.headers(stream, true, append([]string{":method", "GET", ":scheme", scheme, ":authority", authority, ":path", path}, extra...)...)
}

// next returns the next frame that is for a stream.
func (c *h2Conn) next(stream uint32) (h2Frame, bool) {
	c.t.Helper()
	for {
		if waiting := c.frames[stream]; len(waiting) > 0 {
			c.frames[stream] = waiting[1:]
			return waiting[0], true
		}
		var head [9]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return h2Frame{}, false
		}
		f := h2Frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:])}
		f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		_, err := io.ReadFull(c.r, f.payload)
		require.NoError(c.t, err)
		if f.kind == h2Ping && f.flags&h2Ack == 0 {
			c.frame(h2Ping, h2Ack, 0, f.payload)
		}
		if f.stream != 0 && f.kind != h2WindowUpdate {
			c.frames[f.stream] = append(c.frames[f.stream], f)
		}
	}
}

// status reads the answer on a stream: its status and body, or "reset" or, for the
// connection, "closed".
func (c *h2Conn) status(stream uint32) (status, body string) {
	c.t.Helper()
	for {
		f, ok := c.next(stream)
		switch {
		case !ok:
			return "closed", body
		case f.kind == h2Reset:
			if status != "" {
				return status, body // upon an early answer
			}
			return "reset", body
		case f.kind == h2Headers && status == "":
			status = statusIn(f.payload)
			if status[0] == '1' {
				status = ""
			}
		case f.kind == h2Data:
			body += string(f.payload)
		}
		if f.flags&h2EndStream != 0 {
			return status, body
		}
	}
}

// statusIn reads the status, which comes first in a header block.
func statusIn(block []byte) string {
	for len(block) > 0 && block[0]&0xe0 == 0x20 {
		block = block[1:] // the size of the dynamic table
	}
	static := map[byte]string{0x88: "200", 0x89: "204", 0x8a: "206", 0x8b: "304", 0x8c: "400", 0x8d: "404", 0x8e: "500"}
	if status, ok := static[block[0]]; ok {
		return status
	}
	for n := 100; n < 600; n++ {
		if status := strconv.Itoa(n); strings.HasPrefix(string(block[1:]), huffman(status)) || strings.HasPrefix(string(block[1:]), "\x03"+status) {
			return status
		}
	}
	return "unreadable"
}

// huffman returns digits as a string with its length (RFC 7541, appendix B).
func huffman(digits string) string {
	var bits strings.Builder
	for _, c := range digits {
		if c <= '2' {
			bits.WriteString([]string{"00000", "00001", "00010"}[c-'0'])
		} else {
			bits.WriteString("0" + strconv.FormatInt(int64(0x19+c-'3'), 2))
		}
	}
	for bits.Len()%8 != 0 {
		bits.WriteByte('1')
	}
	text := bits.String()
	out := []byte{0x80 | byte(len(text)/8)}
	for ; text != ""; text = text[8:] {
		n, _ := strconv.ParseUint(text[:8], 2, 8)
		out = append(out, byte(n))
	}
	return string(out)
}
