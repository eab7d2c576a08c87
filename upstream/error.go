package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"
)

// ErrNoNode is the cause of an [*Error] if the upstream has no nodes, or if your [Picker]
// picked none.
var ErrNoNode = errors.New("no node")

// ErrUnhealthy is the cause of an [*Error] if the upstream has nodes, but none is healthy
// and [Config.FailWhenUnhealthy] is set.
var ErrUnhealthy = errors.New("no healthy node")

// StatusClientClosedRequest is the [Error.Status] of a request that its caller cancelled.
// It is nginx's, and is for the log: there is nobody left to answer.
const StatusClientClosedRequest = 499

// An Error says why no node answered a request. [*Pool.RoundTrip] and [*Pool.Do] return it,
// and so does the body of an answer that breaks off.
//
// errors.Is finds [ErrNoNode], [ErrUnhealthy], [context.Canceled] and
// [context.DeadlineExceeded] (the caller's own, never a [Timeout]),
// [os.ErrDeadlineExceeded] (a Timeout), and the errors of the operating system.
type Error struct {
	Upstream string // its ID
	Node     string // the last one tried, "10.0.0.1:80"; empty if none was
	Attempts int    // how many nodes were tried

	// Status is what a gateway answers its client: 502 if the node refused the connection,
	// broke it off, failed to prove its identity or did not speak HTTP; 504 if it was too slow;
	// 503 if there is no node, or no healthy one; 400, 405 or 413 if the request itself is at
	// fault; StatusClientClosedRequest if it was cancelled.
	Status int

	Err error
}

// Error implements error. The text is for the log, not for the client: it contains
// addresses.
func (e *Error) Error() string {
	text := fmt.Sprintf("upstream %q: ", e.Upstream)
	if e.Node != "" {
		text += "node " + e.Node + ": "
	}
	text += printable(describe(e.Err))
	if e.Attempts > 1 {
		text += fmt.Sprintf(" (the last of %d nodes)", e.Attempts)
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether a [Timeout] or the caller's deadline expired, like the method of
// [net.Error].
func (e *Error) Timeout() bool { return e.Status == http.StatusGatewayTimeout }

// A timeoutError says which of a [Timeout] ran out.
type timeoutError struct {
	what  string
	after time.Duration
}

func (e *timeoutError) Error() string   { return fmt.Sprintf("%s within %v", e.what, e.after) }
func (e *timeoutError) Unwrap() error   { return os.ErrDeadlineExceeded }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true } // crypto/tls asks by net.Error

// A connectError means that there was no connection to send anything over.
type connectError struct{ err error }

func (e *connectError) Error() string {
	return "connect: " + strings.TrimPrefix(describe(e.err), "connect: ")
}
func (e *connectError) Unwrap() error { return e.err }

// An addressError says to which address of a node's name there was no connection.
type addressError struct {
	address string
	err     error
}

func (e *addressError) Error() string { return e.address + ": " + describe(e.err) }
func (e *addressError) Unwrap() error { return e.err }

// A handshakeError means that the node was there, but TLS was not.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + describe(e.err) }
func (e *handshakeError) Unwrap() error { return e.err }

// A tooLateError means that another node was to be tried, but not any more.
type tooLateError struct {
	err   error
	after time.Duration
}

func (e *tooLateError) Error() string {
	return fmt.Sprintf("%s (no other node was tried: RetryTimeout, %v, is over)", describe(e.err), e.after)
}
func (e *tooLateError) Unwrap() error { return e.err }

// An overBudgetError means that another node was to be tried, but too many requests
// have been tried again.
type overBudgetError struct{ err error }

func (e *overBudgetError) Error() string {
	return describe(e.err) + " (no other node was tried: RetryBudget is spent)"
}
func (e *overBudgetError) Unwrap() error { return e.err }

// A bodyError means that the request's body could not be read to its end.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the request's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// A callerError is an error of the caller's, on the way of the request or of the answer.
type callerError struct {
	status int // that an [*Error] has of it
	err    error
}

func (e *callerError) Error() string { return e.err.Error() }
func (e *callerError) Unwrap() error { return e.err }

// A cancelledError says why the request's context has ended.
type cancelledError struct{ err, cause error }

func (e *cancelledError) Error() string   { return e.err.Error() + ": " + e.cause.Error() }
func (e *cancelledError) Unwrap() []error { return []error{e.err, e.cause} }

// describe returns err's text without what the reader of an [*Error] knows already
// (the address, which layer it was), and with what to do about the mistakes of a
// first setup.
func describe(err error) string {
	switch err.(type) {
	case *connectError, *addressError, *handshakeError, *tooLateError, *overBudgetError, *timeoutError:
		return err.Error()
	case *bodyError, *callerError, *cancelledError:
		return err.Error() // what is in them is not about the node
	}
	if reset, ok := errors.AsType[h2StreamError](err); ok {
		return reset.describe()
	}
	var (
		lookup    *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		record    tls.RecordHeaderError
		operation *net.OpError
	)
	switch {
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Sprintf("the name %q does not resolve (%s): check DNS, or use an address", lookup.Name, lookup.Err)
	case errors.As(err, &lookup):
		return fmt.Sprintf("the name %q could not be resolved (%s): check DNS, or use an address", lookup.Name, lookup.Err)
	case errors.As(err, &authority):
		return err.Error() + ": set TLS.CAPEM to the authority's certificate"
	case errors.As(err, &name):
		return err.Error() + ": set TLS.ServerName to a name that it is valid for; without one, the name is that of the Host which PassHost sends"
	case strings.Contains(err.Error(), "tls: no application protocol"):
		return errNoH2.Error()
	case errors.As(err, &record):
		return err.Error() + `: is the node's scheme "http"?`
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`): // an alert
		return trimmed(err) + `: is the node's scheme "https"?`
	case strings.Contains(err.Error(), `malformed HTTP response "\x00\x00`) && strings.Contains(err.Error(), `\x04\x00\x00\x00\x00\x00`): // SETTINGS
		return trimmed(err) + `: is the node's scheme "grpc" or "h2c"?`
	case errors.As(err, &operation) && operation.Net != "": // not crypto/tls's alerts
		return operation.Err.Error()
	case err == io.EOF:
		return "the node closed the connection without an answer"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the node closed the connection in the middle of its answer"
	}
	return trimmed(err)
}

// trimmed is the text of an error without what net/http says in front.
func trimmed(err error) string {
	return strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: ")
}

// maxErrorText bounds the part of a text that can quote what a node sent.
const maxErrorText = 512

// printable makes text fit for one line of a log.
func printable(text string) string {
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
