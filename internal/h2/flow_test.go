package h2_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/h2"
)

func xs(n int) string { return strings.Repeat("x", n) }

// sumOf is how many bytes of a body frames have, and whether it ends.
func sumOf(frames []string, id uint32) (n int, end bool) {
	for _, text := range frames {
		fields := strings.Fields(text)
		if fields[0] != "DATA" || fields[1] != fmt.Sprint(id) {
			continue
		}
		var size int
		if _, err := fmt.Sscan(fields[2], &size); err != nil { // it was quoted
			size = len(fields[2]) - 2
		}
		n += size
		end = end || fields[len(fields)-1] == "end"
	}
	return n, end
}

func TestGreeting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := dial(t, nil, ok)
		p.want(greeted[:2]...) // some clients wait for it
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		p.want(greeted[2:]...)
		p.ok(p.WriteSettingsAck())
		p.ok(p.WriteSettings())
		p.ok(p.WriteSettings(http2.Setting{ID: 0xff, Val: 7}))
		p.want("SETTINGS ack", "SETTINGS ack")
		p.hangUp()
	})
}

// Byte by byte is as good as any other way.
func TestGreetingInPieces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := dial(t, nil, func(st *h2.Stream) { _, _ = io.ReadAll(st); ok(st) })
		p.greet()
		p.get(1, "/")
		p.post(3, "/")
		p.data(3, true, "some")
		all := p.wire.up.take(1 << 20)
		for _, b := range all {
			p.raw([]byte{b})
			synctest.Wait()
		}
		p.want(append(slices.Clone(greeted), `HEADERS 1 200`, `DATA 1 "ok" end`, `HEADERS 3 200`, `DATA 3 "ok" end`)...)
		p.hangUp()
	})
}

func TestBadSettings(t *testing.T) {
	for _, c := range []struct {
		id   http2.SettingID
		n    uint32
		want string
	}{
		{http2.SettingEnablePush, 2, "PROTOCOL_ERROR"},
		{http2.SettingInitialWindowSize, 1 << 31, "FLOW_CONTROL_ERROR"},
		{http2.SettingMaxFrameSize, 1<<14 - 1, "PROTOCOL_ERROR"},
		{http2.SettingMaxFrameSize, 1 << 24, "PROTOCOL_ERROR"},
		{http2.SettingEnableConnectProtocol, 2, "PROTOCOL_ERROR"},
		{http2.SettingNoRFC7540Priorities, 2, "PROTOCOL_ERROR"},
	} {
		t.Run(fmt.Sprint(c.id, c.n), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, ok)
				p.wantGreeting()
				p.ok(p.WriteSettings(http2.Setting{ID: c.id, Val: c.n}))
				p.want("GOAWAY 0 " + c.want)
				p.wantOver()
			})
		})
	}
}

// INITIAL_WINDOW_SIZE changes the windows of the streams that there are (RFC 9113, section
// 6.9.2), and may make them negative.
func TestInitialWindowInMidStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { _ = answer(st, 200, xs(100)) })
		p.wantGreeting()
		window := func(n uint32) {
			p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}))
		}
		window(10)
		p.get(1, "/")
		p.want(`SETTINGS ack`, `HEADERS 1 200`, `DATA 1 "xxxxxxxxxx"`)
		window(4) // the window of 1 is -6
		p.get(3, "/")
		p.want(`SETTINGS ack`, `HEADERS 3 200`, `DATA 3 "xxxx"`)
		p.ok(p.WriteWindowUpdate(1, 6))
		p.want()
		p.ok(p.WriteWindowUpdate(1, 1))
		p.want(`DATA 1 "x"`)
		window(6)
		got := p.got()
		slices.Sort(got)
		require.Equal(t, []string{`DATA 1 "xx"`, `DATA 3 "xx"`, `SETTINGS ack`}, got)
		p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 9}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 6}))
		p.want(`SETTINGS ack`) // the last says what holds
		window(1 << 20)
		got = p.got()
		for id, want := range map[uint32]int{1: 87, 3: 94} {
			n, end := sumOf(got, id)
			require.Equal(t, want, n)
			require.True(t, end)
		}
		p.hangUp()
	})
}

func TestWindowOverflow(t *testing.T) {
	run := func(name string, f func(p *peer), want ...string) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				held := make(chan struct{})
				p := connect(t, nil, func(st *h2.Stream) { <-held })
				p.wantGreeting()
				p.get(1, "/")
				f(p)
				p.want(want...)
				close(held)
				p.hangUp()
			})
		})
	}
	run("of the connection", func(p *peer) { p.ok(p.WriteWindowUpdate(0, 1<<31-1)) }, "GOAWAY 1 FLOW_CONTROL_ERROR")
	run("of a stream", func(p *peer) { p.ok(p.WriteWindowUpdate(1, 1<<31-1)) }, "RST_STREAM 1 FLOW_CONTROL_ERROR")
	run("by settings", func(p *peer) {
		p.ok(p.WriteWindowUpdate(1, 1<<31-1-65535))
		p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65536}))
	}, "GOAWAY 1 FLOW_CONTROL_ERROR")
	run("by settings that another makes up for", func(p *peer) {
		p.ok(p.WriteWindowUpdate(1, 1<<31-1-65535))
		p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65536}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}))
	}, "GOAWAY 1 FLOW_CONTROL_ERROR")
	run("not by the most that may be", func(p *peer) {
		p.ok(p.WriteWindowUpdate(0, 1<<31-1-65535))
		p.ok(p.WriteWindowUpdate(1, 1<<31-1-65535))
	})
	run("not by settings that make it the most that may be", func(p *peer) {
		p.ok(p.WriteWindowUpdate(1, 1<<31-1-65536))
		p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65536}))
	}, "SETTINGS ack")
	run("of nothing, on the connection", func(p *peer) { p.ok(p.WriteWindowUpdate(0, 0)) }, "GOAWAY 1 PROTOCOL_ERROR")
	run("of nothing, on a stream", func(p *peer) { p.ok(p.WriteWindowUpdate(1, 0)) }, "RST_STREAM 1 PROTOCOL_ERROR")
	run("of a stream that is idle", func(p *peer) { p.ok(p.WriteWindowUpdate(9, 1)) }, "GOAWAY 1 PROTOCOL_ERROR")
}

// A client that sends more than it may is told so: on its stream, or on the connection.
func TestWindowsAreKept(t *testing.T) {
	t.Run("stream", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			stop := make(chan struct{})
			p := connect(t, nil, func(st *h2.Stream) { <-stop })
			p.wantGreeting()
			p.post(1, "/")
			for range 3 {
				p.data(1, false, xs(16<<10))
			}
			p.data(1, false, xs(16<<10-1))
			p.want()
			p.data(1, false, "x")
			p.want("RST_STREAM 1 FLOW_CONTROL_ERROR")
			close(stop)
			p.want()
			recv, _ := p.conn.Windows()
			require.EqualValues(t, h2.ConnWindow, recv)
			p.hangUp()
		})
	})
	t.Run("connection", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			stop := make(chan struct{})
			p := connect(t, nil, func(st *h2.Stream) { <-stop })
			p.wantGreeting()
			for sent := 0; sent < h2.ConnWindow; sent += 32 << 10 {
				id := uint32(sent>>15)*2 + 1
				p.post(id, "/")
				p.data(id, false, xs(16<<10))
				p.data(id, false, xs(16<<10))
			}
			p.want()
			p.data(1, false, "x")
			got := p.got()
			require.Len(t, got, 1)
			require.Regexp(t, "^GOAWAY .* FLOW_CONTROL_ERROR$", got[0])
			close(stop)
			p.wantOver()
		})
	})
}

// An upload is let go on as fast as it is read, and its window grows with it.
func TestUpload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 32 << 20
		read := make(chan int64, 1)
		p := connect(t, nil, func(st *h2.Stream) {
			n, _ := io.Copy(io.Discard, st)
			read <- n
			ok(st)
		})
		p.wantGreeting()
		p.post(1, "/")
		window, conn, widest, rounds := 65535, h2.ConnWindow, 0, 0
		for sent := 0; sent < size; rounds++ {
			require.Positive(t, min(window, conn), "stuck after %d bytes", sent)
			for n := min(window, conn, 16<<10, size-sent); n > 0; n = min(window, conn, 16<<10, size-sent) {
				p.data(1, false, xs(n))
				window, conn, sent = window-n, conn-n, sent+n
			}
			for _, text := range p.got() {
				if id, n := windowUpdate(text); id == 0 {
					conn += n
				} else {
					window += n
				}
			}
			widest = max(widest, window)
		}
		require.GreaterOrEqual(t, widest, 1<<20-1<<18)
		require.LessOrEqual(t, widest, 1<<20)
		require.Less(t, rounds, 100) // of the distance to the client
		p.data(1, true, "")
		p.want(`HEADERS 1 200`, `DATA 1 "ok" end`)
		require.EqualValues(t, size, <-read)
		recv, lent := p.conn.Windows()
		require.EqualValues(t, h2.ConnWindow, recv)
		require.Zero(t, lent)
		p.hangUp()
	})
}

// Whoever waits for a body is woken when there is more of another.
func TestUploadsTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) {
			if n, _ := st.Read(make([]byte, 64<<10)); n > 0 {
				ok(st)
			}
		})
		p.wantGreeting()
		for id := uint32(1); id < 10; id += 2 {
			p.post(id, "/")
		}
		synctest.Wait()
		var all bytes.Buffer
		framer := http2.NewFramer(&all, nil)
		for id := uint32(1); id < 10; id += 2 {
			p.ok(framer.WriteData(id, false, []byte("some")))
		}
		p.raw(all.Bytes())
		got := p.got()
		for id := 1; id < 10; id += 2 {
			require.Contains(t, got, fmt.Sprintf("HEADERS %d 200", id))
		}
		p.hangUp()
	})
}

// A body that came is not kept back for long because more of it seemed to be there.
func TestUploadWhereNothingFollows(t *testing.T) {
	for _, waits := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			var read atomic.Int64
			p := connect(t, nil, func(st *h2.Stream) {
				b := make([]byte, 64<<10)
				for {
					n, err := st.Read(b)
					read.Add(int64(n))
					if err != nil {
						ok(st)
						return
					}
				}
			})
			p.wantGreeting()
			p.post(1, "/")
			if waits {
				p.data(1, false, xs(1000))
				synctest.Wait()
			}
			p.wire.lies.Store(true)
			for range 3 {
				before := read.Load()
				p.data(1, false, xs(15_000))
				time.Sleep(11 * time.Millisecond)
				require.EqualValues(t, before+15_000, read.Load())
			}
			p.data(1, true, "")
			require.Contains(t, p.got(), "HEADERS 1 200")
			p.hangUp()
		})
	}
}

// While a large body comes, other frames are not read in small pieces.
func TestReadsWhileLargeBodyComes(t *testing.T) {
	for name, send := range map[string]func(p *peer){
		"padded":  func(p *peer) { p.ok(p.WriteDataPadded(1, false, []byte(xs(16_000)), make([]byte, 100))) },
		"headers": func(p *peer) { p.get(3, "/", "x", strings.Repeat("\xfe", 15_000)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, func(st *h2.Stream) { _, _ = io.Copy(io.Discard, st); ok(st) })
				p.wantGreeting()
				p.post(1, "/")
				for range 6 {
					p.data(1, false, xs(16_000))
					synctest.Wait()
				}
				p.got()
				require.True(t, p.wire.readsAhead())
				before := p.wire.reads.Load()
				send(p)
				synctest.Wait()
				require.Less(t, p.wire.reads.Load()-before, int64(20))
				p.hangUp()
			})
		})
	}
}

// A client that has said how much it sends is told of no more than that, unless some of it
// is padding; what the connection takes is told together with the stream's.
func TestUploadOfKnownLength(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { _, _ = io.Copy(io.Discard, st); ok(st) })
		p.wantGreeting()
		const size = 400_000
		p.post(1, "/", "content-length", fmt.Sprint(size))
		window := 65535
		updates := map[uint32]int{}
		note := func() {
			for _, text := range p.got() {
				id, n := windowUpdate(text)
				if updates[id]++; id > 0 {
					window += n
				}
			}
		}
		for sent := 0; sent < size; note() {
			n := min(window, 16<<10, size-sent)
			require.Positive(t, n)
			p.data(1, false, xs(n))
			window, sent = window-n, sent+n
		}
		require.Equal(t, map[uint32]int{1: 3, 0: 2}, updates) // for the first, the connection has time
		p.data(1, true, "")
		p.want(`HEADERS 1 200`, `DATA 1 "ok" end`)

		p.post(3, "/", "content-length", "1000")
		window = 65535
		for range 500 {
			require.GreaterOrEqual(t, window, 203)
			p.ok(p.WriteDataPadded(3, false, []byte("xx"), make([]byte, 200)))
			window -= 203
			note()
		}
		p.data(3, true, "")
		p.want(`HEADERS 3 200`, `DATA 3 "ok" end`)
		p.hangUp()
	})
}

// However many uploads there are, their windows are no wider together than they may be.
func TestManyUploads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { _, _ = io.Copy(io.Discard, st); ok(st) })
		p.wantGreeting()
		var windows [10]int
		for i := range windows {
			p.post(uint32(2*i+1), "/")
			windows[i] = 65535
		}
		widest := int64(0)
		for range 100 {
			for i := range windows {
				id := uint32(2*i + 1)
				for range min(windows[i], 64<<10) / (16 << 10) {
					p.data(id, false, xs(16<<10))
					windows[i] -= 16 << 10
				}
				for _, text := range p.got() {
					if id, n := windowUpdate(text); id > 0 {
						windows[id/2] += n
					}
				}
			}
			_, lent := p.conn.Windows()
			widest = max(widest, lent)
		}
		require.EqualValues(t, 1<<20, widest)
		p.hangUp()
	})
}

// A handler that does not read stops its client, and holds no more than a window: others go
// on.
func TestHandlerThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stop := make(chan struct{})
		p := connect(t, nil, func(st *h2.Stream) {
			if st.Head.Target() == "/stalled" {
				<-stop
			}
			b, _ := io.ReadAll(st)
			_ = answer(st, 200, fmt.Sprint(len(b)))
		})
		p.wantGreeting()
		p.post(1, "/stalled")
		for range 3 {
			p.data(1, false, xs(16<<10))
		}
		p.want() // no window is opened
		for i := range uint32(20) {
			p.post(2*i+3, "/")
			p.data(2*i+3, true, xs(10<<10))
		}
		n := 0
		for _, text := range p.got() {
			if strings.HasSuffix(text, `"10240" end`) {
				n++
			}
		}
		require.Equal(t, 20, n)
		close(stop)
		p.data(1, true, "")
		require.Contains(t, p.got(), `DATA 1 "49152" end`)
		p.hangUp()
	})
}

// A client that does not read stops the handler, and what waits for it is bounded.
func TestClientThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var written atomic.Int64
		p := connect(t, nil, func(st *h2.Stream) {
			b := h2.NewBlock()
			defer b.Release()
			b.Status(200)
			if st.Send(b, nil, nil, false) != nil {
				return
			}
			for range 1 << 10 {
				if st.Send(nil, []byte(xs(64<<10)), nil, false) != nil {
					return
				}
				written.Add(64 << 10)
			}
			_ = st.Send(nil, nil, nil, true)
		})
		p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
		p.ok(p.WriteWindowUpdate(0, 1<<31-1-65535))
		p.got()
		p.wire.down.hold(100)
		p.get(1, "/")
		synctest.Wait()
		require.Less(t, written.Load(), int64(1<<20)) // what is in the output, and in the write that goes on
		before := written.Load()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, before, written.Load())
		p.wire.down.hold(1 << 30)
		n, end := sumOf(p.got(), 1)
		m, ended := sumOf(p.got(), 1)
		require.Equal(t, 64<<20, n+m)
		require.True(t, end || ended)
		p.hangUp()
	})
}

// A stream that waits for its window does not stop the others, and ends when that does not
// open in time.
func TestWindowThatDoesNotOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		failed := make(chan error, 1)
		p := connect(t, nil, func(st *h2.Stream) {
			if st.Head.Target() == "/large" {
				failed <- answer(st, 200, xs(100<<10))
				return
			}
			ok(st)
		})
		p.wantGreeting()
		p.ok(p.WriteWindowUpdate(0, 1<<20))
		p.get(1, "/large")
		n, _ := sumOf(p.got(), 1)
		require.Equal(t, 65535, n)
		for i := range uint32(5) {
			p.get(2*i+3, "/")
			p.want(fmt.Sprintf(`HEADERS %d 200`, 2*i+3), fmt.Sprintf(`DATA %d "ok" end`, 2*i+3))
			time.Sleep(10 * time.Second)
		}
		// Little by little is enough.
		p.ok(p.WriteWindowUpdate(1, 10))
		p.want(`DATA 1 "xxxxxxxxxx"`)
		time.Sleep(50 * time.Second)
		p.get(13, "/")
		p.got()
		require.Empty(t, failed)
		time.Sleep(70 * time.Second)
		require.Contains(t, p.got(), "RST_STREAM 1 CANCEL")
		require.Error(t, <-failed)
		p.wantLimits(h2.LimitBodyTimeout)
		p.hangUp()
	})
}

// Padding counts, and comes back.
func TestPaddedData(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		read := make(chan int64, 1)
		p := connect(t, nil, func(st *h2.Stream) {
			n, _ := io.Copy(io.Discard, st)
			read <- n
			ok(st)
		})
		p.wantGreeting()
		p.post(1, "/")
		window := 65535
		for range 2000 {
			require.GreaterOrEqual(t, window, 100+201)
			p.ok(p.WriteDataPadded(1, false, []byte(xs(100)), make([]byte, 200)))
			window -= 301
			for _, text := range p.got() {
				if id, n := windowUpdate(text); id == 1 {
					window += n
				}
			}
		}
		p.ok(p.WriteDataPadded(1, true, nil, make([]byte, 200)))
		require.Contains(t, p.got(), `HEADERS 1 200`)
		require.EqualValues(t, 200_000, <-read)
		p.hangUp()
	})
}
