package gateway

import (
	"maps"
	"net"

	"github.com/sallyport/sallyport/internal/fieldname"
)

// KindOf is kindOf, and RuleOf what it must be: the first rule that fits.
func KindOf(name string) int { return int(kindOf(name)) }

func RuleOf(name string) int {
	for _, r := range fieldRules {
		if fieldname.Is(name, r.folded) || r.prefix && fieldname.HasPrefix(name, r.folded) {
			return int(r.kind)
		}
	}
	return int(fieldOrdinary)
}

// RuleNames are the names of all rules, and what begins with them.
func RuleNames() (names []string) {
	for _, r := range fieldRules {
		names = append(names, r.folded, r.folded+"x")
	}
	return names
}

// Drops returns the decision on the fields of a header, for a benchmark.
func Drops(configured ...string) func(name string) bool {
	var set nameSet
	for _, name := range configured {
		set = set.with(fieldname.Fold(name), 1)
	}
	return (&outgoing{arrival: arrival{identityNames: &set}}).drops
}

// A NameSet is a nameSet.
type NameSet = nameSet

func (n *nameSet) Has(name string) bool                 { return n.has(name) }
func (n nameSet) With(folded string, delta int) nameSet { return n.with(folded, delta) }

// IdentityNames returns how often each configured name of an identity header counts.
func (s *Server) IdentityNames() map[string]int {
	return maps.Collect(s.snap.Load().identityNames.counts.All())
}

// Connections is the number of connections that count.
func (s *Server) Connections() int {
	s.inbounds.mu.Lock()
	defer s.inbounds.mu.Unlock()
	return s.inbounds.n
}

// CountedAddrs is the number of addresses that have a connection, or more, that count,
// and of what else there is for a time.
func (s *Server) CountedAddrs() int {
	s.inbounds.mu.Lock()
	defer s.inbounds.mu.Unlock()
	return len(s.inbounds.perAddr) + len(s.inbounds.handed) + len(s.inbounds.arriving)
}

// Tunnels is the number of tunnels that are open.
func (s *Server) Tunnels() int {
	s.tunnels.mu.Lock()
	defer s.tunnels.mu.Unlock()
	return len(s.tunnels.open)
}

// AppendClientCert is appendClientCert.
var AppendClientCert = appendClientCert

// PrefersText is what is made of an Accept.
var PrefersText = prefersText

// Clients returns how many connections with HTTP/1.1 there are, with a goroutine and
// parked.
func (s *Server) Clients() (active, parked int) {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	return s.clients.active.n, s.clients.parked.n
}

// AcceptedListener is what a server makes of a listener.
func AcceptedListener(s *Server, l net.Listener) net.Listener {
	return &acceptedListener{Listener: l, server: s}
}

// Gauges are what is told of connections at the moment: how many there are, and of each
// protocol how many, and on how many a request goes on.
func (s *Server) Gauges() [5]int64 {
	one, two := &s.counts.http1, &s.counts.http2
	return [5]int64{s.inbounds.open.Load(), one.open.Load(), one.busy.Load(), two.open.Load(), two.busy.Load()}
}

// ServeAsDrained serves a connection with HTTP/2 that is accepted before the server drains,
// and known to it after.
func (s *Server) ServeAsDrained(c net.Conn) {
	k := s.newClient(c)
	k.speakHTTP2()
	s.draining.Store(true)
	s.clients.drain()
	k.serve()
}

// Listeners is how many the server serves.
func (s *Server) Listeners() int {
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	return len(s.listeners.open)
}
