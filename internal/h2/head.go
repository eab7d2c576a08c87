package h2

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/internal/http1"
)

// A block is the fields of a head, or of a trailer, that comes: a HEADERS frame and what
// continues it. Whatever is to become of it, it must be read, because the table of HPACK
// changes with it.
type block struct {
	conn   *Conn
	open   bool // more of it is to come
	id     uint32
	end    bool    // the stream ends with it
	stream *Stream // that it is the trailer of; nil for a head
	ignore bool    // it is nobody's
	fate   error   // what is to be said of it when it was read, or nil
	frames int     // that it came in
	raw    int     // bytes of it, as they came
	size   int     // as RFC 9113, section 6.5.2, counts it
	fields []hpack.HeaderField
	excess *http1.RequestError // it is larger than may be
}

// maxContinuations is how many frames may continue a head beyond those that it needs.
const maxContinuations = 8

// begin is called for a HEADERS frame.
func (b *block) begin(f *http2.HeadersFrame) error {
	b.open, b.id, b.end = true, f.StreamID, f.StreamEnded()
	b.stream, b.ignore, b.fate, b.excess = nil, false, nil, nil
	b.frames, b.raw, b.size = 0, 0, 0
	if b.id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if f.HasPriority() && f.Priority.StreamDep == b.id { // RFC 7540, section 5.3.1
		b.fate = http2.StreamError{StreamID: b.id, Code: http2.ErrCodeProtocol}
	}
	if err := b.place(); err != nil {
		return err
	}
	return b.add(f.HeaderBlockFragment(), f.HeadersEnded())
}

// place finds out what the block is.
func (b *block) place() error {
	c := b.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.id > c.maxID {
		c.maxID = b.id
		if c.draining == drainTold {
			b.ignore = true // RFC 9113, section 6.8
		}
		return nil
	}
	if b.stream = c.streams[b.id]; b.stream != nil {
		if b.stream.ended {
			b.fate = http2.StreamError{StreamID: b.id, Code: http2.ErrCodeStreamClosed}
		}
		return nil
	}
	switch {
	case c.tooLate(b.id), c.closed.torn.has(b.id):
		b.ignore = true
		return nil
	case c.closed.whole.has(b.id):
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case b.id <= c.tornTo:
		b.ignore = true // for all that is known, it was on its way
		return nil
	}
	return http2.ConnectionError(http2.ErrCodeProtocol)
}

// goOn is called for a CONTINUATION frame.
func (b *block) goOn(f *http2.ContinuationFrame) error {
	b.frames++
	return b.add(f.HeaderBlockFragment(), f.HeadersEnded())
}

// add reads a part of the block.
func (b *block) add(fragment []byte, last bool) error {
	c := b.conn
	b.raw += len(fragment)
	if b.raw > 2*c.o.HeaderBytes || b.frames > maxContinuations+b.raw/(4<<10) {
		return calm(LimitHeaderBytes)
	}
	if _, err := c.dec.Write(fragment); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	if !last {
		if b.frames == 0 {
			c.in.frameBy = time.Now().Add(c.o.HeaderTimeout)
		}
		return nil
	}
	b.open = false
	if err := c.dec.Close(); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	return b.done()
}

// field is called for each field.
func (b *block) field(f hpack.HeaderField) {
	b.size += int(f.Size())
	switch {
	case b.excess != nil:
	case b.size > b.conn.o.HeaderBytes:
		b.excess = http1.ErrHeadTooLarge
		clear(b.fields)
		b.fields = b.fields[:0]
	case len(b.fields) >= b.conn.o.HeaderFields+maxPseudo:
		b.excess = http1.ErrTooManyFields
	default:
		b.fields = append(b.fields, f)
	}
}

// maxPseudo is how many of the fields are none of a head with HTTP/1.1.
const maxPseudo = 5

// done is called when all of the block is there.
func (b *block) done() error {
	defer func() {
		clear(b.fields)
		if b.fields = b.fields[:0]; cap(b.fields) > 64 {
			b.fields = nil
		}
	}()
	switch {
	case b.ignore:
		return b.conn.spend()
	case b.fate != nil:
		if b.stream == nil {
			b.conn.owner.Malformed()
		}
		return b.fate
	case b.stream != nil:
		return b.trailer()
	}
	return b.request()
}

func (b *block) malformed() error {
	return http2.StreamError{StreamID: b.id, Code: http2.ErrCodeProtocol}
}

// trailer gives the body that the block ends its fields.
func (b *block) trailer() error {
	if !b.end || b.excess != nil {
		return b.malformed()
	}
	h := http.Header{}
	for _, f := range b.fields {
		if !validField(f) || f.IsPseudo() || f.Name == "content-length" || f.Name == "trailer" {
			return b.malformed() // RFC 9110, section 6.5.1: framing is no trailer's
		}
		name := http.CanonicalHeaderKey(f.Name)
		h[name] = append(h[name], f.Value)
	}
	if len(h) > 0 {
		b.stream.trailer = h
	}
	return b.conn.clientEnded(b.stream)
}

// validField reports whether a field may be in a message of HTTP/2 (RFC 9113, sections
// 8.2.1 and 8.2.2).
func validField(f hpack.HeaderField) bool {
	name := f.Name
	if len(name) > 0 && name[0] == ':' {
		name = name[1:]
	}
	if !http1.ValidName(name) {
		return false
	}
	for i := range len(name) {
		if 'A' <= name[i] && name[i] <= 'Z' {
			return false
		}
	}
	if !httpguts.ValidHeaderFieldValue(f.Value) {
		return false
	}
	if n := len(f.Value); n > 0 && (blank(f.Value[0]) || blank(f.Value[n-1])) {
		return false
	}
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return false
	case "te":
		return f.Value == "trailers"
	}
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// errMalformed is why a head is none.
var errMalformed = errors.New("h2: the head is malformed")

// pseudo are the fields of a head that are none of HTTP/1.1's (RFC 9113, section 8.3.1).
type pseudo struct {
	method, scheme, authority, path, protocol string
	has                                       [maxPseudo]bool
}

func (p *pseudo) add(f hpack.HeaderField) bool {
	var at int
	var to *string
	switch f.Name {
	case ":method":
		at, to = 0, &p.method
	case ":scheme":
		at, to = 1, &p.scheme
	case ":authority":
		at, to = 2, &p.authority
	case ":path":
		at, to = 3, &p.path
	case ":protocol":
		at, to = 4, &p.protocol
	default:
		return false
	}
	if p.has[at] {
		return false
	}
	p.has[at], *to = true, f.Value
	return true
}

// check judges them together.
func (p *pseudo) check() bool {
	if p.method == "" || strings.Contains(p.authority, "@") {
		return false
	}
	if p.method == http.MethodConnect && !p.has[4] {
		return !p.has[1] && !p.has[3] && p.authority != ""
	}
	if p.has[4] && (p.method != http.MethodConnect || p.protocol == "" || p.authority == "") {
		return false // RFC 8441, section 4
	}
	if p.scheme != "https" && p.scheme != "http" {
		return false
	}
	return strings.HasPrefix(p.path, "/") || p.path == "*" && p.method == http.MethodOptions
}

// request begins the stream of a request.
func (b *block) request() error {
	c := b.conn
	st := streams.Get().(*Stream)
	st.c, st.id, st.ended, st.declared = c, b.id, b.end, -1
	st.recvWindow, st.window, st.granted = initialWindow, initialWindow, initialWindow
	st.BodyPatience = c.o.BodyTimeout
	spoken, priority := false, priority{}
	if b.excess != nil {
		st.Refusal = b.excess
		if b.excess == http1.ErrHeadTooLarge {
			c.owner.Reached(LimitHeaderBytes)
		} else {
			c.owner.Reached(LimitHeaderFields)
		}
	} else {
		var err error
		if st.Head, err = b.head(st); err != nil {
			if st.Refusal = refusal(err); st.Refusal == nil {
				c.owner.Malformed()
				return b.malformed()
			}
		}
		for _, f := range b.fields {
			if f.Name == "priority" {
				priority, spoken = parsePriority(f.Value), true
				c.learn()
			}
		}
	}
	if st.bare = b.end; b.end {
		st.body.err = io.EOF
	}

	if !c.admit(st) {
		c.owner.Reached(LimitStreams)
		if st.Head != nil {
			st.Head.Release()
		}
		return http2.StreamError{StreamID: b.id, Code: http2.ErrCodeRefusedStream}
	}
	if spoken {
		st.priority = priority
	}
	if st.held = st.declared == 0 && !b.end; !st.held {
		c.starting = append(c.starting, st)
	}
	return nil
}

// refusal returns why a request is refused, or nil if it is none.
func refusal(err error) *http1.RequestError {
	var refused *http1.RequestError
	errors.As(err, &refused)
	return refused
}

// admit counts a stream, unless there are too many.
func (c *Conn) admit(st *Stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.o.Streams {
		return false
	}
	st.priority = unspoken(c.aware)
	st.sendWindow = c.initialWindow
	c.streams[st.id] = st
	c.open++
	c.budget.useful()
	return true
}

// head makes the head of a request with HTTP/1.1 of the fields. An error that is no
// *[http1.RequestError] says that they are malformed.
func (b *block) head(st *Stream) (*http1.RequestHead, error) {
	var p pseudo
	n := 0 // of pseudo-fields
	for ; n < len(b.fields) && b.fields[n].IsPseudo(); n++ {
		if f := b.fields[n]; !validField(f) || !p.add(f) {
			return nil, errMalformed
		}
	}
	if !p.check() {
		return nil, errMalformed
	}
	fields := b.fields[n:]
	if len(fields) > b.conn.o.HeaderFields {
		b.conn.owner.Reached(LimitHeaderFields)
		return nil, http1.ErrTooManyFields
	}
	host, hosts := p.authority, 0
	var cookies []string
	for _, f := range fields {
		if f.IsPseudo() || !validField(f) {
			return nil, errMalformed
		}
		switch f.Name {
		case "host":
			// Which of several holds is for nobody to guess: the gateway compares, as
			// it does where net/http has read the head.
			if hosts++; host == "" {
				host = f.Value
			}
			st.Hosts = append(st.Hosts, f.Value)
		case "content-length":
			length, err := strconv.ParseUint(f.Value, 10, 63)
			if err != nil || st.declared >= 0 || f.Value[0] == '+' {
				return nil, errMalformed
			}
			st.declared = int64(length)
		case "cookie":
			cookies = append(cookies, f.Value)
		}
	}
	if b.end && st.declared > 0 {
		return nil, errMalformed
	}
	st.Protocol = p.protocol
	target := p.path
	if p.method == http.MethodConnect && p.protocol == "" {
		target = p.authority
	}
	head, err := http1.NewHead(p.method, target, host)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		value := f.Value
		switch f.Name {
		case "host":
			continue
		case "cookie": // RFC 9113, section 8.2.3
			if cookies == nil {
				continue
			}
			value, cookies = strings.Join(cookies, "; "), nil
		}
		if err := head.Add(f.Name, value); err != nil {
			head.Release()
			return nil, err
		}
	}
	switch {
	case b.end:
		head.ContentLength = 0
	case st.declared < 0:
		head.ContentLength = -1
	default:
		head.ContentLength = st.declared
	}
	return head, nil
}
