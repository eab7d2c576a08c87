package h2_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/h2"
)

// Who is answered before it has sent all may send the rest, which nobody reads: within
// bounds of time and of bytes, after which its stream is reset without an error.
func TestLingering(t *testing.T) {
	answered := func(t *testing.T) *peer {
		p := connect(t, nil, func(st *h2.Stream) {
			st.Lingers = true
			ok(st)
		})
		p.wantGreeting()
		p.post(1, "/")
		p.want(`HEADERS 1 200`, `DATA 1 "ok" end`)
		return p
	}
	whole := func(p *peer) {
		recv, lent := p.conn.Windows()
		require.EqualValues(p.t, h2.ConnWindow, recv)
		require.Zero(p.t, lent)
	}
	t.Run("to its end", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := answered(t)
			p.data(1, false, strings.Repeat("x", 1000))
			p.data(1, true, "x")
			p.want()
			time.Sleep(time.Minute)
			p.want() // nothing is reset, and the connection is idle
			p.get(3, "/")
			p.want(`HEADERS 3 200`, `DATA 3 "ok" end`)
			whole(p)
			p.hangUp()
		})
	})
	t.Run("for long", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := answered(t)
			p.data(1, false, "x")
			time.Sleep(h2.LingerTime - time.Millisecond)
			p.want()
			time.Sleep(time.Millisecond)
			p.want(`RST_STREAM 1 NO_ERROR`)
			p.data(1, false, "x") // is passed over
			p.get(3, "/")
			p.want(`HEADERS 3 200`, `DATA 3 "ok" end`)
			whole(p)
			p.hangUp()
		})
	})
	t.Run("on a connection that is never silent", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := answered(t)
			go func() { // says something at the very time
				for range 10 {
					time.Sleep(h2.LingerTime / 5)
					p.ok(p.WritePing(false, [8]byte{}))
				}
			}()
			time.Sleep(2*h2.LingerTime + time.Second)
			require.Contains(t, p.got(), `RST_STREAM 1 NO_ERROR`)
			p.hangUp()
		})
	})
	t.Run("with much", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := answered(t)
			sent := 0
			for ; sent < h2.LingerBytes; sent += 16 << 10 {
				p.data(1, false, strings.Repeat("x", 16<<10))
				p.got()
			}
			p.data(1, false, strings.Repeat("x", 16<<10))
			p.want() // the window opens no more
			time.Sleep(h2.LingerTime)
			p.want(`RST_STREAM 1 NO_ERROR`)
			whole(p)
			p.hangUp()
		})
	})
	t.Run("beside a request that takes longer", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			answer := make(chan struct{})
			p := connect(t, nil, func(st *h2.Stream) {
				if st.Lingers = st.Head.Target() != "/slow"; !st.Lingers {
					<-answer
				}
				ok(st)
			})
			p.wantGreeting()
			p.get(1, "/slow")
			p.post(3, "/")
			p.want(`HEADERS 3 200`, `DATA 3 "ok" end`)
			time.Sleep(h2.LingerTime)
			p.want(`RST_STREAM 3 NO_ERROR`)
			close(answer)
			p.want(`HEADERS 1 200`, `DATA 1 "ok" end`)
			p.hangUp()
		})
	})
	t.Run("and is reset", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := answered(t)
			p.ok(p.WriteRSTStream(1, http2.ErrCodeCancel))
			p.get(3, "/")
			p.want(`HEADERS 3 200`, `DATA 3 "ok" end`)
			time.Sleep(h2.LingerTime)
			p.want()
			p.hangUp()
		})
	})
	t.Run("while the connection drains", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := answered(t)
			p.conn.Drain()
			p.got()
			time.Sleep(3 * time.Second)
			require.False(t, p.over())
			p.data(1, true, "x")
			time.Sleep(time.Millisecond)
			p.got()
			p.wantOver()
		})
	})
}
