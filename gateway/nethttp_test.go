package gateway_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
)

// answers are what handlers do that a client can see.
var answers = []struct {
	name  string
	serve http.HandlerFunc
}{
	{"nothing", func(http.ResponseWriter, *http.Request) {}},
	{"small", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }},
	{"pieces of a type", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<ht")
		io.WriteString(w, "ml>")
	}},
	{"typed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "a/b")
		io.WriteString(w, "hello")
	}},
	{"untyped", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "hello")
	}},
	{"encoded", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "x")
		io.WriteString(w, "hello")
	}},
	{"middling", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 5000)) }},
	{"large", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 100_000)) }},
	{"length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	}},
	{"spaced length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", " 5 ")
		io.WriteString(w, "hello")
	}},
	{"signed length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "+5")
		io.WriteString(w, "hello")
	}},
	{"two lengths", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = []string{"5", "6"}
		io.WriteString(w, "hello")
	}},
	{"wrong length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "five")
		io.WriteString(w, "hello")
	}},
	{"less than the length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		io.WriteString(w, "hello")
	}},
	{"more than the length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
		if _, err := io.WriteString(w, "!"); !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
	}},
	{"more than the length, and then less", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "he")
		for _, rest := range []string{"llo!", "llo"} { // or else a part of the answer would be missing, unseen
			if _, err := io.WriteString(w, rest); !errors.Is(err, http.ErrContentLength) {
				fmt.Fprint(w, rest, err)
			}
		}
	}},
	{"length of nothing", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "5") }},
	{"flushed", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hel")
		w.(http.Flusher).Flush()
		io.WriteString(w, "lo")
	}},
	{"flushed at once", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "<html>")
	}},
	{"flushed, with a length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.(http.Flusher).Flush()
		io.WriteString(w, "hello")
	}},
	{"coded by itself", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		io.WriteString(w, "hello")
	}},
	{"identity", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "identity")
		io.WriteString(w, "hello")
	}},
	{"204", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(204)
		if _, err := io.WriteString(w, "hello"); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	}},
	{"304", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"x"`)
		w.WriteHeader(304)
	}},
	{"304, with a length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(304)
	}},
	{"404", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }},
	{"599", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) }},
	{"twice", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(201)
		w.WriteHeader(202)
		w.Header().Set("X-Late", "1")
		io.WriteString(w, "hello")
	}},
	{"103", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "x")
		w.WriteHeader(103)
		w.Header().Del("Link")
		io.WriteString(w, "hello")
	}},
	{"103, with a length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "x")
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Transfer-Encoding", "chunked")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.Header().Del("Transfer-Encoding")
		io.WriteString(w, "hello")
	}},
	{"100", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(100)
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}},
	{"close", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "hello")
	}},
	{"keep-alive", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "keep-alive")
		io.WriteString(w, "hello")
	}},
	{"dated", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		io.WriteString(w, "hello")
	}},
	{"fields with line ends", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "b\r\nX-C: d")
		w.Header().Set("X B", "c")
		w.Header()["x-lower"] = []string{" 1 ", "2"}
		io.WriteString(w, "hello")
	}},
	{"trailer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-T, X-None, Content-Length")
		io.WriteString(w, "hello")
		w.Header().Set("X-T", "1")
		w.Header().Set("X-U", "2")
	}},
	{"trailer with a prefix", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.Header().Set(http.TrailerPrefix+"X-T", "1")
	}},
	{"trailer with a prefix, flushed", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-T", "1")
	}},
	{"trailer and a length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Trailer", "X-T")
		io.WriteString(w, "hello")
		w.Header().Set("X-T", "1")
	}},
	{"echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %d %v %q %v %q %v", r.Method, r.Proto, r.Host, r.RequestURI, r.ContentLength, r.TransferEncoding, body, err, r.Trailer, r.Close)
	}},
	{"read a little", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.ReadFull(r.Body, make([]byte, 2))
		fmt.Fprint(w, n, err)
	}},
	{"close the body", func(w http.ResponseWriter, r *http.Request) {
		r.Body.Close()
		_, err := r.Body.Read(make([]byte, 2))
		fmt.Fprint(w, r.ContentLength == 0 || errors.Is(err, http.ErrBodyReadAfterClose))
	}},
	{"answer, then read", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q %v", body, err)
	}},
	{"read, answer, then read", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.ReadFull(r.Body, make([]byte, 2))
		w.(http.Flusher).Flush()
		body, then := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v %q %v", n, err, body, then)
	}},
	{"abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{"abort in the middle", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hel")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	{"panic after a write", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hel")
		panic("a mistake")
	}},
	{"bad status", func(w http.ResponseWriter, _ *http.Request) {
		defer func() { fmt.Fprint(w, recover() != nil) }()
		w.WriteHeader(99)
	}},
	{"hijack", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			panic(err)
		}
		_, isTCP := conn.(*net.TCPConn)
		fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%v", isTCP)
		rw.Flush()
	}},
	{"hijack after a write", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		io.WriteString(w, "hello")
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, "!")
	}},
	{"deadlines", func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		fmt.Fprint(w, c.SetReadDeadline(time.Now().Add(time.Hour)), c.SetWriteDeadline(time.Now().Add(time.Hour)))
		io.Copy(io.Discard, r.Body)
	}},
	{"type of a reader", func(w http.ResponseWriter, _ *http.Request) {
		n, err := io.Copy(w, strings.NewReader(strings.Repeat("<html>", 5000)))
		if n != 30_000 && err != nil {
			panic(err)
		}
	}},
}

// asked are the requests for each of them. A body is sent with the head, but for that of
// "Expect", which is sent when the server says so.
var asked = []struct{ name, head, body string }{
	{"GET", "GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n", ""},
	{"HEAD", "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n", ""},
	{"close", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", ""},
	{"GET 1.0", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", ""},
	{"kept 1.0", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", ""},
	{"HEAD 1.0", "HEAD / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", ""},
	{"POST", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n", "abcde"},
	{"POST 1.0", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n", "abcde"},
	{"chunked", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n", "5\r\nabcde\r\n0\r\nX-T: 1\r\n\r\n"},
	{"Expect", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "abcde"},
	{"Expect 1.0", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "abcde"},
}

// stalled are the answers to "Expect" after which net/http waits for a body that the client,
// which was not told to go on, does not send.
var stalled = []string{
	"less than the length", "more than the length, and then less", "length of nothing", "identity", "close the body", "answer, then read", "abort", "abort in the middle", "panic after a write", "deadlines",
}

// The adapter answers as net/http's server does, byte for byte but for the order of the
// fields and the Date, and for what differences explains.
func TestAdapterIsNetHTTP(t *testing.T) {
	wantNoLeak(t)
	ours, theirs := listen(t), listen(t)
	var handler atomic.Pointer[http.HandlerFunc]
	chosen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/probe" {
			io.WriteString(w, "kept")
			return
		}
		(*handler.Load())(w, r)
	})
	gw := must(gateway.New(nil))
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: chosen}}}})
	require.NoError(t, err)
	bare := &http.Server{Handler: chosen, ErrorLog: log.New(io.Discard, "", 0)}
	go gw.Serve(ours)
	go bare.Serve(theirs)
	defer gw.Close()
	defer bare.Close()

	explained := map[int]bool{}
	for _, a := range answers {
		for _, q := range asked {
			if q.name == "Expect" && slices.Contains(stalled, a.name) {
				continue
			}
			handler.Store(&a.serve)
			got := exchange(t, ours.Addr(), q.head, q.body)
			want := exchange(t, theirs.Addr(), q.head, q.body)
			var found []string
			for _, line := range got {
				if !slices.Contains(want, line) {
					found = append(found, "+ "+line)
				}
			}
			for _, line := range want {
				if !slices.Contains(got, line) {
					found = append(found, "- "+line)
				}
			}
			is, i := known(a.name, q.name)
			explained[i] = true
			if diff := strings.Join(found, "\n"); diff != is {
				t.Errorf("%s / %s: the difference is\n%s\nand not\n%s\nours:\n%s\n\nnet/http's:\n%s",
					a.name, q.name, diff, is, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
	for i, d := range differences {
		if !explained[i] {
			t.Errorf("there is nothing of which this says something: %s", d.why)
		}
	}
}

// exchange returns what a server says to a request, as lines, and what becomes of the
// connection.
func exchange(t *testing.T, server net.Addr, head, body string) (lines []string) {
	conn, err := net.Dial("tcp", server.String())
	require.NoError(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	older := strings.Contains(head, "HTTP/1.0")
	expects := strings.Contains(head, "Expect") && strings.Contains(head, "1.1")
	if !expects {
		head += body
	}
	_, err = io.WriteString(conn, head)
	require.NoError(t, err)
	method, _, _ := strings.Cut(head, " ")
	r := bufio.NewReader(conn)
	for {
		// The head as it is, and the body as net/http reads it.
		var raw bytes.Buffer
		for !bytes.HasSuffix(raw.Bytes(), []byte("\r\n\r\n")) {
			line, err := r.ReadBytes('\n')
			raw.Write(line)
			if err != nil {
				return append(lines, fmt.Sprintf("ends in the head: %q", raw.Bytes()))
			}
		}
		fields := strings.SplitSeq(strings.TrimSpace(raw.String()), "\r\n")
		for line := range fields {
			if strings.HasPrefix(line, "Date: ") {
				line = "Date: ..."
			}
			if older {
				// The version of an answer is that of the server (RFC 9110, section 2.5), which
				// net/http lowers; and "close", which it leaves out, goes without saying.
				line = strings.Replace(line, "HTTP/1.0 ", "HTTP/1.1 ", 1)
				if line == "Connection: close" {
					continue
				}
			}
			lines = append(lines, strings.TrimSpace(line))
		}
		res, err := http.ReadResponse(bufio.NewReader(io.MultiReader(&raw, r)), &http.Request{Method: method})
		if err != nil {
			return append(lines, "unreadable: "+err.Error())
		}
		if res.StatusCode < 200 {
			if res.StatusCode == 100 && expects {
				expects = false
				_, err = io.WriteString(conn, body)
				require.NoError(t, err)
			}
			continue
		}
		got, err := io.ReadAll(res.Body)
		lines = append(lines, fmt.Sprintf("body %q %v", got, err))
		for _, line := range linesOf(res.Trailer) {
			lines = append(lines, "trailer "+line)
		}
		// What http.ReadResponse has read ahead is nothing: the next request is not there.
		_, err = io.WriteString(conn, "GET /probe HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if err == nil {
			var next *http.Response
			if next, err = http.ReadResponse(r, nil); err == nil {
				if next.StatusCode != 200 {
					return append(lines, "misunderstood")
				}
				return append(lines, "kept")
			}
		}
		return append(lines, "closed")
	}
}

// A difference is where the engine answers otherwise than net/http's server.
type difference struct {
	why string
	is  string   // what only ours says, and what only net/http's
	in  []string // "answer / request, request"
}

// known returns the difference that there is by the table.
func known(answer, request string) (is string, index int) {
	for i, d := range differences {
		for _, in := range d.in {
			if a, requests, _ := strings.Cut(in, " / "); a == answer && slices.Contains(strings.Split(requests, ", "), request) {
				return d.is, i
			}
		}
	}
	return "", -1
}

var differences = []difference{
	{"it is held in a buffer of 16 KiB, and net/http's in one of 2 KiB",
		`+ Content-Length: 5000
- Transfer-Encoding: chunked`,
		[]string{"middling / GET, close, POST, chunked, Expect"}},
	{"it is held in a buffer of 16 KiB, and net/http's in one of 2 KiB",
		`+ Content-Length: 5000`,
		[]string{"middling / HEAD, GET 1.0, HEAD 1.0, POST 1.0, Expect 1.0"}},
	{"it is held in a buffer of 16 KiB, and net/http's in one of 2 KiB",
		`+ Content-Length: 5000
+ Connection: keep-alive
+ kept
- closed`,
		[]string{"middling / kept 1.0"}},
	{"the answer to HEAD has no body that would have to be held",
		`+ Content-Length: 100000`,
		[]string{"large / HEAD, HEAD 1.0"}},
	{"a Content-Length is read without the space around it",
		`+ Content-Length: 5
- Transfer-Encoding: chunked`,
		[]string{"spaced length / GET, close, POST, chunked, Expect"}},
	{"a Content-Length that is no length is as none",
		`+ Content-Length: 5
- Transfer-Encoding: chunked`,
		[]string{"wrong length / GET, close, POST, chunked, Expect"}},
	{"Transfer-Encoding is the engine's to say",
		`+ Content-Length: 5
- Transfer-Encoding: chunked`,
		[]string{"coded by itself / GET, close, POST, chunked, Expect"}},
	{"a Content-Length is read without the space around it",
		`+ Connection: keep-alive
+ kept
- closed`,
		[]string{"spaced length / kept 1.0"}},
	{"a Content-Length is written as a number is",
		`+ Content-Length: 5
+ body "hello" <nil>
+ kept
- Content-Length: +5
- unreadable: bad Content-Length "+5"`,
		[]string{"signed length / GET, kept 1.0, POST, chunked"}},
	{"a Content-Length is written as a number is",
		`+ Content-Length: 5
+ body "" <nil>
+ kept
- Content-Length: +5
- unreadable: bad Content-Length "+5"`,
		[]string{"signed length / HEAD, HEAD 1.0"}},
	{"a Content-Length is written as a number is",
		`+ Content-Length: 5
+ body "hello" <nil>
+ closed
- Content-Length: +5
- unreadable: bad Content-Length "+5"`,
		[]string{"signed length / close, GET 1.0, POST 1.0, Expect, Expect 1.0"}},
	{"there is one Content-Length",
		`+ body "hello" <nil>
+ kept
- Content-Length: 6
- unreadable: http: message cannot contain multiple Content-Length headers; got ["5" "6"]`,
		[]string{"two lengths / GET, kept 1.0, POST, chunked"}},
	{"there is one Content-Length",
		`+ body "" <nil>
+ kept
- Content-Length: 6
- unreadable: http: message cannot contain multiple Content-Length headers; got ["5" "6"]`,
		[]string{"two lengths / HEAD, HEAD 1.0"}},
	{"there is one Content-Length",
		`+ body "hello" <nil>
+ closed
- Content-Length: 6
- unreadable: http: message cannot contain multiple Content-Length headers; got ["5" "6"]`,
		[]string{"two lengths / close, GET 1.0, POST 1.0, Expect, Expect 1.0"}},
	{"a Content-Length that is no length is as none",
		`+ Content-Length: 5
+ body "" <nil>
+ kept
- Content-Length: five
- unreadable: bad Content-Length "five"`,
		[]string{"wrong length / HEAD, HEAD 1.0"}},
	{"a Content-Length that is no length is as none",
		`+ Content-Length: 5
+ body "hello" <nil>
+ closed
- Content-Length: five
- unreadable: bad Content-Length "five"`,
		[]string{"wrong length / GET 1.0, POST 1.0, Expect 1.0"}},
	{"a Content-Length that is no length is as none",
		`+ Content-Length: 5
+ Connection: keep-alive
+ body "hello" <nil>
+ kept
- Content-Length: five
- unreadable: bad Content-Length "five"`,
		[]string{"wrong length / kept 1.0"}},
	{"the client is told before that the connection ends",
		`+ Connection: close`,
		[]string{"less than the length / GET, POST, chunked", "more than the length, and then less / GET, POST, chunked", "length of nothing / GET, POST, chunked"}},
	{"the client is told before that the connection ends",
		`- Connection: keep-alive`,
		[]string{"less than the length / kept 1.0", "more than the length, and then less / kept 1.0", "length of nothing / kept 1.0"}},
	{"what is beyond the length was not sent: nothing is wrong with the connection",
		`+ kept
- closed`,
		[]string{"more than the length / GET, kept 1.0, POST, chunked"}},
	{"Transfer-Encoding is the engine's to say",
		`+ Content-Length: 5`,
		[]string{"coded by itself / HEAD, GET 1.0, HEAD 1.0, POST 1.0, Expect 1.0", "identity / HEAD, close, GET 1.0, HEAD 1.0, POST 1.0, Expect 1.0"}},
	{"a 304 may say how long the 200 would be (RFC 9110, section 8.6)",
		`+ Content-Length: 5`,
		[]string{"304, with a length / GET, HEAD, close, GET 1.0, kept 1.0, HEAD 1.0, POST, POST 1.0, chunked, Expect, Expect 1.0"}},
	{"Transfer-Encoding is the engine's to say",
		`+ Content-Length: 5
+ Connection: keep-alive
+ kept
- closed`,
		[]string{"coded by itself / kept 1.0", "identity / kept 1.0"}},
	{"Transfer-Encoding is the engine's to say",
		`+ Content-Length: 5
+ kept
- Connection: close
- closed`,
		[]string{"identity / GET, POST, chunked"}},
	{"the reason may be empty",
		`+ HTTP/1.1 599
- HTTP/1.1 599 status code 599`,
		[]string{"599 / GET, HEAD, close, GET 1.0, kept 1.0, HEAD 1.0, POST, POST 1.0, chunked, Expect, Expect 1.0"}},
	{"HTTP/1.0 has no informational answers (RFC 9110, section 15.2)",
		`- HTTP/1.1 103 Early Hints
- Link: x`,
		[]string{"103 / GET 1.0, kept 1.0, HEAD 1.0, POST 1.0, Expect 1.0", "103, with a length / GET 1.0, kept 1.0, HEAD 1.0, POST 1.0, Expect 1.0"}},
	{"HTTP/1.0 has no informational answers (RFC 9110, section 15.2)",
		`- HTTP/1.1 100 Continue`,
		[]string{"100 / GET 1.0, kept 1.0, HEAD 1.0, POST 1.0, Expect 1.0"}},
	{"a trailer that is known when the head is written is not lost for a Content-Length",
		`+ Transfer-Encoding: chunked
+ trailer X-T: 1
- Content-Length: 5`,
		[]string{"trailer with a prefix / GET, close, POST, chunked, Expect"}},
	{"a trailer that is known when the head is written is not lost for a Content-Length",
		`- Content-Length: 5`,
		[]string{"trailer with a prefix / HEAD, GET 1.0, HEAD 1.0, POST 1.0, Expect 1.0"}},
	{"a trailer that is known when the head is written is not lost for a Content-Length",
		`+ closed
- Content-Length: 5
- Connection: keep-alive
- kept`,
		[]string{"trailer with a prefix / kept 1.0"}},
	{"what is answered before its end is the last of its connection",
		`+ Connection: close
+ closed
- kept`,
		[]string{"answer, then read / POST, chunked"}},
	{"the connection counts until it is closed, and what was read ahead comes from it too",
		`+ body "false" <nil>
- body "true" <nil>`,
		[]string{"hijack / GET, close, GET 1.0, kept 1.0, POST, POST 1.0, chunked, Expect, Expect 1.0"}},
	{"what was written before is not lost",
		`+ Content-Type: text/plain; charset=utf-8
+ body "hello!" <nil>
- body "!" unexpected EOF`,
		[]string{"hijack after a write / GET, close, GET 1.0, kept 1.0, POST, POST 1.0, chunked, Expect, Expect 1.0"}},
	{"what was written before is not lost",
		`+ Content-Type: text/plain; charset=utf-8`,
		[]string{"hijack after a write / HEAD, HEAD 1.0"}},
	{"the answer to HEAD has no body that would have to be held",
		`+ Content-Length: 30000`,
		[]string{"type of a reader / HEAD, HEAD 1.0"}},
}
