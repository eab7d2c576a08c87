package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// serveConn is ServeHTTP for the connections that the Server runs itself. It keeps
// a client from holding a request for ever: each read of the body and each write
// of the answer has its own deadline.
func (s *Server) serveConn(w http.ResponseWriter, r *http.Request) {
	d := deadlines{http.NewResponseController(w), s.o.Limits.BodyTimeout, r.ProtoMajor > 1}
	var body *deadlineBody
	if r.ContentLength != 0 {
		body = &deadlineBody{body: r.Body, deadlines: d, reading: make(chan struct{}, 1)}
		// In a copy: by the Body that it made, net/http tells how to end a
		// connection on which a part of it was not read.
		r = r.WithContext(r.Context())
		r.Body = body
	}
	if d.stream {
		defer d.beforeWrite() // for what net/http has still to write
		if body != nil {
			defer body.leave()
		}
		s.ServeHTTP(&deadlineWriter{w, d}, r)
		return
	}
	if body != nil {
		d.beforeRead() // for what net/http discards before it answers
	}
	out := &http1Writer{deadlineWriter: deadlineWriter{w, d}}
	defer func() {
		switch {
		case out.hijacked:
		case body != nil:
			body.finish()
		default:
			d.beforeWrite()
		}
	}()
	s.ServeHTTP(out, r)
}

// deadlines are those of a connection with HTTP/1.1, or of a stream of one with
// HTTP/2. On a connection they stay, because nothing else is done to it. The one
// of a stream ends it also while nothing is to be read or written, and so is
// lifted in between.
type deadlines struct {
	connection *http.ResponseController
	timeout    time.Duration
	stream     bool
}

// An error of any of these says that the connection is gone, which the read or the
// write will say as well.

func (d *deadlines) beforeRead() {
	_ = d.connection.SetReadDeadline(time.Now().Add(d.timeout))
	d.beforeWrite() // the first read sends 100 (Continue)
}

func (d *deadlines) beforeWrite() {
	_ = d.connection.SetWriteDeadline(time.Now().Add(d.timeout))
}

func (d *deadlines) afterWrite() {
	if d.stream {
		_ = d.connection.SetWriteDeadline(time.Time{})
	}
}

// A deadlineWriter is a ResponseWriter whose writes have a deadline.
type deadlineWriter struct {
	http.ResponseWriter
	deadlines
}

func (w *deadlineWriter) Write(b []byte) (int, error) {
	w.beforeWrite()
	defer w.afterWrite()
	return w.ResponseWriter.Write(b)
}

func (w *deadlineWriter) WriteHeader(status int) {
	w.beforeWrite()
	defer w.afterWrite()
	w.ResponseWriter.WriteHeader(status)
}

// FlushError is for [http.ResponseController].
func (w *deadlineWriter) FlushError() error {
	w.beforeWrite()
	defer w.afterWrite()
	return w.connection.Flush()
}

// Flush implements [http.Flusher], which many handlers ask for.
func (w *deadlineWriter) Flush() { _ = w.FlushError() }

// Unwrap is for [http.ResponseController].
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// An http1Writer can be taken over, as that of net/http for HTTP/1.1 can.
type http1Writer struct {
	deadlineWriter
	hijacked bool
}

// Hijack implements [http.Hijacker]. net/http lifts the deadlines.
func (w *http1Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.connection.Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, rw, err
}

// A deadlineBody is a request's body of which each read has a deadline. A read may
// outlive the handler: it is done by the client that sends the body to a node.
type deadlineBody struct {
	body io.ReadCloser
	deadlines

	patient  bool        // no read has a deadline; set before the first
	finished atomic.Bool // no read may begin

	// due is when the read that goes on is late, in nanoseconds since 1970, and stays
	// when that read has failed. Zero otherwise.
	due atomic.Int64

	// The stream is net/http's again after the handler, which then breaks off a
	// read that goes on, and panics if its deadline is set.
	leaving sync.Mutex // held while the deadline of a stream is set
	left    bool       // the handler has returned

	// reading is full while a read goes on. Whoever has filled it owns the rest.
	reading chan struct{}
	over    bool // there is nothing more to be read
	ended   bool // because all of it was
}

func (b *deadlineBody) Read(p []byte) (int, error) {
	b.reading <- struct{}{}
	defer func() { <-b.reading }()
	if b.over {
		return b.body.Read(p)
	}
	if !b.patient {
		b.due.Store(time.Now().Add(b.timeout).UnixNano())
	}
	switch {
	case b.patient:
	case b.stream:
		b.setStream(time.Now().Add(b.timeout))
	default:
		b.beforeRead()
	}
	if b.finished.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	b.over, b.ended = err != nil, err == io.EOF
	if err == nil || b.ended {
		b.due.Store(0)
	}
	switch {
	case b.stream:
		b.setStream(time.Time{})
	case b.ended:
		// After the end, net/http reads ahead to learn of a client that goes
		// away, and would take the deadline for that.
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}

// late reports whether a read goes on, or has failed, at a time when it is late.
func (b *deadlineBody) late() bool {
	due := b.due.Load()
	return due != 0 && time.Now().UnixNano() >= due
}

// setStream sets the deadline of a stream for reading, unless the handler has
// returned.
func (b *deadlineBody) setStream(t time.Time) {
	b.leaving.Lock()
	defer b.leaving.Unlock()
	if !b.left {
		_ = b.connection.SetReadDeadline(t)
	}
}

// leave is called after the handler on HTTP/2.
func (b *deadlineBody) leave() {
	b.leaving.Lock()
	defer b.leaving.Unlock()
	b.left = true
}

// Close discards what is left, up to a limit of net/http's.
func (b *deadlineBody) Close() error {
	if b.stream {
		defer b.setStream(time.Time{})
	} else {
		defer func() { _ = b.connection.SetReadDeadline(time.Time{}) }()
	}
	return b.body.Close()
}

// lastRead is how long a read that goes on after the handler has to end. It must
// not be broken off at once: of a client that is just sending, net/http can then
// read no further, and closing the connection would destroy the answer on its way.
const lastRead = time.Second

// finish is called after the handler on HTTP/1.1, when net/http discards what is left
// of the body and writes what is left of the answer, in either order. It leaves
// net/http no read that goes on: it would break that off, and lift the deadline.
func (b *deadlineBody) finish() {
	b.finished.Store(true)
	select {
	case b.reading <- struct{}{}:
	default:
		_ = b.connection.SetReadDeadline(time.Now().Add(lastRead))
		b.reading <- struct{}{}
		switch {
		case b.ended:
			_ = b.connection.SetReadDeadline(time.Time{})
		case b.over: // it may have been late before lastRead was set, and net/http is not to wait
			_ = b.connection.SetReadDeadline(time.Now())
		}
	}
	defer func() { <-b.reading }()
	if b.over {
		b.beforeWrite()
		return
	}
	b.beforeRead()
	_ = b.connection.SetWriteDeadline(time.Now().Add(2 * b.timeout)) // after the reading
}
