// Package forward is the seam between the engine of package gateway and the pools of
// package upstream: a request is passed on as bytes, and its answer comes back as bytes,
// with no map in between. Requests of net/http go another way, by [net/http.RoundTripper].
package forward

import (
	"io"
	"time"

	"github.com/sallyport/sallyport/internal/http1"
)

// By is how the engine reaches a pool, a *upstream.Pool, without exported methods whose
// types nobody else can name. Package upstream sets it when it is initialised.
var By struct {
	// Forwards reports whether Forward may be used: the nodes speak HTTP/1.1, by the client
	// of our own, and no Picker of the user's wants to see an http.Request.
	Forwards func(pool any) bool

	// Forward returns an exchange, whose Do sends the request.
	Forward func(pool any, r *Request) Exchange
}

// A Request is what a pool must know of a request to send it. Its strings may be
// parts of a buffer, which must stay as it is until Close of the [Exchange].
type Request struct {
	Method string
	Host   string // as the client sent it; empty in some of HTTP/1.0
	Head   Head
	Binds  bool // see [http1.Binds]: nobody else gets the connection

	// Body is nil if there is none, or if Head has it with it. It is read by another
	// goroutine, and closed, which may be after the Exchange.
	Body   io.ReadCloser
	Length int64 // of Body, or -1 if it is not known

	// Vars has the variables that the balancer asks for.
	Vars interface {
		Var(name string) (string, bool)
	}

	// What the route says in place of the upstream. Zero is the upstream's.
	Connect, Send, Read time.Duration

	// Early, if not nil, is given each head of an informational answer but 101. If it returns
	// an error, the exchange fails.
	Early func(*http1.Response) error
}

// A Head is the head of a request.
type Head interface {
	// AppendHead appends the head as it is sent to a node, with that Host. It is called for
	// each node that is tried.
	AppendHead(b []byte, host string) []byte
}

// An Exchange is a Request on its way and the answer to it. Its methods are for one
// goroutine, but for Cancel.
type Exchange interface {
	// Do sends the request and returns the last head of the answer, which is valid
	// until the next call of a method. The error is an *upstream.Error.
	Do() (*http1.Response, error)

	// HasBody reports whether the answer has a body.
	HasBody() bool

	// ReadBody reads from the body of the answer, and returns io.EOF at its end.
	ReadBody(p []byte) (int, error)

	// Ready reports whether ReadBody has something to return without waiting.
	Ready() bool

	// Trailer has the fields after the body, once ReadBody has returned io.EOF. It is
	// nil if there are none.
	Trailer() *http1.Section

	// Node is the address of the node that was tried last, and Attempts how many
	// were.
	Node() string
	Attempts() int

	// Answered is when there was an answer, or would be none.
	Answered() time.Time

	// Close ends the exchange. If the answer was not read to its end, its
	// connection is closed. The Exchange, and what came from it, must not be used
	// any more.
	Close()

	// Cancel ends the exchange from without: Do and ReadBody fail. It may be called
	// by any goroutine before Close, at any time.
	Cancel()
}
