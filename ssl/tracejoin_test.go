package ssl_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
)

// Two listeners, of whom each knows nothing of the other.
func ExampleJoinTraces() {
	counted := 0
	counts := &ssl.Trace{HandshakeDone: func(*ssl.HandshakeEvent) { counted++ }}
	prints := &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { fmt.Println(e.ServerName) }}
	joined := ssl.JoinTraces(counts, prints) // for Options.Trace
	joined.HandshakeDone(&ssl.HandshakeEvent{ServerName: "a.test"})
	fmt.Println(counted)
	// Output:
	// a.test
	// 1
}

// All are told, the last first, and on where one panics.
func TestJoinTraces(t *testing.T) {
	var told []string
	named := func(name string, then func()) *ssl.Trace {
		return &ssl.Trace{
			HandshakeDone: func(e *ssl.HandshakeEvent) { told = append(told, name+" "+e.ServerName); then() },
			TurnedAway:    func(remote net.Addr) { told = append(told, name+" "+remote.String()); then() },
		}
	}
	nothing := func() {}
	joined := ssl.JoinTraces(nil, named("a", nothing), &ssl.Trace{}, named("b", nothing))
	joined.HandshakeDone(&ssl.HandshakeEvent{ServerName: "a.test"})
	joined.TurnedAway(&net.UnixAddr{Name: "peer"})
	require.Equal(t, []string{"b a.test", "a a.test", "b peer", "a peer"}, told)

	told = nil
	panics := ssl.JoinTraces(named("a", nothing), named("b", func() { panic("a mistake") }))
	require.PanicsWithValue(t, "a mistake", func() { panics.HandshakeDone(&ssl.HandshakeEvent{}) })
	require.Equal(t, []string{"b ", "a "}, told)

	require.Equal(t, &ssl.Trace{}, ssl.JoinTraces())
	require.Equal(t, &ssl.Trace{}, ssl.JoinTraces(nil, &ssl.Trace{}), "what nobody wants to hear costs nothing")
}
