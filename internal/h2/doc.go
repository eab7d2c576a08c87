// Package h2 is the server's side of a connection with HTTP/2 (RFC 9113), for the engine of
// package gateway. Frames and HPACK are those of golang.org/x/net.
//
// A connection has one goroutine that reads ([*Conn.Serve]) and one for each request whose
// handler is at work. There is none that writes: who has something to send puts it into
// the connection's output, and the first to do so sends what is there when everybody who
// was ready has had a turn. So the answers of many streams are one write, and over TLS one
// record. The goroutine that reads leaves writing to others: what a client says is heard
// while it takes nothing.
//
// What the client may send is bounded by windows, and what waits to be sent by the room
// in the output: a stream whose client is slow holds what its handler has in its own
// buffer, and nothing else. See [Options] for the limits.
package h2
