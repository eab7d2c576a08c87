package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/internal/forward"
	"github.com/sallyport/sallyport/internal/h2"
	"github.com/sallyport/sallyport/internal/http1"
)

// This file is what of a relayed request (relay.go) is different with HTTP/2: its body, and
// the way of the answer.

// A streamBody is the body of a request that comes with HTTP/2. It is read by whoever sends
// it to a node, which may be another goroutine than the request's, and may outlive the
// answer.
type streamBody struct {
	stream *h2.Stream
	server *Server
	remote net.Addr
	limit  int64  // of its bytes; zero: none
	atEnd  func() // is called when all of it came, or nil; set before the first read
	over   atomic.Pointer[error]

	reading sync.Mutex // held while reading; guards what follows
	expect  bool       // the client waits for 100 (Continue)
}

// newStreamBody returns the body of the request, which has one.
func (t *turn) newStreamBody() *streamBody {
	k := t.client
	return &streamBody{
		stream: t.stream,
		server: k.server,
		remote: k.conn.RemoteAddr(),
		limit:  k.server.o.Limits.BodyBytes,
		expect: t.head.Expect,
	}
}

// takeStreamBody is takeBody with HTTP/2. One whose length was not announced goes on without
// one: whether all of it is there already is a matter of chance.
func (t *turn) takeStreamBody() {
	if !t.head.Expect && t.head.ContentLength > 0 {
		if body, ok := t.stream.Whole(); ok {
			t.sent = body
			return
		}
	}
	t.upload = t.newStreamBody()
	t.fwd.Body, t.fwd.Length = t.upload, t.head.ContentLength
}

// Read implements [io.Reader]. The first tells a client that waits for it that it is
// welcome (RFC 9110, section 10.1.1).
func (b *streamBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if err := b.over.Load(); err != nil {
		return 0, *err
	}
	if b.expect {
		b.expect = false
		block := h2.NewBlock()
		block.Status(http.StatusContinue)
		err := b.stream.Inform(block)
		block.Release()
		if err != nil {
			return 0, b.end(err)
		}
	}
	n, err := b.stream.Read(p)
	if b.limit > 0 && b.stream.Received() > b.limit {
		return 0, b.end(&http.MaxBytesError{Limit: b.limit})
	}
	if err != nil {
		err = b.end(err)
	}
	return n, err
}

// end takes note of what reading ended with. b.reading is held.
func (b *streamBody) end(err error) error {
	if err != io.EOF && !errors.Is(err, http.ErrBodyReadAfterClose) {
		b.server.bodyFailed(err, b.remote)
	}
	if err == io.EOF && b.atEnd != nil {
		b.atEnd()
	}
	b.over.Store(&err)
	return err
}

// late reports whether the client did not send the body in time.
func (b *streamBody) late() bool {
	err := b.over.Load()
	return err != nil && errors.Is(*err, os.ErrDeadlineExceeded)
}

// bePatient lets the client be silent for as long as it likes.
func (b *streamBody) bePatient() { b.stream.BodyPatience = 0 }

// Close implements [io.Closer]. The end of the request sees to what is left.
func (b *streamBody) Close() error { return nil }

// lingers reports whether a client that is still sending its request when it is answered may
// send on. One that is refused stops by itself. If its stream were reset at once, curl 7.88
// would report an error in place of the answer; but where the answer is no refusal, it
// would wait for ever otherwise.
func lingers(status int) bool { return status >= http.StatusBadRequest }

// informStream passes on an informational answer.
func (t *turn) informStream(r *http1.Response) error {
	block := h2.NewBlock()
	defer block.Release()
	block.Status(r.Status)
	addFields(block, &r.Section, "")
	return t.stream.Inform(block) // an error is that the client is gone, of which the flight knows
}

// addFields adds the fields of a node's that go on. own is a name of the gateway's own for
// the field Server, or empty. It reports whether there is a Date among them.
func addFields(block *h2.Block, s *http1.Section, own string) (dated bool) {
	for i := range s.Len() {
		name, value := s.FieldView(i)
		if concernsOne(name) || s.Names(name) || own != "" && len(name) == len("server") && strings.EqualFold(name, "server") {
			continue
		}
		if len(name) == len("date") && strings.EqualFold(name, "date") {
			dated = true
		}
		block.Add(name, value)
	}
	return dated
}

// answerStream passes on the answer of a node.
func (t *turn) answerStream(x forward.Exchange, r *http1.Response) bool {
	t.own.status = r.Status
	t.stream.Lingers = lingers(r.Status)
	block := h2.NewBlock()
	defer block.Release()
	block.Status(r.Status)
	own := t.client.server.o.ServerHeader
	if own != "" {
		block.Add("server", own)
	}
	if !addFields(block, &r.Section, own) {
		block.Add("date", dateNow())
	}
	if r.ContentLength >= 0 && r.Status != http.StatusNoContent {
		block.AddInt("content-length", r.ContentLength)
	}
	large := r.ContentLength > buffers.Small/2
	var sent int64
	var err error
	if x.HasBody() {
		sent, err = t.passStream(x, block, large)
	} else {
		t.land(x)
		err = t.stream.Send(block, nil, nil, true)
	}
	t.own.sent = sent
	if err != nil {
		return t.broken(err)
	}
	return true
}

// passStream passes on the answer's body with its head, and the fields after it. What there
// is goes out in one; what comes late goes out as it comes.
func (t *turn) passStream(x forward.Exchange, head *h2.Block, large bool) (sent int64, err error) {
	open := true
	defer func() {
		if open {
			t.land(x)
		}
	}()
	buffer := buffers.New()
	defer func() { buffer.Release() }()
	// No more is read ahead than the client takes: one that takes nothing of many answers
	// would hold a large buffer for each.
	grow := func() {
		if t.stream.Window() > buffers.Small {
			buffer = buffer.Grow()
		}
	}
	if large {
		grow()
	}
	n, full := 0, false
	for {
		if (n > 0 || head != nil) && (!x.Ready() || len(buffer.B)-n < minRoom) {
			if err := t.stream.Send(head, buffer.B[:n], nil, false); err != nil {
				return sent, err
			}
			sent += int64(n)
			head, n = nil, 0
			if full {
				grow()
				full = false
			}
		}
		m, err := x.ReadBody(buffer.B[n:])
		full = m == len(buffer.B)-n
		n += m
		if err != nil && err != io.EOF {
			return sent, &answerError{err}
		}
		if err == nil {
			continue
		}
		var trailer *h2.Block
		if fields := x.Trailer(); fields != nil {
			trailer = h2.NewBlock()
			defer trailer.Release()
			addFields(trailer, fields, "")
			if trailer.Empty() {
				trailer = nil
			}
		}
		open = false
		t.land(x)
		if err := t.stream.Send(head, buffer.B[:n], trailer, true); err != nil {
			return sent, err
		}
		return sent + int64(n), nil
	}
}

// refuseStream answers what is not handled.
func (t *turn) refuseStream(status int, message string) bool {
	fields, body := t.client.server.ownFields(nil, status, message, "")
	block := h2.NewBlock()
	defer block.Release()
	block.Status(status)
	block.Add("date", dateNow())
	for _, f := range fields {
		block.Add(f.Name, f.Value)
	}
	if t.head != nil && t.head.Method() == http.MethodHead {
		body = nil
	}
	t.own.status, t.own.sent = status, int64(len(body))
	t.stream.Lingers = lingers(status)
	_ = t.stream.Send(block, body, nil, true)
	return true
}
