package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/http1"
)

// This file is what becomes of connections that are accepted.

// ServeTLS serves HTTP/1.1 and HTTP/2 over TLS on a listener of plain
// connections, until Shutdown or Close, upon which it returns
// [http.ErrServerClosed]. It closes the listener.
func (s *Server) ServeTLS(l net.Listener) error {
	return s.serve(s.term.Listener(acceptedListener{l, true}))
}

// Serve serves HTTP/1.1 without TLS on a listener, until Shutdown or Close, upon
// which it returns [http.ErrServerClosed]. It closes the listener. What may be
// served so is [Options.PlainHTTP]'s to say.
func (s *Server) Serve(l net.Listener) error {
	return s.serve(acceptedListener{l, false})
}

// An acceptedListener yields the connections of another listener as package http1 wants
// them, so that what TLS writes can be collected.
type acceptedListener struct {
	net.Listener
	secure bool // TLS will be put over them
}

func (l acceptedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, ok := c.(*tls.Conn); ok {
		return c, nil // of a listener of the user's, whose TLS is there already
	}
	return http1.Accepted(c, l.secure), nil
}

// The pauses after an error of accept that may pass, such as a lack of file
// descriptors, are those of net/http.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// serve accepts connections until the listener is closed.
func (s *Server) serve(l net.Listener) error {
	defer l.Close()
	if !s.listeners.add(l) {
		return http.ErrServerClosed
	}
	defer s.listeners.remove(l)
	s.h2.start(s)
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
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
	if secure, ok := c.(*tls.Conn); ok {
		// Done already but for a listener of the user's.
		ctx, cancel := context.WithTimeout(context.Background(), s.o.Limits.HeaderTimeout)
		err := secure.HandshakeContext(ctx)
		cancel()
		if err != nil {
			_ = c.Close()
			return
		}
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			http1.HandOver(secure)
			s.h2.take(secure)
			return
		}
	}
	s.newClient(c).serve()
}

// listeners are those that a server serves. The zero listeners is empty.
type listeners struct {
	mu     sync.Mutex // guards what follows
	open   map[net.Listener]struct{}
	closed bool
}

// add reports false if there are to be none any more.
func (ls *listeners) add(l net.Listener) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return false
	}
	if ls.open == nil {
		ls.open = map[net.Listener]struct{}{}
	}
	ls.open[l] = struct{}{}
	return true
}

func (ls *listeners) remove(l net.Listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.open, l)
}

func (ls *listeners) isClosed() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.closed
}

func (ls *listeners) closeAll() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
	for l := range ls.open {
		_ = l.Close()
	}
}

// A handOver is the listener through which connections with HTTP/2 come to net/http's
// server: as exactly a *tls.Conn, which is what it knows HTTP/2 by.
type handOver struct {
	once   sync.Once
	conns  chan net.Conn
	closed chan struct{}
	end    sync.Once
}

// start lets the server of net/http serve what is handed over.
func (h *handOver) start(s *Server) {
	h.once.Do(func() {
		h.conns, h.closed = make(chan net.Conn), make(chan struct{})
		go s.serveHandOver()
	})
}

func (s *Server) serveHandOver() { _ = s.http.Serve(&s.h2) }

// take hands a connection over, or closes it if nobody takes it any more.
func (h *handOver) take(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		_ = c.Close()
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
