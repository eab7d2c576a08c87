package http1

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A record is ready when all of it was read ahead, and it is sure to hold data.
func TestRecordReady(t *testing.T) {
	record := func(size int) []byte {
		return append([]byte{23, 3, 3, byte(size >> 8), byte(size)}, make([]byte, size)...)
	}
	keyUpdate := record(5 + 1 + 16) // RFC 8446, sections 4.6.3 and 5.2
	for name, c := range map[string]struct {
		begun []byte // of a record, that was taken
		there []byte
		want  bool
	}{
		"nothing":                 {nil, nil, false},
		"all":                     {nil, record(300), true},
		"all and more":            {nil, append(record(300), 1), true},
		"not all":                 {nil, record(300)[:304], false},
		"not all of its header":   {nil, record(300)[:4], false},
		"the rest":                {record(300)[:50], record(300)[50:], true},
		"not all of the rest":     {record(300)[:50], record(300)[50:300], false},
		"after half of a header":  {record(300)[:3], record(300)[3:], false},
		"a KeyUpdate":             {nil, append(keyUpdate, record(300)...), false},
		"the rest of a KeyUpdate": {keyUpdate[:5], append(keyUpdate[5:], record(300)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			conn := new(Conn)
			s := &conn.socket
			s.count(c.begun)
			s.ahead.buf = new([aheadSize]byte)
			s.ahead.w = copy(s.ahead.buf[:], c.there)
			require.Equal(t, c.want, conn.RecordReady())
		})
	}
}

// counting counts the reads of a connection.
type counting struct {
	script
	reads int
}

func (c *counting) Read(p []byte) (int, error) {
	c.reads++
	return c.script.Read(p)
}

// However much of the buffer a head takes that is kept, what follows it is not read in small
// pieces.
func TestBodyAfterAnyHead(t *testing.T) {
	const most, chunks = 32 << 10, 10_000
	body := strings.Repeat("1\r\na\r\n", chunks) + "0\r\n\r\n"
	for _, size := range []int{200, 4080, 4088, 4090, 4093, 4095, 4096, 8189, 8191, 16381, 16383} {
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: "
		head += strings.Repeat("x", size-len(head)-4) + "\r\n\r\n"
		conn := &counting{script: script{in: head, step: 1 << 20}}
		c := Server(conn, time.Minute)
		require.NoError(t, c.Wait(time.Minute))
		_, err := c.ReadRequest(&RequestLimit{Bytes: most, Fields: 64, Time: time.Minute})
		require.NoError(t, err)
		conn.in, conn.reads = body, 0
		p, n := make([]byte, 64<<10), 0
		for err == nil {
			var m int
			m, err = c.ReadBody(p)
			n += m
		}
		require.Equal(t, io.EOF, err)
		require.Equal(t, chunks, n)
		require.Less(t, conn.reads, 100, size)
	}
}
