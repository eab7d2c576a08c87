//go:build linux

package main

import "time"

// The bodies that are asked for and sent.
const (
	smallBody  = `{"origin":"compare","n":"01234"}`
	smallBytes = len(smallBody)
	bulkBytes  = 1 << 20
)

// A kind of load says what one operation is.
type kind string

const (
	kindHTTP1   kind = "http1"   // a request on a connection that is kept
	kindHTTP2   kind = "http2"   // a request among Streams at a time on one
	kindFull    kind = "full"    // a handshake and a request
	kindResumed kind = "resumed" // a resumed handshake and a request
	kindIdle    kind = "idle"    // none: connections are made, and stay
)

// A test is one piece of work, a row of the report.
type test struct {
	id    string // for -tests
	title string
	load  work
	rated bool // at the rate of the flag
	once  bool // in the first round alone: it is slow, and hardly varies
}

// Work is what the load does.
type work struct {
	Kind    kind
	Conns   int // at a time
	Streams int // at a time on each, with HTTP/2; of idle connections, that they are such
	Upload  int // bytes; none is a GET
	Want    int // bytes of the answer's body
	Path    string
	Rate    int // operations a second; 0 is as fast as they are answered
}

func allTests() []test {
	return []test{
		{id: "http1", title: "small GET, HTTP/1.1", load: work{Kind: kindHTTP1, Conns: 64, Path: "/small", Want: smallBytes}},
		{id: "http2", title: "small GET, HTTP/2", load: work{Kind: kindHTTP2, Conns: 8, Streams: 16, Path: "/small", Want: smallBytes}},
		{id: "rate", title: "small GET, HTTP/1.1", load: work{Kind: kindHTTP1, Conns: 64, Path: "/small", Want: smallBytes}, rated: true},
		{id: "full", title: "full handshake + GET", load: work{Kind: kindFull, Conns: 16, Path: "/small", Want: smallBytes}},
		{id: "resumed", title: "resumed handshake + GET", load: work{Kind: kindResumed, Conns: 16, Path: "/small", Want: smallBytes}},
		{id: "download", title: "1 MiB download", load: work{Kind: kindHTTP1, Conns: 8, Path: "/bulk", Want: bulkBytes}},
		{id: "upload", title: "1 MiB upload", load: work{Kind: kindHTTP1, Conns: 8, Path: "/small", Want: smallBytes, Upload: bulkBytes}},
		{id: "idle", title: "idle connections", load: work{Kind: kindIdle, Path: "/small", Want: smallBytes}, once: true},
		{id: "http2-rate", title: "small GET, HTTP/2", load: work{Kind: kindHTTP2, Conns: 64, Streams: 1, Path: "/small", Want: smallBytes}, rated: true},
		{id: "http2-download", title: "1 MiB download, HTTP/2", load: work{Kind: kindHTTP2, Conns: 8, Streams: 1, Path: "/bulk", Want: bulkBytes}},
		{id: "http2-upload", title: "1 MiB upload, HTTP/2", load: work{Kind: kindHTTP2, Conns: 8, Streams: 1, Path: "/small", Want: smallBytes, Upload: bulkBytes}},
		{id: "http2-idle", title: "idle connections, HTTP/2", load: work{Kind: kindIdle, Streams: 1, Path: "/small", Want: smallBytes}, once: true},
	}
}

func testIDs() (ids []string) {
	for _, t := range allTests() {
		ids = append(ids, t.id)
	}
	return ids
}

// warmUp is how long the load runs before it counts: pools fill, connections to
// the origin are made, and a session is there to be resumed.
func warmUp(measured time.Duration) time.Duration {
	return min(max(measured/3, 100*time.Millisecond), time.Second)
}
