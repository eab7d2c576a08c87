package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// With a http.Transport in its place everything is as with the client of the package.
func TestPluggedTransport(t *testing.T) {
	plugged = &http.Transport{ExpectContinueTimeout: time.Second}
	defer func() { plugged = nil }()
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"Host", TestHost},
		{"RequestIsNotChanged", TestRequestIsNotChanged},
		{"BodyIsClosed", TestBodyIsClosed},
		{"BodyIsClosedDuringARead", TestBodyIsClosedDuringARead},
		{"InvalidRequests", TestInvalidRequests},
		{"NoProxyFromTheEnvironment", TestNoProxyFromTheEnvironment},
		{"AnswersComeAsTheyAre", TestAnswersComeAsTheyAre},
		{"NoFieldIsAdded", TestNoFieldIsAdded},
		{"CloseDuringARead", TestCloseDuringARead},
		{"InformationalAnswers", TestInformationalAnswers},
		{"ConnectionsAreKept", TestConnectionsAreKept},
		{"KeepAliveSize", TestKeepAliveSize},
		{"BodyThatFails", TestBodyThatFails},
		{"BodyOfAnotherLength", TestBodyOfAnotherLength},
		{"HostileOrigins", TestHostileOrigins},
		{"BrokenBodies", TestBrokenBodies},
		{"IdempotentMethods", TestIdempotentMethods},
		{"BodyGoesToOneNode", TestBodyGoesToOneNode},
		{"StaleConnections", TestStaleConnections},
		{"StaleConnectionThatTakesNothing", TestStaleConnectionThatTakesNothing},
		{"CancelledRequest", TestCancelledRequest},
		{"DeadConnectionIsReplaced", TestDeadConnectionIsReplaced},
		{"ConnectTimeout", TestConnectTimeout},
		{"ConnectTimeoutHoldsForTLS", TestConnectTimeoutHoldsForTLS},
		{"ReadTimeout", TestReadTimeout},
		{"ReadTimeoutAndRetries", TestReadTimeoutAndRetries},
		{"BodyMayBeSlow", TestBodyMayBeSlow},
		{"BodyThatStops", TestBodyThatStops},
		{"SendTimeout", TestSendTimeout},
		{"SlowClient", TestSlowClient},
		{"EarlyAnswer", TestEarlyAnswer},
		{"AnswerBeforeReset", TestAnswerBeforeReset},
		{"CloseOfAStuckTLSConnection", TestCloseOfAStuckTLSConnection},
		{"CallersDeadline", TestCallersDeadline},
		{"IdleTimeout", TestIdleTimeout},
		{"TimersDoNotOutliveTheRequest", TestTimersDoNotOutliveTheRequest},
		{"TLSVerification", TestTLSVerification},
		{"ClientCertificate", TestClientCertificate},
		{"ConnectionsDoNotCrossNames", TestConnectionsDoNotCrossNames},
		{"ConnectionsDoNotCrossNodes", TestConnectionsDoNotCrossNodes},
		{"TLSSessionsAreResumed", TestTLSSessionsAreResumed},
		{"Upgrade", TestUpgrade},
		{"TunnelTimes", TestTunnelTimes},
		{"Close", TestClose},
		{"CloseIdleConnections", TestCloseIdleConnections},
		{"CancelChannel", TestCancelChannel},
		{"Trailers", TestTrailers},
	} {
		t.Run(c.name, c.test)
	}
}

// What the pool decides is not the Transport's: its proxy would get the request, and what it
// compresses nobody has asked for.
func TestTransportGivesUpSettings(t *testing.T) {
	node := newOrigin(t, mirror)
	proxy := mustURL(t, "http://user:secret@proxy.test:3128")
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, &upstream.Options{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}})
	_, head := get(t, p, "http://a.test/")
	require.Equal(t, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", head)
}

// What the pool does not decide is the Transport's.
func TestTransportKeepsItsOwnSettings(t *testing.T) {
	begun, release := make(chan struct{}, 10), make(chan struct{})
	node := newOrigin(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			begun <- struct{}{}
			<-release
			io.WriteString(conn, ok)
		}
	})
	transport := &http.Transport{MaxConnsPerHost: 1, DisableCompression: false}
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, &upstream.Options{Transport: transport})
	ended := make(chan struct{}, 3)
	for range 3 {
		go func() {
			defer func() { ended <- struct{}{} }()
			resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}()
	}
	<-begun
	close(release)
	for range 3 {
		<-ended
	}
	require.EqualValues(t, 1, node.conns.Load())
	require.Nil(t, transport.DialContext, "it is not changed itself")
}
