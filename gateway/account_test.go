package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/route"
)

// counting returns a server with a route, and a request for it that is over.
func counting(tb testing.TB) (*Server, *visit) {
	s := must(New(nil))
	tb.Cleanup(func() { s.Close() })
	_, err := s.Apply(Change{Put: Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.NotFoundHandler()}}}})
	require.NoError(tb, err)
	match := s.Routes().Get("1")
	return s, &visit{begun: s.clock(), status: http.StatusOK, match: match}
}

// Counting a request allocates nothing, if nobody wants to be told.
func TestAccountAllocatesNothing(t *testing.T) {
	s, v := counting(t)
	require.Zero(t, testing.AllocsPerRun(1000, func() { s.account(v) }))
}

// The time of a record is right again soon after somebody has set the clock.
func TestTimeAt(t *testing.T) {
	s, _ := counting(t)
	now := s.clock()
	require.WithinDuration(t, time.Now(), s.timeAt(now), time.Minute)
	wrong := &wallClock{now, time.Now().Add(time.Hour)}
	s.wall.Store(wrong)
	require.Equal(t, wrong.time.Add(99*time.Millisecond), s.timeAt(now+int64(99*time.Millisecond)))
	require.Equal(t, wrong.time.Add(-time.Second), s.timeAt(now-int64(time.Second)), "of a request that ended before")
	wrong.moment = now - int64(101*time.Millisecond)
	s.wall.Store(wrong)
	require.WithinDuration(t, time.Now(), s.timeAt(now), time.Minute)
}

func BenchmarkAccount(b *testing.B) {
	s, v := counting(b)
	b.ReportAllocs()
	for b.Loop() {
		s.account(v)
	}
}

// BenchmarkAccessLog is what a record costs beyond the counting.
func BenchmarkAccessLog(b *testing.B) {
	for name, handler := range map[string]slog.Handler{
		"discard": discardAll{},
		"json":    slog.NewJSONHandler(io.Discard, nil),
		"text":    slog.NewTextHandler(io.Discard, nil),
		"lines":   accesslog.New(io.Discard, nil),
	} {
		b.Run("handler="+name, func(b *testing.B) {
			s, v := counting(b)
			s.o.AccessLog = slog.New(handler)
			s.lines, _ = handler.(*accesslog.Handler)
			v.node, v.attempts, v.waited = "127.0.0.1:8080", 1, time.Millisecond
			v.event = &RequestEvent{
				Begun: time.Now(), Protocol: "HTTP/1.1", Method: "GET", Host: "a.test", Path: "/small",
				RemoteAddr: "127.0.0.1:40000", ClientAddr: "127.0.0.1", ServerName: "a.test", Route: "1", Upstream: "1",
			}
			b.ReportAllocs()
			for b.Loop() {
				s.account(v)
			}
		})
	}
}

// discardAll is a handler that wants all records, and does nothing with them.
type discardAll struct{}

func (discardAll) Enabled(context.Context, slog.Level) bool  { return true }
func (discardAll) Handle(context.Context, slog.Record) error { return nil }
func (d discardAll) WithAttrs([]slog.Attr) slog.Handler      { return d }
func (d discardAll) WithGroup(string) slog.Handler           { return d }

// BenchmarkStats is what it costs to look, with many routes of which some have had
// requests.
func BenchmarkStats(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		s := must(New(nil))
		defer s.Close()
		var routes []route.Config
		for i := range n {
			routes = append(routes, route.Config{ID: fmt.Sprint("route-", i), Hosts: []string{fmt.Sprint("h", i/100, ".test")}, Paths: []string{fmt.Sprint("/", i%100)}, Handler: http.NotFoundHandler()})
		}
		_, err := s.Apply(Change{Put: Config{Routes: routes}})
		require.NoError(b, err)
		i := 0
		for r := range s.Routes().All() {
			if i++; i%10 == 0 {
				s.account(&visit{begun: s.clock(), status: http.StatusOK, match: r})
			}
		}
		b.Run(fmt.Sprint("of=stats/routes=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Stats()
			}
		})
		b.Run(fmt.Sprint("of=history/routes=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.History()
			}
		})
	}
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
