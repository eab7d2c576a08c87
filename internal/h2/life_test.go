package h2_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/h2"
)

const drainPing = `PING "sallyout"`

// pong answers the ping of a drain.
func (p *peer) pong() { p.ok(p.WritePing(true, [8]byte([]byte("sallyout")))) }

// A drain answers what was asked for, also what was on its way when it began.
func TestDrain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		held := make(chan struct{})
		p := connect(t, nil, func(st *h2.Stream) { <-held; ok(st) })
		p.wantGreeting()
		p.get(1, "/")
		synctest.Wait()
		p.conn.Drain()
		p.conn.Drain() // once more is no more
		p.get(3, "/")  // on its way
		p.want("GOAWAY 2147483647 NO_ERROR", drainPing)
		p.pong()
		p.want("GOAWAY 3 NO_ERROR")
		time.Sleep(5 * time.Second)
		p.want()
		require.False(t, p.over())
		close(held)
		synctest.Wait()
		time.Sleep(time.Second)
		got := p.got()
		require.Subset(t, got, []string{`DATA 1 "ok" end`, `DATA 3 "ok" end`})
		p.wantOver()
		require.True(t, p.conn.Lingers())
	})
}

// A frame that is coming has its time, whatever wakes who waits for it.
func TestDrainInAFrame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		p.raw([]byte("\x00\x00\x08\x06"))
		synctest.Wait()
		p.conn.Drain()
		p.want("GOAWAY 2147483647 NO_ERROR", drainPing)
		time.Sleep(9 * time.Second)
		p.want()
		p.raw([]byte("\x01\x00\x00\x00\x00sallyout"))
		p.want("GOAWAY 0 NO_ERROR")
		time.Sleep(time.Millisecond)
		p.wantOver()
	})
}

// A client that does not answer is given a second.
func TestDrainUnanswered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		p.conn.Drain()
		p.want("GOAWAY 2147483647 NO_ERROR", drainPing)
		time.Sleep(999 * time.Millisecond)
		p.want()
		time.Sleep(10 * time.Millisecond)
		p.want("GOAWAY 0 NO_ERROR", "GOAWAY 0 NO_ERROR")
		p.wantOver()
	})
}

func TestDrainBeforeGreeting(t *testing.T) {
	t.Run("the client is silent", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := dial(t, nil, ok)
			p.conn.Drain()
			time.Sleep(2 * time.Second)
			p.wantOver()
		})
	})
	t.Run("it asks for something", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := dial(t, nil, ok)
			p.conn.Drain()
			p.greet()
			p.get(1, "/")
			want := append([]string{}, greeted[:2]...)
			p.want(append(want, "GOAWAY 2147483647 NO_ERROR", drainPing, "SETTINGS ack", "HEADERS 1 200", `DATA 1 "ok" end`)...)
			p.pong()
			synctest.Wait()
			time.Sleep(time.Millisecond)
			require.Equal(t, "GOAWAY 1 NO_ERROR", p.got()[0])
			p.wantOver()
		})
	})
}

// A client that ends the connection gets what it has asked for.
func TestGoAwayOfTheClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		held := make(chan struct{})
		p := connect(t, nil, func(st *h2.Stream) { <-held; ok(st) })
		p.wantGreeting()
		p.get(1, "/")
		p.ok(p.WriteGoAway(0, http2.ErrCodeNo, nil))
		p.want("GOAWAY 1 NO_ERROR")
		close(held)
		p.want("HEADERS 1 200", `DATA 1 "ok" end`)
		time.Sleep(time.Millisecond)
		p.want("GOAWAY 1 NO_ERROR")
		p.wantOver()
	})
}

// A request that says that its body is empty, and has still to end, is answered though the
// connection ends, as curl sends "-d ”" so; but it is not waited for for ever.
func TestDrainBeforeTheEndOfARequest(t *testing.T) {
	for name, end := range map[string]func(p *peer){
		"Drain":  func(p *peer) { p.conn.Drain(); p.want("GOAWAY 2147483647 NO_ERROR", drainPing); p.pong() },
		"GOAWAY": func(p *peer) { p.ok(p.WriteGoAway(0, http2.ErrCodeNo, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, ok)
				p.wantGreeting()
				p.post(1, "/", "content-length", "0")
				synctest.Wait()
				end(p)
				p.want("GOAWAY 1 NO_ERROR")
				time.Sleep(time.Second)
				require.False(t, p.over())
				p.data(1, true, "")
				p.want("HEADERS 1 200", `DATA 1 "ok" end`)
				time.Sleep(time.Second)
				p.want("GOAWAY 1 NO_ERROR")
				p.wantOver()
			})
		})
		t.Run(name+", and no end", func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, ok)
				p.wantGreeting()
				p.post(1, "/", "content-length", "0")
				synctest.Wait()
				end(p)
				p.want("GOAWAY 1 NO_ERROR")
				time.Sleep(p.conn.HeaderTimeout() - time.Second)
				require.False(t, p.over())
				time.Sleep(2 * time.Second)
				p.want("GOAWAY 1 NO_ERROR")
				p.wantOver()
			})
		})
	}
}

// What a client says after its GOAWAY is no reason to reset the connection, and with it what
// is on its way to the client.
func TestPingAfterGoAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		p.ok(p.WriteGoAway(0, http2.ErrCodeNo, nil))
		time.Sleep(time.Millisecond)
		p.want("GOAWAY 0 NO_ERROR", "GOAWAY 0 NO_ERROR")
		p.wantOver()
		require.True(t, p.conn.Lingers())
	})
}

func TestPing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		p.ok(p.WritePing(false, [8]byte{1, 2, 3}))
		p.ok(p.WritePing(true, [8]byte{9}))
		p.want(`PING ack "\x01\x02\x03\x00\x00\x00\x00\x00"`)
		p.ok(p.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)))
		p.want("GOAWAY 0 PROTOCOL_ERROR")
		p.wantOver()
	})
}

// What does not come in time ends the connection.
func TestTimes(t *testing.T) {
	for _, c := range []struct {
		name   string
		client func(p *peer)
		after  time.Duration
		limits []h2.Limit
		want   string
	}{
		{"no preface", func(p *peer) {}, 10 * time.Second, []h2.Limit{h2.LimitHeaderTimeout}, ""},
		{"a preface byte by byte", func(p *peer) {
			for _, b := range []byte(http2.ClientPreface)[:10] {
				p.raw([]byte{b})
				time.Sleep(time.Second)
			}
		}, 0, []h2.Limit{h2.LimitHeaderTimeout}, ""},
		{"no settings", func(p *peer) { p.raw([]byte(http2.ClientPreface)) }, 10 * time.Second, []h2.Limit{h2.LimitHeaderTimeout}, "GOAWAY 0 NO_ERROR"},
		{"a part of a frame", func(p *peer) { p.greet(); p.raw([]byte("\x00\x00\x08\x06")) }, 10 * time.Second, nil, "GOAWAY 0 NO_ERROR"},
		{"a part of a head", func(p *peer) {
			p.greet()
			p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/")...)}))
		}, 10 * time.Second, []h2.Limit{h2.LimitHeaderTimeout}, "GOAWAY 1 NO_ERROR"},
		{"a head bit by bit", func(p *peer) {
			p.greet()
			p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/")...)}))
			for range 4 {
				time.Sleep(2400 * time.Millisecond)
				p.ok(p.WriteContinuation(1, false, nil))
			}
		}, 400 * time.Millisecond, []h2.Limit{h2.LimitHeaderTimeout}, "GOAWAY 1 NO_ERROR"},
		{"a frame byte by byte", func(p *peer) {
			p.greet()
			for _, b := range []byte("\x00\x00\x08\x06") {
				p.raw([]byte{b})
				time.Sleep(2400 * time.Millisecond)
			}
		}, 400 * time.Millisecond, nil, "GOAWAY 0 NO_ERROR"},
		{"what continues a head, byte by byte", func(p *peer) {
			p.greet()
			p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/")...)}))
			for _, b := range []byte("\x00\x00\x08\x09") {
				time.Sleep(2400 * time.Millisecond)
				p.raw([]byte{b})
			}
		}, 400 * time.Millisecond, []h2.Limit{h2.LimitHeaderTimeout}, "GOAWAY 1 NO_ERROR"},
		{"nothing but pings", func(p *peer) {
			p.greet()
			for range 3 {
				time.Sleep(50 * time.Second)
				p.ok(p.WritePing(false, [8]byte{}))
			}
		}, 30 * time.Second, nil, "GOAWAY 0 NO_ERROR"},
		{"nothing", func(p *peer) { p.greet() }, 3 * time.Minute, nil, "GOAWAY 0 NO_ERROR"},
		{"nothing more", func(p *peer) { p.greet(); p.get(1, "/"); time.Sleep(time.Minute) }, 2 * time.Minute, nil, "GOAWAY 1 NO_ERROR"},
		{"a request that never ends", func(p *peer) { p.greet(); p.post(1, "/", "content-length", "0") }, 3 * time.Minute, nil, "GOAWAY 1 NO_ERROR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := dial(t, nil, ok)
				c.client(p)
				time.Sleep(c.after - time.Millisecond)
				synctest.Wait()
				if c.after > 0 {
					require.False(t, p.over(), "too early")
				}
				time.Sleep(2 * time.Millisecond)
				got := p.got()
				if c.want != "" {
					require.Equal(t, c.want, got[len(got)-1])
				}
				p.wantLimits(c.limits...)
				p.wantOver()
			})
		})
	}
}

// The time of a connection that has nothing to do begins when it has answered.
func TestIdleTimeBeginsWithTheAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { time.Sleep(50 * time.Second); ok(st) })
		p.wantGreeting()
		for i := range uint32(6) {
			p.get(2*i+1, "/")
			time.Sleep(50*time.Second + time.Minute)
			require.Len(t, p.got(), 2)
		}
		time.Sleep(2*time.Minute - time.Second)
		p.want()
		time.Sleep(2 * time.Second)
		p.want("GOAWAY 11 NO_ERROR")
		p.wantOver()
	})
}

// A client that is silent while it waits for an answer is asked whether it is there.
func TestSilentClient(t *testing.T) {
	const ask = `PING "\x00\x00\x00\x00\x00\x00\x00\x00"`
	inBubble(t, func(t *testing.T) {
		held := make(chan struct{})
		p := connect(t, nil, func(st *h2.Stream) { <-held })
		p.wantGreeting()
		p.get(1, "/")
		p.want()
		for range 3 {
			time.Sleep(59 * time.Second)
			p.want()
			time.Sleep(2 * time.Second)
			p.want(ask)
			p.ok(p.WritePing(true, [8]byte{}))
		}
		time.Sleep(61 * time.Second)
		p.want(ask)
		time.Sleep(16 * time.Second)
		p.want()
		close(held)
		p.wantOver()
	})
}

// A client that takes an answer slowly has nothing to say meanwhile, and could not answer.
func TestSlowClientIsNotSilent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { _ = answer(st, 200, xs(10_000)) })
		p.wantGreeting()
		p.wire.down.hold(100)
		p.get(1, "/")
		var all []string
		for range 20 {
			time.Sleep(50 * time.Second)
			synctest.Wait()
			require.False(t, p.over())
			all = append(all, p.parse(p.wire.down.take(100))...)
		}
		p.wire.down.hold(1 << 30)
		require.Equal(t, "HEADERS 1 200, DATA 1 10000 end", strings.Join(append(all, p.got()...), ", "))
		p.hangUp()
	})
}

// A body that does not come in time, and one that may take its.
func TestBodyTimes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		errs := make(chan error, 1)
		p := connect(t, nil, func(st *h2.Stream) {
			switch st.Head.Target() {
			case "/patient":
				st.BodyPatience = 0
			case "/by":
				st.ReadBy(time.Now().Add(5 * time.Second))
			}
			_, err := io.ReadAll(st)
			errs <- err
			ok(st)
		})
		p.wantGreeting()
		pings := func() { // so that the client is there
			p.ok(p.WritePing(false, [8]byte{}))
			p.got()
		}
		p.post(1, "/")
		for range 5 {
			time.Sleep(50 * time.Second)
			p.data(1, false, "x")
			p.got()
		}
		time.Sleep(50 * time.Second)
		pings()
		require.Empty(t, errs)
		time.Sleep(11 * time.Second)
		p.got()
		require.ErrorIs(t, <-errs, os.ErrDeadlineExceeded)
		p.post(3, "/by")
		time.Sleep(6 * time.Second)
		p.got()
		require.ErrorIs(t, <-errs, os.ErrDeadlineExceeded)
		p.post(5, "/patient")
		for range 10 {
			time.Sleep(50 * time.Second)
			pings()
		}
		require.Empty(t, errs)
		p.data(5, true, "")
		p.got()
		require.NoError(t, <-errs)

		// It has its time in the middle of a frame too, whose beginning had another; and ends
		// before the connection does.
		p.post(7, "/")
		p.raw([]byte("\x00\x00"))
		synctest.Wait()
		p.raw([]byte("\x08\x00\x00\x00\x00\x00\x07"))
		for range 3 {
			p.raw([]byte("x"))
			time.Sleep(50 * time.Second)
			require.Empty(t, p.got())
		}
		require.Empty(t, errs)
		time.Sleep(11 * time.Second)
		require.Subset(t, p.got(), []string{"HEADERS 7 200"})
		require.ErrorIs(t, <-errs, os.ErrDeadlineExceeded)
		require.False(t, p.over())
		p.hangUp()
	})
}

// WriteBy ends a write that goes on.
func TestWriteBy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		errs := make(chan error, 1)
		p := connect(t, nil, func(st *h2.Stream) {
			go func() { time.Sleep(time.Second); st.WriteBy(time.Now().Add(4 * time.Second)) }()
			errs <- answer(st, 200, xs(1<<20))
		})
		p.wantGreeting()
		p.get(1, "/")
		p.got()
		time.Sleep(4 * time.Second)
		p.want()
		time.Sleep(2 * time.Second)
		p.want("RST_STREAM 1 INTERNAL_ERROR")
		require.ErrorIs(t, <-errs, os.ErrDeadlineExceeded)
		p.hangUp()
	})
}

// A connection that rests holds nothing, and goes on as if it had not.
func TestRest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := defaults()
		o.RestAfter = 250 * time.Millisecond
		p := dial(t, o, describe)
		wake := make(chan struct{})
		p.whenResting(func() { <-wake })
		p.greet()
		p.wantGreeting()
		p.get(1, "/", "x-kept", "in the table")
		require.Len(t, p.got(), 1)
		for i := range uint32(5) {
			time.Sleep(249 * time.Millisecond)
			synctest.Wait()
			require.EqualValues(t, i, p.rested())
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			require.EqualValues(t, i+1, p.rested())
			require.Equal(t, 3*time.Minute-251*time.Millisecond, time.Until(p.conn.Expires()))
			p.get(2*i+3, "/", "x-kept", "in the table")
			wake <- struct{}{}
			got := p.got()
			require.Len(t, got, 1)
			require.Contains(t, got[0], "x-kept=in the table")
		}
		time.Sleep(300 * time.Millisecond)
		p.conn.Goodbye()
		p.wire.up.close()
		wake <- struct{}{}
		p.want("GOAWAY 11 NO_ERROR")
		p.wantOver()
	})
}

// Connections that rest in turn have the same memory in turn, in which one finds nothing of
// another's: neither of what its requests were, and what they had too much of, nor of what its
// client has said of header fields. Their limits stay their own.
func TestRestInTurn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := defaults()
		o.RestAfter = 250 * time.Millisecond
		o.HeaderBytes = 8000
		type client struct {
			*peer
			name string
			wake chan struct{}
			loan *atomic.Pointer[h2.Loan] // of the last request
		}
		var clients []client
		for i := range 3 {
			c := client{name: fmt.Sprint("client ", i), wake: make(chan struct{}), loan: new(atomic.Pointer[h2.Loan])}
			c.peer = dial(t, o, func(st *h2.Stream) {
				c.loan.Store(h2.LoanOf(c.conn))
				describe(st)
			})
			c.whenResting(func() { <-c.wake })
			c.greet()
			require.Len(t, c.got(), 3)
			clients = append(clients, c)
		}
		ask := func(c client, id uint32) {
			t.Helper()
			c.get(id, "/", "x-name", c.name)
			c.want(fmt.Sprintf("HEADERS %d 200 x-got: GET / a.test 0 x-name=%s end", id, c.name))
		}
		time.Sleep(time.Second) // all of them rest
		synctest.Wait()
		for turn := range uint32(4) {
			for _, c := range clients {
				c.wake <- struct{}{}
				id := 16*turn + 1
				ask(c, id)
				// Too many fields, a body with a trailer, a request that is none, and too long a head.
				many := request("GET", "/")
				for range 110 {
					many = append(many, "x", c.name)
				}
				c.headers(id+2, true, many...)
				c.post(id+4, "/", "content-length", "2")
				c.data(id+4, false, "hi")
				c.headers(id+4, true, "x-trailer", c.name)
				c.headers(id+6, true, request("GET", "/", "Upper", c.name)...)
				if turn%2 == 0 { // or else nothing is left of what was before
					c.get(id+8, "/", "x-name", c.name, "x-long", xs(8000))
				}
				require.GreaterOrEqual(t, len(c.got()), 3)
				before := c.rested()
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, before+1, c.rested())
				require.True(t, c.loan.Load().Bare(), "what others have next")
				require.True(t, c.loan.Load().Given(c.conn))
			}
		}
		// A head that has begun when one wakes must come to its end, and costs no other its time.
		late, other := clients[0], clients[1]
		late.limits, other.limits = nil, nil
		for _, c := range clients[:2] {
			c.wake <- struct{}{}
			synctest.Wait()
		}
		late.ok(late.WriteHeaders(http2.HeadersFrameParam{StreamID: 101, BlockFragment: late.fields(request("GET", "/")...)}))
		ask(other, 101)
		time.Sleep(o.HeaderTimeout - time.Millisecond)
		synctest.Wait()
		require.False(t, late.over())
		time.Sleep(time.Millisecond)
		late.wantOver()
		late.wantLimits(h2.LimitHeaderTimeout)
		other.wake <- struct{}{}
		ask(other, 103)
		for _, c := range clients[1:] {
			c.wire.Abort()
			close(c.wake)
			c.wantOver()
		}
	})
}

// It does not rest while there is something to do, or something half done; and when it rests
// after a large body that was not wanted, it reads no further ahead.
func TestNoRest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := defaults()
		o.RestAfter = 250 * time.Millisecond
		held := make(chan struct{})
		p := dial(t, o, func(st *h2.Stream) {
			if st.Head.Target() == "/large" {
				_, _ = io.CopyN(io.Discard, st, 100<<10)
				ok(st)
				return
			}
			<-held
			ok(st)
		})
		stays := func(what string) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			require.Zero(t, p.rested(), what)
		}
		ahead := true
		p.whenResting(func() { ahead = p.wire.readsAhead(); p.conn.StayUp() })
		stays("before the preface")
		p.greet()
		p.raw([]byte("\x00"))
		stays("with a part of a frame")
		p.got()
		p.wire.down.hold(0)
		p.raw([]byte("\x00\x08\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
		stays("with something to be written")
		p.wire.down.hold(1 << 30)
		p.want(`PING ack "\x00\x00\x00\x00\x00\x00\x00\x00"`)
		p.get(1, "/")
		stays("with a request")
		close(held)
		p.post(3, "/", "content-length", "0")
		stays("with a request that has not ended")
		p.data(3, true, "")
		p.post(5, "/large")
		for range 7 {
			p.data(5, false, xs(15<<10))
			synctest.Wait()
		}
		p.got()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 1, p.rested())
		require.False(t, ahead)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, p.rested(), "it was told to stay up")
		p.hangUp()
	})
}

// A connection that breaks fails what goes on on it.
func TestConnectionBreaks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		errs := make(chan error, 3)
		p := connect(t, nil, func(st *h2.Stream) {
			switch {
			case st.Head.Method() == "POST":
				_, err := io.ReadAll(st)
				errs <- err
			case st.Head.Target() == "/large":
				errs <- answer(st, 200, xs(1<<20))
			default:
				w := make(watcher)
				st.Watch(w)
				<-w
				errs <- io.EOF
			}
		})
		p.wantGreeting()
		p.post(1, "/")
		p.get(3, "/large")
		p.get(5, "/watches")
		synctest.Wait()
		p.hangUp()
		for range 3 {
			require.Error(t, <-errs)
		}
	})
}

type watcher chan struct{}

func (w watcher) Vanished() { close(w) }

// A write that fails ends all.
func TestWriteFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { _ = answer(st, 200, xs(30<<10)) })
		p.wantGreeting()
		p.wire.down.hold(10)
		for i := range uint32(4) {
			p.get(2*i+1, "/")
		}
		time.Sleep(59 * time.Second)
		require.False(t, p.over())
		time.Sleep(2 * time.Second)
		p.wantOver()
	})
}

// What is no HTTP/2 is no connection.
func TestBadPreface(t *testing.T) {
	for _, s := range []string{"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", "\x16\x03\x01"} {
		inBubble(t, func(t *testing.T) {
			p := dial(t, nil, ok)
			p.raw([]byte(s))
			p.want(greeted[0], greeted[1], "GOAWAY 0 PROTOCOL_ERROR")
			p.wantOver()
		})
	}
	inBubble(t, func(t *testing.T) {
		p := dial(t, nil, ok)
		p.raw([]byte(http2.ClientPreface))
		p.get(1, "/") // before the settings
		got := p.got()
		require.Equal(t, "GOAWAY 0 PROTOCOL_ERROR", got[len(got)-1])
		p.wantOver()
	})
}

// A handler that returns without an answer, or in the middle of one.
func TestNoAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) {
			if strings.HasPrefix(st.Head.Target(), "/half") {
				b := h2.NewBlock()
				defer b.Release()
				b.Status(200)
				_ = st.Send(b, []byte("half"), nil, false)
			}
		})
		p.wantGreeting()
		p.get(1, "/")
		p.want("RST_STREAM 1 INTERNAL_ERROR")
		p.get(3, "/half")
		p.want("HEADERS 3 200", `DATA 3 "half"`, "RST_STREAM 3 INTERNAL_ERROR")
		p.post(5, "/half")
		p.want("HEADERS 5 200", `DATA 5 "half"`, "RST_STREAM 5 INTERNAL_ERROR")
		p.hangUp()
	})
}
