package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// serveOrigin answers as httpbin does: /ip, /get, /anything and /status/N.
func serveOrigin(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/ip":
		writeJSON(w, map[string]any{"origin": clientOf(r)})
	case path == "/get":
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		writeJSON(w, describe(r))
	case path == "/anything", strings.HasPrefix(path, "/anything/"):
		echo(w, r)
	case strings.HasPrefix(path, "/status/"):
		code, err := strconv.Atoi(strings.TrimPrefix(path, "/status/"))
		if err != nil || code < 200 || code > 599 {
			http.Error(w, "a status is a number from 200 to 599", http.StatusBadRequest)
			return
		}
		w.WriteHeader(code)
	default:
		http.NotFound(w, r)
	}
}

// describe is what httpbin says about any request.
func describe(r *http.Request) map[string]any {
	headers := map[string]string{"Host": r.Host}
	for name, values := range r.Header {
		headers[name] = strings.Join(values, ",")
	}
	args := map[string]any{}
	for name, values := range r.URL.Query() {
		args[name] = oneOrAll(values)
	}
	scheme := r.Header.Get("X-Forwarded-Proto")
	if scheme == "" {
		scheme = "http"
	}
	return map[string]any{
		"args":    args,
		"headers": headers,
		"origin":  clientOf(r),
		"url":     scheme + "://" + r.Host + r.URL.RequestURI(),
	}
}

const maxEcho = 1 << 20

// echo answers with the request itself.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEcho))
	if err != nil {
		http.Error(w, "the body cannot be read, or is over 1 MiB", http.StatusBadRequest)
		return
	}
	answer := describe(r)
	answer["method"] = r.Method
	answer["files"], answer["form"] = map[string]any{}, map[string]any{}
	answer["data"], answer["json"] = string(body), nil
	if !utf8.Valid(body) {
		answer["data"] = "data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString(body)
	}
	var v any
	if json.Unmarshal(body, &v) == nil {
		answer["json"] = v
	}
	writeJSON(w, answer)
}

func clientOf(r *http.Request) string {
	if forwarded := r.Header.Get("X-Forwarded-For"); forwarded != "" {
		return forwarded
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

func oneOrAll(values []string) any {
	if len(values) == 1 {
		return values[0]
	}
	return values
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
}
