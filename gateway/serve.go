package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/http1"
)

// This file is what becomes of connections that are accepted.

// ServeTLS serves HTTP/1.1 and HTTP/2 over TLS on a listener of plain connections, until
// Shutdown or Close; then it returns [http.ErrServerClosed]. It closes the listener.
func (s *Server) ServeTLS(l net.Listener) error {
	if l == nil {
		return errNoListener
	}
	below := &acceptedListener{Listener: l, server: s, secure: true}
	return s.serve(s.term.Listener(below), below)
}

// Serve serves HTTP/1.1 without TLS on a listener, and HTTP/2 with [Options.H2C], until
// Shutdown or Close; then it returns [http.ErrServerClosed]. It closes the listener.
// [Options.PlainHTTP] says what may be served this way.
func (s *Server) Serve(l net.Listener) error {
	if l == nil {
		return errNoListener
	}
	below := &acceptedListener{Listener: l, server: s}
	return s.serve(below, below)
}

// errNoListener is for those who have not looked at the error of [net.Listen]. Accept would
// panic, on a goroutine where nobody can recover it.
var errNoListener = errors.New("gateway: there is no listener: did net.Listen return an error?")

// An acceptedListener yields the connections of another listener as package http1 wants
// them, so that what TLS writes can be collected.
type acceptedListener struct {
	net.Listener
	server *Server
	secure bool // TLS will be put over them

	once   sync.Once
	closed error // of closing it
}

// Close closes the listener of the other once, of whoever wants it closed the first time.
// That it is closed already is no error.
func (l *acceptedListener) Close() error {
	l.once.Do(func() {
		if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
			l.closed = err
		}
	})
	return l.closed
}

// Accept returns the next connection that is not one too many.
func (l *acceptedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		i := l.server.accept(c)
		if i == nil {
			continue
		}
		if secure, ok := c.(*tls.Conn); ok { // of a listener of the user's, whose TLS is there already
			i.header = false
			return &securedInbound{i, secure}, nil
		}
		return http1.Accepted(i, l.secure), nil
	}
}

// The pauses after an error of accept that may pass, such as a lack of file
// descriptors, are those of net/http.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// serve accepts connections until the listener is closed, or the one below it, of which
// it then accepts the rest.
func (s *Server) serve(l, below net.Listener) error {
	defer l.Close()
	if !s.listeners.add(l, below) {
		return http.ErrServerClosed
	}
	defer s.listeners.remove(l)
	s.h2.start(s)
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			s.listeners.enter()
			go s.serveConn(c)
			continue
		}
		if s.listeners.isClosed() {
			return http.ErrServerClosed
		}
		var temporary interface{ Temporary() bool }
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			return err
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		time.Sleep(pause)
	}
}

// serveConn serves one connection.
func (s *Server) serveConn(c net.Conn) {
	arrived := false
	defer func() {
		if arrived {
			return
		}
		// A function of the user's has failed, such as one in the tls.Config of the listener. It
		// costs the connection, as under http.Server, and not the process.
		if r := recover(); r != nil {
			s.logPanic(c.RemoteAddr().String(), r)
		}
		_ = c.Close()
	}()
	k := s.arrive(c)
	arrived = true
	if k != nil {
		k.serve()
	}
}

// arrive makes a client of a connection, or returns nil if it is closed, or handed to
// net/http with HTTP/2.
func (s *Server) arrive(c net.Conn) (k *client) {
	defer func() {
		if k == nil || !k.arriving {
			s.listeners.leave()
		}
	}()
	s.history.touch(s) // for the handshake
	switch c := c.(type) {
	case *tls.Conn:
		if s.o.NetHTTP2 && speaksHTTP2(c.ConnectionState()) {
			http1.HandOver(c)
			s.h2.take(c)
			return nil
		}
	case *securedInbound:
		if s.secure(c) != nil {
			_ = c.Close()
			return nil
		}
		if s.o.NetHTTP2 && speaksHTTP2(c.ConnectionState()) {
			s.inbounds.hand(c.tls, c.inbound)
			if !s.h2.take(c.tls) {
				s.inbounds.takeBack(c.tls)
			}
			return nil
		}
	case interface{ Admit() error }:
		if c.Admit() != nil {
			_ = c.(net.Conn).Close()
			return nil
		}
	}
	k = s.newClient(c)
	if k.tls != nil && speaksHTTP2(*k.tls) {
		k.speakHTTP2()
	}
	if !s.clients.activate(k) {
		k.conn.Abort()
		return nil
	}
	k.arriving = s.o.H2C && k.tls == nil
	if !k.arriving {
		s.clients.count(k)
	}
	return k
}

func speaksHTTP2(cs tls.ConnectionState) bool { return cs.NegotiatedProtocol == "h2" }

// secure makes the handshake of a listener of the user's.
func (s *Server) secure(i *securedInbound) error {
	if !s.inbounds.arrive(i.inbound) {
		return net.ErrClosed
	}
	defer s.inbounds.arrived(i.inbound)
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Limits.HeaderTimeout)
	defer cancel()
	return i.tls.HandshakeContext(ctx)
}

// listeners are those that a server serves. The zero listeners is empty.
type listeners struct {
	mu     sync.Mutex                    // guards what follows
	open   map[net.Listener]net.Listener // with those below them
	closed bool
	busy   int  // accept loops, and what they have accepted that is nobody's yet
	rest   rest // when there is none
}

// add reports false if there are to be none any more.
func (ls *listeners) add(l, below net.Listener) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return false
	}
	if ls.open == nil {
		ls.open = map[net.Listener]net.Listener{}
	}
	ls.open[l] = below
	ls.busy++
	return true
}

func (ls *listeners) remove(l net.Listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.open, l)
	ls.done()
}

// enter takes note of a connection that was accepted, until leave.
func (ls *listeners) enter() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.busy++
}

func (ls *listeners) leave() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.done()
}

// done takes note that one that was busy is not any more. ls.mu is held.
func (ls *listeners) done() {
	if ls.busy--; ls.busy == 0 {
		ls.rest.reach()
	}
}

// drain closes the listeners below. What was accepted from them goes on.
func (ls *listeners) drain() error {
	ls.mu.Lock()
	ls.closed = true
	list := slices.Collect(maps.Values(ls.open))
	ls.mu.Unlock()
	return closeListeners(list)
}

// closePatience is how long the closing of a listener is waited for. It takes no time,
// unless the descriptor is in blocking mode, in which it is for a moment when another
// process is given it: an accept that began then ends with the next connection, and the
// closing with it.
const closePatience = time.Second

// closeListeners closes listeners, and returns what was wrong with that. No lock must be
// held that one which accepts wants.
func closeListeners(list []net.Listener) (err error) {
	closed := make(chan error, len(list))
	for _, l := range list {
		go func() { closed <- l.Close() }()
	}
	late := time.After(closePatience)
	for range list {
		select {
		case failed := <-closed:
			err = errors.Join(err, failed)
		case <-late:
			return err
		}
	}
	return err
}

// wait waits until nothing more will come of the listeners, or ctx ends.
func (ls *listeners) wait(ctx context.Context) error {
	return ls.rest.wait(ctx, &ls.mu, func() bool { return ls.busy == 0 })
}

func (ls *listeners) isClosed() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.closed
}

func (ls *listeners) closeAll() error {
	ls.mu.Lock()
	ls.closed = true
	list := slices.Collect(maps.Keys(ls.open))
	ls.mu.Unlock()
	return closeListeners(list)
}

// A handOver is the listener through which connections with HTTP/2 come to net/http's
// server: over TLS as exactly a *tls.Conn, which is what it knows HTTP/2 by.
type handOver struct {
	once   sync.Once
	conns  chan net.Conn
	closed chan struct{}
	end    sync.Once
	last   atomic.Pointer[time.Time] // when the last one was taken; nil: none was
}

// start lets the server of net/http serve what is handed over.
func (h *handOver) start(s *Server) {
	h.once.Do(func() {
		h.conns, h.closed = make(chan net.Conn), make(chan struct{})
		go s.serveHandOver()
	})
}

func (s *Server) serveHandOver() { _ = s.http.Serve(&s.h2) }

// take hands a connection over. It reports false, and closes it, if nobody takes it any
// more.
func (h *handOver) take(c net.Conn) bool {
	now := time.Now()
	h.last.Store(&now)
	select {
	case h.conns <- c:
		return true
	case <-h.closed:
		_ = c.Close()
		return false
	}
}

// settle waits, unless ctx ends, until who was handed over last has had the time to ask
// that [*client.drain] gives to others: net/http's Shutdown takes a new connection with
// HTTP/2 for an idle one, and closes it.
func (h *handOver) settle(ctx context.Context) error {
	last := h.last.Load()
	if last == nil {
		return nil
	}
	timer := time.NewTimer(time.Until(last.Add(newcomerTime)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Accept implements [net.Listener].
func (h *handOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handOver) Close() error {
	h.end.Do(func() { close(h.closed) })
	return nil
}

// Addr implements [net.Listener].
func (h *handOver) Addr() net.Addr { return handOverAddr{} }

type handOverAddr struct{}

func (handOverAddr) Network() string { return "handover" }
func (handOverAddr) String() string  { return "handover" }
