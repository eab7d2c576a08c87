package gateway

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/http1"
)

// This file makes requests of net/http for those that the engine does not relay: handlers
// of the user's, upgrades, answers of the gateway's own. It does what net/http's
// server does, where a handler can see it; so does the writer of the answers.

// adapt answers the request as [*Server.ServeHTTP] does, and reports whether there may be
// another.
func (t *turn) adapt() (again bool) {
	k := t.client
	r := t.withBody()
	if r == nil {
		t.last = true
		t.illegal()
		if t.stream != nil {
			return t.refuseStream(http.StatusBadRequest, "the request target is malformed")
		}
		_ = k.write(k.server.appendOwnAnswer(nil, http.StatusBadRequest, "the request target is malformed"))
		return t.end()
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	r = r.WithContext(ctx)
	w := t.answerer()
	w.(tunneller).handlerTunnel().cancel = cancel
	returned := false
	defer func() {
		if p := recover(); p != nil {
			k.server.logPanic(k.remote, p)
		}
		if !returned { // also if the handler has ended the goroutine, as t.FailNow does
			again = w.abort()
		}
	}()
	t.handles(func() { cancel(nil) }, t.body == nil)
	if engine, ok := w.(*streamWriter); ok && t.stream.Protocol != "" {
		r = engine.asUpgrade(r)
	}
	if t.decided {
		t.settle()
		k.server.dispatch(w, r, &t.decision, t.denied)
	} else {
		k.server.serveLimited(w, r)
	}
	t.waited()
	again = w.finish()
	returned = true
	return again
}

// withBody is request with a body that can be read.
func (t *turn) withBody() *http.Request {
	r := t.request()
	if t.stream != nil {
		return t.withStreamBody(r)
	}
	if r != nil && t.head.ContentLength != 0 && t.body == nil {
		t.body = t.client.stream(t.head)
		t.body.atEnd = func() { t.bodyEnded(r) }
		r.Body = &handlerBody{Reader: t.body}
	}
	return r
}

// handles takes note that a handler is at work. alone says that nobody reads from the
// connection meanwhile.
func (t *turn) handles(cancel func(), alone bool) {
	if t.stream != nil {
		t.flight.ends(cancel)
		return
	}
	t.client.ends(cancel)
	if alone {
		t.client.waitsForMore()
	}
}

// request returns the request as net/http has it, in memory of its own. It is nil if
// net/url finds no meaning in the target.
func (t *turn) request() *http.Request {
	if t.adapted != nil {
		return t.adapted
	}
	k, head := t.client, t.head
	target := strings.Clone(head.Target())
	raw := target
	method := strings.Clone(head.Method())
	authority := method == http.MethodConnect && !strings.HasPrefix(target, "/")
	if authority {
		raw = "http://" + target
	}
	u, err := url.ParseRequestURI(raw)
	if err != nil {
		return nil
	}
	if authority {
		u.Scheme = ""
	}
	header := head.Header()
	host := u.Host
	if host == "" {
		host, _ = head.Host()
		host = strings.Clone(host)
	}
	delete(header, "Host")
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, k.local)
	ctx = context.WithValue(ctx, http.ServerContextKey, k.server.http)
	r := &http.Request{
		Method:        method,
		URL:           u,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    head.Minor,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: head.ContentLength,
		Close:         head.Close,
		Host:          host,
		RemoteAddr:    k.remote,
		RequestURI:    target,
		TLS:           k.tls,
	}
	if t.stream != nil {
		t.overHTTP2(r)
	}
	if head.Minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	if head.Chunked {
		r.TransferEncoding = []string{"chunked"}
		delete(header, "Transfer-Encoding")
		announceTrailer(r)
	}
	t.adapted = r.WithContext(ctx)
	return t.adapted
}

// announceTrailer lets a request announce what its header says will come after its body.
func announceTrailer(r *http.Request) {
	announced := http.Header{}
	for name := range http1.Announced(r.Header["Trailer"]) {
		announced[name] = nil
	}
	delete(r.Header, "Trailer")
	setTrailer(r, announced)
}

// setTrailer gives a request the fields after its body.
func setTrailer(r *http.Request, fields http.Header) {
	for name, values := range fields {
		if !mayTrail(name) {
			continue
		}
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		r.Trailer[name] = values
	}
}

// mayTrail reports whether a field may stand after a body.
func mayTrail(name string) bool {
	return name != "" && !concernsOne(name)
}

// bodyEnded takes note that all came of the body of a handler's request, and what fields came
// after it.
func (t *turn) bodyEnded(r *http.Request) {
	if t.stream != nil {
		setTrailer(r, t.stream.Trailer())
		return
	}
	t.client.waitsForMore()
	if trailer := t.client.conn.Trailer(); trailer != nil {
		setTrailer(r, trailer.Header())
	}
}

// A handlerBody is the body of a request for a handler. What a handler leaves of it unread is
// the turn's to see to.
type handlerBody struct {
	io.Reader
	closed atomic.Bool
}

func (b *handlerBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.Reader.Read(p)
}

// bePatient is that of a [streamBody], if it is one.
func (b *handlerBody) bePatient() {
	if body, ok := b.Reader.(*streamBody); ok {
		body.bePatient()
	}
}

// Close implements [io.Closer].
func (b *handlerBody) Close() error {
	b.closed.Store(true)
	return nil
}
