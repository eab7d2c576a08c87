package gateway

import (
	"log/slog"

	"github.com/sallyport/sallyport/internal/jsonline"
)

// AppendJSON implements [accesslog.Members], and releases the record. It is what nearly all
// records come to, one after another; appendAttrs is for handlers of other kinds.
func (r *record) AppendJSON(b []byte) []byte {
	b = append(b, r.preface.json...)
	if !r.preface.said {
		b = jsonline.AppendText(append(b, `,"remote":`...), r.remote)
		if r.serverName != "" {
			b = jsonline.AppendText(append(b, `,"server_name":`...), r.serverName)
		}
		if r.identity != nil {
			b = jsonline.AppendAttrs(b, []slog.Attr{slog.Any("identity", r.identity)})
		}
	}
	if r.client != "" {
		b = jsonline.AppendText(append(b, `,"client":`...), r.client)
	}
	b = jsonline.AppendText(append(b, `,"protocol":`...), r.protocol)
	b = jsonline.AppendText(append(b, `,"host":`...), r.host)
	if r.route != "" {
		b = jsonline.AppendText(append(b, `,"route":`...), r.route)
	}
	if r.upstream != "" {
		b = jsonline.AppendText(append(b, `,"upstream":`...), r.upstream)
	}
	b = jsonline.AppendInt(append(b, `,"status":`...), int64(r.status))
	b = jsonline.AppendText(append(b, `,"method":`...), r.method)
	b = jsonline.AppendText(append(b, `,"path":`...), r.path)
	if r.attempts > 0 {
		b = jsonline.AppendText(append(b, `,"node":`...), r.node)
		b = jsonline.AppendInt(append(b, `,"attempts":`...), int64(r.attempts))
		b = jsonline.AppendInt(append(b, `,"waited":`...), int64(r.waited))
	}
	b = jsonline.AppendInt(append(b, `,"took":`...), int64(r.took))
	b = jsonline.AppendInt(append(b, `,"received":`...), r.received)
	b = jsonline.AppendInt(append(b, `,"sent":`...), r.sent)
	if r.refusal != nil || r.noWebSocket || r.err != "" || r.unreported > 0 {
		b = jsonline.AppendAttrs(b, r.appendRest(nil))
	}
	r.release()
	return b
}
