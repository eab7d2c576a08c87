package gateway

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// serveStream is serveLimited for a stream of a connection with HTTP/2 of net/http's. It keeps a
// client from holding a request for ever: each read of the body and each write of the
// answer has its own deadline.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	d := deadlines{http.NewResponseController(w), s.o.Limits.BodyTimeout}
	defer d.beforeWrite() // for what net/http has still to write
	if r.ContentLength != 0 {
		body := &deadlineBody{body: r.Body, deadlines: d, server: s, remote: r.RemoteAddr, limit: s.o.Limits.BodyBytes}
		// In a copy: by the Body that it made, net/http tells how to end a stream on
		// which a part of it was not read.
		r = r.WithContext(r.Context())
		r.Body = body
		defer body.leave()
	}
	s.serveLimited(&deadlineWriter{w, d}, r)
}

// serveLimited is ServeHTTP for the connections that the Server runs itself.
func (s *Server) serveLimited(w http.ResponseWriter, r *http.Request) {
	s.attend(w, r, (*Server).serveLimitedHTTP)
}

// serveLimitedHTTP is serveLimited of a request that is accounted for.
func (s *Server) serveLimitedHTTP(w http.ResponseWriter, r *http.Request, v *visit) {
	if limit := s.o.Limits.BodyBytes; limit > 0 && r.ContentLength > limit {
		s.limitReached(LimitBodyBytes, addrOf(r.RemoteAddr))
		s.answerFailure(w, r, http.StatusRequestEntityTooLarge, "the request's body is too large")
		return
	}
	s.serveHTTP(w, r, v)
}

// addrOf returns an address of TCP that net/http has written, or nil if it is another.
func addrOf(remote string) net.Addr {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(addr)
}

// deadlines are those of a stream. One that is set ends the stream also while nothing
// is to be read or written, and so is lifted in between.
type deadlines struct {
	stream  *http.ResponseController
	timeout time.Duration
}

// An error of any of these says that the connection is gone, which the read or the
// write will say as well.

func (d *deadlines) beforeWrite() { _ = d.stream.SetWriteDeadline(time.Now().Add(d.timeout)) }
func (d *deadlines) afterWrite()  { _ = d.stream.SetWriteDeadline(time.Time{}) }

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
	return w.stream.Flush()
}

// Flush implements [http.Flusher], which many handlers ask for.
func (w *deadlineWriter) Flush() { _ = w.FlushError() }

// Unwrap is for [http.ResponseController].
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A deadlineBody is a request's body of which each read has a deadline. A read may
// outlive the handler: it is done by the client that sends the body to a node.
type deadlineBody struct {
	body io.ReadCloser
	deadlines
	server *Server
	remote string       // the client's address
	limit  int64        // of its bytes; zero: none
	n      atomic.Int64 // that were read

	patient bool // no read has a deadline; set before the first

	// due is when the read that goes on is late, by the server's clock, and stays
	// when that read has failed. Zero otherwise.
	due atomic.Int64

	// The stream is net/http's again after the handler, which then breaks off a
	// read that goes on, and panics if its deadline is set.
	leaving sync.Mutex // held while the deadline is set
	left    bool       // the handler has returned

	reading sync.Mutex // held while reading
	over    bool       // guarded by reading: there is nothing more to be read
}

func (b *deadlineBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.over {
		return b.body.Read(p)
	}
	if !b.patient {
		b.due.Store(b.server.clock() + int64(b.timeout))
		b.set(time.Now().Add(b.timeout))
	}
	n, err := b.body.Read(p)
	if b.n.Add(int64(n)) > b.limit && b.limit > 0 {
		n, err = 0, &http.MaxBytesError{Limit: b.limit}
	}
	if b.over = err != nil; b.over && err != io.EOF {
		b.server.bodyFailed(err, addrOf(b.remote))
	}
	if err == nil || err == io.EOF {
		b.due.Store(0)
	}
	b.set(time.Time{})
	return n, err
}

// bePatient lets a client be silent for as long as it likes. It is called before the first
// read.
func (b *deadlineBody) bePatient() { b.patient = true }

// late reports whether a read goes on, or has failed, at a time when it is late.
func (b *deadlineBody) late() bool {
	due := b.due.Load()
	return due != 0 && b.server.clock() >= due
}

// set sets the deadline for reading, unless the handler has returned.
func (b *deadlineBody) set(t time.Time) {
	b.leaving.Lock()
	defer b.leaving.Unlock()
	if !b.left {
		_ = b.stream.SetReadDeadline(t)
	}
}

// leave is called after the handler.
func (b *deadlineBody) leave() {
	b.leaving.Lock()
	defer b.leaving.Unlock()
	b.left = true
}

// Close discards what is left, up to a limit of net/http's.
func (b *deadlineBody) Close() error {
	defer b.set(time.Time{})
	return b.body.Close()
}
