package upstream

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// h2PingAfter is how long a node may be silent before it is asked whether it is there.
	// gRPC servers take a client that asks more often than once in five minutes for a
	// nuisance, and hang up.
	h2PingAfter = 5*time.Minute + 10*time.Second

	// h2PingTimeout is how long it then has to say anything.
	h2PingTimeout = 15 * time.Second

	// h2CloseTimeout bounds the farewell of TLS to a node that takes nothing more.
	h2CloseTimeout = 250 * time.Millisecond
)

// An h2Wire is a connection to a node as net/http sees it: above TLS. It knows when net/http
// has taken in the node's SETTINGS: the first that net/http writes is what a connection begins
// with, and the second the acknowledgement.
//
// A request could be sent before (RFC 9113, section 3.4). But a burst of them would be
// more than many a node takes at a time; and what answers without SETTINGS is no node
// to send anything to.
//
// It also sends a PING to a node that is silent. net/http could (SendPingTimeout), but has a
// timer for it that it does not stop when the connection is closed: each closed connection
// would keep its buffers for five minutes, and a node that closes one after the other would
// fill the memory. Here Close stops it. It is no deadline of the connection's: that of a
// Dialer may know none, or say in its own way that one has passed.
type h2Wire struct {
	net.Conn
	below net.Conn // without TLS

	settled chan struct{}
	spoke   atomic.Bool // the node has sent something, or closed the connection
	closed  atomic.Bool // from this side

	made    time.Time
	reading atomic.Int64 // when the read that goes on began, in nanoseconds since then; zero: none
	lost    atomic.Bool  // closed for the node's silence

	waiting sync.Mutex  // guards what follows
	silence *time.Timer // runs watch; nil when it is closed
	asked   bool        // the node has until the timer runs out

	asks    atomic.Bool // a PING is to be sent
	writing sync.Mutex  // guards what follows
	writes  int         // of net/http's
	preface int         // bytes of it that were written
	head    [5]byte     // length, type and flags of the frame that is being written
	at      int         // bytes of its head that were written
	left    int         // bytes of it that are missing
	more    bool        // a CONTINUATION must follow, and nothing before it
}

const (
	h2PrefaceSize = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	h2HeadSize    = 9

	h2FrameHeaders      = 1 // RFC 9113, section 6.2
	h2FrameContinuation = 9 // section 6.10
	h2FlagEndHeaders    = 4
)

var (
	h2PingFrame = []byte("\x00\x00\x08\x06\x00\x00\x00\x00\x00sallypor")

	errLost = errors.New("the node does not answer PING: connection lost")
)

// newH2Wire returns conn, which is below or TLS over it. Close must be called.
func newH2Wire(conn, below net.Conn) *h2Wire {
	w := &h2Wire{Conn: conn, below: below, settled: make(chan struct{}), made: time.Now()}
	w.waiting.Lock() // watch looks at silence
	defer w.waiting.Unlock()
	w.silence = time.AfterFunc(h2PingAfter, w.watch)
	return w
}

// Read implements [net.Conn]. One goroutine of net/http's reads.
func (w *h2Wire) Read(p []byte) (int, error) {
	w.reading.Store(max(int64(time.Since(w.made)), 1))
	n, err := w.Conn.Read(p)
	w.reading.Store(0)
	if n > 0 || err != nil && !w.closed.Load() {
		w.spoke.Store(true)
	}
	if err != nil && w.lost.Load() {
		err = errLost
	}
	return n, err
}

// watch looks for how long the node has been silent, and asks it if that is too long. Then
// anything that comes will do.
func (w *h2Wire) watch() {
	w.waiting.Lock()
	if w.silence == nil {
		w.waiting.Unlock()
		return
	}
	silent := time.Duration(0)
	if since := w.reading.Load(); since != 0 {
		silent = time.Since(w.made) - time.Duration(since)
	}
	late := silent >= h2PingAfter
	lost := late && w.asked
	switch {
	case lost:
		w.lost.Store(true)
	case late:
		w.silence.Reset(h2PingTimeout)
	default:
		w.silence.Reset(h2PingAfter - silent)
	}
	w.asked = late
	w.waiting.Unlock()

	switch { // either may take long
	case lost:
		_ = w.below.Close()
	case late:
		w.asks.Store(true)
		w.ping()
	}
}

// ping sends a PING that is due, between two frames (RFC 9113, section 4.1), but not within a
// block of header fields (section 4.3). Who is writing sees to it that it is sent
// afterwards.
func (w *h2Wire) ping() {
	for w.asks.Load() && w.writing.TryLock() {
		between := w.preface == h2PrefaceSize && w.at == 0 && w.left == 0 && !w.more
		if between {
			w.asks.Store(false)
			_, _ = w.Conn.Write(h2PingFrame) // the answer fails to come
		}
		w.writing.Unlock()
		if !between {
			return // net/http is about to write the rest
		}
	}
}

// Write implements [net.Conn].
func (w *h2Wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	n, err := w.Conn.Write(p)
	w.follow(p[:n])
	if err == nil {
		if w.writes++; w.writes == 2 {
			close(w.settled)
		}
	}
	w.writing.Unlock()
	w.ping()
	return n, err
}

// follow takes note of where among frames the writing is. w.writing is held.
func (w *h2Wire) follow(p []byte) {
	n := min(len(p), h2PrefaceSize-w.preface)
	w.preface += n
	for p = p[n:]; len(p) > 0; p = p[n:] {
		if w.left > 0 {
			n = min(len(p), w.left)
			w.left -= n
			continue
		}
		n = min(len(p), h2HeadSize-w.at)
		if w.at < len(w.head) {
			copy(w.head[w.at:], p[:n])
		}
		if w.at += n; w.at == h2HeadSize {
			w.at, w.left = 0, int(w.head[0])<<16|int(w.head[1])<<8|int(w.head[2])
			fields := w.head[3] == h2FrameHeaders || w.head[3] == h2FrameContinuation
			w.more = fields && w.head[4]&h2FlagEndHeaders == 0
		}
	}
}

// Close implements [net.Conn].
func (w *h2Wire) Close() error {
	w.closed.Store(true)
	w.waiting.Lock()
	if w.silence != nil {
		w.silence.Stop()
		w.silence = nil
	}
	w.waiting.Unlock()
	return w.Conn.Close()
}

// An h2SecureWire is an h2Wire with TLS, of which net/http tells those who get an answer.
type h2SecureWire struct {
	*h2Wire
	secure *tls.Conn
}

// ConnectionState is what net/http looks for.
func (w h2SecureWire) ConnectionState() tls.ConnectionState { return w.secure.ConnectionState() }

// Close implements [net.Conn].
func (w h2SecureWire) Close() error {
	stuck := time.AfterFunc(h2CloseTimeout, func() { _ = w.below.Close() })
	defer stuck.Stop()
	return w.h2Wire.Close()
}
