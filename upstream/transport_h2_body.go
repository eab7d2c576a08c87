package upstream

import (
	"io"
	"net/http"
	"sync"
)

// An h2RequestBody is the body of a request, of which a Read ends when it is
// closed. net/http says that the node has reset the stream, or that the connection
// is gone, only after the Read that goes on has returned, and the client may send
// nothing more, but wait for an answer.
type h2RequestBody struct {
	body   io.ReadCloser
	x      *h2Exchange
	closed chan struct{}
	once   sync.Once
}

type readResult struct {
	buffer *[h2ReadSize]byte
	n      int
	err    error
}

// h2ReadSize is what a frame carries, unless the node asks for more.
const h2ReadSize = 16 << 10

var h2Buffers = sync.Pool{New: func() any { return new([h2ReadSize]byte) }}

func (b *h2RequestBody) Read(p []byte) (int, error) {
	b.x.rest(&b.x.send)
	size := min(len(p), h2ReadSize)
	result := make(chan readResult, 1)
	go func() {
		buffer := h2Buffers.Get().(*[h2ReadSize]byte)
		n, err := b.body.Read(buffer[:size])
		result <- readResult{buffer, n, err}
	}()
	select {
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	case r := <-result:
		n := copy(p, r.buffer[:r.n])
		h2Buffers.Put(r.buffer)
		if n > 0 || r.err == io.EOF {
			b.x.wait(&b.x.send)
		}
		return n, r.err
	}
}

func (b *h2RequestBody) Close() error {
	b.x.rest(&b.x.send)
	b.once.Do(func() { close(b.closed) })
	return b.body.Close()
}

// stop is Close for whoever must not wait for the client.
func (b *h2RequestBody) stop() {
	b.once.Do(func() { close(b.closed) })
	dismiss(b.body)
}
