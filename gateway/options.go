package gateway

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Options are the parts of the world outside that a [Server] uses, and its
// limits. A nil *Options and a zero Options mean the same.
type Options struct {
	// TLS is for the ends of TLS connections. If it has no Logger, it uses this
	// one's.
	TLS ssl.Options

	// Upstream is for the connections to nodes. If it has no Logger, it uses this
	// one's.
	Upstream upstream.Options

	// Route says how routes are found: by host or by path first, and how paths are
	// read.
	Route route.Options

	// Logger receives a record for each handshake that failed and each request that was
	// refused or failed, as far as FailuresLogged allows. If nil, nothing is logged.
	Logger *slog.Logger

	// AccessLog, if not nil, receives a record for each request when it is over, in place
	// of Logger where it was refused or failed: see "The access log" in the documentation
	// of the package, and package accesslog for a handler. That of handshakes is
	// [ssl.Options.HandshakeLog].
	AccessLog *slog.Logger

	// FailuresLogged bounds how many records a second are logged of requests that were
	// refused for one reason, or have no route; and, to Logger, of those that failed on
	// one route. A flood of them would fill a disk. The next record says how many were
	// left out ("unreported"). Zero is 10, and a negative number is no bound. It is that
	// of TLS and Upstream too, if they have none.
	FailuresLogged int

	// RefusalsKept bounds how many of the last refusals [*Server.Refusals] returns, with
	// about a kilobyte for each. Zero is 64, and a negative number is none.
	RefusalsKept int

	// Trace, if not nil, is told of requests, for whose targets it may set header fields,
	// and of limits that were reached.
	Trace *Trace

	// PlainHTTP says what may be served without TLS. Zero is [PlainGuarded].
	PlainHTTP PlainHTTP

	// H2C lets clients of [*Server.Serve] speak HTTP/2 from the first byte on ("by prior
	// knowledge", RFC 9113, section 3.3), as gRPC without TLS does. The rules of
	// PlainHTTP hold for it too. The Upgrade to h2c is never made.
	H2C bool

	// NetHTTP2 lets net/http's server speak HTTP/2 on connections of [*Server.Serve] and
	// [*Server.ServeTLS], as it did before the gateway did so itself. It is slower, and has
	// neither WebSocket over HTTP/2 nor [LimitResets] and [LimitFrames]. It is there for one
	// release, for those who find a difference.
	NetHTTP2 bool

	// HTTPSPort is the port of https that [PlainRedirect] sends clients to. Zero, and what
	// is no port, is 443.
	HTTPSPort int

	// TrustedProxies are the peers whose X-Forwarded-* and Forwarded header
	// fields are believed and passed on. From all others they are replaced, and
	// that is what the conditions of routes see.
	TrustedProxies []netip.Prefix

	// ClientCert are the header fields in which the targets of routes are told who the
	// client is, where its certificate was verified: see [route.Config.ClientCert],
	// which says otherwise for a route. Zero is none.
	ClientCert route.ClientCertHeaders

	// ServerHeader is the name in the header field Server of all answers, also instead of
	// that of a node; a handler of the user's may say otherwise. If empty, the gateway
	// adds none, and passes on what nodes say. Control characters are left out.
	ServerHeader string

	// ErrorBody, if not nil, makes the bodies of answers of the gateway's own: of those to
	// refused and misdirected requests, to requests without a route, and where no node
	// answers. message is a sentence for the client, and accept the Accept of the request.
	// An empty contentType leaves the field out. It may be called by any number of
	// goroutines; if it panics, the body is that of the function [ErrorBody], which is the
	// default. gRPC calls have answers of their own.
	ErrorBody func(status int, message, accept string) (contentType string, body []byte)

	// TunnelGrace is how long a WebSocket connection or a gRPC call goes on whose client
	// may not have it any more, because the policy of its name was replaced or its
	// certificate has expired. Zero ends it at once: a policy within the change that
	// replaces it, an expired certificate within half a minute.
	TunnelGrace time.Duration

	// ProxyProtocol are the peers that must begin each connection with a header of the
	// PROXY protocol, version 1 or 2: load balancers that pass connections on. The
	// source address in it is the remote address everywhere from then on: for
	// TrustedProxies, the conditions of routes, X-Forwarded-For, logs, and limits for an
	// address, [ssl.Options.MaxHandshakesPerAddr] included. It has the time and the
	// place of [Limits.HeaderTimeout] and 4096 bytes; a connection without is closed.
	// If the header names no source (LOCAL, UNKNOWN), the peer's own address stays, so
	// that who names such a peer in TrustedProxies believes what it passes on. From all
	// other peers no header is taken: to TLS and HTTP it is malformed.
	//
	// This is for [*Server.Serve] and [*Server.ServeTLS], and peers with an IP address;
	// a listener that yields *tls.Conn has read the header, if any, already.
	ProxyProtocol []netip.Prefix

	// Limits bound what a client can use up. Zero fields are defaults.
	Limits Limits
}

// PlainHTTP says what may be served without TLS.
type PlainHTTP int

const (
	// PlainGuarded answers 403 to a request over plain HTTP whose Host demands
	// client certificates over TLS; or whose route has no host, or the host "*",
	// while any profile demands them; or whose Host has no profile and finds the
	// route by a wildcard below which a name demands them. Otherwise anyone could
	// write a Host that leads to such a route. [route.Config.AllowPlain] says
	// otherwise for a route.
	// Paths below /.well-known/acme-challenge/ are always served.
	PlainGuarded PlainHTTP = iota

	// PlainOpen serves every route over plain HTTP, as APISIX does.
	PlainOpen

	// PlainRedirect answers 308 with the same at https, at [Options.HTTPSPort], where
	// a profile has the Host. What it leaves is served as with PlainGuarded: Hosts that
	// TLS does not know, routes with [route.Config.AllowPlain], paths below
	// /.well-known/acme-challenge/, and requests that came by https to a proxy among
	// [Options.TrustedProxies], by its X-Forwarded-Proto.
	PlainRedirect
)

// Limits bound what a client can use up behind [*Server.Serve] and
// [*Server.ServeTLS]. They do not concern a server of one's own in front of
// [*Server.ServeHTTP], which has its own. Where nothing is said of a negative number, it is
// as zero.
type Limits struct {
	// Connections bounds the connections that are open at a time, over all listeners,
	// from being accepted to being closed: with HTTP/2, and those that a handler has
	// taken over, included. Further ones are closed at once, before any handshake.
	// [Trace.LimitReached] is told. Zero is 50 000, or half of the files that the
	// process may open (RLIMIT_NOFILE), if that is less: a request needs a second one,
	// to its node. A negative number is no bound.
	Connections int

	// ConnectionsPerAddr bounds how many of them one remote address has: an IPv4 address
	// or an IPv6 /64, which is what one customer has. Connections without either are not
	// bounded. Zero is no bound: behind a load balancer without the PROXY protocol
	// everybody has its address.
	ConnectionsPerAddr int

	// HeaderBytes bounds the head of a request; on HTTP/2 as it is counted there (RFC
	// 9113, section 6.5.2). Zero is 32 KiB.
	HeaderBytes int

	// HeaderFields bounds the fields in the head of a request. Zero is 256.
	HeaderFields int

	// BodyBytes bounds the body of a request. A longer one is answered with 413. Zero
	// is no bound, as in APISIX.
	BodyBytes int64

	// Requests bounds the requests on one connection with HTTP/1.1, of which the last
	// is answered with "Connection: close". Zero is no bound.
	Requests int

	// HeaderTimeout bounds the time for the head of a request. Zero is 10 seconds.
	HeaderTimeout time.Duration

	// IdleTimeout closes a connection on which nothing is asked for so long. Zero
	// is 75 seconds, as in nginx.
	IdleTimeout time.Duration

	// BodyTimeout bounds the time between two reads of a request's body and two
	// writes of an answer. Zero is a minute, as in nginx. On HTTP/2 that is so for each
	// stream, whose window the client must open in that time, and for the connection. A
	// gRPC call to an upstream with the scheme grpc or grpcs may be silent for longer;
	// then the client is asked, by PING, whether it is there.
	BodyTimeout time.Duration

	// Streams bounds the requests at a time on one HTTP/2 connection. Zero is 100.
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
	setDefault(&l.HeaderBytes, 32<<10)
	setDefault(&l.HeaderFields, 256)
	setDefault(&l.HeaderTimeout, 10*time.Second)
	setDefault(&l.IdleTimeout, 75*time.Second)
	setDefault(&l.BodyTimeout, time.Minute)
	setDefault(&l.Streams, 100)
	return l
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}
