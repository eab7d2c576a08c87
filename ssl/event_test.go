package ssl_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Both outcomes are told by one event, with the time that they took.
func TestHandshakeEvent(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	hello := ssltest.ClientHello(t, "a.test")
	synctest.Test(t, func(t *testing.T) {
		events := make(chan *ssl.HandshakeEvent, 1)
		o := &ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { events <- e }}}
		p := newPipes()
		acceptAll(t, bubbleStore(t, o, config).Listener(p))
		synctest.Wait()
		start := time.Now()

		c := p.dial(t)
		time.Sleep(time.Second)
		client := tls.Client(c, ssltest.ClientConfig("a.test"))
		_, err := client.Read(make([]byte, 1)) // which, with TLS 1.3, takes the tickets too
		require.NoError(t, err)
		e := <-events
		require.Equal(t, start, e.Begun)
		require.Equal(t, time.Second, e.Took)
		require.Equal(t, "a.test", e.ServerName)
		require.Equal(t, "1", e.Profile)
		require.NotNil(t, e.RemoteAddr)
		require.Equal(t, "a.test", e.State.ServerName)
		require.Nil(t, e.Err)
		c.Close()

		c = p.dial(t)
		_, err = c.Write(hello)
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		e = <-events
		require.Equal(t, 10*time.Second, e.Took)
		require.Equal(t, "a.test", e.ServerName)
		require.Equal(t, "1", e.Profile)
		require.Nil(t, e.State)
		require.Equal(t, ssl.ReasonTimeout, e.Err.Reason)
		c.Close()
	})
}

// The time for which a refused client is waited for is not that of its handshake.
func TestHandshakeEventDoesNotLinger(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		events := make(chan *ssl.HandshakeEvent, 1)
		o := &ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { events <- e }}}
		p := newPipes()
		acceptAll(t, bubbleStore(t, o, server(ca, "1", nil, "a.test")).Listener(lingering{p}))
		c := p.dial(t)
		_, err := c.Write([]byte("no TLS at all, and no end\n"))
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		e := <-events
		require.Equal(t, ssl.ReasonProtocol, e.Err.Reason)
		require.Zero(t, e.Took)
		c.Close()
	})
}

// lingering is a listener of connections of which one direction can end.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return halfConn{c}, nil
}

type halfConn struct{ net.Conn }

func (halfConn) CloseWrite() error { return nil }
