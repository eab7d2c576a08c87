package upstream

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
)

// This file is for the clients that stand on net/http, which tells of informational answers in
// a goroutine of its own: what the caller's Got1xxResponse returns would come back as the
// node's mistake, and a panic in it would end the process. And to net/http, who has such a hook
// is responsible for how many there are: a node could send them without end.

// An informant tells the caller of a request of its informational answers. What goes wrong
// with that is kept until net/http is done with the request.
type informant struct {
	tell   func(code int, header textproto.MIMEHeader) error
	limit  int64 // of the heads together, in bytes
	left   int64 // of it; got is never called twice at a time
	failed atomic.Pointer[informantFailure]
}

type informantFailure struct {
	err      error
	panicked any // or else nil
}

// in returns a context in which net/http finds the hooks of ctx, with the informant's in the
// place of Got1xxResponse, if there is one. The heads that it is told of have so many bytes at
// most.
func (i *informant) in(ctx context.Context, limit int64) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil || trace.Got1xxResponse == nil {
		return ctx
	}
	i.tell, i.limit, i.left = trace.Got1xxResponse, limit, limit
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
	if i.left -= headBytes(header); i.left < 0 {
		err = fmt.Errorf("the response's headers exceeded %d bytes", i.limit)
		i.failed.Store(&informantFailure{err: err})
		return err
	}
	if err = i.tell(code, header); err != nil {
		i.failed.Store(&informantFailure{err: &callerError{StatusClientClosedRequest, err}})
	}
	return err
}

// headBytes is about what a head takes as lines, or as fields of HTTP/2.
func headBytes(h textproto.MIMEHeader) int64 {
	n := len("HTTP/1.1 103 Early Hints\r\n\r\n")
	for name, values := range h {
		for _, value := range values {
			n += len(name) + len(value) + len(": \r\n")
		}
	}
	return int64(n)
}

// blame returns what to say for err, with which a request has ended: the first that went wrong
// with the informational answers. If the caller's function has panicked, so does this.
func (i *informant) blame(err error) error {
	failed := i.failed.Load()
	switch {
	case failed == nil:
		return err
	case failed.panicked != nil:
		panic(failed.panicked)
	default:
		return failed.err
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
