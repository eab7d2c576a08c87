package gateway

import (
	"bytes"
	"time"

	"github.com/sallyport/sallyport/internal/http1"
)

// This file is HTTP/2 on the plain port, by prior knowledge (RFC 9113, section 3.3). The
// way by "Upgrade: h2c" is no more (RFC 9113, section 3.1), and was a way past proxies.

// meet looks whether a new connection speaks HTTP/2. If so, the client does too from then
// on, or the connection is handed to net/http, and the returned limit is nil. If not, the
// limit is that for the head, less the time already taken: who sends the beginning of a
// preface and then stalls has no more time than others (as in CVE-2026-56853 of net/http).
func (k *client) meet(limit *http1.RequestLimit) (*http1.RequestLimit, error) {
	defer k.arrived()
	begun := time.Now()
	speaks, err := k.conn.Preface(limit.Time)
	if err != nil {
		return nil, err
	}
	if speaks && !k.server.o.NetHTTP2 {
		k.rests()
		k.speakHTTP2()
		k.server.clients.count(k)
		return nil, nil
	}
	if speaks {
		k.leave()
		conn, ahead := k.conn.HandOver()
		k.server.h2.take(&aheadConn{conn, bytes.NewReader(ahead)})
		return nil, nil
	}
	k.server.clients.count(k)
	rest := *limit
	rest.Time = max(limit.Time-time.Since(begun), 1)
	return &rest, nil
}

// arrived takes note that it is known what the connection speaks, or that it is over.
func (k *client) arrived() {
	if k.arriving {
		k.arriving = false
		k.server.listeners.leave()
	}
}
