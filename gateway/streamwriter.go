package gateway

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/internal/h2"
	"github.com/sallyport/sallyport/internal/http1"
)

// This file makes requests and response writers of net/http of streams, for those that the
// engine does not relay (adapter.go). It does what net/http's server does, where a handler
// can see it.

// overHTTP2 makes a request one that came with HTTP/2.
func (t *turn) overHTTP2(r *http.Request) {
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	if len(t.stream.Hosts) > 0 {
		r.Header["Host"] = t.stream.Hosts
	}
	if t.head.ContentLength != 0 {
		announceTrailer(r)
	}
}

// withStreamBody gives a request a body that can be read.
func (t *turn) withStreamBody(r *http.Request) *http.Request {
	if r != nil && t.head.ContentLength != 0 && t.upload == nil {
		t.upload = t.newStreamBody()
		t.upload.atEnd = func() { t.bodyEnded(r) }
		r.Body = &handlerBody{Reader: t.upload}
	}
	return r
}

// A streamWriter is the [http.ResponseWriter] of a stream.
type streamWriter struct {
	t      *turn
	stream *h2.Stream
	header http.Header
	events handlerTunnel

	over atomic.Bool               // the handler has returned
	by   atomic.Pointer[time.Time] // when writing ends, if the handler has said so

	// mu is held while writing, as that of an answerWriter is.
	mu sync.Mutex // guards what follows

	status  int         // 0 before WriteHeader
	frozen  http.Header // as it was then
	left    int64       // what is still to be written of the length that was announced, or -1
	excess  bool        // more was to be written
	held    *buffers.Buffer
	n       int  // bytes of that
	begun   bool // the head was sent
	ended   bool // and the end
	failed  error
	written int64
	connect bool // the request is an extended CONNECT
}

// streamWriter returns the writer of the answer.
func (t *turn) streamWriter() *streamWriter {
	t.exposed = true
	return &streamWriter{t: t, stream: t.stream, header: http.Header{}, left: -1}
}

func (w *streamWriter) goesOn() {} // it always may

func (w *streamWriter) Header() http.Header { return w.header }

func (w *streamWriter) handlerTunnel() *handlerTunnel { return &w.events }

func (w *streamWriter) isHead() bool { return w.t.head.Method() == http.MethodHead }

// WriteHeader implements [http.ResponseWriter].
func (w *streamWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over.Load() {
		w.writeHeader(status)
	}
}

// writeHeader is WriteHeader. w.mu is held.
func (w *streamWriter) writeHeader(status int) {
	switch {
	case w.status != 0:
		return
	case status < 100 || status > 999:
		panic("gateway: invalid status " + strconv.Itoa(status))
	case status == http.StatusSwitchingProtocols:
		panic("gateway: there is no status 101 with HTTP/2") // RFC 9113, section 8.6
	case status < 200:
		block := h2.NewBlock()
		block.Status(status)
		addHeader(block, w.header, concernsOne)
		w.failed = w.stream.Inform(block)
		block.Release()
		return
	}
	w.status, w.t.own.status = status, status
	w.stream.Lingers = lingers(status)
	w.frozen = w.header.Clone()
	w.events.answers(w.frozen)
	if n, ok := announcedLength(w.frozen); ok && mayHaveBody(status) {
		w.left = n
	}
}

// Write implements [io.Writer].
func (w *streamWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over.Load() {
		return 0, errOver
	}
	w.writeHeader(http.StatusOK)
	switch {
	case len(p) == 0:
		return 0, nil
	case !mayHaveBody(w.status):
		return 0, http.ErrBodyNotAllowed
	case w.left >= 0 && (w.excess || int64(len(p)) > w.left):
		w.excess = true // what follows would hide that it is missing
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if w.left >= 0 {
		w.left -= int64(len(p))
	}
	total := len(p)
	if w.isHead() {
		if p = p[:min(len(p), max(sniffed-w.n, 0))]; w.begun {
			return total, nil
		}
	}
	for len(p) > 0 && w.failed == nil {
		if w.held == nil {
			w.held = buffers.New()
		}
		n := copy(w.held.B[w.n:], p)
		w.n += n
		p = p[n:]
		if w.n == len(w.held.B) {
			w.send(false)
		}
	}
	if w.failed != nil {
		return 0, w.failed
	}
	return total, nil
}

// send sends what is held, and the head before it. last says that nothing more comes. w.mu is
// held.
func (w *streamWriter) send(last bool) {
	if w.failed != nil || w.ended {
		return
	}
	if by := w.by.Load(); by != nil && !by.IsZero() && !time.Now().Before(*by) {
		w.failed = os.ErrDeadlineExceeded
		return
	}
	var head, trailer *h2.Block
	if last {
		if trailer = w.trailer(); trailer != nil {
			defer trailer.Release()
		}
	}
	if !w.begun {
		w.begun = true
		head = w.head(last, trailer != nil)
		defer head.Release()
	}
	body := []byte(nil)
	if w.n > 0 && !w.isHead() {
		body = w.held.B[:w.n]
	}
	w.n = 0
	if head == nil && body == nil && trailer == nil && !last {
		return
	}
	w.ended = last
	w.failed = w.stream.Send(head, body, trailer, last)
}

// head returns the head of the answer. whole says that all of the body is held, and
// trailing that fields follow.
func (w *streamWriter) head(whole, trailing bool) *h2.Block {
	if w.n > 0 {
		p := w.held.B[:w.n]
		_, typed := w.frozen["Content-Type"]
		if !typed && w.frozen.Get("Content-Encoding") == "" {
			w.frozen.Set("Content-Type", http.DetectContentType(p))
		}
	}
	_, announced := w.frozen["Trailer"]
	if whole && w.left < 0 && mayHaveBody(w.status) && !trailing && !announced && w.frozen["Content-Length"] == nil && (!w.isHead() || w.written > 0) {
		w.frozen.Set("Content-Length", strconv.FormatInt(w.written, 10))
	}
	if http1.ClosesAfter(w.frozen["Connection"]) {
		w.stream.Conn().Drain()
	}
	block := h2.NewBlock()
	block.Status(w.status)
	if _, ok := w.frozen["Date"]; !ok {
		block.Add("date", dateNow())
	}
	addHeader(block, w.frozen, func(name string) bool {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
			return true // RFC 9113, section 8.2.2
		case "Content-Length":
			return w.status == http.StatusNoContent
		}
		return false
	})
	return block
}

// addHeader adds fields, without those of which skip, unless it is nil, says so.
func addHeader(block *h2.Block, h http.Header, skip func(name string) bool) {
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) || skip != nil && skip(name) || !http1.ValidName(name) {
			continue
		}
		for _, value := range values {
			block.Add(name, cleanValue(value))
		}
	}
}

// cleanValue is appendValue for those who want a string.
func cleanValue(value string) string {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c == 0x7f {
			// A blank in place of what was there may be the first or the last character now, which
			// it must not be (RFC 9113, section 8.2.1).
			return strings.Trim(string(appendValue(nil, value)), " \t")
		}
	}
	return value
}

// trailer returns the fields after the body, or nil if there are none.
func (w *streamWriter) trailer() *h2.Block {
	fields := trailerOf(w.frozen, w.header)
	if len(fields) == 0 {
		return nil
	}
	block := h2.NewBlock()
	addHeader(block, fields, nil)
	if block.Empty() {
		block.Release()
		return nil
	}
	return block
}

// Flush implements [http.Flusher].
func (w *streamWriter) Flush() { _ = w.FlushError() }

// FlushError is for [http.ResponseController].
func (w *streamWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over.Load() {
		return errOver
	}
	w.writeHeader(http.StatusOK)
	w.send(false)
	return w.failed
}

// SetReadDeadline, SetWriteDeadline and EnableFullDuplex are for
// [http.ResponseController]. The limits of the server are those of each read and each
// write, and stay.

func (w *streamWriter) SetReadDeadline(t time.Time) error {
	if w.over.Load() {
		return errOver
	}
	w.stream.ReadBy(t)
	return nil
}

func (w *streamWriter) SetWriteDeadline(t time.Time) error {
	if w.over.Load() {
		return errOver
	}
	w.by.Store(&t)
	w.stream.WriteBy(t)
	return nil
}

func (w *streamWriter) EnableFullDuplex() error { return nil }

// finish ends the answer after the handler.
func (w *streamWriter) finish() bool {
	if !w.complete() {
		return w.abort()
	}
	return true
}

// complete sends what is left of the answer. It reports false if it is not whole.
func (w *streamWriter) complete() bool {
	w.over.Store(true) // the write that goes on is the last
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.end()
	if w.ended { // by a tunnel
		return true
	}
	w.writeHeader(http.StatusOK)
	if w.left > 0 && !w.isHead() {
		w.send(false)
		return false // the handler has promised more
	}
	w.send(true)
	return w.failed == nil
}

func (w *streamWriter) visit() *visit { return &w.t.own }

// end gives the buffer back. w.mu is held, and the handler may write no more.
func (w *streamWriter) end() {
	w.t.own.sent = w.written
	if w.held != nil {
		w.held.Release()
		w.held = nil
	}
}

// abort ends the stream in the middle of an answer.
func (w *streamWriter) abort() bool {
	w.over.Store(true)
	w.stream.Reset() // which ends a write that goes on
	w.mu.Lock()
	w.end()
	w.mu.Unlock()
	return false
}
