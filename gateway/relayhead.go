package gateway

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/http1"
)

// This file is the heads of what is relayed: what a node gets of a request's, and what a
// client gets of an answer's. A field that concerns one connection alone goes no further.

// AppendHead implements [forward.Head].
func (t *turn) AppendHead(b []byte, host string) []byte {
	head := t.head
	b = append(b, t.req.Method...)
	b = append(b, ' ')
	b = append(b, t.path.Raw...)
	b = append(b, t.query...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	for i := range head.Len() {
		name, value := head.FieldView(i)
		if concernsOne(name) || t.header.drops(name) || head.Names(name) && kindOf(name) != fieldForwarding {
			continue
		}
		b = appendField(b, name, value)
	}
	for i := range t.header.fields {
		b = appendField(b, t.header.fields[i].Name, t.header.fields[i].Value)
	}
	if head.Trailers {
		b = append(b, "Te: trailers\r\n"...)
	}
	switch length := head.ContentLength; {
	case length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || http1.ExpectsBody(t.req.Method):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, t.sent...)
}

// appendAnswerHead appends the head of the answer as the client gets it.
func (t *turn) appendAnswerHead(b []byte, r *http1.Response, how framing) []byte {
	b = appendStatus(b, r.Status, r.Reason())
	own := t.client.server.o.ServerHeader
	if own != "" {
		b = appendField(b, "Server", own)
	}
	dated := false
	for i := range r.Len() {
		name, value := r.FieldView(i)
		if concernsOne(name) {
			if how != chunkedBody || !r.Chunked || !strings.EqualFold(name, "trailer") {
				continue
			}
		} else if r.Names(name) || own != "" && len(name) == len("server") && strings.EqualFold(name, "server") {
			continue
		}
		if len(name) == len("date") && strings.EqualFold(name, "date") {
			dated = true
		}
		b = appendField(b, name, value)
	}
	if !dated {
		b = appendDate(b)
	}
	switch {
	case how == chunkedBody:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.ContentLength >= 0 && r.Status != http.StatusNoContent:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, "\r\n"...)
	}
	b = t.appendConnection(b)
	return append(b, "\r\n"...)
}

// appendConnection appends what the client is told of the connection.
func (t *turn) appendConnection(b []byte) []byte {
	switch {
	case t.last:
		return append(b, "Connection: close\r\n"...)
	case t.head.Minor == 0:
		return append(b, "Connection: keep-alive\r\n"...)
	}
	return b
}

func appendStatus(b []byte, status int, reason []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if len(reason) == 0 {
		b = append(b, http.StatusText(status)...)
	} else {
		b = append(b, reason...)
	}
	return append(b, "\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// concernsOne reports whether a field of a request or an answer concerns one connection
// alone (RFC 9110, section 7.6.1), says where the body ends, or is the gateway's to
// write.
func concernsOne(name string) bool {
	switch len(name) {
	case len("te"):
		return strings.EqualFold(name, "te")
	case len("host"):
		return strings.EqualFold(name, "host")
	case len("expect"):
		return strings.EqualFold(name, "expect")
	case len("trailer"): // and "upgrade"
		return strings.EqualFold(name, "trailer") || strings.EqualFold(name, "upgrade")
	case len("connection"): // and "keep-alive"
		return strings.EqualFold(name, "connection") || strings.EqualFold(name, "keep-alive")
	case len("content-length"):
		return strings.EqualFold(name, "content-length")
	case len("proxy-connection"):
		return strings.EqualFold(name, "proxy-connection")
	case len("transfer-encoding"):
		return strings.EqualFold(name, "transfer-encoding")
	case len("proxy-authenticate"):
		return strings.EqualFold(name, "proxy-authenticate")
	case len("proxy-authorization"):
		return strings.EqualFold(name, "proxy-authorization")
	}
	return false
}
