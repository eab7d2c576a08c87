package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/sallyport/sallyport/route"
)

// This file has the answers of the gateway's own.

// ownFields appends the header fields of an answer of the gateway's own, and returns its
// body. accept is the Accept of the request, or empty.
func (s *Server) ownFields(list []route.HeaderField, status int, message, accept string) ([]route.HeaderField, []byte) {
	contentType, body := s.ownBody(status, message, accept)
	if contentType != "" {
		list = append(list, route.HeaderField{Name: "Content-Type", Value: contentType})
	}
	list = append(list,
		route.HeaderField{Name: "X-Content-Type-Options", Value: "nosniff"},
		route.HeaderField{Name: "Vary", Value: "Accept"}, // RFC 9110, section 12.5.5: some may be stored
		route.HeaderField{Name: "Content-Length", Value: strconv.Itoa(len(body))})
	if s.o.ServerHeader != "" {
		list = append(list, route.HeaderField{Name: "Server", Value: s.o.ServerHeader})
	}
	return list, body
}

// ownBody returns the body of an answer of the gateway's own. A hook of the user's that
// fails costs the user's own words, and not the answer.
func (s *Server) ownBody(status int, message, accept string) (contentType string, body []byte) {
	if s.o.ErrorBody == nil {
		return ErrorBody(status, message, accept)
	}
	err := safely(context.Background(), func(context.Context) error {
		contentType, body = s.o.ErrorBody(status, message, accept)
		if strings.ContainsFunc(contentType, unicode.IsControl) {
			return fmt.Errorf("the Content-Type %q has a control character", contentType)
		}
		return nil
	})
	if err != nil {
		if s.o.Logger != nil {
			s.o.Logger.Error("Options.ErrorBody failed", "status", status, "error", err)
		}
		return ErrorBody(status, message, accept)
	}
	return contentType, body
}

// ErrorBody is what [Options.ErrorBody] is by default: JSON in the shape of APISIX's,
// {"error_msg":"404 Route Not Found"}, or the message as plain text for a client whose
// Accept prefers text, such as a browser.
func ErrorBody(_ int, message, accept string) (contentType string, body []byte) {
	if prefersText(accept) {
		return "text/plain; charset=utf-8", append([]byte(message), '\n')
	}
	body, _ = json.Marshal(map[string]string{"error_msg": message}) // strings always encode
	return "application/json", append(body, '\n')
}

// answer writes an answer of the gateway's own.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, message string) {
	h := w.Header()
	fields, body := s.ownFields(nil, status, message, strings.Join(r.Header["Accept"], ","))
	h["Content-Type"] = nil // and not what net/http makes of the body
	for _, f := range fields {
		h.Set(f.Name, f.Value)
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// appendOwnAnswer appends a whole answer of the gateway's own to what is no request, after
// which the connection ends.
func (s *Server) appendOwnAnswer(b []byte, status int, message string) []byte {
	fields, body := s.ownFields(nil, status, message, "")
	b = appendStatus(b, status, nil)
	b = appendDate(b)
	for _, f := range fields {
		b = appendField(b, f.Name, f.Value)
	}
	b = append(b, "Connection: close\r\n\r\n"...)
	return append(b, body...)
}

// A dateLine is the Date field of a second.
type dateLine struct {
	until time.Duration // the second's end, since dateEpoch
	line  []byte
	value string
}

var (
	date      atomic.Pointer[dateLine]
	dateEpoch = time.Now()
)

// appendDate appends a Date field, which whoever answers must have if it has a clock
// (RFC 9110, section 6.6.1).
func appendDate(b []byte) []byte { return append(b, dateLineNow().line...) }

// dateNow is the value of a Date field.
func dateNow() string { return dateLineNow().value }

// dateLineNow is made once a second. Between, it asks for one clock, where [time.Now] asks
// for two: if that on the wall is set, it is seen a second later.
func dateLineNow() *dateLine {
	since := time.Since(dateEpoch)
	d := date.Load()
	if d == nil || since >= d.until {
		now := time.Now()
		rest := time.Second - time.Duration(now.Nanosecond())
		d = &dateLine{until: now.Sub(dateEpoch) + rest, value: now.UTC().Format(http.TimeFormat)}
		d.line = []byte("Date: " + d.value + "\r\n")
		date.Store(d)
	}
	return d
}
