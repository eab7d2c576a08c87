// Package http1 is HTTP/1.1 (RFC 9112). On the client's side it is a connection on which
// one goroutine writes a request and reads the response to it, and a place to
// keep connections between requests; on the server's, one on which it reads a request and
// writes the response: see [Server].
//
// It works on bytes and on buffers that are lent for an exchange. There is no
// goroutine that reads ahead, no map of the header and, for a request and a
// response that are small, no allocation:
//
//	conn := idle.Get(key)
//	if conn == nil {
//		... dial; conn = http1.NewConn(c), for TLS also conn.Handshake(ctx, config)
//	}
//	conn.Begin(sendLimit, maxHead)
//	conn.Write(head)                   // and the body, if there is one: see Chunk
//	conn.Await(readLimit)
//	r, err := conn.ReadResponse("GET") // again if r.Status is 1xx and not 101
//	for name, value := range r.Fields() { ... }
//	n, err := conn.ReadBody(p)         // until io.EOF
//	if conn.End() {
//		idle.Put(key, conn)
//	} else {
//		conn.Close()
//	}
//
// # What is refused
//
// A response that two readers could understand differently is an error, and its
// connection is of no further use: a line that ends in a bare LF, a CR or another
// control character in a field, a field that is folded over two lines, white
// space before a colon, a Content-Length that is no number or is there twice or
// together with Transfer-Encoding, a Transfer-Encoding other than "chunked", a
// chunk whose size is no hexadecimal number that fits. So is what is too long.
//
// A connection is used again only if the response was read to its end, neither
// side said "close", and not a byte came after it: see [*Conn.Alive].
package http1
