package gateway_test

import (
	"encoding/binary"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
)

// A flood is what a client with HTTP/2 can send that costs it little. write reports
// whether the connection takes more.
type flood struct {
	name string
	send func(c *h2Conn, write func(kind, flags byte, stream uint32, payload []byte) bool)
	ends bool // the gateway ends the connection
}

// floodFrames is when a flood ends that is taken.
const floodFrames = 60_000

const oneMiB = 1 << 20

var floods = []flood{
	{"CONTINUATION", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2023-45288: a head without end.
		block := literal("x", strings.Repeat("y", 1000))
		write(h2Headers, 0, 1, block)
		for write(h2Continuation, 0, 1, block) {
		}
	}, true},
	{"CONTINUATION, empty", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		write(h2Headers, 0, 1, nil)
		for write(h2Continuation, 0, 1, nil) {
		}
	}, false},
	{"a bomb of indexed fields", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2016-6581: a long field is put into the table once, and named often.
		block := append([]byte{0x40}, literal("x", strings.Repeat("y", 3900))[1:]...)
		for range 10_000 {
			block = append(block, 0x80|62)
		}
		for i := range uint32(300) { // what the pipe between the two holds counts as well
			if !write(h2Headers, h2EndStream|h2EndHeaders, 1+2*i, block[:min(len(block), 16<<10)]) {
				return
			}
		}
	}, true},
	{"SETTINGS", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2019-9515: each wants an answer, and nobody reads them.
		for write(h2Settings, 0, 0, nil) {
		}
	}, false}, // one answer is kept
	{"PING", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2019-9512.
		for write(h2Ping, 0, 0, make([]byte, 8)) {
		}
	}, true},
	{"resets that are answered", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2019-9514: each stream is malformed, and its RST_STREAM not read.
		for i := uint32(0); write(h2Headers, h2EndStream|h2EndHeaders, 1+2*i, literal("X", "upper case")); i++ {
		}
	}, true},
	{"rapid reset", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2023-44487.
		block := append(append(append(literal(":method", "GET"), literal(":scheme", "https")...), literal(":authority", "a.test")...), literal(":path", "/local")...)
		for i := uint32(0); ; i++ {
			if !write(h2Headers, h2EndStream|h2EndHeaders, 1+2*i, block) || !write(h2Reset, 0, 1+2*i, []byte{0, 0, 0, 8}) {
				return
			}
		}
	}, true},
	{"empty DATA", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2019-9518.
		block := append(append(append(literal(":method", "POST"), literal(":scheme", "https")...), literal(":authority", "a.test")...), literal(":path", "/local")...)
		write(h2Headers, h2EndHeaders, 1, block)
		for write(h2Data, 0, 1, nil) {
		}
	}, false},
	{"PRIORITY", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		// CVE-2019-9513.
		for i := range uint32(50_000) {
			if !write(h2Priority, 0, 3+2*(i%1000), append(binary.BigEndian.AppendUint32(nil, 1+2*((i+1)%1000)), 7)) {
				return
			}
		}
	}, false},
	{"unknown frames", func(c *h2Conn, write func(byte, byte, uint32, []byte) bool) {
		for write(0xfa, 0, 1, []byte("x")) {
		}
	}, false},
}

// literal is a field without indexing.
func literal(name, value string) []byte {
	b := append(appendInt([]byte{0}, len(name)), name...)
	return append(appendInt(b, len(value)), value...)
}

// No flood takes memory or goroutines without bound, and others go on meanwhile.
func TestFloods(t *testing.T) {
	for _, f := range floods {
		for _, secure := range []bool{true, false} {
			name := f.name + map[bool]string{true: ", TLS", false: ", plain"}[secure]
			t.Run(name, func(t *testing.T) {
				var release chan struct{}
				stubborn := func(http.ResponseWriter, *http.Request) { <-release }
				inBubbleOf(t, gateway.Options{H2C: true}, stubborn, func(b *bubble) {
					release = make(chan struct{})
					defer close(release)
					conn, scheme := b.h2c, "http"
					if secure {
						conn, scheme = b.h2, "https"
					}
					other := conn()
					other.get(1, scheme, "a.test", "/")
					status, _ := other.status(1)
					require.Equal(t, "200", status)
					memory, goroutines := use()

					bad := conn()
					if !f.ends && f.name != "SETTINGS" {
						go func() { _, _ = io.Copy(io.Discard, bad.r) }()
					}
					frames := 0
					f.send(bad, func(kind, flags byte, stream uint32, payload []byte) bool {
						head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
						_, err := bad.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
						frames++
						return err == nil && frames < floodFrames
					})
					synctest.Wait()
					m, g := use()
					require.Less(t, m, memory+8*oneMiB)
					require.LessOrEqual(t, g, goroutines+10+testLimits.Streams)
					other.get(3, scheme, "a.test", "/")
					status, _ = other.status(3)
					require.Equal(t, "200", status, "another connection goes on")
					fresh := b.raw(secure)
					fresh.write(toOrigin)
					res, _ := fresh.answer("GET")
					require.Equal(t, 200, res.StatusCode)
					if f.ends {
						status, _ = bad.status(1<<31 - 1)
						require.Equal(t, "closed", status)
					}
				})
			})
		}
	}
}

// use returns the bytes and the goroutines that are in use.
func use() (memory uint64, goroutines int) {
	runtime.GC()
	runtime.GC() // what lies in pools goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}
