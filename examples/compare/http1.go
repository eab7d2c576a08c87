//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
)

// An exchange is a request and how its answer is read, over HTTP/1.1: with a
// buffer and without a map, because the load shares a core with the origin.
type exchange struct {
	request []byte
	want    int // bytes of the answer's body
	buf     []byte
}

func newExchange(host string, w work) *exchange {
	e := &exchange{want: w.Want, buf: make([]byte, 64<<10)}
	method, length := "GET", ""
	if w.Upload > 0 {
		method, length = "POST", fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", w.Upload)
	}
	e.request = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: compare/1\r\nAccept: */*\r\n%s\r\n", method, w.Path, host, length)
	e.request = append(e.request, make([]byte, w.Upload)...)
	return e
}

// do sends the request and reads the answer. An error means that the connection
// is of no more use, or that the answer was not the right one.
func (e *exchange) do(c io.ReadWriter) error {
	if _, err := c.Write(e.request); err != nil {
		return err
	}
	for n := 0; n < len(e.buf); {
		read, err := c.Read(e.buf[n:])
		n += read
		if head, body, whole := bytes.Cut(e.buf[:n], []byte("\r\n\r\n")); whole {
			return e.answer(c, head, len(body))
		}
		if err != nil {
			return fmt.Errorf("head of the answer: %w", err)
		}
	}
	return fmt.Errorf("head of the answer: more than %d bytes", len(e.buf))
}

// answer checks a head and reads the body, of which some bytes have come with it.
func (e *exchange) answer(c io.Reader, head []byte, got int) error {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return fmt.Errorf("the answer is %q", line)
	}
	if length := contentLength(head); length != e.want {
		return fmt.Errorf("the answer has Content-Length %d, not %d", length, e.want)
	}
	for got < e.want {
		n, err := c.Read(e.buf)
		got += n
		if err != nil && got < e.want {
			return fmt.Errorf("body of the answer: %w", err)
		}
	}
	if got > e.want {
		return fmt.Errorf("%d bytes follow the answer", got-e.want)
	}
	return nil
}
