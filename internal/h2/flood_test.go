package h2_test

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/h2"
)

// Each flood ends the connection, with a word of why, and counts as a limit that was reached.
func TestFloods(t *testing.T) {
	const many = 4000
	open := func(p *peer, n int) {
		for i := range uint32(n) {
			p.post(2*i+1, "/hold")
		}
		synctest.Wait()
	}
	for name, c := range map[string]struct {
		flood func(p *peer)
		limit h2.Limit
	}{
		"ping":         {func(p *peer) { repeat(many, func(int) { p.ok(p.WritePing(false, [8]byte{})) }) }, h2.LimitFrames},
		"ping ack":     {func(p *peer) { repeat(many, func(int) { p.ok(p.WritePing(true, [8]byte{})) }) }, h2.LimitFrames},
		"settings":     {func(p *peer) { repeat(many, func(int) { p.ok(p.WriteSettings()) }) }, h2.LimitFrames},
		"settings ack": {func(p *peer) { repeat(many, func(int) { p.ok(p.WriteSettingsAck()) }) }, h2.LimitFrames},
		"empty data":   {func(p *peer) { open(p, 1); repeat(many, func(int) { p.data(1, false, "") }) }, h2.LimitFrames},
		"empty data, padded": {func(p *peer) {
			open(p, 1)
			repeat(many, func(int) { p.ok(p.WriteDataPadded(1, false, nil, []byte{})) })
		}, h2.LimitFrames},
		"empty ends": {func(p *peer) {
			p.post(1, "/")
			synctest.Wait()
			repeat(many, func(int) { p.data(1, true, "") })
		}, h2.LimitFrames},
		"priority":          {func(p *peer) { repeat(many, func(int) { p.ok(p.WritePriority(1, http2.PriorityParam{StreamDep: 3})) }) }, h2.LimitFrames},
		"priority update":   {func(p *peer) { repeat(many, func(int) { p.ok(p.WritePriorityUpdate(1, "u=1")) }) }, h2.LimitFrames},
		"window update":     {func(p *peer) { repeat(many, func(int) { p.ok(p.WriteWindowUpdate(0, 1)) }) }, h2.LimitFrames},
		"of a stream":       {func(p *peer) { open(p, 1); repeat(many, func(int) { p.ok(p.WriteWindowUpdate(1, 1)) }) }, h2.LimitFrames},
		"of one that ended": {func(p *peer) { p.get(1, "/"); repeat(many, func(int) { p.ok(p.WriteWindowUpdate(1, 1)) }) }, h2.LimitFrames},
		"unknown frames":    {func(p *peer) { repeat(many, func(int) { p.ok(p.WriteRawFrame(0xfe, 0, 1, nil)) }) }, h2.LimitFrames},
		"goaway":            {func(p *peer) { open(p, 1); repeat(many, func(int) { p.ok(p.WriteGoAway(0, 0, nil)) }) }, h2.LimitFrames},
		"resets of what has ended": {func(p *peer) {
			p.get(1, "/")
			repeat(many, func(int) { p.ok(p.WriteRSTStream(1, http2.ErrCodeCancel)) })
		}, h2.LimitFrames},
		"trailers of what was ended": {func(p *peer) {
			p.post(1, "/")
			synctest.Wait()
			repeat(many, func(int) { p.headers(1, true, "a", "b") })
		}, h2.LimitFrames},
		"continuation": {func(p *peer) {
			p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/")...)}))
			repeat(many, func(int) { p.ok(p.WriteContinuation(1, false, nil)) })
		}, h2.LimitHeaderBytes},
		"continuation of large parts": {func(p *peer) {
			p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/")...)}))
			repeat(100, func(int) { p.ok(p.WriteContinuation(1, false, p.fields("never", xs(8<<10)))) })
		}, h2.LimitHeaderBytes},
		"rapid reset": {func(p *peer) {
			repeat(many, func(i int) {
				p.get(uint32(2*i+1), "/hold")
				p.ok(p.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel))
			})
		}, h2.LimitResets},
		"rapid reset of what has begun": {func(p *peer) {
			repeat(many, func(i int) {
				p.get(uint32(2*i+1), "/hold")
				synctest.Wait()
				p.ok(p.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel))
			})
		}, h2.LimitResets},

		// What makes the server reset (CVE-2025-8671).
		"made you reset: window of nothing": made(func(p *peer, id uint32) { p.ok(p.WriteWindowUpdate(id, 0)) }),
		"made you reset: window too wide":   made(func(p *peer, id uint32) { p.ok(p.WriteWindowUpdate(id, 1<<31-1)) }),
		"made you reset: data after the end": made(func(p *peer, id uint32) {
			p.data(id, true, "")
			p.data(id, false, "more")
		}),
		"made you reset: head after the end": made(func(p *peer, id uint32) {
			p.data(id, true, "")
			p.headers(id, true, "a", "b")
		}),
		"made you reset: head in the middle": made(func(p *peer, id uint32) { p.headers(id, false, "a", "b") }),
		"made you reset: bad trailer":        made(func(p *peer, id uint32) { p.headers(id, true, ":path", "/") }),
		"made you reset: depends on itself":  made(func(p *peer, id uint32) { p.ok(p.WritePriority(id, http2.PriorityParam{StreamDep: id})) }),
		"made you reset: malformed": {func(p *peer) {
			repeat(many, func(i int) { p.headers(uint32(2*i+1), true, ":method", "GET", "x", "y") })
		}, h2.LimitResets},
		"made you reset: wrong length": {func(p *peer) {
			repeat(many, func(i int) {
				p.post(uint32(2*i+1), "/hold", "content-length", "5")
				p.data(uint32(2*i+1), true, "four")
			})
		}, h2.LimitResets},
		"made you reset: head that depends on itself": {func(p *peer) {
			repeat(many, func(i int) {
				id := uint32(2*i + 1)
				p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields(request("GET", "/hold")...), EndHeaders: true, EndStream: true,
					Priority: http2.PriorityParam{StreamDep: id, Weight: 1}}))
			})
		}, h2.LimitResets},
		"made you refuse": {func(p *peer) {
			repeat(many, func(i int) { p.get(uint32(2*i+1), "/hold") })
		}, h2.LimitResets},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				held := make(chan struct{})
				release := sync.OnceFunc(func() { close(held) })
				defer release()
				p := connect(t, nil, func(st *h2.Stream) {
					if st.Head.Target() == "/hold" {
						<-held
					}
					ok(st)
				})
				c.flood(p)
				got := p.got()
				require.Regexp(t, `^GOAWAY \d+ ENHANCE_YOUR_CALM$`, got[len(got)-1])
				p.mu.Lock()
				require.Equal(t, c.limit, p.limits[len(p.limits)-1])
				for _, limit := range p.limits[:len(p.limits)-1] {
					require.Equal(t, h2.LimitStreams, limit)
				}
				require.LessOrEqual(t, p.most, 100) // handlers, whatever was taken back
				p.mu.Unlock()
				release()
				p.wantOver()
			})
		})
	}
}

func repeat(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// made is a flood of streams each of which the server is made to reset.
func made(how func(p *peer, id uint32)) struct {
	flood func(p *peer)
	limit h2.Limit
} {
	return struct {
		flood func(p *peer)
		limit h2.Limit
	}{func(p *peer) {
		repeat(1000, func(i int) {
			id := uint32(2*i + 1)
			p.post(id, "/hold")
			how(p, id)
		})
	}, h2.LimitResets}
}

// Those who have reason to do much of what floods are made of are not cut off.
func TestHeavyUsers(t *testing.T) {
	run := func(name string, handle func(*h2.Stream), use func(p *peer)) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, handle)
				p.wantGreeting()
				use(p)
				require.False(t, p.over(), "%v", p.limits)
				require.Empty(t, p.limits)
				p.hangUp()
			})
		})
	}
	echo := func(st *h2.Stream) {
		b := h2.NewBlock()
		defer b.Release()
		b.Status(200)
		_ = st.Send(b, nil, nil, false)
		buf := make([]byte, 1<<10)
		for {
			n, err := st.Read(buf)
			if n > 0 && st.Send(nil, buf[:n], nil, false) != nil {
				return
			}
			if err != nil {
				_ = st.Send(nil, nil, nil, true)
				return
			}
		}
	}
	run("a gRPC client with small messages, that measures at each", echo, func(p *peer) {
		p.post(1, "/")
		for range 20_000 {
			p.data(1, false, "\x00\x00\x00\x00\x05hello")
			for _, text := range p.got() {
				if strings.HasPrefix(text, "DATA") {
					p.ok(p.WritePing(false, [8]byte{2, 4, 16, 16, 9, 14, 7, 7}))
					p.ok(p.WriteWindowUpdate(0, 10))
					p.ok(p.WriteWindowUpdate(1, 10))
				}
			}
		}
	})
	run("a download with two updates of windows for each frame", func(st *h2.Stream) { _ = answer(st, 200, xs(64<<20)) }, func(p *peer) {
		p.get(1, "/")
		for ended := false; !ended; {
			frames := p.got()
			require.NotEmpty(p.t, frames)
			for _, text := range frames {
				if n, end := sumOf([]string{text}, 1); end {
					ended = true
				} else if n > 0 {
					p.ok(p.WriteWindowUpdate(0, uint32(n)))
					p.ok(p.WriteWindowUpdate(1, uint32(n)))
				}
			}
		}
	})
	run("a client that hedges, and takes back every other request", ok, func(p *peer) {
		for i := range uint32(5000) {
			p.get(4*i+1, "/")
			p.get(4*i+3, "/")
			p.ok(p.WriteRSTStream(4*i+3, http2.ErrCodeCancel))
			if i%20 == 0 {
				p.got()
			}
		}
	})
	run("one that asks whether the server is there", ok, func(p *peer) {
		for range 1000 {
			p.ok(p.WritePing(false, [8]byte{}))
			time.Sleep(100 * time.Millisecond)
			p.want(`PING ack "\x00\x00\x00\x00\x00\x00\x00\x00"`)
			p.get(uint32(p.nextID()), "/")
			p.got()
		}
	})
	run("an upload in small frames", func(st *h2.Stream) { _, _ = io.Copy(io.Discard, st); ok(st) }, func(p *peer) {
		p.post(1, "/")
		for range 30_000 {
			p.data(1, false, "x")
			p.got()
		}
	})
	run("many uploads that are not wanted", ok, func(p *peer) {
		for i := range uint32(3000) {
			p.post(2*i+1, "/")
			p.got()
			p.data(2*i+1, false, xs(100))
			p.data(2*i+1, true, "")
		}
	})
}

// A budget that was used up comes back with time.
func TestBudgetComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		for range 5 {
			for range 900 {
				p.ok(p.WritePriority(1, http2.PriorityParam{}))
			}
			p.want()
			time.Sleep(10 * time.Second)
		}
		for range 2500 {
			p.ok(p.WritePriority(1, http2.PriorityParam{}))
		}
		p.want(`GOAWAY 0 ENHANCE_YOUR_CALM`)
		p.wantOver()
	})
}
