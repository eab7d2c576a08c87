package gateway

import (
	"sync"

	"github.com/sallyport/sallyport/internal/h2"
)

// workers are the goroutines that serve the requests of connections with HTTP/2. Those
// that have nothing to do wait for more: to begin a goroutine for each request, and to let
// its stack grow, costs a twentieth of a small one. The zero workers is empty.
type workers struct {
	mu     sync.Mutex // guards what follows
	idle   []*worker
	unused int // of them, that were idle all the time since trim
	closed bool
}

// A worker is one of them.
type worker struct {
	wake   chan bool // whether there is something to do
	client *client
	stream *h2.Stream
}

// do lets a worker serve a request.
func (ws *workers) do(k *client, st *h2.Stream) {
	ws.mu.Lock()
	n := len(ws.idle)
	if n == 0 {
		ws.mu.Unlock()
		w := &worker{make(chan bool, 1), k, st}
		go w.run(ws)
		return
	}
	w := ws.idle[n-1] // whose stack is warm
	ws.idle[n-1] = nil
	ws.idle = ws.idle[:n-1]
	ws.unused = min(ws.unused, n-1)
	ws.mu.Unlock()
	w.client, w.stream = k, st
	w.wake <- true
}

func (w *worker) run(ws *workers) {
	for {
		w.client.serveStream(w.stream)
		w.client, w.stream = nil, nil
		if !ws.rest(w) || !<-w.wake {
			return
		}
	}
}

// rest takes note of a worker that has nothing to do. It reports false if it is to end.
func (ws *workers) rest(w *worker) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return false
	}
	ws.idle = append(ws.idle, w)
	return true
}

// trim ends the workers that nobody has wanted since the last time.
func (ws *workers) trim() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i, w := range ws.idle[:ws.unused] {
		w.wake <- false
		ws.idle[i] = nil
	}
	ws.idle = append(ws.idle[:0], ws.idle[ws.unused:]...)
	ws.unused = len(ws.idle)
}

// close ends all that are idle, and those that come to be.
func (ws *workers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for _, w := range ws.idle {
		w.wake <- false
	}
	ws.idle, ws.unused = nil, 0
}
