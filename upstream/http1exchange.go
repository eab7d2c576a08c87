package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/http1"
)

// An http1Exchange is one request on one connection, and the body of its answer.
//
// Up to three goroutines have to do with it: the caller's, which writes the head and
// reads the answer; the one that sends the body, if there is one; and whoever
// cancels the context, which closes the connection and nothing else. The reader
// alone decides what becomes of the connection. It is another exchange's as soon as
// it is put back, so that nobody may touch it after "over" was set.
type http1Exchange struct {
	outbound
	client *http1Client
	conn   *http1.Conn
	limit  Timeout

	resp    *http.Response  // of one of Do
	head    *http1.Response // of one of Forward
	stop    func() bool     // of the watch on the request's context; may be nil
	sending bool            // there is a goroutine that sends the body
	proceed chan bool       // tells it whether to; nil if it need not ask

	closed  atomic.Bool
	readMu  sync.Mutex // held while reading from the body of the answer
	readErr error      // guarded by readMu: what that ended with

	mu      sync.Mutex    // guards what follows
	last    bool          // the last write of the request was begun
	whole   bool          // it was done: all of the request was sent
	wake    chan struct{} // closed then; nil unless awaited
	sendErr error         // what sending failed with
	reading bool          // the head of the answer came
	over    bool          // the answer is at its end: the connection may be another's
	overdue *time.Timer   // ends the wait for an answer after sending failed
}

// begin sends the request and returns when the head of the answer is there.
func (x *http1Exchange) begin(head []byte) (*http1.Response, error) {
	conn := x.conn
	conn.Begin(x.limit.Send, x.client.maxHead)
	if x.lean != nil {
		x.lean.attach(x)
	} else if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, conn.Abort)
	}
	if _, err := conn.Write(head); err != nil {
		x.sendFailed(err)
		if !conn.Sent() || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, x.fail(err)
		}
	} else if x.body != nil {
		x.sending = true
		if x.expects {
			x.proceed = make(chan bool, 1)
		}
		go x.send()
	} else {
		conn.Await(x.limit.Read)
		// Where others are ready to run, the answer is there when they have: a read that
		// does not wait costs half of one that does.
		runtime.Gosched()
	}

	r, err := x.readHead()
	if err != nil {
		return nil, x.fail(err)
	}
	x.mu.Lock()
	x.reading = true
	if x.overdue != nil {
		x.overdue.Stop()
	}
	x.mu.Unlock()
	if !x.sending {
		closeBody(x.body)
	}
	if r.Status == http.StatusSwitchingProtocols {
		return r, x.mayTunnel()
	}
	return r, nil
}

// mayTunnel returns why a 101 is not to be taken, and fails the exchange then.
func (x *http1Exchange) mayTunnel() error {
	if !x.upgrades {
		return x.fail(errors.New("the node switched to a protocol that was not asked for"))
	}
	// The rest of the body would come between what goes through the tunnel.
	x.mu.Lock()
	whole := x.sentWhole()
	x.mu.Unlock()
	if !whole {
		return x.fail(errors.New("the node switched protocols before it had the whole request"))
	}
	return nil
}

// readHead reads heads up to the last one.
func (x *http1Exchange) readHead() (*http1.Response, error) {
	for {
		r, err := x.conn.ReadResponse(x.method)
		if err != nil {
			return nil, err
		}
		if r.Status >= 200 || r.Status == http.StatusSwitchingProtocols {
			if x.proceed != nil {
				x.tell(false) // unless it was told before
			}
			return r, nil
		}
		if r.Status == http.StatusContinue && x.proceed != nil {
			x.tell(true)
		}
		if x.early != nil {
			if err := x.inform(r); err != nil {
				return nil, err
			}
		}
	}
}

// inform passes on an informational answer. Whoever wants it may refuse to have more, which
// is not the node's fault, or panic, which must not leave the connection behind.
func (x *http1Exchange) inform(r *http1.Response) error {
	returned := false
	defer func() {
		if !returned {
			_ = x.fail(errAborted)
		}
	}()
	err := x.early(r)
	returned = true
	if err != nil {
		return &callerError{StatusClientClosedRequest, err}
	}
	return nil
}

// tell tells the sender whether the node wants the body. The first word counts.
func (x *http1Exchange) tell(wanted bool) {
	select {
	case x.proceed <- wanted:
	default:
	}
}

// response makes the answer of its head.
func (x *http1Exchange) response(req *http.Request, r *http1.Response) *http.Response {
	resp := &http.Response{
		StatusCode:    r.Status,
		ProtoMajor:    1,
		ProtoMinor:    r.Minor,
		ContentLength: r.ContentLength,
		Close:         r.Close,
		Request:       req,
		TLS:           x.conn.TLS(),
		Header:        r.Header(),
	}
	resp.Proto = "HTTP/1.1"
	if r.Minor == 0 {
		resp.Proto = "HTTP/1.0"
	}
	resp.Status = status(r.Status, r.Reason())
	if r.Chunked {
		resp.TransferEncoding = []string{"chunked"}
		delete(resp.Header, "Transfer-Encoding")
		if names, ok := resp.Header["Trailer"]; ok {
			resp.Trailer = announced(names)
			delete(resp.Header, "Trailer")
		}
	}
	x.resp = resp
	switch {
	case r.Status == http.StatusSwitchingProtocols:
		x.conn.Await(0)
		resp.ContentLength = 0
		resp.Body = &http1Tunnel{x}
	case x.conn.HasBody():
		resp.Body = x
	default:
		if x.method != http.MethodHead {
			resp.ContentLength = 0
		}
		resp.Body = http.NoBody
		x.finish()
	}
	return resp
}

func status(code int, reason []byte) string {
	if code == http.StatusOK && string(reason) == "OK" {
		return "200 OK"
	}
	return fmt.Sprintf("%03d %s", code, reason)
}

// announced returns what a Trailer field announces.
func announced(values []string) http.Header {
	h := http.Header{}
	for name := range http1.Announced(values) {
		h[name] = nil
	}
	return h
}

var (
	errNotWanted = errors.New("the node did not want the body")
	errAborted   = errors.New("the caller panicked")
)

const (
	// continueTimeout is how long a node has to say that it wants a body that it
	// was asked about. Many never do.
	continueTimeout = time.Second

	// sendGrace is how long a complete answer, or a 101, waits for the last write of
	// its request: most often the node has it, and the sender is about to learn so.
	// A node that answered before it had all of a request gets no more of it.
	sendGrace = 50 * time.Millisecond

	sendSize = 64 << 10
)

// A body is sent through a small buffer until as much came of it: who sends little, or waits
// with all of it, holds little.
const firstSendSize = 8 << 10

var (
	firstSendBuffers = sync.Pool{New: func() any { b := make([]byte, firstSendSize); return &b }}
	sendBuffers      = sync.Pool{New: func() any { b := make([]byte, sendSize); return &b }}
)

func expectsContinue(h http.Header) bool {
	for _, value := range h["Expect"] {
		if strings.EqualFold(value, "100-continue") {
			return true
		}
	}
	return false
}

// send sends the body, in a goroutine of its own.
func (x *http1Exchange) send() {
	if err := x.sendBody(); err != nil {
		x.mu.Lock()
		if x.sendErr == nil {
			x.sendErr = err
		}
		// There is no other way to take back what was begun.
		if !x.over && err != errNotWanted {
			x.conn.Abort()
		}
		x.mu.Unlock()
	}
	_ = x.body.Close()
}

// sendBody returns what went wrong on the side of the body. A failure of the node's is
// sendFailed's.
func (x *http1Exchange) sendBody() error {
	if x.proceed != nil && !x.wanted() {
		return errNotWanted
	}
	pool := &firstSendBuffers
	buffer := pool.Get().(*[]byte)
	defer func() { pool.Put(buffer) }()

	total := 0
	left, ended := x.length, false // left is negative if the length is not known
	for left != 0 && !ended {
		p := (*buffer)[http1.ChunkHead : len(*buffer)-http1.ChunkTail]
		if left > 0 && int64(len(p)) > left {
			p = p[:left]
		}
		n, err := x.body.Read(p)
		if err != nil && err != io.EOF {
			return err
		}
		ended = err == io.EOF
		out := p[:n]
		if left < 0 {
			if out = (*buffer)[:0]; n > 0 {
				out = http1.Chunk(*buffer, n)
			}
			if ended {
				if out, err = http1.AppendLastChunk(out, x.trailer); err != nil {
					return &callerError{http.StatusBadRequest, err}
				}
			}
		} else {
			left -= int64(n) // zero at the end: the body is as long as the request says
		}
		if len(out) == 0 {
			continue
		}
		if left == 0 || ended {
			x.lastWrite()
		}
		if _, err := x.conn.Write(out); err != nil {
			x.sendFailed(err)
			return nil
		}
		if total += n; total >= firstSendSize && pool == &firstSendBuffers {
			pool.Put(buffer)
			pool = &sendBuffers
			buffer = pool.Get().(*[]byte)
		}
	}
	x.allSent()
	for !ended { // whoever gave the body may wait to see that all was read
		_, err := x.body.Read((*buffer)[:1])
		if err == errLength {
			return err
		}
		ended = err != nil
	}
	return nil
}

// wanted waits until the node says whether it wants the body.
func (x *http1Exchange) wanted() bool {
	patience := time.NewTimer(continueTimeout)
	defer patience.Stop()
	select {
	case wanted := <-x.proceed:
		return wanted
	case <-patience.C:
		return true
	}
}

func (x *http1Exchange) lastWrite() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = true
}

// allSent begins the time that the node has to answer. From now on the connection is
// the reader's alone.
func (x *http1Exchange) allSent() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.whole = true
	if x.wake != nil {
		close(x.wake)
	}
	if !x.reading && !x.over {
		x.conn.Await(x.limit.Read)
	}
}

// sendFailed is called when the node took no more of the request. It may have answered
// nevertheless: a node that answers before it has read all, and then closes, resets
// the connection. The answer is there, and the write fails.
func (x *http1Exchange) sendFailed(err error) {
	late := errors.Is(err, os.ErrDeadlineExceeded)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sendErr = x.tooSlow(err)
	if x.reading || x.over {
		return
	}
	if late {
		x.conn.Abort()
	} else {
		x.overdue = time.AfterFunc(x.limit.Send, x.conn.Abort)
	}
}

// tooSlow says it if a write failed for the time that it took.
func (x *http1Exchange) tooSlow(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &timeoutError{"the node took nothing more of the request", x.limit.Send}
	}
	return err
}

// progress says how far the request came that failed.
func (x *http1Exchange) progress() progress {
	switch {
	case x.conn.Received():
		return answered
	case !x.conn.Sent():
		return unsent
	default:
		return sent
	}
}

// sendNoMore ends the goroutine that sends the body, if there is one. It may be waiting for
// the node's word, or for more of a body of which nothing will ever come: whoever gives it may
// wait for Close.
func (x *http1Exchange) sendNoMore() {
	if x.proceed != nil {
		x.tell(false)
	}
	if x.sending {
		dismiss(x.body)
	}
}

// fail ends the exchange, and the connection with it. It returns what to say for err.
func (x *http1Exchange) fail(err error) error {
	received := x.conn.Received()
	x.mu.Lock()
	x.over, x.reading = true, true
	if x.overdue != nil {
		x.overdue.Stop()
	}
	sendErr := x.sendErr
	x.mu.Unlock()
	x.conn.Abort()
	x.conn.End()
	if x.stop != nil {
		x.stop()
	}
	x.sendNoMore()
	switch _, ours := errors.AsType[*callerError](err); {
	case ours:
	case sendErr != nil && !received:
		return sendErr
	case errors.Is(err, os.ErrDeadlineExceeded) && received:
		return &timeoutError{"nothing more of the answer", x.limit.Read}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &timeoutError{"no answer", x.limit.Read}
	}
	return err
}

// sentWhole reports whether all of the request was sent, and nothing more of it will
// be. x.mu is held, but not while it waits for the last write.
func (x *http1Exchange) sentWhole() bool {
	if x.sending && x.last && !x.whole && x.sendErr == nil {
		x.wake = make(chan struct{})
		x.mu.Unlock()
		select {
		case <-x.wake:
		case <-time.After(sendGrace):
		}
		x.mu.Lock()
	}
	return x.sendErr == nil && (x.body == nil || x.whole)
}

// finish ends the exchange after the whole answer, and keeps the connection if that
// can be.
func (x *http1Exchange) finish() {
	clean := x.conn.End()
	x.mu.Lock()
	whole := x.sentWhole()
	x.over = true
	x.mu.Unlock()

	if x.stop != nil && !x.stop() {
		whole = false
	}
	switch {
	case !whole:
		x.conn.Abort()
		x.sendNoMore()
	case !clean || x.closes:
		_ = x.conn.Close()
	default:
		x.client.idle.Put(x.key, x.conn)
	}
}

// Read reads from the body of the answer. The node must not pause for too long while
// somebody waits here; a slow reader is not its fault.
func (x *http1Exchange) Read(p []byte) (int, error) {
	x.readMu.Lock()
	defer x.readMu.Unlock()
	if x.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if x.readErr != nil {
		return 0, x.readErr
	}
	n, err := x.read(p)
	if err == io.EOF {
		if trailer := x.conn.Trailer(); trailer != nil && trailer.Len() > 0 {
			if x.resp.Trailer == nil {
				x.resp.Trailer = http.Header{}
			}
			maps.Copy(x.resp.Trailer, trailer.Header())
		}
		x.finish()
	}
	x.readErr = err
	return n, err
}

// read is Read without an end.
func (x *http1Exchange) read(p []byte) (int, error) {
	x.conn.AwaitBody(x.limit.Read)
	n, err := x.conn.ReadBody(p)
	if err != nil && err != io.EOF {
		err = x.fail(err)
	}
	return n, err
}

// Close ends a Read that waits. If the rest of the body is there already, it does no
// harm to the connection.
func (x *http1Exchange) Close() error {
	if x.closed.Swap(true) {
		return nil
	}
	if !x.readMu.TryLock() {
		x.mu.Lock()
		if !x.over {
			x.conn.Abort()
		}
		x.mu.Unlock()
		x.readMu.Lock()
	}
	defer x.readMu.Unlock()
	if x.readErr != nil {
		return nil
	}
	x.readErr = http.ErrBodyReadAfterClose
	if x.conn.Skip() {
		x.finish()
	} else {
		_ = x.fail(x.readErr)
	}
	return nil
}

// A http1Tunnel is the connection after a 101.
type http1Tunnel struct{ x *http1Exchange }

func (t *http1Tunnel) Read(p []byte) (int, error) { return t.x.conn.ReadBody(p) }

func (t *http1Tunnel) Write(p []byte) (int, error) {
	n, err := t.x.conn.Write(p)
	return n, t.x.tooSlow(err)
}

func (t *http1Tunnel) CloseWrite() error { return t.x.conn.CloseWrite() }

func (t *http1Tunnel) Close() error {
	if t.x.closed.Swap(true) {
		return nil
	}
	if t.x.stop != nil {
		t.x.stop()
	}
	if t.x.ctx.Err() != nil {
		t.x.conn.Abort() // who reads or writes is to be woken at once
		return nil
	}
	return t.x.conn.Close()
}
