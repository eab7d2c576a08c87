package gateway

import (
	"log/slog"
	"sync"
	"time"
	"unsafe"

	"github.com/sallyport/sallyport/ssl"
)

// A record is what the access log says of a request. What does not apply is empty.
type record struct {
	preface *preface
	own     []byte // memory for what follows

	protocol, host, route, upstream string
	method, path, node, client      string

	status, attempts int
	waited, took     time.Duration
	received, sent   int64

	remote, serverName string // these are in the preface, if there is one
	identity           *ssl.Identity

	refusal     *Refusal
	noWebSocket bool
	err         string
	unreported  int
}

var records = sync.Pool{New: func() any { return new(record) }}

// newRecord returns a record of a request. release gives it back.
func newRecord(e *RequestEvent, v *visit, p *preface, unreported int) *record {
	r := records.Get().(*record)
	r.preface = p
	r.protocol, r.host, r.route, r.upstream = e.Protocol, e.Host, e.Route, e.Upstream
	r.method, r.path, r.node = e.Method, e.Path, e.Node
	r.status, r.attempts, r.waited, r.took = e.Status, e.Attempts, e.Waited, e.Took
	r.received, r.sent = e.Received, e.Sent
	if !p.said {
		r.remote, r.serverName, r.identity = e.RemoteAddr, e.ServerName, e.Identity
	}
	if !p.direct {
		r.client = e.ClientAddr
	}
	r.refusal, r.noWebSocket, r.unreported = v.refusal, e.NoWebSocket, unreported
	if e.Err != nil {
		r.err = e.Err.Error()
	}
	return r
}

// release gives the record back.
func (r *record) release() {
	r.empty()
	records.Put(r)
}

func (r *record) empty() {
	const most = 4 << 10 // the memory of what was longer is not kept
	own := r.own[:0]
	if cap(own) > most {
		own = nil
	}
	*r = record{own: own}
}

// keep copies what may be a part of the client's buffer.
func (r *record) keep() {
	m, h := len(r.method), len(r.method)+len(r.host)
	r.own = append(append(append(r.own, r.method...), r.host...), r.path...)
	text := unsafe.String(unsafe.SliceData(r.own), len(r.own)) // which does not change before the release
	r.method, r.host, r.path = text[:m], text[m:h], text[h:]
}

// appendAttrs appends what the record says and the preface does not. AppendJSON says the same.
func (r *record) appendAttrs(attrs []slog.Attr) []slog.Attr {
	number := func(key string, n int64) { attrs = append(attrs, slog.Int64(key, n)) }
	text := func(key, value string) { attrs = append(attrs, slog.String(key, value)) }
	some := func(key, value string) {
		if value != "" {
			text(key, value)
		}
	}
	if !r.preface.said {
		attrs = appendPeer(attrs, r.remote, r.serverName, r.identity)
	}
	some("client", r.client)
	text("protocol", r.protocol)
	text("host", r.host)
	some("route", r.route)
	some("upstream", r.upstream)
	number("status", int64(r.status))
	text("method", r.method)
	text("path", r.path)
	if r.attempts > 0 {
		text("node", r.node)
		number("attempts", int64(r.attempts))
		attrs = append(attrs, slog.Duration("waited", r.waited))
	}
	attrs = append(attrs, slog.Duration("took", r.took))
	number("received", r.received)
	number("sent", r.sent)
	return r.appendRest(attrs)
}

// appendRest appends what there is to say of few requests.
func (r *record) appendRest(attrs []slog.Attr) []slog.Attr {
	some := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	if refusal := r.refusal; refusal != nil {
		some("reason", string(refusal.Reason))
		some("profile", refusal.Profile)
		some("advice", refusal.Advice)
	}
	if r.noWebSocket {
		some("advice", noWebSocket)
	}
	some("error", r.err)
	if r.unreported > 0 {
		attrs = append(attrs, slog.Int("unreported", r.unreported))
	}
	return attrs
}

// appendPeer appends where a connection comes from, and who has made it.
func appendPeer(attrs []slog.Attr, remote, serverName string, identity *ssl.Identity) []slog.Attr {
	attrs = append(attrs, slog.String("remote", remote))
	if serverName != "" {
		attrs = append(attrs, slog.String("server_name", serverName))
	}
	if identity != nil {
		attrs = append(attrs, slog.Any("identity", identity))
	}
	return attrs
}
