//go:build !race

package http1

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With the race detector, a sync.Pool forgets on purpose.

// A small exchange allocates nothing.
func TestExchangeAllocs(t *testing.T) {
	const in = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello"
	s := &script{step: 1 << 20}
	s.written.Grow(1 << 20)
	conn := NewConn(s)
	idle := &Idle{Size: 1, Timeout: time.Hour, Requests: 1 << 30}
	head := []byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	p := make([]byte, 10)
	idle.Put("a.test", conn)
	var failed error
	allocs := testing.AllocsPerRun(1000, func() {
		s.in = in
		c := idle.Get("a.test")
		c.Begin(time.Minute, 1<<16)
		_, err1 := c.Write(head)
		c.Await(time.Minute)
		r, err2 := c.ReadResponse("GET")
		for name, value := range r.Fields() {
			p = append(append(p[:0], name...), value...)
		}
		_, err3 := c.ReadBody(p[:cap(p)])
		if err3 == io.EOF {
			err3 = nil
		}
		if !c.End() {
			err3 = errors.New("not reusable")
		}
		idle.Put("a.test", c)
		failed = errors.Join(failed, err1, err2, err3)
	})
	require.NoError(t, failed)
	require.Zero(t, allocs)
}
