package h2

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A Transport is what HTTP/2 is spoken over. One goroutine reads and one writes, at the
// same time.
type Transport interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)

	// Await gives what is read from now on, and a read that goes on, the time d. A
	// read that comes too late fails with an error that is [os.ErrDeadlineExceeded], and
	// another may follow it.
	Await(d time.Duration)

	// ReadAhead says that much is to come, or that it came.
	ReadAhead(on bool)

	// RecordReady reports whether a read is likely to return at once.
	RecordReady() bool

	// Abort closes it at once.
	Abort()
}

// An Owner is told of what happens on a connection.
type Owner interface {
	// Start is called by the goroutine that reads, and must not block: another one is to
	// handle the request, and to call [*Stream.Finish] in the end.
	Start(*Stream)

	// Works is called when a request goes on, and Rests when none does any more. They must
	// do next to nothing.
	Works()
	Rests()

	// Malformed is called for a request that is none.
	Malformed()

	// Reached is called when a limit ends the connection or a request.
	Reached(Limit)
}

// Options are the limits of connections.
type Options struct {
	Streams      int // at a time
	HeaderBytes  int // of a head, as RFC 9113, section 6.5.2, counts them
	HeaderFields int

	HeaderTimeout time.Duration // for a head, and for the preface
	IdleTimeout   time.Duration // without a stream
	BodyTimeout   time.Duration // in which nothing comes of a body, or nothing may be sent

	// RestAfter is how long a connection is idle before Serve returns and lets it rest.
	// Zero is never.
	RestAfter time.Duration
}

// A Limit is one that was reached.
type Limit int

const (
	LimitStreams       Limit = iota // a request too many at a time
	LimitHeaderBytes                // a head too large
	LimitHeaderFields               // a head with too many fields
	LimitHeaderTimeout              // a head too slow
	LimitBodyTimeout                // a window that did not open
	LimitResets                     // too many requests that were taken back
	LimitFrames                     // too many frames that get nothing done
)

// A Conn is a connection with HTTP/2.
type Conn struct {
	t     Transport
	o     *Options
	owner Owner

	// The reader's.
	in      *input // nil while the connection rests
	dec     *hpack.Decoder
	maxID   uint32  // of the streams that the client has opened
	begun   bool    // the preface came
	settled bool    // and the first SETTINGS
	ahead   bool    // the transport reads ahead
	hungry  *Stream // whose body has more than its reader was told of, or nil

	pinged atomic.Bool // a silent client was asked whether it is there; set by the reader

	mu           sync.Mutex // guards what follows, and parts of each stream
	*streamTable            // nil while the connection rests; only the reader changes it
	open         int        // streams that the client counts
	active       int        // whose handlers are at work
	working      bool       // the owner was told so
	err          error      // why there is nothing more to be written; nil if there is
	out          output
	budget       budget

	sendWindow int64     // bytes of bodies that the client still takes
	recvWindow int64     // bytes of bodies that it may still send
	consumed   int64     // bytes that it could be told of that it may send more; see withheld
	lent       int64     // by which the windows of streams were widened
	bulk       int       // streams whose bodies are large
	lingering  int       // streams that do
	lingerBy   time.Time // when the first of them is to end; zero: no time is known

	initialWindow int64 // of a stream's, as the client wants it
	maxFrame      int   // that the client takes
	resize        bool  // the next head must tell that the table for HPACK is empty
	aware         bool  // the client knows of priorities
	withheld      bool  // it was not told of consumed, because it takes nothing

	tornTo uint32 // the last of the streams that were torn, and are no longer in closed

	staysUp   bool      // it does not rest
	lingers   bool      // something is on its way to a client that may be sending
	idleSince time.Time // when the last handler returned
	greeted   bool      // SETTINGS were written
	draining  drainStep
	lastID    uint32    // of the streams that are handled, if drainTold
	toldBy    time.Time // when the rest of a request that has begun must have come then
}

// A streamTable is what a connection knows of streams. The mutex of the connection guards
// it, but for what is the reader's.
type streamTable struct {
	starting []*Stream // that are not with the owner yet; the reader's
	queue    []*Stream // that wait for handlers to return
	streams  map[uint32]*Stream
	ready    schedule
	closed   recent // streams that are over
}

var streamTables = sync.Pool{New: func() any { return &streamTable{streams: map[uint32]*Stream{}} }}

// What a client is told.
const (
	maxReadFrame   = 16 << 10 // the default
	initialWindow  = 65535    // of a stream: the default, until it proves too narrow
	maxWindow      = 1 << 20  // of a stream, and of all that widens those of streams
	connWindow     = 2 << 20  // of the connection: what is wide leaves room for the others
	pingPatience   = 15 * time.Second
	drainPatience  = time.Second
	onItsWay       = 5 * time.Second // an answer may be, to a client that is slow
	maxControlSize = 64 << 10        // of answers to frames that wait to be written
)

// New returns the connection of a client that was accepted.
func New(t Transport, o *Options, owner Owner) *Conn {
	c := &Conn{
		t: t, o: o, owner: owner,
		sendWindow:    initialWindow,
		recvWindow:    connWindow,
		initialWindow: initialWindow,
		maxFrame:      maxReadFrame,
	}
	c.idleSince = time.Now()
	c.budget.init(c.idleSince, o.Streams)
	return c
}

var (
	errRest    = errors.New("h2: nothing is going on")
	errOver    = errors.New("h2: the connection is over")
	errPreface = errors.New("h2: the client does not begin as HTTP/2 does")
)

// errClosed is what a stream fails with whose connection has ended.
var errClosed = errors.New("h2: the connection was closed")

// Serve reads from the connection until it is over. If it reports true it is not: then
// nothing is going on, nothing is held, and Serve is to be called again when there is
// something to read, or at [*Conn.Expires].
//
// When it is over, no handler is told of anything new, and the caller is to close the
// transport, after a while in which the client can read the reason.
func (c *Conn) Serve() (rests bool) {
	c.take()
	defer func() {
		if v := recover(); v != nil { // of a hook of the user's
			c.mu.Lock()
			c.lose()
			c.mu.Unlock()
			panic(v)
		}
	}()
	err := c.serve()
	if err == errRest {
		c.release()
		return true
	}
	c.end(err)
	return false
}

func (c *Conn) serve() error {
	if !c.begun {
		if err := c.start(); err != nil {
			return err
		}
	}
	for {
		err := c.next()
		if err == nil {
			continue
		}
		var stream http2.StreamError
		if errors.As(err, &stream) {
			if err = c.refuse(stream.StreamID, stream.Code); err == nil {
				continue
			}
		}
		return err
	}
}

// start sends what the client must know, and reads the preface: either side may be the
// first to speak (RFC 9113, section 3.4), and some clients wait for the other.
func (c *Conn) start() error {
	c.in.frameBy = time.Now().Add(c.o.HeaderTimeout)
	c.mu.Lock()
	w := c.out.writer()
	_ = w.WriteSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.o.Streams)},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.o.HeaderBytes)},
		http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1},
		http2.Setting{ID: http2.SettingNoRFC7540Priorities, Val: 1},
	)
	_ = w.WriteWindowUpdate(0, connWindow-initialWindow)
	if c.greeted = true; c.draining != drainNone {
		c.askToEnd()
	}
	c.mu.Unlock() // it goes out before the reader waits
	for i := 0; i < len(http2.ClientPreface); {
		if len(c.in.buffered()) == 0 {
			if err := c.fill(); err != nil {
				return err
			}
		}
		for _, b := range c.in.buffered() {
			if b != http2.ClientPreface[i] {
				return errPreface
			}
			c.in.r++
			if i++; i == len(http2.ClientPreface) {
				break
			}
		}
	}
	c.begun = true
	return nil
}

// await sets how long the reader waits. It holds c.mu until that is done, as all others do
// who set it: what they say later must not be undone.
func (c *Conn) await() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Await(c.patience())
}

// patience returns how long the reader waits. c.mu is held.
func (c *Conn) patience() time.Duration {
	if c.in.frameBy.IsZero() {
		return c.quiet()
	}
	left := max(time.Until(c.in.frameBy), 1)
	if !c.begun && c.draining != drainNone {
		left = min(left, drainPatience)
	}
	return left
}

// quiet is patience between frames. c.mu is held.
func (c *Conn) quiet() time.Duration {
	left := c.unhurried()
	if c.lingering > 0 {
		left = min(left, max(time.Until(c.lingerBy), 1))
	}
	return left
}

// unhurried is quiet while nobody lingers. c.mu is held.
func (c *Conn) unhurried() time.Duration {
	switch {
	case c.draining == drainAsked:
		return drainPatience
	case c.draining == drainTold && c.active == 0 && c.open == 0:
		return 1
	case c.draining == drainTold && c.active == 0 && c.lingering == 0:
		return max(time.Until(c.toldBy), 1) // a request has not ended
	case c.active > 0 && c.pinged.Load():
		return pingPatience
	case c.active > 0:
		return c.o.BodyTimeout
	}
	left := max(time.Until(c.idleSince.Add(c.o.IdleTimeout)), 1)
	if c.rests() {
		left = min(left, c.o.RestAfter)
	}
	return left
}

// rests reports whether the connection may rest. c.mu is held.
func (c *Conn) rests() bool { return c.o.RestAfter > 0 && !c.staysUp && c.draining == drainNone }

func (c *Conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining != drainNone
}

// StayUp lets a connection that cannot rest, as Serve has proposed, wait in Serve.
func (c *Conn) StayUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.staysUp = true
}

// Lingers reports, after Serve, whether the client may still be sending, while something is
// on its way to it: the last answers, or why there are no more.
func (c *Conn) Lingers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lingers
}

// Expires is when a connection that rests is idle for too long.
func (c *Conn) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idleSince.Add(c.o.IdleTimeout)
}

// late is called when nothing came in the time that patience gave. It returns nil if the
// reader is to go on.
func (c *Conn) late() error {
	now := time.Now()
	if !c.in.frameBy.IsZero() {
		if !c.begun && c.isDraining() {
			return errOver
		}
		if now.Before(c.in.frameBy) {
			return nil // it was woken
		}
		if c.in.block.open || !c.settled {
			c.owner.Reached(LimitHeaderTimeout)
		}
		return http2.ConnectionError(http2.ErrCodeNo)
	}
	c.mu.Lock()
	switch {
	case c.lingering > 0 && !now.Before(c.lingerBy):
		c.endLingering(now)
		c.unlockAndLeave()
		return nil
	case c.draining == drainAsked:
		c.goAway()
		c.unlockAndLeave()
		return nil
	case c.active > 0 && c.pinged.Load():
		c.mu.Unlock()
		return errOver // it is not there any more
	case c.active > 0:
		if c.out.waits() {
			c.mu.Unlock()
			return nil // it is busy with what it is sent, whose time is the transport's to bound
		}
		c.pinged.Store(true)
		_ = c.out.writer().WritePing(false, [8]byte{})
		c.unlockAndLeave()
		return nil
	case c.draining == drainTold && c.lingering == 0 && (c.open == 0 || !now.Before(c.toldBy)) || !now.Before(c.idleSince.Add(c.o.IdleTimeout)):
		c.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeNo)
	}
	rests := c.rests() && !c.out.waits() && len(c.streams) == 0 && len(c.queue) == 0 && now.Sub(c.idleSince) >= c.o.RestAfter
	c.mu.Unlock()
	if rests {
		return errRest
	}
	return nil
}

// fill reads more into the input, which is empty.
func (c *Conn) fill() error {
	n, err := c.read(c.in.space())
	c.in.w += n
	return err
}

// read reads from the transport. What was read before was understood; what came of it
// happens first. It may return nothing without an error.
func (c *Conn) read(p []byte) (int, error) {
	if c.hungry != nil && !c.t.RecordReady() {
		c.feed()
	}
	c.dispatch()
	for {
		c.await()
		if c.hungry != nil {
			c.t.Await(hungryPatience) // the next record may hold no data
		}
		n, err := c.t.Read(p)
		if n > 0 {
			if c.pinged.Load() {
				c.pinged.Store(false)
			}
			return n, nil
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if c.hungry != nil {
			c.feed()
			return 0, nil // who reads into the memory of whoever waits is to let go of it
		}
		if err := c.late(); err != nil {
			return 0, err
		}
	}
}

// hungryPatience is how long a body waits for more of it that seemed to be there.
const hungryPatience = 10 * time.Millisecond

// dispatch gives the streams that have begun to their owner, and lets what was written
// meanwhile go out. The bodies of most of them are here by now.
func (c *Conn) dispatch() {
	if len(c.starting) > 0 {
		c.mu.Lock()
		c.queue = append(c.queue, c.starting...)
		c.mu.Unlock()
		clear(c.starting)
		c.starting = c.starting[:0]
		for c.startNext() {
		}
	}
	c.mu.Lock()
	c.clearQueue()
	bulk := c.bulk > 0
	c.unlockAndLeave()
	if bulk != c.ahead {
		c.ahead = bulk
		c.t.ReadAhead(bulk)
	}
}

// startNext gives a stream to the owner, unless as many are handled as may be, and reports
// whether there may be another. What the client has taken back counts until its handler
// has returned, and other requests wait for that (CVE-2023-44487).
func (c *Conn) startNext() bool {
	c.mu.Lock()
	if c.streamTable == nil {
		c.mu.Unlock()
		return false // another was quicker, and all is over
	}
	var st *Stream
	before := len(c.queue)
	for st == nil && len(c.queue) > 0 && c.active < c.o.Streams {
		st = c.queue[0]
		c.queue = slices.Delete(c.queue, 0, 1) // in its place, or else each request would need a new one
		if st.err != nil {
			c.bury(st)
			st = nil
		}
	}
	if st != nil {
		c.active++
		if !c.working {
			c.working = true
			c.owner.Works()
		}
	} else if before > 0 {
		c.idles()
	}
	c.mu.Unlock()
	if st == nil {
		return false
	}
	c.owner.Start(st)
	return true
}

// clearQueue lets go of the streams that have ended while they wait for their turn: as long as
// handlers do not return, a client can go on to begin others and take them back. c.mu is held.
func (c *Conn) clearQueue() {
	if len(c.queue) == 0 {
		return // as it nearly always is
	}
	c.queue = slices.DeleteFunc(c.queue, func(st *Stream) bool {
		if st.err != nil {
			c.bury(st)
		}
		return st.err != nil
	})
	if len(c.queue) == 0 {
		c.idles() // or nobody else does, if the last handler returned meanwhile
	}
}

// bury gives back what a stream has that ended before its turn. c.mu is held.
func (c *Conn) bury(st *Stream) {
	st.finished = true
	c.credit(nil, st.body.close(errReset))
	if st.Head != nil {
		st.Head.Release()
	}
}

// end ends the connection after an error: the client is told, all streams fail.
func (c *Conn) end(err error) {
	code := http2.ErrCodeNo
	var broken http2.ConnectionError
	tell := true
	switch {
	case errors.As(err, &broken):
		code = http2.ErrCode(broken)
	case errors.Is(err, http2.ErrFrameTooLarge):
		code = http2.ErrCodeFrameSize
	case err == errPreface:
		code = http2.ErrCodeProtocol
	default:
		tell = false
	}
	var flood *calmError
	if errors.As(err, &flood) {
		c.owner.Reached(flood.limit)
	}
	c.dispatch() // of what has begun, nothing is lost
	c.mu.Lock()
	if tell && c.err == nil {
		_ = c.out.writer().WriteGoAway(c.lastAnswered(), code, nil)
	}
	// A client that was told which request was its last may be sending one that is too late,
	// or a PING after its own GOAWAY.
	c.lingers = tell && (code != http2.ErrCodeNo || c.draining == drainTold || c.maxID > 0 && time.Since(c.idleSince) < onItsWay)
	c.failStreams()
	c.unlockAndFlush(true)
	c.in, c.dec = nil, nil // not given back: the framer may be in the middle of something
}

// failStreams ends all streams, and lets nothing more be written but what is there. c.mu
// is held.
func (c *Conn) failStreams() {
	if c.err == nil {
		c.err = errClosed
	}
	if c.streamTable == nil {
		return
	}
	for _, st := range c.streams {
		c.over(st, errClosed)
	}
}

// take lets the connection have what it needs to read.
func (c *Conn) take() {
	if c.dec == nil {
		c.dec = hpack.NewDecoder(4096, nil)
	}
	if c.in == nil {
		c.in = newInput(c)
		c.dec.SetEmitFunc(c.in.field)
	}
	if c.streamTable == nil {
		c.mu.Lock()
		c.streamTable = streamTables.Get().(*streamTable)
		c.mu.Unlock()
	}
}

// release gives it back, as much as can be: what was said of header fields stays.
func (c *Conn) release() {
	c.dec.SetEmitFunc(nil)
	c.in.release()
	c.in = nil
	if c.ahead {
		c.ahead = false
		c.t.ReadAhead(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.release()
	c.tornTo = max(c.tornTo, c.closed.torn.last())
	c.closed = recent{}
	streamTables.Put(c.streamTable)
	c.streamTable = nil
}
