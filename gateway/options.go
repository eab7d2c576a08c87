package gateway

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Options are the parts of the outside world that a [Server] uses, and its limits. A nil
// *Options and a zero Options mean the same.
type Options struct {
	// TLS is for terminating TLS connections. If it has no Logger, it uses the one below.
	TLS ssl.Options

	// Upstream is for the connections to nodes. If it has no Logger, it uses the one below.
	Upstream upstream.Options

	// Route says how routes are found: by host or by path first, and how paths are
	// read.
	Route route.Options

	// Logger receives a record for each handshake that failed and each request that was
	// refused or failed, as far as FailuresLogged allows. If nil, nothing is logged. A record
	// in whose handler something panics is lost, and standard error says why; so it is with
	// AccessLog.
	Logger *slog.Logger

	// AccessLog, if not nil, receives a record for each request when it is over; failed and
	// refused requests then go there instead of to Logger. See "The access log" in the
	// package documentation, and package accesslog for a handler. For handshakes there is
	// [ssl.Options.HandshakeLog].
	AccessLog *slog.Logger

	// FailuresLogged bounds how many records a second are logged of requests that were
	// refused for one reason or that have no route and, in Logger, of requests that failed
	// on one route: a flood of them would fill a disk. The next record says how many were
	// left out ("unreported"). Zero is 10, and a negative number is no bound. TLS and
	// Upstream use it too, if they have none of their own.
	FailuresLogged int

	// RefusalsKept bounds how many of the last refusals [*Server.Refusals] returns; each
	// takes about a kilobyte. Zero is 64, and a negative number is none.
	RefusalsKept int

	// Trace, if not nil, is told of requests, for whose targets it may set header fields,
	// and of limits that were reached. [JoinTraces] makes one of several.
	Trace *Trace

	// PlainHTTP says what may be served without TLS. Zero is [PlainGuarded].
	PlainHTTP PlainHTTP

	// H2C lets clients of [*Server.Serve] speak HTTP/2 from the first byte ("by prior
	// knowledge", RFC 9113, section 3.3), as gRPC without TLS does. The rules of PlainHTTP
	// apply to it too. There is no Upgrade to h2c.
	H2C bool

	// NetHTTP2 lets net/http's server speak HTTP/2 on connections of [*Server.Serve] and
	// [*Server.ServeTLS], as it did before the gateway had its own engine. It is slower,
	// has neither WebSocket over HTTP/2 nor [LimitResets] and [LimitFrames], and what is
	// malformed is not counted ([Stats].Malformed). It stays for one release, for those who
	// find a difference.
	NetHTTP2 bool

	// HTTPSPort is the HTTPS port that [PlainRedirect] sends clients to. Zero is 443.
	HTTPSPort int

	// TrustedProxies are the peers whose X-Forwarded-* and Forwarded header fields are
	// believed and passed on: they say who the client is, and by which scheme it came. An
	// X-Forwarded-Proto of "wss" means https and "ws" http; what is neither, or a list, says
	// nothing, and is passed on as it is all the same. Those of all other peers are replaced,
	// and the conditions of routes see the replacement. IPv4 addresses are written as such.
	TrustedProxies []netip.Prefix

	// ClientCert are the header fields in which the targets of routes are told who the
	// client is, if its certificate was verified. [route.Config.ClientCert] overrides it
	// for a route. Zero is none.
	ClientCert route.ClientCertHeaders

	// ServerHeader is the value of the header field Server in all answers, also in place of
	// a node's; a handler of yours may set another. If empty, the gateway adds none, and
	// passes on what nodes say.
	ServerHeader string

	// ErrorBody, if not nil, makes the bodies of the gateway's own answers: to refused and
	// misdirected requests, to requests without a route, and if no node answers. message is
	// a sentence for the client, and accept is the Accept of the request. With an empty
	// contentType, that field is left out. ErrorBody may be called by any number of
	// goroutines; if it panics, the body is that of the function [ErrorBody], which is the
	// default. gRPC calls have answers of their own.
	ErrorBody func(status int, message, accept string) (contentType string, body []byte)

	// TunnelGrace is how long a WebSocket connection, a gRPC call or an event stream (an
	// answer of the type text/event-stream) may continue after its client has lost the right
	// to it, because the policy of its name was replaced or its certificate has expired. Zero
	// ends it at once: after a new policy before the change that brings it returns, after an
	// expiry within half a minute.
	//
	// So it is with a Handler too. A connection that it has taken over, for a request with an
	// Upgrade, is closed. The context ends of a gRPC call, of a request whose Accept names
	// text/event-stream, and of one that is answered with an event stream. Every other request
	// ends as it has begun, however long that takes.
	TunnelGrace time.Duration

	// ProxyProtocol are the peers that must begin each connection with a PROXY protocol
	// header, version 1 or 2: load balancers that pass connections on. From then on, its
	// source address is the remote address everywhere: for TrustedProxies, the conditions
	// of routes, X-Forwarded-For, logs, and limits per address, including
	// [ssl.Options.MaxHandshakesPerAddr]. The header may take [Limits.HeaderTimeout] to
	// arrive and have 4096 bytes; a connection without it is closed. If the header names no
	// source (LOCAL, UNKNOWN), the peer's own address stays; if that peer is among
	// TrustedProxies, what it passes on is then believed. No other peer may send such a
	// header: to TLS and HTTP it is malformed.
	//
	// This applies to [*Server.Serve] and [*Server.ServeTLS], and to peers with an IP
	// address; a listener that yields *tls.Conn has already read the header, if any.
	ProxyProtocol []netip.Prefix

	// Limits bound what a client can use up. Zero fields are defaults.
	Limits Limits
}

// PlainHTTP says what may be served without TLS.
type PlainHTTP int

const (
	// PlainGuarded answers a request over plain HTTP with 403 if any of these holds;
	// otherwise anyone could write a Host that leads to such a route.
	//
	//   - Its Host demands client certificates over TLS.
	//   - Its route has no host, or the host "*", and any profile demands them.
	//   - Its Host has no profile, and finds the route by a wildcard below which a name demands them.
	//
	// [route.Config.AllowPlain] exempts a route. Paths below /.well-known/acme-challenge/
	// are always served.
	PlainGuarded PlainHTTP = iota

	// PlainOpen serves every route over plain HTTP, as APISIX does.
	PlainOpen

	// PlainRedirect answers 308 with the same URL at https and [Options.HTTPSPort], if a
	// profile has the Host. Everything else is served as with PlainGuarded: Hosts that TLS
	// does not know, routes with [route.Config.AllowPlain], paths below
	// /.well-known/acme-challenge/, and requests that came by https to a proxy among
	// [Options.TrustedProxies], according to its X-Forwarded-Proto.
	PlainRedirect
)

// Limits bound what a client can use up behind [*Server.Serve] and [*Server.ServeTLS]. They
// do not apply to an [net/http.Server] of yours in front of [*Server.ServeHTTP], which has
// its own. A negative number is the same as zero unless stated otherwise. One as large as can
// be, such as [math.MaxInt], is in effect no limit.
type Limits struct {
	// Connections bounds the connections that are open at a time, over all listeners, from
	// accept to close, including those with HTTP/2 and those that a handler has taken over.
	// Further ones are closed at once, before any handshake, and [Trace.LimitReached] is
	// told. Zero is 50 000, or half the files that the process may open (RLIMIT_NOFILE) if
	// that is less: a request needs a second one, to its node. A negative number is no
	// bound.
	Connections int

	// ConnectionsPerAddr bounds how many of them one remote address has: an IPv4 address or
	// an IPv6 /64, which is what one customer has. Connections without such an address are
	// not bounded. Zero is no bound: behind a load balancer without the PROXY protocol, all
	// clients have its address.
	ConnectionsPerAddr int

	// HeaderBytes bounds the head of a request; with HTTP/2 as it is counted there (RFC
	// 9113, section 6.5.2). Zero is 32 KiB.
	HeaderBytes int

	// HeaderFields bounds the fields in the head of a request. Zero is 256.
	HeaderFields int

	// BodyBytes bounds the body of a request. A longer one is answered with 413. Zero
	// is no bound, as in APISIX.
	BodyBytes int64

	// Requests bounds the requests on one HTTP/1.1 connection; the last one is answered
	// with "Connection: close". Zero is no bound.
	Requests int

	// HeaderTimeout bounds the time for the head of a request. Zero is 10 seconds.
	HeaderTimeout time.Duration

	// IdleTimeout closes a connection on which nothing is requested for that long. Zero is
	// 75 seconds, as in nginx.
	IdleTimeout time.Duration

	// BodyTimeout bounds the time between two reads of a request's body and between two
	// writes of an answer. Zero is a minute, as in nginx. With HTTP/2 it applies to each
	// stream, whose window the client must open in that time, and to the connection. A gRPC
	// call to an upstream with the scheme grpc or grpcs may be silent for longer; then the
	// client is asked, by PING, whether it is still there.
	BodyTimeout time.Duration

	// Streams bounds the concurrent requests on one HTTP/2 connection. Zero is 100.
	Streams int
}

// maxConnections is what Envoy advises for the edge of a network.
const maxConnections = 50_000

func (l Limits) withDefaults() Limits {
	if l.Connections == 0 {
		l.Connections = maxConnections
		if files := descriptors(); files > 0 && files/2 < maxConnections {
			l.Connections = int(files / 2)
		}
	}
	setDefault(&l.HeaderBytes, 32<<10, mostBytes)
	setDefault(&l.HeaderFields, 256, mostOf)
	setDefault(&l.HeaderTimeout, 10*time.Second, mostTime)
	setDefault(&l.IdleTimeout, 75*time.Second, mostTime)
	setDefault(&l.BodyTimeout, time.Minute, mostTime)
	setDefault(&l.Streams, 100, mostOf)
	return l
}

// What is as good as no limit. Sums of larger ones would be below zero.
const (
	mostBytes = 1 << 29
	mostOf    = 1 << 20
	mostTime  = 100 * 365 * 24 * time.Hour
)

// setDefault puts a value in the place of zero, and the most that it can be in the place of
// more.
func setDefault[T int | time.Duration](v *T, value, most T) {
	if *v <= 0 {
		*v = value
	}
	*v = min(*v, most)
}
