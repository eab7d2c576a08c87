package gateway_test

import (
	"net"
	"testing"

	"github.com/sallyport/sallyport/gateway"
)

// The same over HTTP/2: what its frames carry, and HTTP/1.1 cannot, goes no further
// (RFC 9113, sections 8.1.1 and 10.3).
func TestCorpusHTTP2(t *testing.T) {
	cases := corpus(t, "http2")
	runCorpus(t, nil, cases, func(h *harness) []door { return []door{h.http2, h.handler2} })
	runCorpus(t, &gateway.Options{NetHTTP2: true}, cases, func(h *harness) []door { return []door{h.http2} })
}

// sendHTTP2 sends the case on a stream and asks for /probe on another.
func (c *corpusCase) sendHTTP2(f *front) (answers []string) {
	raw := f.open()
	defer raw.Close()
	conn := quietH2(raw)
	for i, step := range c.steps {
		end := i == len(c.steps)-1 && !c.half
		switch {
		case step.kind == '>':
			conn.headers(1, end, step.fields...)
		case end:
			conn.frame(h2Data, h2EndStream, 1, []byte(step.bytes))
		default:
			conn.frame(h2Data, 0, 1, []byte(step.bytes))
		}
	}
	if c.half {
		conn.frame(h2Reset, 0, 1, []byte{0, 0, 0, 8}) // CANCEL
	} else if status, _ := conn.status(1); status != "closed" {
		answers = append(answers, status)
	}
	conn.get(3, "https", "a.test", "/probe")
	if status, _ := conn.status(3); status != "closed" {
		answers = append(answers, status)
	}
	return append(answers, "close")
}

// A quietConn takes what is written to it, whether anybody reads it or not.
type quietConn struct{ net.Conn }

func (c quietConn) Write(p []byte) (int, error) {
	_, _ = c.Conn.Write(p)
	return len(p), nil
}

// quietH2 begins with HTTP/2 on a connection that the other side may end.
func quietH2(conn *rawConn) *h2Conn {
	conn.Conn = quietConn{conn.Conn}
	return newH2(conn)
}
