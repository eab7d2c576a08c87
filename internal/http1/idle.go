package http1

import (
	"net"
	"sync"
	"time"
)

// An Idle keeps connections to one server between exchanges. The one that was used last is
// used first, so that surplus ones grow old and are closed. There is one timer for all of
// them, and no goroutine, except one for each connection without a descriptor: see
// [NewConn].
//
// Connections are kept by a key, which says what they may be used for: over TLS, the name
// that the server has proved. Set the fields before the first use.
type Idle struct {
	Size     int           // connections, over all keys
	Timeout  time.Duration // a connection that was idle for so long is closed
	Requests int           // a connection that served so many is not kept

	mu     sync.Mutex // guards what follows, and the links of the connections
	key    string     // one that is in none of the tops: most often there is no other
	top    *Conn      // the last connection of it that was used, or nil
	tops   map[string]*Conn
	newest *Conn
	oldest *Conn
	n      int
	timer  *time.Timer
	armed  bool // the timer runs
	closed bool // until the next Get
	drop   func(remote net.Addr) bool
}

// links are the places of a connection among the idle ones, and its count of uses.
type links struct {
	older, newer *Conn // of all
	below, above *Conn // of those with the same key, used before and after it
	key          string
	since        moment
	used         int
}

// A keepable is a Conn with its links, in one allocation.
type keepable struct {
	Conn
	links links
}

// Get returns a connection for a key that can be used, or nil if there is none.
func (p *Idle) Get(key string) *Conn {
	for {
		p.mu.Lock()
		p.closed = false
		c := p.find(key)
		if c == nil {
			p.mu.Unlock()
			return nil
		}
		p.remove(c)
		p.mu.Unlock()
		if time.Duration(now()-c.idle.since) < p.Timeout && c.Alive() {
			return c
		}
		c.Abort() // the request does not wait until something was said to the server
	}
}

// Put keeps a connection whose exchange has ended well, or closes it.
func (p *Idle) Put(key string, c *Conn) {
	c.idle.key, c.idle.since = key, now()
	p.mu.Lock()
	if p.closed || c.idle.used >= p.Requests || p.Size <= 0 || p.drop != nil && p.drop(c.remote()) {
		p.mu.Unlock()
		_ = c.Close()
		return
	}
	var evicted *Conn
	if p.n >= p.Size {
		evicted = p.oldest
		p.remove(evicted)
	}
	c.socket.watch()
	p.add(c)
	if !p.armed {
		p.arm(p.Timeout)
	}
	p.mu.Unlock()
	if evicted != nil {
		_ = evicted.Close()
	}
}

// CloseAll closes all connections, and those that are put back until the next Get.
func (p *Idle) CloseAll() {
	p.mu.Lock()
	p.closed = true
	var all []*Conn
	for p.oldest != nil {
		all = append(all, p.oldest)
		p.remove(p.oldest)
	}
	if p.armed && p.timer.Stop() {
		p.armed = false
	}
	p.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// Drop closes the connections that drop selects by the address of their server, and those
// of them that are put back, until the next Drop. If drop is nil, it selects none.
func (p *Idle) Drop(drop func(remote net.Addr) bool) {
	p.mu.Lock()
	p.drop = drop
	var dropped []*Conn
	for c := p.oldest; c != nil && drop != nil; {
		next := c.idle.newer
		if drop(c.remote()) {
			dropped = append(dropped, c)
			p.remove(c)
		}
		c = next
	}
	p.mu.Unlock()
	for _, c := range dropped {
		_ = c.Close()
	}
}

func (c *Conn) remote() net.Addr { return c.socket.RemoteAddr() }

// Len returns the number of connections.
func (p *Idle) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// arm lets expire be called after d. p.mu is held.
func (p *Idle) arm(d time.Duration) {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.expire)
	} else {
		p.timer.Reset(d)
	}
}

// expire closes what is too old, and comes again when the next is.
func (p *Idle) expire() {
	var old []*Conn
	p.mu.Lock()
	p.armed = false
	for now := now(); p.oldest != nil; {
		left := p.Timeout - time.Duration(now-p.oldest.idle.since)
		if left > 0 {
			p.arm(left)
			break
		}
		old = append(old, p.oldest)
		p.remove(p.oldest)
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// find returns the connection of a key that was used last, or nil. p.mu is held.
func (p *Idle) find(key string) *Conn {
	if p.key == key {
		return p.top
	}
	return p.tops[key]
}

// setTop sets the connection of a key that was used last. p.mu is held.
func (p *Idle) setTop(key string, c *Conn) {
	switch {
	case p.key == key:
		p.top = c
	case c == nil:
		delete(p.tops, key)
	case p.top == nil && p.tops[key] == nil:
		p.key, p.top = key, c
	default:
		if p.tops == nil {
			p.tops = make(map[string]*Conn)
		}
		p.tops[key] = c
	}
}

// add makes c the newest. p.mu is held.
func (p *Idle) add(c *Conn) {
	l := c.idle
	if l.older = p.newest; l.older != nil {
		l.older.idle.newer = c
	} else {
		p.oldest = c
	}
	p.newest = c
	if l.below = p.find(l.key); l.below != nil {
		l.below.idle.above = c
	}
	p.setTop(l.key, c)
	p.n++
}

// remove takes c out. p.mu is held.
func (p *Idle) remove(c *Conn) {
	l := c.idle
	if l.newer != nil {
		l.newer.idle.older = l.older
	} else {
		p.newest = l.older
	}
	if l.older != nil {
		l.older.idle.newer = l.newer
	} else {
		p.oldest = l.newer
	}
	if l.above != nil {
		l.above.idle.below = l.below
	} else {
		p.setTop(l.key, l.below)
	}
	if l.below != nil {
		l.below.idle.above = l.above
	}
	l.older, l.newer, l.below, l.above = nil, nil, nil, nil
	p.n--
}
