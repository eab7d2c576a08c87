package gateway

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// This file counts connections by what they speak.

// protocolCounts are those of the connections that speak one protocol.
type protocolCounts struct {
	accepted   atomic.Uint64
	open, busy atomic.Int64

	states sync.Map // of those with HTTP/2: http.ConnState by net.Conn
}

// opened and closed are called once for each connection; began and ended when the first
// request on it begins, and when none goes on any more.

func (p *protocolCounts) opened() { p.accepted.Add(1); p.open.Add(1) }
func (p *protocolCounts) closed() { p.open.Add(-1) }
func (p *protocolCounts) began()  { p.busy.Add(1) }
func (p *protocolCounts) ended()  { p.busy.Add(-1) }

func (p *protocolCounts) read() ProtocolStats {
	open, busy := p.open.Load(), p.busy.Load()
	return ProtocolStats{Accepted: p.accepted.Load(), Open: open, Idle: max(open-busy, 0)}
}

// connectionStats returns what was counted.
func (s *Server) connectionStats() ConnectionStats {
	return ConnectionStats{
		Accepted: s.counts.accepted.Load(),
		Open:     s.inbounds.open.Load(),
		HTTP1:    s.counts.http1.read(),
		HTTP2:    s.counts.http2.read(),
	}
}

// turns takes note of what net/http says of a connection with HTTP/2.
func (p *protocolCounts) turns(c net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		before, known := p.states.LoadAndDelete(c)
		if known {
			p.closed()
		}
		if before == http.StateActive {
			p.ended()
		}
		return
	}
	before, known := p.states.Swap(c, state)
	if !known {
		p.opened()
	}
	switch was, is := before == http.StateActive, state == http.StateActive; {
	case is && !was:
		p.began()
	case was && !is:
		p.ended()
	}
}

// protocol returns the counts of what the client speaks.
func (k *client) protocol() *protocolCounts {
	if k.h2 != nil {
		return &k.server.counts.http2
	}
	return &k.server.counts.http1
}

// count counts a client among those that speak its protocol, until it is removed.
func (cs *clients) count(k *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if k.list != nil && !k.counted {
		k.counted = true
		k.protocol().opened()
	}
}

// uncount ends that. The mutex of clients is held.
func (k *client) uncount() {
	if k.counted {
		k.counted = false
		k.protocol().closed()
	}
}

// works takes note that a request goes on, and rests that none does, however often.

func (k *client) works() { k.busy.Store(true); k.protocol().began() }

func (k *client) rests() {
	if k.busy.Swap(false) {
		k.protocol().ended()
	}
}
