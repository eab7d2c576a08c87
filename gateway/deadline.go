package gateway

import (
	"io"
	"net/http"
	"time"
)

// serveConn is ServeHTTP for the connections that the Server runs itself. On
// HTTP/1.1 it keeps a client from holding a request for ever: each read of the
// body and each write of the answer has its own deadline. On HTTP/2 a deadline
// of a stream would end it also while nothing is to be read or written; there,
// http.HTTP2Config.WriteByteTimeout and the bound on streams do this.
func (s *Server) serveConn(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		d := deadlines{http.NewResponseController(w), s.o.Limits.BodyTimeout}
		d.beforeWrite() // for what net/http writes: 100 (Continue), an answer without body
		w = &deadlineWriter{ResponseWriter: w, deadlines: d}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &deadlineBody{r.Body, d}
		}
	}
	s.ServeHTTP(w, r)
}

type deadlines struct {
	connection *http.ResponseController
	timeout    time.Duration
}

// An error of either says that the connection is gone, which the read or the
// write will say as well.
func (d deadlines) beforeRead()  { _ = d.connection.SetReadDeadline(time.Now().Add(d.timeout)) }
func (d deadlines) beforeWrite() { _ = d.connection.SetWriteDeadline(time.Now().Add(d.timeout)) }

type deadlineWriter struct {
	http.ResponseWriter
	deadlines
}

func (w *deadlineWriter) Write(b []byte) (int, error) {
	w.beforeWrite()
	return w.ResponseWriter.Write(b)
}

func (w *deadlineWriter) WriteHeader(status int) {
	w.beforeWrite()
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController]. A connection that is taken over loses
// its deadlines: net/http clears them.
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type deadlineBody struct {
	io.ReadCloser
	deadlines
}

func (b *deadlineBody) Read(p []byte) (int, error) {
	b.beforeRead()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.done()
	}
	return n, err
}

func (b *deadlineBody) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

// done lifts the deadline. From the end of the body on, net/http reads ahead to
// learn of a client that goes away, and would take the deadline for that.
func (b *deadlineBody) done() { _ = b.connection.SetReadDeadline(time.Time{}) }
