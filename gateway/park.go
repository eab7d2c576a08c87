package gateway

// park lets an idle connection do without its goroutine. It is the last thing that
// goroutine does. It reports false where that cannot be.
//
// The connection must have been read from until there was nothing: a request that was
// received together with the one before may be inside the *tls.Conn already, and the
// socket would never show it.
func (s *Server) park(k *client) bool {
	k.mu.Lock()
	if k.state != stateIdle || s.draining.Load() {
		k.mu.Unlock()
		return false
	}
	k.arrived()
	k.state = stateParked
	k.mu.Unlock()
	k.access.Store(nil)
	if s.clients.retire(k) && s.poller.add(k) {
		if s.draining.Load() {
			// Who drains what is parked may have come before the poller knew of it.
			k.drainParked()
		}
		return true
	}
	k.mu.Lock()
	if k.state == stateParked {
		k.state = stateIdle
	}
	k.mu.Unlock()
	s.clients.activate(k)
	return false
}

// unpark takes note that the connection has a goroutine again. It reports false if it
// was closed in the meantime.
func (k *client) unpark() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state != stateParked {
		return false
	}
	k.state = stateIdle
	return true
}

// wake lets a connection that is parked have a goroutine again, if it still is parked.
func (k *client) wake() {
	if !k.server.poller.forget(k) || !k.unpark() {
		return
	}
	if !k.server.clients.activate(k) {
		k.conn.Abort()
		return
	}
	go k.serve()
}

// drainParked closes a connection that is parked, unless the first request may be on its way.
func (k *client) drainParked() {
	k.mu.Lock()
	newcomer := k.state == stateParked && k.h2 == nil && k.requests == 0 && k.newcomerLeft() > 0
	k.mu.Unlock()
	if newcomer {
		k.wake()
	} else {
		k.closeParked()
	}
}

// closeParked closes a connection that is parked, if it still is. To tell the client so
// may take five seconds, if it takes nothing.
func (k *client) closeParked() {
	if !k.server.poller.forget(k) || !k.unpark() {
		return
	}
	if k.h2 != nil {
		k.h2.Goodbye()
	}
	_ = k.conn.Close()
	k.server.clients.remove(k)
}

// abortParked is closeParked without a word. It ends one that goes on, too.
func (k *client) abortParked() {
	if k.server.poller.forget(k) && k.unpark() {
		defer k.server.clients.remove(k)
	}
	k.hangUp()
}
