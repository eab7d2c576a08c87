package gateway

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/ssl"
)

// What an accesslog.Handler writes of a request is what any other handler is given, whatever
// there is to say of it.
func TestRecordsAreAlike(t *testing.T) {
	identity := new(ssl.Identity)
	set := []func(*RequestEvent, *visit){
		func(e *RequestEvent, _ *visit) { e.RemoteAddr = "10.0.0.1:40000" },
		func(e *RequestEvent, _ *visit) { e.ServerName = "a.test" },
		func(e *RequestEvent, _ *visit) { e.Identity = identity },
		func(e *RequestEvent, _ *visit) { e.ClientAddr = "10.0.0.1" },
		func(e *RequestEvent, _ *visit) { e.ClientAddr = "10.0.0.2" },
		func(e *RequestEvent, _ *visit) { e.Protocol = "HTTP/2.0" },
		func(e *RequestEvent, _ *visit) { e.Host = "b.test" },
		func(e *RequestEvent, _ *visit) { e.Route, e.Upstream = `r"1`, "u" },
		func(e *RequestEvent, _ *visit) { e.Route, e.Upstream = "r", "" },
		func(e *RequestEvent, _ *visit) { e.Method, e.Path = "GET", "/é\n" },
		func(e *RequestEvent, _ *visit) { e.Node, e.Attempts, e.Waited = "10.0.0.3:80", 2, 1234567 },
		func(e *RequestEvent, _ *visit) { e.Status, e.Took, e.Received, e.Sent = 200, time.Hour, 1<<40, 123456 },
		func(_ *RequestEvent, v *visit) { v.refusal = &Refusal{Reason: ssl.ReasonBadHost} },
		func(_ *RequestEvent, v *visit) {
			v.refusal = &Refusal{Reason: ssl.ReasonBadHost, Profile: "p", Advice: "do"}
		},
		func(e *RequestEvent, _ *visit) { e.NoWebSocket = true },
		func(e *RequestEvent, _ *visit) { e.Err = errors.New(`it "broke"`) },
	}
	var want, got bytes.Buffer
	ours, others := accesslog.New(&got, nil), slog.NewJSONHandler(&want, nil)
	write := func(e *RequestEvent, v *visit, known bool, unreported int) {
		for _, s := range []*Server{{o: Options{AccessLog: slog.New(ours)}, lines: ours}, {o: Options{AccessLog: slog.New(others)}}} {
			p := &noPreface
			if known {
				k := &client{server: s, remote: e.RemoteAddr, peer: peerOf(e.RemoteAddr), tls: &tls.ConnectionState{ServerName: e.ServerName}}
				p = k.preface(s.o.AccessLog.Handler(), e.Identity, e.ClientAddr)
			}
			s.say(t.Context(), time.Time{}, slog.LevelInfo, newRecord(e, v, p, unreported))
		}
		require.NoError(t, ours.Flush())
		require.True(t, json.Valid(got.Bytes()), got.String())
		require.Equal(t, want.String(), got.String())
		require.NotContains(t, got.String(), `"client":""`)
		want.Reset()
		got.Reset()
	}
	for _, known := range []bool{false, true} {
		for i := range set {
			for j := range set { // also after what another has said
				var e RequestEvent
				var v visit
				set[i](&e, &v)
				set[j](&e, &v)
				write(&e, &v, known, i%2*j)
				write(&RequestEvent{}, &visit{}, known, 0)
			}
		}
	}
}

// A record lets go of what it was about, and of the memory of what was very long.
func TestRecordsLetGo(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 1<<20))
	r := newRecord(&RequestEvent{Path: long, Identity: new(ssl.Identity), Err: io.EOF}, &visit{refusal: &Refusal{Advice: "do"}}, &noPreface, 1)
	r.keep()
	r.empty()
	require.Zero(t, cap(r.own))
	r.own = nil
	require.Equal(t, record{}, *r)
}
