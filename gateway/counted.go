package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// A countedBody counts what is read of a request's body, perhaps by another goroutine.
type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// A wrapped is a ResponseWriter in another one, which need not see all that is done to it.
type wrapped struct{ http.ResponseWriter }

// Flush implements [http.Flusher], which many handlers ask for.
func (w wrapped) Flush() { _ = w.FlushError() }

// FlushError is for [http.ResponseController].
func (w wrapped) FlushError() error { return http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for [http.ResponseController].
func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A countedWriter is a ResponseWriter that knows what was answered.
type countedWriter struct {
	wrapped
	status int
	n      int64
	events handlerTunnel
}

func (w *countedWriter) handlerTunnel() *handlerTunnel { return &w.events }

// begins takes note of the head of the answer, if that begins now.
func (w *countedWriter) begins(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.events.answers(w.Header())
}

func (w *countedWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begins(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(p []byte) (int, error) {
	w.begins(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}

// Flush implements [http.Flusher].
func (w *countedWriter) Flush() { _ = w.FlushError() }

// FlushError is for [http.ResponseController]. It begins an answer, as a Write does.
func (w *countedWriter) FlushError() error {
	before := w.status
	w.begins(http.StatusOK)
	err := w.wrapped.FlushError()
	if errors.Is(err, http.ErrNotSupported) {
		w.status = before // nothing began
	}
	return err
}

// Hijack implements [http.Hijacker], which many handlers ask for too.
func (w *countedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// ReadFrom implements [io.ReaderFrom], by which net/http sends files.
func (w *countedWriter) ReadFrom(r io.Reader) (int64, error) {
	from, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(writerAlone{w}, r)
	}
	w.begins(http.StatusOK)
	n, err := from.ReadFrom(r)
	w.n += n
	return n, err
}

// A writerAlone has no ReadFrom, to which io.Copy would come back.
type writerAlone struct{ io.Writer }

// Push implements [http.Pusher].
func (w *countedWriter) Push(target string, o *http.PushOptions) error {
	if pusher, ok := w.ResponseWriter.(http.Pusher); ok {
		return pusher.Push(target, o)
	}
	return http.ErrNotSupported
}
