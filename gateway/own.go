package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// appendOwnAnswer appends a whole answer of the gateway's own to what is no request, after
// which the connection ends.
func (s *Server) appendOwnAnswer(b []byte, status int, message string) []byte {
	body, _ := json.Marshal(map[string]string{"error_msg": message}) // strings always encode
	body = append(body, '\n')
	b = appendStatus(b, status, nil)
	b = appendDate(b)
	b = append(b, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\nConnection: close\r\n\r\n"...)
	return append(b, body...)
}

// A dateLine is the Date field of a second.
type dateLine struct {
	second int64
	line   []byte
}

var date atomic.Pointer[dateLine]

// appendDate appends a Date field, which whoever answers must have if it has a clock
// (RFC 9110, section 6.6.1). It is made once a second.
func appendDate(b []byte) []byte {
	now := time.Now()
	d := date.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateLine{second: now.Unix()}
		d.line = append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)
		date.Store(d)
	}
	return append(b, d.line...)
}
