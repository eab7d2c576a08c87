package gateway

import (
	"context"
	"math"
	"sync"
	"time"
)

// clients are the connections that the engines of a server have. The zero clients is
// empty.
type clients struct {
	mu     sync.Mutex // guards what follows, and the links of the clients
	active clientList // with a goroutine
	parked clientList // without
	first  int64      // when the first of the parked expires, or sooner
	closed bool
	rest   rest // when none is left

	trim     func()        // is called now and then
	sweeping chan struct{} // closed when the sweeper has ended; nil if there is none
	quit     chan struct{} // closed to end it
}

// A clientList is a list of clients.
type clientList struct {
	first, last *client
	n           int
}

func (l *clientList) add(k *client) {
	k.list, k.prev, k.next = l, l.last, nil
	if l.last != nil {
		l.last.next = k
	} else {
		l.first = k
	}
	l.last = k
	l.n++
}

// take takes a client from the list that it is in.
func take(k *client) {
	l := k.list
	if l == nil {
		return
	}
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		l.last = k.prev
	}
	l.n--
	k.list, k.prev, k.next = nil, nil, nil
}

// activate takes note of a client that has a goroutine from now on. It reports false if
// there are to be none any more.
func (cs *clients) activate(k *client) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	take(k)
	if cs.closed {
		k.uncount()
		cs.lost()
		return false
	}
	cs.active.add(k)
	if cs.sweeping == nil {
		cs.sweeping, cs.quit = make(chan struct{}), make(chan struct{})
		go cs.sweep(cs.quit, cs.sweeping)
	}
	return true
}

// retire takes note of a client that gives its goroutine up.
func (cs *clients) retire(k *client) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return false
	}
	take(k)
	if cs.parked.n == 0 || k.expires < cs.first {
		cs.first = k.expires
	}
	cs.parked.add(k)
	return true
}

// remove forgets a client.
func (cs *clients) remove(k *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	take(k)
	k.uncount()
	cs.lost()
}

// lost is called after a client was taken out of its list. cs.mu is held.
func (cs *clients) lost() {
	if cs.active.n+cs.parked.n == 0 {
		cs.rest.reach()
	}
}

// all returns the clients, those with a goroutine first.
func (cs *clients) all() (active, parked []*client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.active.slice(), cs.parked.slice()
}

func (l *clientList) slice() []*client {
	list := make([]*client, 0, l.n)
	for k := l.first; k != nil; k = k.next {
		list = append(list, k)
	}
	return list
}

// wait waits until there is no client left, or ctx ends.
func (cs *clients) wait(ctx context.Context) error {
	return cs.rest.wait(ctx, &cs.mu, func() bool { return cs.active.n+cs.parked.n == 0 })
}

// closeAll ends all connections, and lets no other be added.
func (cs *clients) closeAll() {
	cs.mu.Lock()
	again, sweeping := cs.closed, cs.sweeping
	cs.closed = true
	if !again && sweeping != nil {
		close(cs.quit)
	}
	cs.mu.Unlock()
	active, parked := cs.all()
	for _, k := range active {
		k.hangUp()
	}
	for _, k := range parked {
		k.abortParked()
	}
	if sweeping != nil {
		<-sweeping
	}
}

// drain closes the idle connections. For the others, the request that goes on is the
// last.
func (cs *clients) drain() {
	active, parked := cs.all()
	for _, k := range active {
		k.drain()
	}
	for _, k := range parked {
		go k.drainParked()
	}
}

// expired returns the parked that are idle for too long. cs.mu is held. They were not
// parked in the order in which they expire: who has never asked expires sooner.
func (cs *clients) expired() (list []*client) {
	if cs.parked.n == 0 || cs.first >= cs.parked.first.server.clock() {
		return nil
	}
	now := cs.parked.first.server.clock()
	cs.first = math.MaxInt64
	for k := cs.parked.first; k != nil; k = k.next {
		if k.expires < now {
			list = append(list, k)
		} else {
			cs.first = min(cs.first, k.expires)
		}
	}
	return list
}

const (
	// sweepEvery is how often it is looked for clients that have gone away.
	sweepEvery = 500 * time.Millisecond

	// patience is how long a client waits before it is looked for.
	patience = time.Second
)

// sweep looks for clients that have gone away while they wait for an answer, because
// nobody reads from their connections then, and for those that are parked and idle for
// too long.
func (cs *clients) sweep(quit, done chan struct{}) {
	defer close(done)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-quit:
			return
		}
		cs.trim()
		var waiting, expired []*client
		cs.mu.Lock()
		for k := cs.active.first; k != nil; k = k.next {
			if since := k.since.Load(); since != 0 && k.server.clock()-since > int64(patience) {
				waiting = append(waiting, k)
			}
		}
		expired = cs.expired()
		cs.mu.Unlock()
		for _, k := range waiting {
			if k.conn.Gone() {
				k.vanished()
			}
		}
		for _, k := range expired {
			go k.closeParked()
		}
	}
}
