package gateway

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/upstream"
)

// Of gRPC, the gateway needs to know little: a call is a POST with HTTP/2 whose answer
// is 200, and whose outcome stands in the trailer, or in the header of an answer that
// has no body (the gRPC over HTTP/2 protocol calls that Trailers-Only).

// calls reports whether a request is a gRPC call. gRPC-Web is none: it has its own
// frames, and goes over HTTP/1.1.
func calls(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return ok && r.ProtoMajor == 2 && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// mayPause reports whether a call to a pool may be silent for as long as both sides
// like.
func mayPause(pool *upstream.Pool) bool {
	scheme := pool.Upstream().Scheme()
	return scheme == upstream.SchemeGRPC || scheme == upstream.SchemeGRPCS
}

// Status codes of gRPC.
const (
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcInternal          = 13
	grpcUnavailable       = 14
)

// grpcStatus is what a gRPC client makes of an answer with a status of HTTP's that
// did not come from a server of gRPC's. It is told the same, and the reason as well.
func grpcStatus(status int) int {
	switch status {
	case http.StatusBadRequest:
		return grpcInternal
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusRequestTimeout:
		return grpcDeadlineExceeded
	case http.StatusRequestEntityTooLarge:
		return grpcResourceExhausted
	default: // 421, 502, 503, 504
		return grpcUnavailable
	}
}

// answerFailure answers a request that should have gone to a node.
func (s *Server) answerFailure(w http.ResponseWriter, r *http.Request, status int, message string) {
	if !calls(r) {
		s.answer(w, r, status, message)
		return
	}
	s.answerCall(w, grpcStatus(status), message)
}

// answerCall answers a call with Trailers-Only.
func (s *Server) answerCall(w http.ResponseWriter, code int, message string) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	if s.o.ServerHeader != "" {
		h.Set("Server", s.o.ServerHeader)
	}
	setOutcome(h, code, message)
	w.WriteHeader(http.StatusOK)
}

// callDeadline returns when the deadline of a call is over that begins now. ok is false
// if it has none.
func callDeadline(r *http.Request) (t time.Time, ok bool) {
	value := r.Header.Get("Grpc-Timeout")
	if len(value) < 2 || len(value) > 9 || !calls(r) {
		return t, false
	}
	unit, ok := callUnits[value[len(value)-1]]
	n, err := strconv.ParseUint(value[:len(value)-1], 10, 32)
	if !ok || err != nil {
		return t, false
	}
	return time.Now().Add(time.Duration(min(n, uint64(math.MaxInt64/unit))) * unit), true
}

// callUnits are the units of the header field grpc-timeout.
var callUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// overdue reports whether a call's deadline is over. A node that counts the same time
// resets the stream then, and its client takes that for what it is only if it happens
// to be as quick.
func (x *exchange) overdue() bool { return !x.deadline.IsZero() && time.Now().After(x.deadline) }

const msgOverdue = "the deadline of the call is over"

// setOutcome writes the outcome of a call. The message is one of ours, in ASCII and
// without "%".
func setOutcome(h http.Header, code int, message string) {
	h.Set("Grpc-Status", strconv.Itoa(code))
	h.Set("Grpc-Message", message)
}

// A callBody is the body of a call's answer. When the node breaks it off, the client
// is told so in the trailer, as by a client library that loses its connection, and
// not by a reset stream, which a client takes for a mistake in the protocol.
type callBody struct {
	io.ReadCloser
	answer *http.Response
	server *Server
}

func (b *callBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	r := b.answer.Request
	if r.Context().Err() != nil {
		return n, err
	}
	x := exchangeOf(r.Context())
	b.server.logFailure(x.visit, r, x.route, fmt.Errorf("gateway: the answer broke off: %w", err))
	if b.answer.Trailer == nil {
		b.answer.Trailer = http.Header{}
	}
	if x.overdue() {
		setOutcome(b.answer.Trailer, grpcDeadlineExceeded, msgOverdue)
	} else {
		setOutcome(b.answer.Trailer, grpcUnavailable, "the upstream broke off its answer")
	}
	return n, io.EOF
}
