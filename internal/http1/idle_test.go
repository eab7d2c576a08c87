package http1

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// newIdle returns connections that nothing happens on, and who tells of each whether
// it is closed.
func newIdle(n int) (conns []*Conn, closed func(i int) bool) {
	for range n {
		conns = append(conns, NewConn(&script{}))
	}
	return conns, func(i int) bool { return conns[i].socket.Conn.(*script).closed.Load() }
}

func TestIdleIsAStack(t *testing.T) {
	conns, closed := newIdle(5)
	p := &Idle{Size: 3, Timeout: time.Hour, Requests: 10}
	defer p.CloseAll()
	require.Nil(t, p.Get("a"))
	p.Put("a", conns[0])
	p.Put("b", conns[1])
	p.Put("a", conns[2])
	require.Equal(t, 3, p.Len())
	p.Put("b", conns[3]) // the oldest of all has to go
	require.True(t, closed(0))
	require.Equal(t, 3, p.Len())
	require.Same(t, conns[2], p.Get("a"))
	require.Nil(t, p.Get("a"))
	require.Same(t, conns[3], p.Get("b"))
	require.Same(t, conns[1], p.Get("b"))
	require.Nil(t, p.Get("b"))
	require.Zero(t, p.Len())
	require.Empty(t, p.tops, "a name that is not used any more leaves nothing")
	require.Nil(t, p.top)
}

func TestIdleRequests(t *testing.T) {
	conns, closed := newIdle(1)
	p := &Idle{Size: 3, Timeout: time.Hour, Requests: 2}
	defer p.CloseAll()
	conns[0].Begin(0, 1)
	p.Put("a", conns[0])
	require.Same(t, conns[0], p.Get("a"))
	conns[0].Begin(0, 1)
	p.Put("a", conns[0])
	require.True(t, closed(0))
	require.Nil(t, p.Get("a"))
}

func TestIdleCloseAll(t *testing.T) {
	conns, closed := newIdle(3)
	p := &Idle{Size: 3, Timeout: time.Hour, Requests: 10}
	p.Put("a", conns[0])
	p.CloseAll()
	require.True(t, closed(0))
	p.Put("a", conns[1])
	require.True(t, closed(1), "it was in use")
	require.Nil(t, p.Get("a"))
	p.Put("a", conns[2])
	require.False(t, closed(2), "the pool is in use again")
	p.CloseAll()
}

// One timer closes each connection at its time.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns, closed := newIdle(4)
		p := &Idle{Size: 10, Timeout: 10 * time.Second, Requests: 10}
		for i, c := range conns {
			p.Put("a", c)
			if i < 3 {
				time.Sleep(3 * time.Second)
			}
		}
		require.Same(t, conns[3], p.Get("a"))
		p.Put("a", conns[3])
		for at := 9; at < 21; at++ {
			synctest.Wait()
			for i := range conns {
				require.Equal(t, at >= 10+3*i, closed(i), "connection %d after %d s", i, at)
			}
			time.Sleep(time.Second)
		}
		require.Zero(t, p.Len())
		require.False(t, p.armed, "nothing runs for an empty pool")
	})
}

// A connection that is found dead is passed over.
func TestIdlePassesOverTheDead(t *testing.T) {
	p := &Idle{Size: 10, Timeout: time.Hour, Requests: 10}
	defer p.CloseAll()
	var kept []*Conn
	for i := range 3 {
		ours, theirs := pair(t)
		c := NewConn(ours)
		p.Put("a", c)
		kept = append(kept, c)
		if i > 0 {
			theirs.Close()
			arrived(t, ours)
		}
	}
	require.Same(t, kept[0], p.Get("a"))
	require.Zero(t, p.Len())
	_, err := kept[2].socket.Conn.(*net.TCPConn).Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
}

// Nothing is said to a server that broke the rules, which might not listen: who asks for
// a connection does not wait for that.
func TestIdleDoesNotWaitForTheDead(t *testing.T) {
	certificate := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12})
		go func() { _ = server.Handshake() }()
		conn := NewConn(ours)
		require.NoError(t, conn.Handshake(t.Context(), &tls.Config{InsecureSkipVerify: true}))
		p := &Idle{Size: 1, Timeout: time.Hour, Requests: 10}
		defer p.CloseAll()
		p.Put("a", conn)
		_, err := theirs.Write([]byte("x"))
		require.NoError(t, err)
		begun := time.Now()
		require.Nil(t, p.Get("a"))
		require.Zero(t, time.Since(begun))
	})
}

// The lists against a slice that is searched from its end.
func TestIdleOracle(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	p := &Idle{Size: 5, Timeout: time.Hour, Requests: 1 << 30}
	defer p.CloseAll()
	var want []*Conn
	for range 10_000 {
		key := fmt.Sprint(r.IntN(4))
		if r.IntN(2) == 0 {
			c := NewConn(&script{})
			p.Put(key, c)
			if want = append(want, c); len(want) > p.Size {
				want = want[1:]
			}
			continue
		}
		var found *Conn
		for i := len(want) - 1; i >= 0 && found == nil; i-- {
			if want[i].idle.key == key {
				found = want[i]
				want = append(want[:i:i], want[i+1:]...)
			}
		}
		require.Same(t, found, p.Get(key), "seed %d", seed)
		require.Equal(t, len(want), p.Len(), "seed %d", seed)
	}
}

// at is a connection to an address.
type at struct {
	script
	remote net.Addr
}

func (c *at) RemoteAddr() net.Addr { return c.remote }

func TestIdleDrop(t *testing.T) {
	p := &Idle{Size: 10, Timeout: time.Hour, Requests: 10}
	defer p.CloseAll()
	address := func(i int) net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(i)), Port: 80} }
	var conns []*Conn
	for i := range 4 {
		conns = append(conns, NewConn(&at{remote: address(i % 2)}))
	}
	closed := func(i int) bool { return conns[i].socket.Conn.(*at).closed.Load() }
	for _, c := range conns[:3] {
		p.Put("a", c)
	}
	p.Drop(func(remote net.Addr) bool { return remote.String() == address(0).String() })
	require.Equal(t, []bool{true, false, true, false}, []bool{closed(0), closed(1), closed(2), closed(3)})
	require.Equal(t, 1, p.Len())
	p.Put("a", conns[3])
	require.False(t, closed(3))
	back := NewConn(&at{remote: address(0)})
	p.Put("a", back)
	require.True(t, back.socket.Conn.(*at).closed.Load(), "it was in use when its address went")
	p.Drop(nil)
	again := NewConn(&at{remote: address(0)})
	p.Put("a", again)
	require.Same(t, again, p.Get("a"))
}
