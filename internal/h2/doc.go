// Package h2 is the server's side of an HTTP/2 connection (RFC 9113), for the engine of
// package gateway. Frames and HPACK are those of golang.org/x/net.
//
// A connection has one goroutine that reads ([*Conn.Serve]), and one for each request that
// is being handled. None is there only to write: a goroutine that has something to send
// puts it into the connection's output, and the first to do so sends everything that is
// there, once all goroutines that were ready have had their turn. So the answers of many
// streams are sent in one write and, over TLS, in one record. The reading goroutine leaves
// writing to the others, so that what a client says is heard even while it accepts nothing.
//
// What the client may send is bounded by windows, and what waits to be sent by the room in
// the output: a stream whose client is slow holds what its handler has in its own buffer,
// and nothing else. See [Options] for the limits.
package h2
