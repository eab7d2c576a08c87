package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
)

// Two listeners: the second sees what the first has put into the context.
func ExampleJoinTraces() {
	type key struct{}
	named := &gateway.Trace{RequestBegun: func(ctx context.Context, r *gateway.RequestStart) context.Context {
		return context.WithValue(ctx, key{}, "request 1")
	}}
	printed := &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) {
		fmt.Println(e.Context.Value(key{}), e.Path, e.Status)
	}}
	gw, err := gateway.New(&gateway.Options{Trace: gateway.JoinTraces(named, printed)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://a.test/nobody", nil))
	// Output: request 1 /nobody 404
}

// All are told, in their order, and on where one panics.
func TestJoinTraces(t *testing.T) {
	type key struct{}
	var told []string
	named := func(name string, then func()) *gateway.Trace {
		note := func(what any) { told = append(told, fmt.Sprint(name, " ", what)); then() }
		return &gateway.Trace{
			RequestBegun: func(ctx context.Context, _ *gateway.RequestStart) context.Context {
				note(ctx.Value(key{}))
				return context.WithValue(ctx, key{}, name)
			},
			RequestDone:        func(e *gateway.RequestEvent) { note(e.Status) },
			LimitReached:       func(e gateway.LimitEvent) { note(e.Limit) },
			ProxyHeaderRefused: func(peer net.Addr, err error) { note(fmt.Sprint(peer, " ", err)) },
		}
	}
	nothing := func() {}
	silent := &gateway.Trace{RequestBegun: func(context.Context, *gateway.RequestStart) context.Context { return nil }}
	joined := gateway.JoinTraces(nil, named("a", nothing), &gateway.Trace{}, silent, named("b", nothing))
	ctx := joined.RequestBegun(context.WithValue(t.Context(), key{}, "mine"), nil)
	require.Equal(t, "b", ctx.Value(key{}))
	joined.RequestDone(&gateway.RequestEvent{Status: 200})
	joined.LimitReached(gateway.LimitEvent{Limit: gateway.LimitStreams})
	joined.ProxyHeaderRefused(&net.UnixAddr{Name: "peer"}, errors.New("none"))
	require.Equal(t, []string{"a mine", "b a", "b 200", "a 200", "b Streams", "a Streams", "b peer none", "a peer none"}, told)

	told = nil
	panics := gateway.JoinTraces(named("a", nothing), named("b", func() { panic("a mistake") }))
	require.PanicsWithValue(t, "a mistake", func() { panics.RequestDone(&gateway.RequestEvent{}) })
	require.Equal(t, []string{"b 0", "a 0"}, told)

	require.Equal(t, &gateway.Trace{}, gateway.JoinTraces())
	require.Equal(t, &gateway.Trace{}, gateway.JoinTraces(nil, &gateway.Trace{}), "what nobody wants to hear costs nothing")
}
