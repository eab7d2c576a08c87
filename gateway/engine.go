package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/h2"
	"github.com/sallyport/sallyport/internal/http1"
)

// This file is the life of one connection with HTTP/1.1: one goroutine, one request
// after another. What most requests are, one that goes on to a node that speaks
// HTTP/1.1, is relayed from buffer to buffer (relay.go). Everything else, such as a
// handler of the user's, an upgrade, or an answer of the gateway's own, takes the way of
// requests of net/http (adapter.go). The two ways decide alike, because both ask
// [*Server.decide].

// A client is a connection on which requests come in.
type client struct {
	server *Server
	conn   *http1.Conn
	tls    *tls.ConnectionState // nil without TLS

	remote string // its address, as net/http writes it
	peer   string // the same without the port
	local  net.Addr
	port   string // that it connected to

	joined   int64 // when it had connected, by the server's clock
	requests int   // that were begun
	arriving bool  // it counts among what the listeners have accepted, until it is known what it speaks

	// since is when the client began to wait for an answer, in nanoseconds since the
	// server's epoch; zero if it does not. The sweeper reads it.
	since atomic.Int64

	fd      int32 // of the socket, for the poller
	expires int64 // when it is idle for too long, by the server's clock

	flight // of the request that goes on; with HTTP/2 each has its own

	// The mutex of flight guards what follows.
	state clientState
	h2    *h2.Conn // nil with HTTP/1.1; changed once at most, by the connection's goroutine

	prev, next *client // in a list of the server's; guarded by its mutex
	list       *clientList
	counted    bool // among the connections that speak its protocol; guarded likewise

	access atomic.Pointer[preface] // nil unless it was wanted; forgotten when it is parked

	busy atomic.Bool // it counts among those on which a request goes on
}

// A clientState is what a connection is doing.
type clientState uint8

const (
	stateIdle   clientState = iota // nothing of a request came yet
	stateActive                    // a request goes on
	stateParked                    // idle, and without a goroutine
	stateOver                      // it is handed over, or closed
)

// newClient returns the client of a connection whose handshake is done.
func (s *Server) newClient(c net.Conn) *client {
	k := &client{server: s, local: c.LocalAddr(), joined: s.clock()}
	k.conn = http1.Server(c, s.o.Limits.BodyTimeout)
	k.tls = k.conn.TLS()
	k.remote = c.RemoteAddr().String()
	k.peer = peerOf(k.remote)
	if _, port, err := net.SplitHostPort(k.local.String()); err == nil {
		k.port = port
	}
	return k
}

// parkAfter is how long a connection is idle before it gives up its buffer and its
// goroutine. Most clients that ask again do so sooner. While many connect at once, it
// decides how many stacks there are: with a second, 5 000 idle connections took 24.7 KiB
// each, and with this 19.9.
const parkAfter = 250 * time.Millisecond

// newcomerTime is how long who has connected has to send a request although the server drains:
// it may be on its way.
const newcomerTime = time.Second

// newcomerLeft is what is left of that time.
func (k *client) newcomerLeft() time.Duration {
	return newcomerTime - time.Duration(k.server.clock()-k.joined)
}

// serve serves requests until the connection ends or is parked.
func (k *client) serve() {
	parked, returned := false, false
	defer func() {
		if r := recover(); r != nil {
			k.server.logPanic(k.remote, r)
		}
		if !returned { // also if a handler of the user's has ended the goroutine, as t.FailNow does
			k.hangUp()
		}
		if !parked { // or else it may be another goroutine's already
			k.arrived()
			k.rests()
			k.server.clients.remove(k)
		}
	}()
	parked = k.serveRequests()
	returned = true
}

// serveRequests is serve without what comes after it.
func (k *client) serveRequests() (parked bool) {
	if !k.server.clients.activate(k) {
		k.conn.Abort() // the server was closed meanwhile
		return false
	}
	if k.expires == 0 {
		k.idles(k.server.o.Limits.HeaderTimeout) // who connects wants something
	}
	for {
		if k.h2 != nil {
			return k.serveHTTP2()
		}
		if k.requests > 0 && k.server.draining.Load() {
			k.end()
			return false
		}
		// A connection that was parked may have been woken by less than a request.
		left := time.Duration(k.expires - k.server.clock())
		if k.server.draining.Load() {
			left = min(left, k.newcomerLeft())
		}
		left = max(left, 1)
		patience := min(left, parkAfter)
		err := k.conn.Wait(patience)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && patience < left && k.mayRest():
			k.conn.Rest()
			if k.server.park(k) {
				return true
			}
			// There is no poller for it: this goroutine waits.
			if !k.mayRest() || k.conn.Wait(left-patience) != nil {
				k.end()
				return false
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && patience < left && k.requests == 0:
			continue // the server drains
		default:
			k.end()
			return false
		}
		if !k.request() {
			return false
		}
		k.idles(k.server.o.Limits.IdleTimeout)
	}
}

// idles takes note that the connection is idle from now on, for d at most.
func (k *client) idles(d time.Duration) { k.expires = k.server.clock() + int64(d) }

// idlesUntil is idles for who knows until when.
func (k *client) idlesUntil(t time.Time) { k.idles(max(time.Until(t), 0)) }

// mayRest reports whether the connection may go on to be idle.
func (k *client) mayRest() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state == stateIdle && !k.server.draining.Load()
}

// end closes a connection on which nothing goes on.
func (k *client) end() {
	k.conn.Rest()
	_ = k.conn.Close()
}

// begin takes note that a request goes on.
func (k *client) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = stateActive
	k.waited() // what a body that came to its end late has said is of the request before
	k.works()
}

// finish takes note that it is over, and reports whether there may be another.
func (k *client) finish() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.exchange, k.cancel = nil, nil
	k.rests()
	if k.state == stateActive {
		k.state = stateIdle
	}
	return !k.gone && k.state == stateIdle
}

// leave is called before somebody else gets the connection.
func (k *client) leave() {
	k.mu.Lock()
	k.state = stateOver
	k.exchange, k.cancel = nil, nil
	k.mu.Unlock()
	k.rests()
	k.server.clients.remove(k)
}

// write writes a part of an answer.
func (k *client) write(b []byte) error {
	_, err := k.conn.Write(b)
	return err
}

// request serves one request, and reports whether there may be another.
func (k *client) request() bool {
	k.begin()
	k.requests++
	limit := &k.server.requestLimit
	if k.requests == 1 && k.server.o.H2C && k.tls == nil {
		var err error
		if limit, err = k.meet(limit); err != nil {
			k.refuse(err)
			return false
		}
		if limit == nil {
			return k.h2 != nil && k.finish() // and what follows is no request of HTTP/1.1
		}
	}
	head, err := k.conn.ReadRequest(limit)
	if err != nil {
		k.refuse(err)
		return false
	}
	t := turns.Get().(*turn)
	t.client, t.head = k, head
	again := t.serve()
	t.release()
	if !k.finish() && again {
		k.conn.Abort() // it was ended from without
		return false
	}
	if again {
		k.conn.EndRequest()
	}
	return again
}

// refuse answers what is no request, and ends the connection.
func (k *client) refuse(err error) {
	var refused *http1.RequestError
	switch {
	case errors.As(err, &refused):
		switch refused {
		case http1.ErrHeadTooLarge:
			k.server.limitReached(LimitHeaderBytes, k.conn.RemoteAddr())
		case http1.ErrTooManyFields:
			k.server.limitReached(LimitHeaderFields, k.conn.RemoteAddr())
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		k.server.limitReached(LimitHeaderTimeout, k.conn.RemoteAddr())
		refused = &http1.RequestError{Status: http.StatusRequestTimeout, Reason: "the head of the request did not come in time"}
	default:
		_ = k.conn.Close() // the client has gone away
		return
	}
	k.server.counts.malformed.Add(1)
	_, _ = k.conn.Write(k.server.appendOwnAnswer(nil, refused.Status, refused.Reason))
	k.linger()
}

// Bounds of lingering: nginx takes five seconds too.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 1 << 20
)

// linger ends the connection of a client that may still be sending.
func (k *client) linger() {
	k.conn.Linger(lingerTime, lingerBytes)
	_ = k.conn.Close()
}

// hangUp ends the connection at once, from without, and what goes on on it.
func (k *client) hangUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.interrupt()
	if k.state != stateOver {
		k.conn.Abort()
	}
}

// lost is called when the client takes nothing of an answer that goes on.
func (k *client) lost() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.interrupt()
}

// vanished is called when the client was seen to be gone while it waits for an answer.
func (k *client) vanished() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.since.Load() != 0 && k.state == stateActive {
		k.interrupt()
	}
}

// drain ends the connection if it is idle. If not, the request that goes on is its
// last. On a new one the first request may be on its way: see newcomerTime.
func (k *client) drain() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.h2 != nil {
		go k.h2.Drain() // which may have to wait for a client that takes nothing
		return
	}
	if k.state != stateIdle {
		return
	}
	if left := k.newcomerLeft(); k.requests == 0 && left > 0 {
		time.AfterFunc(left, k.drainLate)
	} else {
		k.conn.Wake()
	}
}

// drainLate ends the connection of one who has not used his time.
func (k *client) drainLate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == stateIdle && k.requests == 0 && k.h2 == nil {
		k.conn.Wake()
	}
}

// logPanic reports a panic on a connection, which costs that connection alone.
func (s *Server) logPanic(remote string, r any) {
	if r == http.ErrAbortHandler || s.o.Logger == nil {
		return
	}
	s.o.Logger.Error("panic while serving a connection", "remote", remote, "panic", r, "stack", string(debug.Stack()))
}
