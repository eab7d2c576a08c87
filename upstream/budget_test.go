package upstream_test

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// retries counts how many retries a budget allows at this moment.
func retries(b upstream.Budget) (n int) {
	for b.Retry() {
		n++
	}
	return n
}

func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := upstream.NewBudget(upstream.RetryBudget{Percent: 20, PerSecond: 10})
		require.Equal(t, 10, retries(b), "of the first second")
		require.Zero(t, retries(b))
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, 1, retries(b))
		time.Sleep(time.Hour)
		require.Equal(t, 10, retries(b), "seconds are not saved")

		for range 49 {
			b.Request()
		}
		require.Equal(t, 9, retries(b))
		b.Request()
		require.Equal(t, 1, retries(b), "nothing is lost in rounding")
		for range 100_000 {
			b.Request()
		}
		require.Equal(t, 100, retries(b), "more is not saved")

		b = upstream.NewBudget(upstream.RetryBudget{Percent: 300, PerSecond: 1})
		require.Equal(t, 1, retries(b))
		b.Request()
		require.Equal(t, 3, retries(b))
		time.Sleep(999 * time.Millisecond)
		require.Zero(t, retries(b))
		time.Sleep(time.Millisecond)
		require.Equal(t, 1, retries(b))
	})
}

// However many ask at once, no more than the budget has is given.
func TestRetryBudgetRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := upstream.NewBudget(upstream.RetryBudget{Percent: 50, PerSecond: 7})
		var given atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 1000 {
					if b.Retry() {
						given.Add(1)
					}
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 7, given.Load())
		for range 8 {
			all.Go(func() {
				for range 20_000 {
					b.Request()
					if b.Retry() {
						given.Add(1)
					}
				}
			})
		}
		all.Wait()
		for b.Retry() {
			given.Add(1)
		}
		require.Equal(t, 7+8*20_000/2, int(given.Load()), "there was always room for what came in")
	})
}

// In an outage of all nodes, retries stay within the budget, and who gets none is told
// what his node did.
func TestRetryBudgetInAnOutage(t *testing.T) {
	var got atomic.Int64
	broken := newOrigin(t, func(conn net.Conn) {
		got.Add(1)
		resetting(1)(conn)
	})
	other := newOrigin(t, resetting(1))
	c := upstream.Config{ID: "1", Nodes: []upstream.Node{broken.Node, other.Node}, RetryBudget: upstream.RetryBudget{Percent: 10, PerSecond: 1}}
	p := newPool(t, c, nil)
	const requests = 200
	spent := 0
	begun := time.Now()
	for range requests {
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		var e *upstream.Error
		require.ErrorAs(t, err, &e)
		if e.Attempts == 1 {
			spent++
			wantError(t, err, 502, 1, "(no other node was tried: RetryBudget is spent)")
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
	}
	tried := 0
	for _, n := range p.Nodes() {
		tried += int(n.Requests)
	}
	require.Equal(t, requests+requests-spent, tried)
	most := requests/10 + 1 + int(time.Since(begun)/time.Second) + 1
	require.LessOrEqual(t, tried-requests, most)
	require.GreaterOrEqual(t, tried-requests, requests/10)

	// A successor goes on with what is left, unless its budget is another.
	q := p.Replace(mustNew(t, c), nil)
	defer q.Close()
	require.True(t, p.SharesBudget(q))
	c.RetryBudget.Percent = 11
	r := q.Replace(mustNew(t, c), nil)
	defer r.Close()
	require.False(t, q.SharesBudget(r))
}

// A node that refuses has had no work: going on to the next one is not bounded.
func TestRetryBudgetIsForWork(t *testing.T) {
	good := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{refusing(t), good.Node}, RetryBudget: upstream.RetryBudget{Percent: 1, PerSecond: 1}}, nil)
	for range 50 {
		status, _ := get(t, p, "http://a.test/")
		require.Equal(t, 200, status)
	}
	require.NotZero(t, p.Nodes()[0].Failures)
}

func BenchmarkBudget(b *testing.B) {
	budget := upstream.NewBudget(upstream.RetryBudget{Percent: 20, PerSecond: 10})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			budget.Request()
		}
	})
}
