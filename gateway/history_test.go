package gateway_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// askFor lets a gateway answer requests with a status.
func askFor(gw *gateway.Server, status string, n int) {
	for range n {
		gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://a.test/"+status, nil))
	}
}

func routesOfStatuses() []route.Config {
	var routes []route.Config
	for id, status := range map[string]int{"ok": 200, "moved": 302, "failing": 500} {
		routes = append(routes, route.Config{ID: id, Paths: []string{"/" + id}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })})
	}
	return routes
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(90 * time.Second) // the Server begins in the middle of a minute
		gw := must(gateway.New(nil))
		defer gw.Close()
		begun := time.Now()
		_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: routesOfStatuses()}})
		require.NoError(t, err)
		history := func() gateway.History {
			synctest.Wait()
			return gw.History()
		}

		// Nothing happens: nothing runs, and there is one minute, which goes on.
		time.Sleep(10 * time.Second)
		h := history()
		require.Len(t, h.Minutes, 1)
		require.Equal(t, gateway.Minute{Begun: h.Minutes[0].Begun, Took: 10 * time.Second}, h.Minutes[0])
		require.True(t, begun.Equal(h.Minutes[0].Begun))
		require.Empty(t, h.Routes)

		askFor(gw, "ok", 3)
		askFor(gw, "failing", 2)
		askFor(gw, "nowhere", 1)
		h = history()
		require.Equal(t, gateway.StatusCounts{2: 3, 4: 1, 5: 2}, h.Minutes[0].Requests)
		require.Equal(t, []gateway.RouteHistory{{ID: "failing", Hour: gateway.StatusCounts{5: 2}}, {ID: "ok", Hour: gateway.StatusCounts{2: 3}}}, h.Routes)

		// The minute is over; the next one has a request.
		time.Sleep(21 * time.Second)
		askFor(gw, "ok", 1)
		h = history()
		require.Len(t, h.Minutes, 2)
		require.Equal(t, 30*time.Second, h.Minutes[0].Took)
		require.Equal(t, gateway.StatusCounts{2: 3, 4: 1, 5: 2}, h.Minutes[0].Requests)
		require.Equal(t, gateway.Minute{Begun: h.Minutes[1].Begun, Took: time.Second, Requests: gateway.StatusCounts{2: 1}}, h.Minutes[1])
		require.Zero(t, h.Minutes[1].Begun.Unix()%60)
		require.Equal(t, gateway.RouteHistory{ID: "ok", Minute: gateway.StatusCounts{2: 3}, Hour: gateway.StatusCounts{2: 4}}, h.Routes[1])

		// An hour with a request a minute, of which nobody asks meanwhile.
		for range 60 {
			time.Sleep(time.Minute)
			askFor(gw, "moved", 1)
		}
		h = history()
		require.Len(t, h.Minutes, 61)
		for i, m := range h.Minutes {
			want := gateway.StatusCounts{3: 1}
			if i == 0 {
				want = gateway.StatusCounts{2: 1}
			}
			require.Equal(t, want, m.Requests, i)
			require.Equal(t, i < 60, m.Took == time.Minute)
			if i > 0 {
				require.Equal(t, time.Minute, m.Begun.Sub(h.Minutes[i-1].Begun))
			}
		}
		require.Len(t, h.Routes, 1)
		require.Equal(t, "moved", h.Routes[0].ID)
		require.Equal(t, gateway.StatusCounts{3: 1}, h.Routes[0].Minute)
		require.GreaterOrEqual(t, h.Routes[0].Hour[3], uint64(55))
		require.LessOrEqual(t, h.Routes[0].Hour[3], uint64(60))

		// Hours later it is forgotten, and what comes then is counted in its own minute.
		time.Sleep(5*time.Hour + 30*time.Second)
		h = history()
		require.Len(t, h.Minutes, 61)
		for _, m := range h.Minutes {
			require.Zero(t, m.Requests)
		}
		require.Empty(t, h.Routes)
		askFor(gw, "ok", 1)
		time.Sleep(time.Minute)
		h = history()
		require.Equal(t, gateway.StatusCounts{2: 1}, h.Minutes[59].Requests)
		require.Equal(t, []gateway.RouteHistory{{ID: "ok", Minute: gateway.StatusCounts{2: 1}, Hour: gateway.StatusCounts{2: 1}}}, h.Routes)
	})
}

// The counts of a route that is deleted in a minute belong to that minute.
func TestHistoryOfADeletedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gw := must(gateway.New(nil))
		defer gw.Close()
		_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: routesOfStatuses()}})
		require.NoError(t, err)
		askFor(gw, "ok", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		askFor(gw, "ok", 2)
		askFor(gw, "failing", 1)
		_, err = gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"ok", "failing"}}})
		require.NoError(t, err)
		askFor(gw, "ok", 4)
		want := gateway.StatusCounts{2: 2, 4: 4, 5: 1}
		require.Equal(t, want, gw.History().Minutes[1].Requests)
		time.Sleep(time.Minute)
		synctest.Wait()
		h := gw.History()
		require.Equal(t, []gateway.StatusCounts{{2: 1}, want, {}}, []gateway.StatusCounts{h.Minutes[0].Requests, h.Minutes[1].Requests, h.Minutes[2].Requests})
		require.Empty(t, h.Routes)
	})
}

// Handshakes have their minutes too, also where nobody asks for anything.
func TestHistoryOfHandshakes(t *testing.T) {
	inBubbleOf(t, gateway.Options{}, nil, func(b *bubble) {
		shake := func(name string) {
			conn := tls.Client(b.dial(b.secure), ssltest.ClientConfig(name))
			_ = conn.Handshake()
			conn.Close()
			synctest.Wait()
		}
		time.Sleep(2*time.Minute + time.Second)
		for range 3 {
			shake("a.test")
		}
		shake("unknown.test")
		time.Sleep(time.Minute)
		shake("a.test")
		shake("unknown.test")
		shake("unknown.test")
		m := b.gw.History().Minutes
		require.Len(b.t, m, 4)
		require.Equal(b.t, []uint64{0, 0, 3, 1}, []uint64{m[0].Handshakes, m[1].Handshakes, m[2].Handshakes, m[3].Handshakes})
		require.Empty(b.t, m[0].Failed)
		require.Equal(b.t, []ssl.ReasonCount{{Reason: ssl.ReasonUnknownSNI, Count: 1}}, m[2].Failed)
		require.Equal(b.t, []ssl.ReasonCount{{Reason: ssl.ReasonUnknownSNI, Count: 2}}, m[3].Failed)
	})
}

// While the time passes and everything is counted, looked at and changed, nothing is lost.
func TestHistoryLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gw := must(gateway.New(nil))
		defer gw.Close()
		_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: routesOfStatuses()}})
		require.NoError(t, err)
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				for range 100 {
					askFor(gw, "ok", 5)
					time.Sleep(17 * time.Second)
				}
			})
		}
		asking.Go(func() {
			for range 100 {
				gw.History()
				time.Sleep(19 * time.Second)
			}
		})
		asking.Wait()
		var total uint64
		for _, m := range gw.History().Minutes {
			total += m.Requests[2]
		}
		require.EqualValues(t, 4*100*5, total)
	})
}

// Close ends it, and a closed Server starts nothing.
func TestHistoryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gw := must(gateway.New(nil))
		askFor(gw, "nowhere", 1)
		synctest.Wait()
		require.NoError(t, gw.Close())
		time.Sleep(3 * time.Minute)
		askFor(gw, "nowhere", 1)
		synctest.Wait()
		require.Equal(t, gateway.StatusCounts{4: 2}, gw.Stats().Unrouted.Requests)
		require.Len(t, gw.History().Minutes, 4)
	})
}
