package gateway

import (
	"context"
	"net/http"
	"strings"

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
