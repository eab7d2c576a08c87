package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// This file is one request over a connection with HTTP/2, with its limits and what its
// failures mean.

// roundTrip sends a request over a connection that it was acquired for.
func (t *h2Client) roundTrip(conn *h2Conn, req *http.Request, limit *Timeout) (*http.Response, progress, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	x := &h2Exchange{client: t, conn: conn, cancel: cancel, limit: limit.Read}
	x.send = h2Wait{x: x, limit: limit.Send, what: "the node took nothing more of the request"}
	x.read = x.send // until the head of the request is written: one timer for both
	out := req.WithContext(httptrace.WithClientTrace(x.informant.in(ctx, t.maker.MaxResponseHeaderBytes), &httptrace.ClientTrace{
		WroteHeaders:         x.wroteHeaders,
		WroteRequest:         x.wroteRequest,
		GotFirstResponseByte: x.gotFirstResponseByte,
	}))
	out.GetBody = nil
	out.Header = anonymous(req.Header)
	if req.Body != nil {
		x.body = &h2RequestBody{body: req.Body, x: x, closed: make(chan struct{})}
		out.Body = x.body
	}
	x.wait(&x.read)
	resp, err := conn.RoundTrip(out)
	if err != nil {
		far := x.progress(err)
		if x.stuck() {
			t.retire(conn)
		}
		return nil, far, x.informant.blame(x.end(err))
	}
	if bodiless(req, resp) {
		_ = x.end(nil)
		resp.Body = http.NoBody
		return resp, answered, nil
	}
	x.answered()
	x.watch(ctx, resp.Body)
	resp.Body = &timedBody{resp.Body, x}
	return resp, answered, nil
}

// bodiless reports whether an answer has ended with its head. No other has a length of zero
// without saying so; and where there never is a body, a Content-Length is that of another
// answer (RFC 9113, section 8.1.1). net/http knows this of HEAD, but would say that the body
// of a 304 broke off. One without a length may go on to read the request.
func bodiless(req *http.Request, resp *http.Response) bool {
	switch {
	case req.Method == http.MethodHead:
		return true
	case resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified:
		return resp.ContentLength >= 0
	}
	return resp.ContentLength == 0 && resp.Header["Content-Length"] == nil
}

// An h2Exchange is one request on its way over a connection. The connection is
// others' too, so nothing of its reading and writing can be limited for one
// request: what is limited is how long net/http takes between one call to the
// request's body and the next, and for the answer.
type h2Exchange struct {
	client *h2Client
	conn   *h2Conn
	cancel context.CancelCauseFunc
	limit  time.Duration  // of read, once the head of the request is written
	body   *h2RequestBody // nil if there is none

	informant informant

	mu       sync.Mutex // guards what follows
	send     h2Wait     // between two reads of the request's body, and after the last
	read     h2Wait     // for the heads of request and answer, and between two parts of its body
	wrote    bool       // the head of the request, or a part of it
	sent     bool       // all of the request, or all that will be
	received bool       // a part of the answer
	head     bool       // the whole head of the answer
	ended    bool
	expired  error
	unwatch  func() bool // ends what watch began; nil if that is nothing
}

func (x *h2Exchange) wroteHeaders() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wrote = true
	if !x.head { // the answer may be there before net/http says this
		x.read.stop()
		x.read.limit, x.read.what = x.limit, "no answer"
	}
}

func (x *h2Exchange) wroteRequest(info httptrace.WroteRequestInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.send.stop()
	x.sent = true
	if !x.head && info.Err == nil {
		x.read.start()
	}
}

func (x *h2Exchange) gotFirstResponseByte() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.received = true
}

// answered ends the waiting for the head.
func (x *h2Exchange) answered() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.head = true
	x.read.stop()
	x.read.limit, x.read.what = x.limit, "nothing more of the answer"
}

// watch lets the end of the exchange's context end the answer, of which the head is there. Once
// it has that, net/http does not look at the context before all of the request is sent, which
// may be never: the client may send nothing more, and the node take nothing more.
func (x *h2Exchange) watch(ctx context.Context, answer io.Closer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.sent {
		x.unwatch = context.AfterFunc(ctx, func() { _ = answer.Close() })
	}
}

// wait starts one of the waits, and rest stops it.
func (x *h2Exchange) wait(w *h2Wait) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w.start()
}

func (x *h2Exchange) rest(w *h2Wait) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w.stop()
}

// resume and pause are for the body of the answer.
func (x *h2Exchange) resume() { x.wait(&x.read) }

func (x *h2Exchange) pause() { x.rest(&x.read) }

// end is called when nothing more is wanted of the exchange, however often. It
// returns what to say for err.
func (x *h2Exchange) end(err error) error {
	x.mu.Lock()
	again := x.ended
	x.ended = true
	x.send.stop()
	x.read.stop()
	if err != nil && x.expired != nil {
		err = x.expired
	}
	if x.unwatch != nil {
		x.unwatch()
	}
	x.mu.Unlock()
	x.cancel(nil)
	if !again {
		if x.body != nil {
			x.body.stop() // net/http reads on after a complete answer of 2xx
		}
		x.client.release(x.conn)
	}
	return err
}

// stuck reports whether the node has not even taken the head of the request in time, nor
// anything else over its connection.
func (x *h2Exchange) stuck() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.wrote && x.expired != nil
}

// progress says how far the request came that ended with err.
func (x *h2Exchange) progress(err error) progress {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.received:
		return answered
	case !x.wrote && x.expired != nil:
		return sent // a part of the head may be
	case !x.wrote && (strings.HasPrefix(err.Error(), "http2: client conn") || x.conn.Err() != nil):
		return unsent
	case !x.wrote:
		return refused
	case notProcessed(err):
		return unsent
	default:
		return sent
	}
}

// notProcessed reports whether the node promises that it has done nothing about a
// request (RFC 9113, section 8.7).
func notProcessed(err error) bool {
	const refusedStream = 7
	if reset, ok := errors.AsType[h2StreamError](err); ok {
		return reset.Code == refusedStream
	}
	// A GOAWAY that does not cover the request. net/http has no other name for it:
	// TestH2GoAway fails if it calls it something else.
	return strings.Contains(err.Error(), "graceful shutdown GOAWAY")
}

// An h2StreamError is a stream that the node, or net/http, has ended. errors.As
// fills it from the error of net/http's that has the same fields.
type h2StreamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e h2StreamError) Error() string { return "stream error" }

// h2Codes are the names of error codes (RFC 9113, section 7).
var h2Codes = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

func (e h2StreamError) describe() string {
	code := fmt.Sprintf("code %d", e.Code)
	if int(e.Code) < len(h2Codes) {
		code = h2Codes[e.Code]
	}
	if e.Cause != nil && e.Cause.Error() != "received from peer" {
		return fmt.Sprintf("the node broke the rules of HTTP/2: %s (%v)", code, e.Cause)
	}
	return "the node reset the stream: " + code
}

// An h2Wait bounds the time for one thing that the node has to do.
// x.mu is held when a method is called.
type h2Wait struct {
	x     *h2Exchange
	limit time.Duration // none if zero
	what  string        // did not happen
	timer *time.Timer
	due   time.Time // when the timer means it; zero while nothing is waited for
}

func (w *h2Wait) start() {
	if w.limit <= 0 || w.x.ended {
		return
	}
	w.due = time.Now().Add(w.limit)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.expire)
	} else {
		w.timer.Reset(w.limit)
	}
}

func (w *h2Wait) stop() {
	w.due = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *h2Wait) expire() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	// The timer may have fired just before it was stopped or set again.
	if w.due.IsZero() || time.Now().Before(w.due) {
		return
	}
	w.x.expired = &timeoutError{w.what, w.limit}
	w.x.cancel(w.x.expired)
}
