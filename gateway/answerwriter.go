package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/internal/http1"
)

// This file is what a handler writes to, where the client speaks HTTP/1.1. It does what
// net/http's server does, where a handler can see it. Where a handler leaves a goroutine
// behind that goes on to write, net/http's has no defence. Here the buffer may be another
// client's next, and the connection is at its next request: so writing takes a lock, and
// nothing is given back before it has ended.

// An answerWriter is the [http.ResponseWriter] of a turn.
type answerWriter struct {
	t      *turn
	header http.Header
	events handlerTunnel

	over   atomic.Bool // the handler has returned: the connection is no affair of its any more
	taken  atomic.Bool // by Hijack
	timed  atomic.Bool // the handler has set a deadline for writing
	duplex atomic.Bool // the body of the request may be read while the answer is written

	// mu is held while writing, which may take as long as the client does: a deadline is set
	// without it.
	mu sync.Mutex // guards what follows

	status  int         // 0 before WriteHeader
	frozen  http.Header // as it was then
	how     framing
	left    int64           // of a sizedBody, what is still to be written
	excess  bool            // more was to be written: what follows would hide that it is missing
	held    *buffers.Buffer // what was written and is not sent, after room for a chunk
	n       int             // bytes of that
	begun   bool            // the head was sent
	failed  error           // of writing
	written int64
}

var errOver = errors.New("gateway: the handler has returned")

// writer returns the writer of the answer.
func (t *turn) writer() *answerWriter {
	t.exposed = true
	return &answerWriter{t: t, header: http.Header{}}
}

func (w *answerWriter) Header() http.Header { return w.header }

func (w *answerWriter) handlerTunnel() *handlerTunnel { return &w.events }

// refuses returns why the handler has nothing more to say, or nil. Who writes asks with w.mu
// held: the handler may have returned while he waited for it.
func (w *answerWriter) refuses() error {
	switch {
	case w.over.Load():
		return errOver
	case w.taken.Load():
		return http.ErrHijacked
	}
	return nil
}

// WriteHeader implements [http.ResponseWriter].
func (w *answerWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuses() == nil {
		w.writeHeader(status)
	}
}

// writeHeader is WriteHeader. w.mu is held.
func (w *answerWriter) writeHeader(status int) {
	switch {
	case w.status != 0:
		return
	case status < 100 || status > 999:
		panic("gateway: invalid status " + strconv.Itoa(status))
	case status < 200 && status != http.StatusSwitchingProtocols:
		if w.t.head.Minor == 1 {
			b := append(appendHeader(appendStatus(nil, status, nil), w.header, saysLength), "\r\n"...)
			if w.t.body != nil {
				w.failed = w.t.body.inform(b, status == http.StatusContinue)
			} else {
				w.failed = w.t.client.write(b)
			}
		}
		return
	}
	w.status, w.t.own.status = status, status
	w.frozen = w.header.Clone()
	w.events.answers(w.frozen)
	w.how = chunkedBody
	if w.t.head.Minor == 0 {
		w.how = closedBody
	}
	if n, ok := announcedLength(w.frozen); ok {
		w.how, w.left = sizedBody, n
	}
	if !mayHaveBody(w.status) {
		w.how = noBody
	}
}

// saysLength reports whether a field says where a body ends, which an informational answer
// must not do (RFC 9110, section 8.6; RFC 9112, section 6.1): it has none.
func saysLength(name string) bool { return name == "Content-Length" || name == "Transfer-Encoding" }

// mayHaveBody reports whether a status is one whose answers may have a body.
func mayHaveBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// announcedLength returns the length that a handler has announced. What is no length is taken
// out of the header.
func announcedLength(h http.Header) (n int64, ok bool) {
	lengths := h["Content-Length"]
	if len(lengths) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(lengths[0]), 10, 64)
	if err != nil || n < 0 {
		delete(h, "Content-Length")
		return 0, false
	}
	h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	return n, true
}

func (w *answerWriter) isHead() bool { return w.t.head.Method() == http.MethodHead }

// Write implements [io.Writer].
func (w *answerWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refuses(); err != nil {
		return 0, err
	}
	w.writeHeader(http.StatusOK)
	if len(p) == 0 {
		return 0, nil
	}
	if !mayHaveBody(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.how == sizedBody {
		if w.excess = w.excess || int64(len(p)) > w.left; w.excess {
			return 0, http.ErrContentLength
		}
		w.left -= int64(len(p))
	}
	w.written += int64(len(p))
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
		n := copy(w.room()[w.n:], p)
		w.n += n
		p = p[n:]
		if w.n == len(w.room()) {
			w.send(false)
		}
	}
	if w.failed != nil {
		return 0, w.failed
	}
	return total, nil
}

// room is where the body is held: the chunk that it may become has room around it.
func (w *answerWriter) room() []byte {
	b := w.held.B
	return b[chunkRoom : len(b)-chunkRoom]
}

const chunkRoom = 16

// sniffed is how much of a body is looked at for its type.
const sniffed = 512

// sniff sets the Content-Type of an answer without one, as net/http does.
func (w *answerWriter) sniff() {
	if w.n == 0 {
		return
	}
	p := w.room()[:w.n]
	_, typed := w.frozen["Content-Type"]
	if !typed && w.frozen.Get("Content-Encoding") == "" && w.frozen.Get("Transfer-Encoding") == "" {
		w.frozen.Set("Content-Type", http.DetectContentType(p))
	}
}

// send writes what is held, and the head before it. last says that nothing more comes. w.mu is
// held.
func (w *answerWriter) send(last bool) {
	if w.failed != nil {
		return
	}
	var b []byte
	if !w.begun {
		w.sniff()
		b = w.appendHead(nil, last)
		w.begun = true
	}
	if w.isHead() {
		w.n = 0
	}
	if w.n > 0 {
		body := w.room()[:w.n]
		if w.how == chunkedBody {
			body = http1.Chunk(w.held.B[chunkRoom-http1.ChunkHead:], w.n)
		}
		b = append(b, body...)
		w.n = 0
	}
	if last && w.how == chunkedBody && !w.isHead() {
		b = w.appendTrailer(append(b, "0\r\n"...))
	}
	if len(b) > 0 {
		w.failed = w.t.client.write(b)
	}
}

// appendHead appends the head of the answer. whole says that all of the body is held.
func (w *answerWriter) appendHead(b []byte, whole bool) []byte {
	t := w.t
	_, trailing := w.frozen["Trailer"]
	if whole && w.how >= chunkedBody && !trailing && !w.hasTrailer() && (!w.isHead() || w.written > 0) {
		w.how, w.left = sizedBody, 0
		w.frozen.Set("Content-Length", strconv.FormatInt(w.written, 10))
	}
	if whole && w.how == sizedBody && w.left > 0 && !w.isHead() {
		t.last = true // the handler has promised more
	}
	if w.how == closedBody && !w.isHead() {
		t.last = true
	}
	if http1.ClosesAfter(w.frozen["Connection"]) {
		t.last = true
	}
	if t.body != nil {
		if !w.duplex.Load() && (whole || !t.last) { // or the handler may read on, as with net/http
			t.body.skip()
		}
		if t.body.isEarly() {
			t.last = true
		}
	}
	b = appendStatus(b, w.status, nil)
	if _, ok := w.frozen["Date"]; !ok {
		b = appendDate(b)
	}
	b = appendHeader(b, w.frozen, func(name string) bool {
		switch name {
		case "Transfer-Encoding":
			return true
		case "Connection":
			return t.last || t.head.Minor == 0
		case "Content-Length":
			return w.status == http.StatusNoContent || w.status < 200
		}
		return false
	})
	if w.how == chunkedBody && !w.isHead() {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.status != http.StatusSwitchingProtocols {
		b = t.appendConnection(b)
	}
	return append(b, "\r\n"...)
}

// appendHeader appends fields, without those of which skip, unless it is nil, says so.
func appendHeader(b []byte, h http.Header, skip func(name string) bool) []byte {
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) || skip != nil && skip(name) || !http1.ValidName(name) {
			continue
		}
		for _, value := range values {
			b = append(b, name...)
			b = append(b, ": "...)
			b = appendValue(b, value)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

// appendValue appends the value of a field, in which a handler may have left the end of
// a line.
func appendValue(b []byte, value string) []byte {
	at := len(b)
	b = append(b, strings.Trim(value, " \t\r\n")...)
	for i, c := range b[at:] {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[at+i] = ' '
		}
	}
	return b
}

// hasTrailer reports whether the handler has set fields to come after the body without
// announcing them.
func (w *answerWriter) hasTrailer() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// appendTrailer appends the fields after a chunked body, and its end.
func (w *answerWriter) appendTrailer(b []byte) []byte {
	return append(appendHeader(b, trailerOf(w.frozen, w.header), nil), "\r\n"...)
}

// trailerOf returns what a handler wants to come after the body: the fields that it has
// announced in the head, and those that are named so.
func trailerOf(announced, header http.Header) http.Header {
	trailer := http.Header{}
	for name := range http1.Announced(announced["Trailer"]) {
		if mayTrail(name) && header[name] != nil {
			trailer[name] = header[name]
		}
	}
	for name, values := range header {
		if rest, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && mayTrail(rest) {
			trailer[http.CanonicalHeaderKey(rest)] = values
		}
	}
	return trailer
}

// Flush implements [http.Flusher].
func (w *answerWriter) Flush() { _ = w.FlushError() }

// FlushError is for [http.ResponseController].
func (w *answerWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refuses(); err != nil {
		return err
	}
	w.writeHeader(http.StatusOK)
	if w.how != noBody || !w.begun {
		w.send(false)
	}
	return w.failed
}

// SetReadDeadline, SetWriteDeadline and EnableFullDuplex are for
// [http.ResponseController]. The limits of the server are those of each read and each
// write, and stay. A deadline that has passed cannot be taken back.

func (w *answerWriter) SetReadDeadline(t time.Time) error {
	if err := w.refuses(); err != nil {
		return err
	}
	if w.t.body != nil {
		w.t.body.endBy(t)
	}
	return nil
}

func (w *answerWriter) SetWriteDeadline(t time.Time) error {
	if err := w.refuses(); err != nil {
		return err
	}
	w.timed.Store(true)
	w.t.client.conn.WriteBy(t)
	return nil
}

func (w *answerWriter) EnableFullDuplex() error { w.duplex.Store(true); return nil }

// Hijack implements [http.Hijacker].
func (w *answerWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refuses(); err != nil {
		return nil, nil, err
	}
	if w.status != 0 {
		w.send(false)
	} else {
		w.t.own.status = http.StatusSwitchingProtocols
	}
	k := w.t.client
	if w.t.body != nil {
		w.t.body.stop()
	}
	w.taken.Store(true)
	k.leave()
	conn, ahead := k.conn.HandOver()
	if len(ahead) > 0 {
		conn = &aheadConn{conn, bytes.NewReader(ahead)}
	}
	return conn, bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn)), nil
}

// An aheadConn is a connection of which something was read ahead.
type aheadConn struct {
	net.Conn
	ahead *bytes.Reader
}

func (c *aheadConn) Read(p []byte) (int, error) {
	if c.ahead.Len() > 0 {
		return c.ahead.Read(p)
	}
	return c.Conn.Read(p)
}

// finish ends the answer after the handler, and reports whether there may be another
// request.
func (w *answerWriter) finish() bool {
	switch {
	case !w.complete():
		return w.abort()
	case w.taken.Load():
		return false
	}
	return w.t.end()
}

// complete writes what is left of the answer. It reports false if it is not whole.
func (w *answerWriter) complete() bool {
	w.over.Store(true) // the write that goes on is the last
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.taken.Load() {
		w.writeHeader(http.StatusOK)
		w.send(true)
	}
	w.end()
	if w.taken.Load() {
		return true
	}
	if w.timed.Load() {
		w.t.client.conn.WriteBy(time.Time{})
	}
	return w.failed == nil && (w.how != sizedBody || w.left == 0 || w.isHead())
}

func (w *answerWriter) goesOn() { w.duplex.Store(true) }

func (w *answerWriter) visit() *visit { return &w.t.own }

// end gives the buffer back. w.mu is held, and the handler may write no more.
func (w *answerWriter) end() {
	w.t.own.sent = w.written
	if w.held != nil {
		w.held.Release()
		w.held = nil
	}
}

// abort ends the connection in the middle of an answer.
func (w *answerWriter) abort() bool {
	w.over.Store(true)
	if !w.taken.Load() {
		w.t.client.conn.Abort() // which ends a write that goes on
	}
	w.mu.Lock()
	w.end()
	w.mu.Unlock()
	if !w.taken.Load() {
		w.t.stopBody()
	}
	return false
}
