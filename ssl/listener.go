package ssl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/peeraddr"
)

// Listener returns a listener that yields *tls.Conn whose handshake is finished. The
// handshakes run off the accept loop, bounded in number and in time by
// [Options.MaxHandshakes], [Options.MaxHandshakesPerAddr] and [Options.HandshakeTimeout];
// if there are too many, the oldest make room for others. They are counted
// ([*Terminator.Stats]), and every one that fails is reported with its reason to
// [Options.Trace] and, as far as [Options.FailuresLogged] allows, to [Options.Logger] or
// [Options.HandshakeLog]; [http.Server] would only log a line.
//
// Pass it to [http.Server.Serve] as it is (HTTP/2 needs exactly a *tls.Conn), not to
// ServeTLS. The connection below a *tls.Conn, (*tls.Conn).NetConn, has a method NetConn as
// well, which returns what l has yielded. Close closes l, ends the handshakes in progress,
// and waits for their goroutines. If only l is closed, the handshakes in progress are
// completed first and their connections accepted; then Accept fails as l's did. That way,
// draining a server loses no client.
//
// If a connection of l has a method Admit() error, that is called before anything else, off
// the accept loop: it can read a PROXY protocol header, and make RemoteAddr return what the
// header says. It must limit its own time, and end when the connection is closed. If it
// fails, the connection is closed, and this is not reported, unless it was
// [ReasonCrowdedOut].
func (tm *Terminator) Listener(l net.Listener) net.Listener {
	tl := &listener{
		Listener: l,
		tm:       tm,
		config:   tm.TLSConfig(),
		ready:    make(chan *tls.Conn),
		closed:   make(chan struct{}),
		perAddr:  map[netip.Prefix]int{},
	}
	tl.slots = slots{taken: make(chan struct{}, tm.o.MaxHandshakes), closed: tl.closed}
	tl.start = sync.OnceFunc(tl.begin)
	return tl
}

type listener struct {
	net.Listener
	tm     *Terminator
	config *tls.Config

	slots  slots          // the places of the connections on their way to Accept
	ready  chan *tls.Conn // from the handshakes to Accept
	start  func()         // starts the accept loop, once
	closed chan struct{}  // closed when the listener is, or has failed

	running sync.WaitGroup // the accept loop and the handshakes

	mu      sync.Mutex           // guards what follows
	err     error                // why closed is closed
	perAddr map[netip.Prefix]int // places that a remote address has
}

// Accept returns the next connection whose handshake is done.
func (l *listener) Accept() (net.Conn, error) {
	l.start()
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.closed:
		l.mu.Lock()
		defer l.mu.Unlock()
		return nil, l.err
	}
}

// begin starts the accept loop, unless the listener is closed already: Close must
// not begin to wait beside it.
func (l *listener) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.running.Add(1)
	go l.acceptLoop()
}

// Close implements net.Listener.
func (l *listener) Close() error {
	err := l.Listener.Close()
	l.stop(net.ErrClosed)
	l.running.Wait()
	return err
}

// stop ends what goes on. The first reason counts.
func (l *listener) stop(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = reason
	close(l.closed)
	l.slots.close()
}

// The pauses after an error of accept that may pass, such as a lack of file
// descriptors, are those of net/http.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// finish waits until what was begun is accepted, and then ends with a reason.
func (l *listener) finish(reason error) {
	l.slots.takeAll()
	l.stop(reason)
}

func (l *listener) acceptLoop() {
	defer l.running.Done()
	var pause time.Duration
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if !errors.As(err, &temporary) || !temporary.Temporary() {
				l.finish(err)
				return
			}
			pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
			select {
			case <-time.After(pause):
			case <-l.closed:
				return
			}
			continue
		}
		pause = 0
		// The place is taken after the connection, so that who waits for one is known.
		p := l.slots.take(c)
		if p == nil {
			return
		}
		l.running.Add(1)
		go l.handshake(p)
	}
}

// enter gives a remote address one place more, unless it has all that it may have.
func (l *listener) enter(addr netip.Prefix) bool {
	if !addr.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perAddr[addr] >= l.tm.o.MaxHandshakesPerAddr {
		return false
	}
	l.perAddr[addr]++
	return true
}

// leave takes the place of enter back.
func (l *listener) leave(addr netip.Prefix) {
	if !addr.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perAddr[addr]--; l.perAddr[addr] == 0 {
		delete(l.perAddr, addr)
	}
}

// handshake makes the handshake and hands the connection over. It keeps its place
// until then: if nobody takes what is done, no more is begun.
func (l *listener) handshake(p *slot) {
	defer l.running.Done()
	defer l.slots.free()
	defer p.settle()
	c := p.conn
	returned := false
	defer func() {
		if r := recover(); r != nil { // in a function of Options.Trace
			l.tm.logPanic(peeraddr.Remote(c), r)
		}
		if !returned { // or it has ended the goroutine, as t.FailNow does
			c.Close()
		}
	}()
	if a, ok := c.(interface{ Admit() error }); ok {
		if recovered(a.Admit) != nil {
			if p.displaced() {
				l.tm.failed(&attempt{counts: &l.tm.counts.noProfile}, peeraddr.Remote(c), p.begun, time.Since(p.begun), errCrowdedOut)
			}
			c.Close()
			return
		}
	}
	if l.tm.o.MaxHandshakesPerAddr > 0 {
		// Here and not in the accept loop: it may take Admit to tell the address.
		addr := peeraddr.Customer(peeraddr.Remote(c))
		if !l.enter(addr) {
			c.Close()
			l.tm.counts.turnedAway.Add(1)
			if trace := l.tm.o.Trace; trace != nil && trace.TurnedAway != nil {
				trace.TurnedAway(peeraddr.Remote(c))
			}
			return
		}
		defer l.leave(addr)
	}
	conn, err := l.tm.handshake(p, l.config)
	returned = true
	if err != nil {
		c.Close()
		return
	}
	select {
	case l.ready <- conn:
	case <-l.closed:
		c.Close()
	}
}

// handshake makes one handshake within its time, and reports how it went. Once it is done
// its place is settled.
func (tm *Terminator) handshake(p *slot, config *tls.Config) (*tls.Conn, error) {
	// One deadline for the whole handshake: a client that sends a byte a second
	// gets no more time than one that sends nothing.
	c, begun := p.conn, time.Now()
	_ = c.SetDeadline(begun.Add(tm.o.HandshakeTimeout))
	a := &attempt{counts: &tm.counts.noProfile, slot: p}
	p.paced = pace(c, tm.procs, p)
	conn := tls.Server(p.paced, config)
	err := func() error {
		defer p.paced.over() // also when a function of the user's ends the goroutine
		return recovered(func() error {
			return conn.HandshakeContext(context.WithValue(context.Background(), attemptKey{}, a))
		})
	}()
	took := time.Since(begun)
	switch {
	case err == nil && !p.settle():
		err = errCrowdedOut // in the last moment
	case err != nil && p.displaced():
		err = fmt.Errorf("%w: %w", errCrowdedOut, err)
	}
	if err != nil {
		defer linger(c) // in its place, which it can lose meanwhile
		answerPlainHTTP(err)
		return nil, tm.failed(a, peeraddr.Remote(c), begun, took, err)
	}
	_ = c.SetDeadline(time.Time{})
	cs := conn.ConnectionState()
	tm.counts.succeeded(a.counts, &cs, took)
	if tm.o.HandshakeLog != nil {
		tm.logDone(a.profile, peeraddr.Remote(c), &cs, took)
	}
	tm.over(a, begun, took, peeraddr.Remote(c), &cs, nil)
	return conn, nil
}

// failed counts and reports a handshake that failed.
func (tm *Terminator) failed(a *attempt, remote net.Addr, begun time.Time, took time.Duration, err error) *HandshakeError {
	e := tm.classify(a, remote, err)
	tm.counts.failed(a.counts, e.Reason)
	tm.logFailed(e)
	tm.over(a, begun, took, remote, nil, e)
	return e
}

// recovered makes an error of a panic, in crypto/tls or in a function of
// Options.Base: it may cost one connection, as it does under http.Server, and not
// the process.
func recovered(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("ssl: panic in a handshake: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// Bounds of lingering: enough for what a client has sent before it sees the alert.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// linger lets the alert reach the client. In TLS 1.3 the client's first request is
// on its way when its certificate is refused; closing a socket with unread bytes
// makes the kernel send a reset, which can destroy the alert on its way, and
// with it the reason. So the connection is half-closed, and read for a moment.
func linger(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c, lingerBytes)
}

// answerPlainHTTP tells a client that speaks HTTP to a TLS port so, as net/http
// does.
func answerPlainHTTP(err error) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return
	}
	switch string(header.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis port speaks TLS: use https.\n")
	}
}
