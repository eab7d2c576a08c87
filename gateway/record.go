package gateway

import (
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/jsonline"
)

// A record is what there is to say of a request: attributes, or what takes less time, the
// text that they have as members of a JSON object.
type record struct {
	asJSON bool
	attrs  []slog.Attr
	json   []byte
	escape bool // something in the text would have to be escaped: it is of no use
}

var records = sync.Pool{New: func() any { return &record{attrs: make([]slog.Attr, 0, 24), json: make([]byte, 0, 1<<10)} }}

// begin lets a record begin anew.
func (r *record) begin(asJSON bool) {
	r.attrs, r.json, r.asJSON, r.escape = r.attrs[:0], r.json[:0], asJSON, false
}

// request adds what there is to say of a request and is not in the preface. What does not
// apply is left out.
func (r *record) request(e *RequestEvent, v *visit, p *preface, unreported int) {
	if !p.said {
		r.peer(e)
	}
	if !p.direct {
		r.from(e)
	}
	r.text(`,"protocol":`, e.Protocol)
	r.text(`,"host":`, e.Host)
	r.some(`,"route":`, e.Route)
	r.some(`,"upstream":`, e.Upstream)
	r.number(`,"status":`, int64(e.Status))
	r.text(`,"method":`, e.Method)
	r.text(`,"path":`, e.Path)
	if e.Attempts > 0 {
		r.text(`,"node":`, e.Node)
		r.number(`,"attempts":`, int64(e.Attempts))
		r.duration(`,"waited":`, e.Waited)
	}
	r.duration(`,"took":`, e.Took)
	r.number(`,"received":`, e.Received)
	r.number(`,"sent":`, e.Sent)
	if refusal := v.refusal; refusal != nil {
		r.some(`,"reason":`, string(refusal.Reason))
		r.some(`,"profile":`, refusal.Profile)
		r.some(`,"advice":`, refusal.Advice)
	}
	if e.NoWebSocket {
		r.text(`,"advice":`, noWebSocket)
	}
	if e.Err != nil {
		r.text(`,"error":`, e.Err.Error())
	}
	if unreported > 0 {
		r.number(`,"unreported":`, int64(unreported))
	}
}

// peer adds where the connection comes from, and who has made it. An identity is no JSON: a
// handler formats it, once for a connection.
func (r *record) peer(e *RequestEvent) {
	r.text(`,"remote":`, e.RemoteAddr)
	r.some(`,"server_name":`, e.ServerName)
	if e.Identity != nil {
		r.attrs = append(r.attrs, slog.Any("identity", e.Identity))
	}
}

// from adds where the client is.
func (r *record) from(e *RequestEvent) { r.some(`,"client":`, e.ClientAddr) }

// A key is that of a member of a JSON object, with what stands around it. It needs no escape.
type key string

func (k key) name() string { return string(k[len(`,"`) : len(k)-len(`":`)]) }

// number adds a number.
func (r *record) number(k key, n int64) {
	if !r.asJSON {
		r.attrs = append(r.attrs, slog.Int64(k.name(), n))
		return
	}
	r.json = strconv.AppendInt(append(r.json, k...), n, 10)
}

// duration adds a duration, in nanoseconds.
func (r *record) duration(k key, d time.Duration) {
	if r.asJSON {
		r.number(k, int64(d))
		return
	}
	r.attrs = append(r.attrs, slog.Duration(k.name(), d))
}

// text adds a text.
func (r *record) text(k key, value string) {
	if !r.asJSON {
		r.attrs = append(r.attrs, slog.String(k.name(), value))
		return
	}
	var ok bool
	if r.json, ok = jsonline.AppendText(append(r.json, k...), value); !ok {
		r.escape = true
	}
}

// some adds a text, if there is one.
func (r *record) some(k key, value string) {
	if value != "" {
		r.text(k, value)
	}
}
