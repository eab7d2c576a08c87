package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/internal/http1"
)

// A clientStream is the body of a request that is still to be read from its connection.
// It is read by whoever sends it to a node, which may be another goroutine than the
// connection's, and may outlive the answer; the connection's own stops it then.
type clientStream struct {
	client *client
	length int64 // -1 if it is not known
	limit  int64
	n      atomic.Int64 // bytes that were read

	reading sync.Mutex // held while reading; guards what is not atomic
	stopped atomic.Bool
	err     error // what it ended with
	skipped bool  // some of it was passed over: who reads on would not see that it has a hole

	atEnd func() // is called when all of it came, or nil; set before the first read

	over atomic.Pointer[error] // what it ended with, io.EOF if all of it came

	timing sync.Mutex // guards what follows
	by     time.Time  // when reading ends, if a handler has said so

	answering sync.Mutex // guards what follows
	expect    bool       // the client waits for 100 (Continue)
	answered  bool       // the answer was begun
}

// stream returns the body of a request, which has one.
func (k *client) stream(head *http1.RequestHead) *clientStream {
	return &clientStream{client: k, expect: head.Expect, length: head.ContentLength, limit: k.server.o.Limits.BodyBytes}
}

// Read implements [io.Reader]. The first tells a client that waits for it that it is
// welcome (RFC 9110, section 10.1.1).
func (b *clientStream) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.skipped {
		return 0, http.ErrBodyReadAfterClose // as net/http says
	}
	return b.read(p)
}

// read is Read. b.reading is held.
func (b *clientStream) read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if err := b.welcome(); err != nil {
		return 0, b.end(err)
	}
	conn := b.client.conn
	b.await()
	if b.stopped.Load() { // to be asked after Await, which would undo what stop does
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := conn.ReadBody(p)
	if b.n.Load() == 0 {
		conn.ReadAhead(b.length < 0 || b.length > int64(n)+buffers.Small)
	}
	for err == nil && len(p)-n >= buffers.Small && conn.RecordReady() {
		var m int
		m, err = conn.ReadBody(p[n:])
		n += m
	}
	if b.n.Add(int64(n)) > b.limit && b.limit > 0 {
		return 0, b.end(&http.MaxBytesError{Limit: b.limit})
	}
	if err != nil {
		err = b.end(err)
	}
	return n, err
}

// await gives the client the time that a read may take.
func (b *clientStream) await() {
	b.timing.Lock()
	defer b.timing.Unlock()
	limit := b.client.server.o.Limits.BodyTimeout
	if !b.by.IsZero() {
		limit = min(limit, max(time.Until(b.by), 1))
	}
	b.client.conn.Await(limit)
}

// endBy sets when reading ends, that which goes on included, in addition to the limit of
// each read. Zero is never.
func (b *clientStream) endBy(t time.Time) {
	b.timing.Lock()
	b.by = t
	b.timing.Unlock()
	if b.over.Load() == nil && !b.stopped.Load() {
		b.await()
	}
}

// end takes note of what reading ended with. b.reading is held.
func (b *clientStream) end(err error) error {
	if b.stopped.Load() {
		err = http.ErrBodyReadAfterClose
	} else if err != io.EOF {
		b.client.server.bodyFailed(err, b.client.conn.RemoteAddr())
	}
	b.err = err
	b.client.conn.ReadAhead(false)
	if err == io.EOF && b.atEnd != nil {
		b.atEnd()
	}
	b.over.Store(&err) // from now on the connection may be at its next request
	return err
}

// Close implements [io.Closer]. The connection's own goroutine sees to what is left.
func (b *clientStream) Close() error { return nil }

// welcome sends 100 (Continue) where it is due.
func (b *clientStream) welcome() error {
	b.answering.Lock()
	defer b.answering.Unlock()
	if !b.expect || b.answered {
		return nil
	}
	b.expect = false
	_, err := b.client.conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err
}

// inform writes an informational answer, and not into the middle of another. welcome says
// that it is 100 (Continue).
func (b *clientStream) inform(head []byte, welcome bool) error {
	b.answering.Lock()
	defer b.answering.Unlock()
	if welcome {
		b.expect = false
	}
	return b.client.write(head)
}

// whole reports whether all of the body was read.
func (b *clientStream) whole() bool {
	err := b.over.Load()
	return err != nil && *err == io.EOF
}

// late reports whether the client did not send the body in time.
func (b *clientStream) late() bool {
	err := b.over.Load()
	return err != nil && errors.Is(*err, os.ErrDeadlineExceeded)
}

// stop ends a read that goes on, waits for it, and lets no other begin.
func (b *clientStream) stop() {
	if b.stopped.Swap(true) {
		return
	}
	if !b.reading.TryLock() {
		b.client.conn.Wake()
		b.reading.Lock()
	}
	b.reading.Unlock()
}

// isEarly reports whether an answer that begins now comes before the end of the request.
// Such a one is the last of its connection: what follows on it is the rest of the
// body. A client that was not told to send it may do so nevertheless. From now on it is
// not told any more.
func (b *clientStream) isEarly() bool {
	b.answering.Lock()
	b.answered = true
	b.answering.Unlock()
	return !b.whole()
}

// skip passes over what is there already of a body that nobody reads, so that the
// connection can be used again. It does not wait for more.
func (b *clientStream) skip() {
	if !b.reading.TryLock() {
		return // somebody reads it, as a proxy does whose node answers early
	}
	defer b.reading.Unlock()
	if b.whole() || b.expect {
		return
	}
	var scratch [4 << 10]byte
	for n := 0; n < lingerBytes && b.client.conn.Ready(); {
		m, err := b.read(scratch[:])
		n += m
		b.skipped = n > 0
		if err != nil {
			return
		}
	}
}
