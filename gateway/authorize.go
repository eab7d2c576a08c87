package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/sallyport/sallyport/ssl"
)

// authorize says why the route that was found is not for the client, or returns nil.
func (s *Server) authorize(d *decision) *denial {
	match := d.found.Route
	if match.RequireIdentity() && d.identity == nil {
		if d.tls == nil {
			return noIdentityPlain
		}
		return noIdentity
	}
	judge := match.Authorize()
	if judge == nil {
		return nil
	}
	ctx := d.visit.event.contextOf(d.asker.context())
	if d.identity != nil {
		ctx = ssl.NewContext(ctx, d.identity)
	}
	err := safely(ctx, judge)
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

// A panicError is what a function of the user's panicked with.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }
