package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/internal/http1"
)

// This file makes tunnels of event streams (server-sent events, the Content-Type
// text/event-stream): answers that have no end of their own, and in which a client would go on
// to be told what it may no longer know.

const eventStreamType = "text/event-stream"

// isEventStream reports whether a Content-Type is that of an event stream.
func isEventStream(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), eventStreamType)
}

// eventStream reports whether a node answers with an event stream.
func eventStream(r *http1.Response) bool {
	for i := range r.Len() {
		if name, value := r.FieldView(i); len(name) == len("Content-Type") && strings.EqualFold(name, "Content-Type") {
			return isEventStream(value)
		}
	}
	return false
}

// beginEvents makes a tunnel of the answer that is relayed. What it returns must be called
// before the turn is released.
func (t *turn) beginEvents() func() {
	ctx, end := t.client.server.beginTunnel(context.Background(), &t.decision, true)
	flight, over := t.inFlight(), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		flight.refuse(context.Cause(ctx))
	})
	return func() {
		if !stop() {
			<-over // or else it would find the flight of another request
		}
		end()
	}
}

// beginEvents makes a tunnel of an answer that goes the way of net/http, which ends with the
// exchange.
func (x *exchange) beginEvents(s *Server) {
	x.end = s.noteTunnel(x.cancel, x.decision, true)
}

// A handlerTunnel is the tunnel of a request that a handler of the user's answers, which is one
// from the beginning, or when the answer turns out to be an event stream. It is a part of the
// ResponseWriter, which tells it of the answer. The zero handlerTunnel is that of a request that
// goes elsewhere.
type handlerTunnel struct {
	cancel context.CancelCauseFunc // ends the context of the request; or nil

	mu    sync.Mutex // guards what follows: a handler may answer on another goroutine
	last  *handling  // what goes on; or nil
	first handling   // memory for one
}

// A handling is a call of a handler. There may be one in another: the handler of a gateway may
// be a gateway too, and give it its ResponseWriter.
type handling struct {
	outer    *handling
	cancel   context.CancelCauseFunc // ends its context
	server   *Server
	decision *decision
	end      func() // of the tunnel, or nil
}

// A tunneller is a ResponseWriter that has one.
type tunneller interface{ handlerTunnel() *handlerTunnel }

// handles takes note of what was decided on a request that a handler gets, and returns the
// context for it; ended must be called when the handler has returned.
func (t *handlerTunnel) handles(ctx context.Context, s *Server, d *decision) (context.Context, *handling) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, cancel := &t.first, t.cancel
	if t.last != nil {
		h, cancel = new(handling), nil
	}
	if cancel == nil {
		ctx, cancel = context.WithCancelCause(ctx)
	}
	*h = handling{outer: t.last, cancel: cancel, server: s, decision: d}
	t.last = h
	return ctx, h
}

// begin makes a tunnel of the request.
func (t *handlerTunnel) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := t.last; h != nil; h = h.outer {
		if h.end == nil {
			h.end = h.server.noteTunnel(h.cancel, h.decision, true)
		}
	}
}

// answers is called with the header of the answer, before any of it is sent.
func (t *handlerTunnel) answers(h http.Header) {
	if types := h["Content-Type"]; len(types) > 0 && isEventStream(types[0]) {
		t.begin()
	}
}

// ended ends the tunnel of a call, if there is one.
func (t *handlerTunnel) ended(h *handling) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = h.outer
	if h.end != nil {
		h.end()
	}
	h.cancel(nil)
}

// asksForEvents reports whether a request is for an event stream.
func asksForEvents(r *http.Request) bool {
	for _, accept := range r.Header["Accept"] {
		for one := range strings.SplitSeq(accept, ",") {
			if isEventStream(strings.TrimSpace(one)) {
				return true
			}
		}
	}
	return false
}
