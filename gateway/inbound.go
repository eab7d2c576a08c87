package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/internal/peeraddr"
	"github.com/sallyport/sallyport/internal/proxyproto"
	"github.com/sallyport/sallyport/internal/sample"
)

// An inbound is a connection that was accepted. It counts until it is closed, whoever
// has it then: the engine, net/http's server, or a handler that has taken it over. It is
// below all that is spoken over the connection, and what it does itself is done when
// [*inbound.Admit] has returned, so that who knows of it may use the connection below:
// see [http1.Admitter].
type inbound struct {
	net.Conn
	server *Server
	header bool     // a header of the PROXY protocol comes first
	remote net.Addr // that this has told, or nil

	gone bool         // it is closed; guarded by the mutex of inbounds
	addr netip.Prefix // that it counts for, or zero; guarded likewise
}

// inbounds are the connections of a server, of any kind. The zero inbounds is empty.
type inbounds struct {
	mu       sync.Mutex // guards what follows, and parts of each inbound
	n        int
	open     atomic.Int64 // n, for who only looks
	perAddr  map[netip.Prefix]int
	arriving map[*inbound]struct{} // of which nobody else knows yet
	handed   map[net.Conn]*inbound // to net/http, by what it closes
	closed   bool

	refused sample.Sampler // headers of the PROXY protocol
}

var errTurnedAway = errors.New("gateway: the connection is one too many")

// accept takes a connection in, or closes it and returns nil if there are too many.
func (s *Server) accept(c net.Conn) *inbound {
	i := &inbound{Conn: c, server: s}
	remote := i.RemoteAddr()
	i.header = s.sendsHeader(remote)
	var addr netip.Prefix
	if !i.header {
		addr = s.countedAddr(remote)
	}
	if limit := s.inbounds.enter(i, &s.o.Limits, addr); limit != "" {
		_ = c.Close()
		s.limitReached(limit, remote)
		return nil
	}
	s.counts.accepted.Add(1)
	return i
}

// sendsHeader reports whether a peer must send a header of the PROXY protocol.
func (s *Server) sendsHeader(peer net.Addr) bool {
	if len(s.o.ProxyProtocol) == 0 {
		return false
	}
	addr := peeraddr.Of(peer)
	return slices.ContainsFunc(s.o.ProxyProtocol, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// countedAddr returns what a remote address counts for. It is zero if it does not count.
func (s *Server) countedAddr(remote net.Addr) netip.Prefix {
	if s.o.Limits.ConnectionsPerAddr <= 0 {
		return netip.Prefix{}
	}
	return peeraddr.Customer(remote)
}

// enter counts a connection, unless a limit forbids it, which it then returns.
func (is *inbounds) enter(i *inbound, l *Limits, addr netip.Prefix) Limit {
	is.mu.Lock()
	defer is.mu.Unlock()
	if l.Connections > 0 && is.n >= l.Connections {
		return LimitConnections
	}
	if !is.count(i, l, addr) {
		return LimitConnectionsPerAddr
	}
	is.n++
	is.open.Add(1)
	return ""
}

// tell counts a connection for an address that is known later.
func (is *inbounds) tell(i *inbound, l *Limits, addr netip.Prefix) Limit {
	is.mu.Lock()
	defer is.mu.Unlock()
	if !i.gone && !is.count(i, l, addr) {
		return LimitConnectionsPerAddr
	}
	return ""
}

// count gives an address one connection more, unless it has as many as it may have.
// is.mu is held.
func (is *inbounds) count(i *inbound, l *Limits, addr netip.Prefix) bool {
	if !addr.IsValid() {
		return true
	}
	if is.perAddr[addr] >= l.ConnectionsPerAddr {
		return false
	}
	if is.perAddr == nil {
		is.perAddr = map[netip.Prefix]int{}
	}
	is.perAddr[addr]++
	i.addr = addr
	return true
}

// leave ends the counting of a connection.
func (is *inbounds) leave(i *inbound) {
	is.mu.Lock()
	defer is.mu.Unlock()
	if i.gone {
		return
	}
	i.gone = true
	is.n--
	is.open.Add(-1)
	if !i.addr.IsValid() {
		return
	}
	if is.perAddr[i.addr]--; is.perAddr[i.addr] == 0 {
		delete(is.perAddr, i.addr)
	}
}

// arrive takes note of a connection that [inbounds.closeArriving] must close, until
// arrived. It reports false if that was called.
func (is *inbounds) arrive(i *inbound) bool {
	is.mu.Lock()
	defer is.mu.Unlock()
	if is.closed {
		return false
	}
	if is.arriving == nil {
		is.arriving = map[*inbound]struct{}{}
	}
	is.arriving[i] = struct{}{}
	return true
}

func (is *inbounds) arrived(i *inbound) {
	is.mu.Lock()
	defer is.mu.Unlock()
	delete(is.arriving, i)
}

// closeArriving closes the connections that arrive, and those that will.
func (is *inbounds) closeArriving() {
	is.mu.Lock()
	is.closed = true
	arriving := make([]*inbound, 0, len(is.arriving))
	for i := range is.arriving {
		arriving = append(arriving, i)
	}
	is.mu.Unlock()
	for _, i := range arriving {
		_ = i.Close()
	}
}

// hand takes note that net/http has a connection, which closes c and not i.
func (is *inbounds) hand(c net.Conn, i *inbound) {
	is.mu.Lock()
	defer is.mu.Unlock()
	if is.handed == nil {
		is.handed = map[net.Conn]*inbound{}
	}
	is.handed[c] = i
}

// takeBack is called when net/http has closed a connection.
func (is *inbounds) takeBack(c net.Conn) {
	is.mu.Lock()
	i := is.handed[c]
	delete(is.handed, c)
	is.mu.Unlock()
	if i != nil {
		is.leave(i)
	}
}

// Close implements [net.Conn].
func (i *inbound) Close() error {
	err := i.Conn.Close()
	i.server.inbounds.leave(i)
	return err
}

// RemoteAddr implements [net.Conn].
func (i *inbound) RemoteAddr() net.Addr {
	if i.remote != nil {
		return i.remote
	}
	return peeraddr.Remote(i.Conn)
}

// LocalAddr implements [net.Conn].
func (i *inbound) LocalAddr() net.Addr { return peeraddr.Local(i.Conn) }

// NetConn returns the connection below.
func (i *inbound) NetConn() net.Conn { return i.Conn }

// CloseWrite implements what [net.TCPConn] does, if there is one below.
func (i *inbound) CloseWrite() error {
	if half, ok := i.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn implements [syscall.Conn], if the connection below does.
func (i *inbound) SyscallConn() (syscall.RawConn, error) {
	if below, ok := i.Conn.(syscall.Conn); ok {
		return below.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Admit reads the header of the PROXY protocol, if there is to be one, in the time that
// the head of a request has. It is called before anything else is done with the
// connection, and not by the accept loop. After an error the connection is to be closed.
func (i *inbound) Admit() error {
	if !i.header {
		return nil
	}
	s := i.server
	if !s.inbounds.arrive(i) {
		return net.ErrClosed
	}
	defer s.inbounds.arrived(i)
	_ = i.Conn.SetReadDeadline(time.Now().Add(s.o.Limits.HeaderTimeout))
	h, err := proxyproto.Read(i.Conn)
	if err != nil {
		s.headerRefused(peeraddr.Remote(i.Conn), err)
		return err
	}
	_ = i.Conn.SetReadDeadline(time.Time{})
	if h.Source.IsValid() {
		i.remote = net.TCPAddrFromAddrPort(h.Source)
	}
	remote := i.RemoteAddr()
	if limit := s.inbounds.tell(i, &s.o.Limits, s.countedAddr(remote)); limit != "" {
		s.limitReached(limit, remote)
		return errTurnedAway
	}
	return nil
}

// headerRefused tells of a peer that should have sent a header of the PROXY protocol.
func (s *Server) headerRefused(peer net.Addr, err error) {
	if t := s.o.Trace; t != nil && t.ProxyHeaderRefused != nil {
		s.guarded("Trace.ProxyHeaderRefused", func() { t.ProxyHeaderRefused(peer, err) })
	}
	if s.o.Logger == nil {
		return
	}
	if n, ok := s.inbounds.refused.Next(time.Now(), s.failuresLogged()); ok {
		s.o.Logger.Warn("PROXY header refused", "peer", peer.String(), "error", err.Error(), "unreported", n)
	}
}

// A securedInbound is one over which a listener of the user's speaks TLS.
type securedInbound struct {
	*inbound
	tls *tls.Conn
}

// ConnectionState is for package http1, and what looks for it as net/http does.
func (i *securedInbound) ConnectionState() tls.ConnectionState { return i.tls.ConnectionState() }
