package upstream

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
)

// This file is for the clients that stand on net/http, which tells of informational answers in
// a goroutine of its own: what the caller's Got1xxResponse returns would come back as the
// node's mistake, and a panic in it would end the process.

// An informant tells the caller of a request of its informational answers. What goes wrong
// with that is kept until net/http is done with the request.
type informant struct {
	tell   func(code int, header textproto.MIMEHeader) error
	failed atomic.Pointer[informantFailure]
}

type informantFailure struct {
	err      error
	panicked any // or else nil
}

// in returns a context in which net/http finds the hooks of ctx, with the informant's in the
// place of Got1xxResponse, if there is one.
func (i *informant) in(ctx context.Context) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil || trace.Got1xxResponse == nil {
		return ctx
	}
	i.tell = trace.Got1xxResponse
	guarded := *trace
	guarded.Got1xxResponse = i.got
	return httptrace.WithClientTrace(untraced{ctx}, &guarded)
}

func (i *informant) got(code int, header textproto.MIMEHeader) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errAborted
			i.failed.Store(&informantFailure{err, v})
		}
	}()
	if err = i.tell(code, header); err != nil {
		i.failed.Store(&informantFailure{err: err})
	}
	return err
}

// blame returns what to say for err, with which a request has ended. If the caller's function
// has panicked, so does this.
func (i *informant) blame(err error) error {
	failed := i.failed.Load()
	switch {
	case failed == nil:
		return err
	case failed.panicked != nil:
		panic(failed.panicked)
	default:
		return &callerError{StatusClientClosedRequest, failed.err}
	}
}

// untraced is a context without its [httptrace.ClientTrace], to which another would be joined.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	v := c.Context.Value(key)
	if _, ok := v.(*httptrace.ClientTrace); ok {
		return nil
	}
	return v
}
