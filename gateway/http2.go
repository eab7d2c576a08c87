package gateway

import (
	"github.com/sallyport/sallyport/internal/h2"
)

// This file is the life of a connection with HTTP/2: one goroutine that reads, and one for
// each request that goes on. What most requests are is relayed as with HTTP/1.1, by the
// same code (relay.go); what is different is how an answer goes back (streamrelay.go), and
// what a handler of the user's gets (streamwriter.go).

// h2Options are the limits of connections with HTTP/2.
func (l *Limits) h2Options() h2.Options {
	return h2.Options{
		Streams:       l.Streams,
		HeaderBytes:   l.HeaderBytes,
		HeaderFields:  l.HeaderFields,
		HeaderTimeout: l.HeaderTimeout,
		IdleTimeout:   l.IdleTimeout,
		BodyTimeout:   l.BodyTimeout,
		RestAfter:     parkAfter,
	}
}

// speakHTTP2 makes the connection one with HTTP/2.
func (k *client) speakHTTP2() {
	k.mu.Lock()
	k.h2 = h2.New(k.conn, &k.server.h2Limits, k)
	k.mu.Unlock()
}

// serveHTTP2 serves requests until the connection ends or is parked.
func (k *client) serveHTTP2() (parked bool) {
	if k.server.draining.Load() { // which may have begun before the connection was among those to be told
		k.h2.Drain()
	}
	for k.h2.Serve() {
		k.idlesUntil(k.h2.Expires())
		if k.server.park(k) {
			return true
		}
		k.h2.StayUp() // there is no poller for it, or it is to end
	}
	if k.h2.Lingers() {
		k.conn.Linger(lingerTime, lingerBytes)
	}
	_ = k.conn.Close()
	k.h2.Wait()
	return false
}

// Start implements [h2.Owner].
func (k *client) Start(st *h2.Stream) { k.server.workers.do(k, st) }

// Works and Rests implement [h2.Owner].

func (k *client) Works() { k.works() }
func (k *client) Rests() { k.rests() }

// Malformed implements [h2.Owner].
func (k *client) Malformed() { k.server.counts.malformed.Add(1) }

// Reached implements [h2.Owner].
func (k *client) Reached(limit h2.Limit) {
	k.server.limitReached(h2Limits[limit], k.conn.RemoteAddr())
}

var h2Limits = [...]Limit{
	h2.LimitStreams:       LimitStreams,
	h2.LimitHeaderBytes:   LimitHeaderBytes,
	h2.LimitHeaderFields:  LimitHeaderFields,
	h2.LimitHeaderTimeout: LimitHeaderTimeout,
	h2.LimitBodyTimeout:   LimitBodyTimeout,
	h2.LimitResets:        LimitResets,
	h2.LimitFrames:        LimitFrames,
}

// serveStream serves one request.
func (k *client) serveStream(st *h2.Stream) {
	t := turns.Get().(*turn)
	t.client, t.stream, t.head = k, st, st.Head
	defer func() {
		if p := recover(); p != nil {
			k.server.logPanic(k.remote, p)
			t.exposed = true // nobody knows who has it
			st.Reset()
		}
		head, alone := st.Head, !t.exposed
		st.Finish(alone)
		t.release()
		if head != nil {
			head.Release()
		}
	}()
	if !st.Watch(t) {
		return // the client has taken it back
	}
	if st.Refusal != nil {
		k.server.counts.malformed.Add(1)
		t.refuseStream(st.Refusal.Status, st.Refusal.Reason)
		return
	}
	t.serve()
}

// Vanished implements [h2.Watcher].
func (t *turn) Vanished() {
	t.flight.mu.Lock()
	defer t.flight.mu.Unlock()
	t.flight.interrupt()
}
