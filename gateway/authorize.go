package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// authorize says why the route that was found is not for the client, or returns nil.
func (s *Server) authorize(d *decision) *denial {
	if why := d.unidentified(); why != nil {
		return why
	}
	judge := d.found.Route.Authorize()
	if judge == nil {
		return nil
	}
	ctx := d.visit.event.contextOf(d.asker.context())
	if d.identity != nil {
		ctx = ssl.NewContext(ctx, d.identity)
	}
	late := &lateLookups{decision: d}
	defer late.end()
	r := route.NewAuthorizeRequest(&d.req, &d.found)
	r.ClientAddr, r.Lookups = d.header.clientAddr(), late
	err := safely(ctx, func(ctx context.Context) error { return judge(ctx, r) })
	var panicked *panicError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &panicked):
		return &denial{status: http.StatusInternalServerError, message: "the gateway could not judge the request", unauthorized: err}
	default:
		// What the error says is not the client's to know.
		return &denial{status: http.StatusForbidden, message: "the client may not make this request", unauthorized: err}
	}
}

// unidentified says why the route that was found is not for a client without an identity, or
// returns nil if that is no matter.
func (d *decision) unidentified() *denial {
	switch {
	case d.identity != nil || !d.found.Route.RequireIdentity():
		return nil
	case d.tls == nil:
		return noIdentityPlain
	default:
		return noIdentity
	}
}

var (
	errNoIdentity   = errors.New("gateway: the client has no verified certificate")
	noIdentity      = &denial{status: http.StatusForbidden, message: "this is for clients with a verified certificate", unauthorized: errNoIdentity}
	noIdentityPlain = &denial{status: http.StatusForbidden, message: "this is for clients with a verified certificate: use https", unauthorized: errNoIdentity}
)

// safely calls a hook of the user's. A panic in it is an error.
func safely(ctx context.Context, hook func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return hook(ctx)
}

// lateLookups are those of a request that is judged, made when they are asked for the first
// time: most who judge look at no header. What they return is no part of a buffer.
type lateLookups struct {
	mu       sync.Mutex
	decision *decision // nil once the request was judged: it will be another request's
}

// Lookup implements [route.Lookups].
func (l *lateLookups) Lookup(kind route.VarKind, name string) (value string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.decision == nil {
		return "", false
	}
	l.decision.lookups()
	all := l.decision.req.Lookups
	if kind == route.VarHeader && l.decision.found.Route.Upstream() != "" && !l.goesOn(all, name) {
		return "", false
	}
	value, ok = all.Lookup(kind, name)
	return strings.Clone(value), ok
}

// goesOn reports whether a field of the client's is one that a node may get. What Connection
// names is not (RFC 9110, section 7.6.1): who judges by it would let somebody in of whom the
// node knows nothing. A handler of the user's does get it.
func (l *lateLookups) goesOn(all route.Lookups, name string) bool {
	switch l.decision.header.kindOf(name) {
	case fieldUnwanted:
		return false
	case fieldForwarding:
		return true // whatever Connection says
	}
	if strings.EqualFold(name, "Host") {
		return true
	}
	named, _ := all.Lookup(route.VarHeader, "Connection")
	for token := range strings.SplitSeq(named, ",") {
		if strings.EqualFold(strings.Trim(token, " \t"), name) {
			return false
		}
	}
	return true
}

// LookupAll implements [route.Lookups].
func (l *lateLookups) LookupAll(name string) (values []string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.decision == nil {
		return nil, false
	}
	l.decision.lookups()
	return l.decision.req.Lookups.LookupAll(name)
}

// end lets go of the request. Who judges may have left goroutines behind.
func (l *lateLookups) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decision = nil
}

// A panicError is what a function of the user's panicked with.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }
