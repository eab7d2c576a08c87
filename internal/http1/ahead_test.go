package http1

import (
	"testing"

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
