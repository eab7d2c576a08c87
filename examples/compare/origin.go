//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
)

// The origin costs as little as it can: one epoll loop without goroutines, because
// it shares a core with the load. It knows only the requests of this program:
// GET /small, GET /bulk, and a POST with a Content-Length, whose body it drops.

var (
	smallAnswer = answer("application/json", []byte(smallBody))
	bulkAnswer  = answer("application/octet-stream", make([]byte, bulkBytes))
	lostAnswer  = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
)

func answer(contentType string, body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\nX-Request-Id: 0123456789abcdef\r\n\r\n", contentType, len(body)), body...)
}

func runOrigin(config []byte) error {
	var s site
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	addr, err := netip.ParseAddrPort(s.Origin)
	if err != nil {
		return err
	}
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := syscall.Bind(listener, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return err
	}
	if err := syscall.Listen(listener, 4096); err != nil {
		return err
	}
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	o := &origin{poll: poll, conns: map[int]*originConn{}, buf: make([]byte, 256<<10)}
	if err := o.watch(syscall.EPOLL_CTL_ADD, listener, syscall.EPOLLIN); err != nil {
		return err
	}
	events := make([]syscall.EpollEvent, 256)
	for {
		n, err := syscall.EpollWait(poll, events, -1)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		for _, event := range events[:n] {
			if int(event.Fd) == listener {
				o.accept(listener)
			} else if c := o.conns[int(event.Fd)]; c != nil {
				o.serve(c)
			}
		}
	}
}

type origin struct {
	poll  int
	conns map[int]*originConn
	buf   []byte
}

type originConn struct {
	fd      int
	head    []byte // of a request whose end has not come yet
	body    int    // bytes of a request's body that are still to come
	answers [][]byte
	blocked bool // waits until it can write
}

func (o *origin) watch(op, fd int, events uint32) error {
	return syscall.EpollCtl(o.poll, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

func (o *origin) accept(listener int) {
	for {
		fd, _, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		if o.watch(syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN) != nil {
			syscall.Close(fd)
			continue
		}
		o.conns[fd] = &originConn{fd: fd}
	}
}

// serve does what can be done on a connection without waiting.
func (o *origin) serve(c *originConn) {
	open := true
	if len(c.answers) == 0 {
		open = c.read(o.buf)
	}
	open = open && c.write()
	if blocked := len(c.answers) > 0; open && blocked != c.blocked {
		c.blocked = blocked
		events := uint32(syscall.EPOLLIN)
		if blocked {
			events = syscall.EPOLLOUT
		}
		open = o.watch(syscall.EPOLL_CTL_MOD, c.fd, events) == nil
	}
	if !open {
		delete(o.conns, c.fd)
		syscall.Close(c.fd)
	}
}

func (c *originConn) read(buf []byte) bool {
	n, err := syscall.Read(c.fd, buf)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return true
	}
	if err != nil || n == 0 {
		return false
	}
	data := buf[:n]
	if len(c.head) > 0 {
		c.head = append(c.head, data...)
		data = c.head
	}
	for len(data) > 0 {
		if c.body > 0 {
			dropped := min(c.body, len(data))
			data = data[dropped:]
			if c.body -= dropped; c.body == 0 {
				c.answers = append(c.answers, smallAnswer)
			}
			continue
		}
		head, rest, whole := bytes.Cut(data, []byte("\r\n\r\n"))
		if !whole {
			break
		}
		c.take(head)
		data = rest
	}
	c.head = append(c.head[:0], data...)
	return true
}

// take decides upon the answer to a request. One with a body is answered at its
// end.
func (c *originConn) take(head []byte) {
	switch {
	case bytes.HasPrefix(head, []byte("POST ")):
		if c.body = max(contentLength(head), 0); c.body == 0 {
			c.answers = append(c.answers, lostAnswer)
		}
	case bytes.HasPrefix(head, []byte("GET /small ")):
		c.answers = append(c.answers, smallAnswer)
	case bytes.HasPrefix(head, []byte("GET /bulk ")):
		c.answers = append(c.answers, bulkAnswer)
	default:
		c.answers = append(c.answers, lostAnswer)
	}
}

func (c *originConn) write() bool {
	for len(c.answers) > 0 {
		n, err := syscall.Write(c.fd, c.answers[0])
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return true
		}
		if err != nil {
			return false
		}
		if c.answers[0] = c.answers[0][n:]; len(c.answers[0]) == 0 {
			c.answers = slices.Delete(c.answers, 0, 1)
		}
	}
	return true
}

// contentLength returns the Content-Length of a head without its last line end,
// or -1.
func contentLength(head []byte) int {
	const name = "content-length:"
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if n, err := strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err == nil {
				return n
			}
		}
	}
	return -1
}
