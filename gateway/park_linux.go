package gateway

import (
	"net"
	"os"
	"sync"
	"syscall"
)

// A poller waits for what comes over idle connections, all of them at once: a connection
// that is parked has neither a goroutine nor a buffer. What it waits with is a
// descriptor of epoll(7), for which the runtime's own poller wakes one goroutine.
type poller struct {
	once sync.Once
	raw  syscall.RawConn
	file *os.File

	mu      sync.Mutex // guards what follows
	waiting map[int32]*client
}

// start makes the descriptor. Without it there is no parking.
func (p *poller) start() {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return
	}
	p.file, p.raw, p.waiting = file, raw, map[int32]*client{}
	go p.run()
}

// stop ends the poller. What is parked stays so.
func (p *poller) stop() {
	p.once.Do(func() {}) // it will not start any more
	if p.file != nil {
		_ = p.file.Close()
	}
}

// run wakes connections until the descriptor is closed.
func (p *poller) run() {
	var events [64]syscall.EpollEvent
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = syscall.EpollWait(int(fd), events[:], 0)
			return n > 0 || err != nil && err != syscall.EINTR
		})
		if err != nil {
			return
		}
		for i := range max(n, 0) {
			p.wake(events[i].Fd)
		}
	}
}

// wake lets a connection have a goroutine again.
func (p *poller) wake(fd int32) {
	p.mu.Lock()
	k := p.waiting[fd]
	p.mu.Unlock()
	if k != nil {
		k.wake()
	}
}

// add waits for a connection. Whatever happens to it from then on is another
// goroutine's doing.
func (p *poller) add(k *client) bool {
	tcp, ok := k.conn.NetConn().(*net.TCPConn)
	if !ok {
		return false
	}
	p.once.Do(p.start)
	if p.raw == nil {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	added := false
	_ = raw.Control(func(fd uintptr) {
		p.mu.Lock()
		k.fd = int32(fd)
		p.waiting[k.fd] = k
		p.mu.Unlock()
		added = p.control(syscall.EPOLL_CTL_ADD, k.fd) == nil
		if !added {
			p.drop(k)
		}
	})
	return added
}

// drop takes a connection out of the map. It reports false if another has its place.
func (p *poller) drop(k *client) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[k.fd] != k {
		return false
	}
	delete(p.waiting, k.fd)
	return true
}

// forget ends the waiting for a connection, before it is closed or read from. It reports
// false if somebody else has done so.
func (p *poller) forget(k *client) bool {
	if !p.drop(k) {
		return false
	}
	_ = p.control(syscall.EPOLL_CTL_DEL, k.fd)
	return true
}

func (p *poller) control(op int, fd int32) error {
	event := &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT, Fd: fd}
	var err error
	if refused := p.raw.Control(func(epoll uintptr) {
		err = syscall.EpollCtl(int(epoll), op, int(fd), event)
	}); refused != nil {
		return refused
	}
	return err
}
