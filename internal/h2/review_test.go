package h2_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/h2"
)

// A HEADERS frame whose padding is longer than it must not be passed over: what follows
// would be taken for a part of another block (RFC 9113, section 6.2).
func TestPaddingOfHeaders(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		many := request("GET", "/")
		for range 70 {
			many = append(many, "x", "y")
		}
		p.headers(1, true, many...)
		p.want(`HEADERS 1 200`, `DATA 1 "ok" end`)
		p.ok(p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded, 3, []byte{200, 0x82}))
		p.ok(p.WriteContinuation(3, true, p.fields(request("GET", "/smuggled")...)))
		p.want(`GOAWAY 1 PROTOCOL_ERROR`)
		p.wantOver()
	})
}

// Frames that are too short for what they say is in them are errors of a kind (RFC 9113,
// section 4.2), and no end of the connection of which nobody learns why.
func TestShortFrames(t *testing.T) {
	for name, f := range map[string]func(p *peer){
		"padded data":     func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, nil)) },
		"padded headers":  func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded, 3, nil)) },
		"priority":        func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPriority, 3, []byte{0, 0})) },
		"priority alone":  func(p *peer) { p.ok(p.WriteRawFrame(http2.FramePriority, 0, 3, []byte{0})) },
		"reset":           func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameRSTStream, 0, 1, []byte{0})) },
		"ping":            func(p *peer) { p.ok(p.WriteRawFrame(http2.FramePing, 0, 0, []byte{0})) },
		"settings":        func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{0})) },
		"settings ack":    func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6))) },
		"goaway":          func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameGoAway, 0, 0, []byte{0})) },
		"window update":   func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, []byte{0})) },
		"a frame too big": func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16<<10+1))) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, func(st *h2.Stream) { _, _ = io.ReadAll(st) })
				p.wantGreeting()
				p.post(1, "/")
				f(p)
				got := p.got()
				require.NotEmpty(t, got)
				require.Regexp(t, `^GOAWAY \d FRAME_SIZE_ERROR$`, got[len(got)-1])
				p.wantOver()
			})
		})
	}
}

// What came of a body is given back to the window of the connection, whatever has become of
// its stream.
func TestConnectionWindowComesBack(t *testing.T) {
	kilobytes := strings.Repeat("x", 8<<10)
	for name, c := range map[string]struct {
		handle func(*h2.Stream)
		client func(p *peer, id uint32)
	}{
		"read": {
			func(st *h2.Stream) { _, _ = io.ReadAll(st); ok(st) },
			func(p *peer, id uint32) { p.post(id, "/"); p.data(id, true, kilobytes) },
		},
		"whole": {
			func(st *h2.Stream) { _, _ = st.Whole(); ok(st) },
			func(p *peer, id uint32) { p.post(id, "/"); p.data(id, true, kilobytes) },
		},
		"not read": {
			ok,
			func(p *peer, id uint32) { p.post(id, "/"); p.data(id, false, kilobytes) },
		},
		"closed before it came": {
			func(st *h2.Stream) { st.CloseBody(); ok(st) },
			func(p *peer, id uint32) { p.post(id, "/"); synctest.Wait(); p.data(id, true, kilobytes) },
		},
		"taken back before it began": {
			ok,
			func(p *peer, id uint32) {
				p.post(id, "/")
				p.data(id, false, kilobytes)
				p.ok(p.WriteRSTStream(id, http2.ErrCodeCancel))
			},
		},
		"taken back while it is read": {
			func(st *h2.Stream) { _, _ = io.ReadAll(st) },
			func(p *peer, id uint32) {
				p.post(id, "/")
				synctest.Wait()
				p.data(id, false, kilobytes)
				p.ok(p.WriteRSTStream(id, http2.ErrCodeCancel))
			},
		},
		"too long": {
			func(st *h2.Stream) { _, _ = io.ReadAll(st) },
			func(p *peer, id uint32) { p.post(id, "/", "content-length", "3"); p.data(id, true, kilobytes) },
		},
		"after the answer": {
			ok,
			func(p *peer, id uint32) { p.post(id, "/"); synctest.Wait(); p.data(id, true, kilobytes) },
		},
		"padded": {
			func(st *h2.Stream) { _, _ = io.ReadAll(st); ok(st) },
			func(p *peer, id uint32) {
				p.post(id, "/")
				p.ok(p.WriteDataPadded(id, true, []byte(kilobytes), make([]byte, 255)))
			},
		},
		"padded and closed": {
			func(st *h2.Stream) { st.CloseBody(); ok(st) },
			func(p *peer, id uint32) {
				p.post(id, "/")
				synctest.Wait()
				p.ok(p.WriteDataPadded(id, true, []byte(kilobytes), make([]byte, 255)))
			},
		},
		"refused": {
			func(st *h2.Stream) {},
			func(p *peer, id uint32) {
				p.post(id, "/", "expect", "the unexpected")
				p.data(id, true, kilobytes)
			},
		},
		"no body at all": {
			ok,
			func(p *peer, id uint32) { p.get(id, "/"); p.data(id, true, kilobytes) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, c.handle)
				for i := range uint32(40) {
					c.client(p, 2*i+1)
					p.got()
					recv, lent := p.conn.Windows()
					require.EqualValues(t, h2.ConnWindow, recv)
					require.Zero(t, lent)
				}
				require.False(t, p.over())
				p.hangUp()
			})
		})
	}
}

// The last handler that returns ends the connection's work, whatever was waiting for it and
// has gone away meanwhile.
func TestQueueOfStreamsThatAreGone(t *testing.T) {
	o := defaults()
	o.Streams, o.BodyTimeout = 1, time.Hour
	hold := func(t *testing.T) (p *peer, release func()) {
		held := make(chan struct{})
		p = connect(t, o, func(*h2.Stream) { <-held })
		p.get(1, "/")
		synctest.Wait()
		p.ok(p.WriteRSTStream(1, http2.ErrCodeCancel))
		p.post(3, "/")
		synctest.Wait() // it waits for its turn
		return p, func() { close(held); synctest.Wait() }
	}
	t.Run("the client hangs up", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, release := hold(t)
			p.wire.Abort()
			synctest.Wait()
			release()
			p.wantOver()
		})
	})
	t.Run("it takes the request back", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, release := hold(t)
			p.data(3, false, "some")
			p.ok(p.WriteRSTStream(3, http2.ErrCodeCancel))
			time.Sleep(2 * o.IdleTimeout / 3)
			p.got()
			release()
			time.Sleep(2 * o.IdleTimeout / 3)
			p.want() // the connection is idle for no longer than that
			require.False(t, p.over())
			recv, _ := p.conn.Windows()
			require.EqualValues(t, h2.ConnWindow, recv)
			time.Sleep(o.IdleTimeout / 2)
			p.want(`GOAWAY 3 NO_ERROR`)
			p.wantOver()
		})
	})
}

// What is taken back while handlers do not return is not kept until they do: there may be ten
// of it a second, for as long as they like.
func TestQueueForgetsWhatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := defaults()
		o.Streams, o.BodyTimeout = 2, time.Hour
		held := make(chan struct{})
		release := sync.OnceFunc(func() { close(held) })
		defer release()
		p := connect(t, o, func(st *h2.Stream) { <-held; ok(st) })
		for range o.Streams {
			id := uint32(p.nextID())
			p.get(id, "/")
			synctest.Wait()
			p.ok(p.WriteRSTStream(id, http2.ErrCodeCancel))
		}
		waits := uint32(p.nextID())
		p.get(waits, "/") // and is still wanted
		for i := range 1000 {
			id := uint32(p.nextID())
			p.post(id, "/", "x", xs(1<<10))
			p.data(id, false, "some")
			if i%2 == 0 {
				synctest.Wait() // it is in the queue when it is taken back
			}
			p.ok(p.WriteRSTStream(id, http2.ErrCodeCancel))
			time.Sleep(time.Second / 5)
			p.got()
			require.LessOrEqual(t, p.conn.Queued(), 2)
		}
		recv, _ := p.conn.Windows()
		require.EqualValues(t, h2.ConnWindow, recv)
		release()
		require.Equal(t, []string{fmt.Sprintf("HEADERS %d 200", waits), fmt.Sprintf("DATA %d %q end", waits, "ok")}, p.got())
		p.hangUp()
	})
}

// Who goes on to read a body whose request was answered takes nothing from those who come
// after.
func TestReadAfterAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) {
			_, _ = io.ReadFull(st, make([]byte, 1<<10))
			ok(st)
			_, _ = io.ReadAll(st)
		})
		p.wantGreeting()
		p.post(1, "/")
		for range 3 {
			p.data(1, false, strings.Repeat("x", 16<<10))
		}
		p.data(1, false, strings.Repeat("x", 16<<10-1))
		p.want(`HEADERS 1 200`, `DATA 1 "ok" end`, `RST_STREAM 1 NO_ERROR`)
		recv, lent := p.conn.Windows()
		require.EqualValues(t, h2.ConnWindow, recv)
		require.Zero(t, lent)
		p.hangUp()
	})
}

// An answer that needs no window does not wait for one that has none left.
func TestAnswersWithoutBodyNeedNoWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) {
			if st.Head.Method() == "HEAD" {
				_ = answer(st, 204, "")
				return
			}
			_ = answer(st, 200, strings.Repeat("x", 100<<10))
		})
		p.wantGreeting()
		p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
		p.get(1, "/")
		p.got()
		p.headers(3, true, request("HEAD", "/")...)
		p.want(`HEADERS 3 204 end`)
		p.get(5, "/")
		p.want(`HEADERS 5 200`)
		p.ok(p.WriteWindowUpdate(0, 1<<20))
		require.Regexp(t, "(?m)^DATA 5 [0-9]+ end$", strings.Join(p.got(), "\n"))
		p.hangUp()
	})
}

// A client that takes nothing of an answer is heard all the same.
func TestReaderDoesNotWaitForWriters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		read := make(chan string, 1)
		p := connect(t, nil, func(st *h2.Stream) {
			if st.Head.Method() == "GET" {
				_ = answer(st, 200, strings.Repeat("x", 1<<20))
				return
			}
			b, _ := io.ReadAll(st)
			read <- string(b)
		})
		p.wantGreeting()
		p.get(1, "/")
		synctest.Wait() // the windows are used up, and the writer has nothing to do
		p.wire.down.hold(1)
		p.ok(p.WriteWindowUpdate(0, 1<<20))
		p.ok(p.WriteWindowUpdate(1, 1<<20))
		synctest.Wait() // somebody writes, and waits
		p.ok(p.WritePing(false, [8]byte{}))
		p.post(3, "/")
		p.data(3, true, "heard")
		synctest.Wait()
		select {
		case b := <-read:
			require.Equal(t, "heard", b)
		default:
			t.Error("the reader waits for a client that takes nothing")
		}
		p.hangUp()
	})
}

// After the last GOAWAY, what belongs to requests that came too late is passed over.
func TestRequestsAfterGoAway(t *testing.T) {
	begin := func(t *testing.T) (*peer, chan struct{}) {
		held := make(chan struct{})
		p := connect(t, nil, func(st *h2.Stream) { <-held; ok(st) })
		p.wantGreeting()
		p.get(1, "/")
		synctest.Wait()
		p.conn.Drain()
		p.want(`GOAWAY 2147483647 NO_ERROR`, `PING "sallyout"`)
		p.ok(p.WritePing(true, [8]byte{'s', 'a', 'l', 'l', 'y', 'o', 'u', 't'}))
		p.want(`GOAWAY 1 NO_ERROR`)
		return p, held
	}
	t.Run("passed over", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, held := begin(t)
			p.post(3, "/")
			p.data(3, false, "some")
			p.ok(p.WriteDataPadded(3, false, []byte("more"), make([]byte, 3)))
			p.ok(p.WriteWindowUpdate(3, 10))
			p.headers(3, true, "trailing", "field")
			p.post(5, "/")
			p.ok(p.WriteRSTStream(5, http2.ErrCodeCancel))
			p.want()
			recv, _ := p.conn.Windows()
			require.EqualValues(t, h2.ConnWindow, recv)
			close(held)
			p.want(`HEADERS 1 200`, `DATA 1 "ok" end`)
			time.Sleep(time.Millisecond)
			p.want(`GOAWAY 1 NO_ERROR`)
			p.wantOver()
		})
	})
	t.Run("but not without end", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, held := begin(t)
			for i := range uint32(3000) {
				p.get(2*i+3, "/")
			}
			p.want(`GOAWAY 1 ENHANCE_YOUR_CALM`)
			p.wantLimits(h2.LimitFrames)
			close(held)
			p.wantOver()
		})
	})
}

// What is on its way on streams that the server has ended is no fault of the client's,
// however many others have come to their ends meanwhile.
func TestDataOnItsWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		for i := range uint32(100) {
			p.post(2*i+1, "/")
		}
		p.got()
		for i := range uint32(500) {
			p.get(2*i+201, "/")
			if i%50 == 0 {
				p.got()
			}
		}
		p.got()
		for range 4 {
			for i := range uint32(100) {
				p.data(2*i+1, false, "on its way")
			}
		}
		p.want()
		p.hangUp()
	})
}

// Nor is a trailer, however many streams were ended so, and however long it was on its way:
// the connection may have rested meanwhile.
func TestTrailersOnTheirWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := defaults()
		o.RestAfter = 250 * time.Millisecond
		wake := make(chan struct{})
		p := connect(t, o, ok)
		p.whenResting(func() { <-wake })
		p.wantGreeting()
		for i := range uint32(100) {
			p.post(2*i+1, "/")
			p.want(fmt.Sprintf("HEADERS %d 200", 2*i+1), fmt.Sprintf("DATA %d \"ok\" end", 2*i+1), fmt.Sprintf("RST_STREAM %d NO_ERROR", 2*i+1))
		}
		for i := range uint32(10) {
			p.headers(2*i+1, true, "x", "y")
		}
		p.want()
		time.Sleep(time.Second)
		require.EqualValues(t, 1, p.rested())
		p.headers(199, true, "x", "y")
		p.headers(197, true, "x", "y")
		wake <- struct{}{}
		p.want()
		p.get(201, "/")
		p.want("HEADERS 201 200", `DATA 201 "ok" end`)
		p.get(201, "/")
		p.want("GOAWAY 201 STREAM_CLOSED")
		close(wake)
		p.hangUp()
	})
}

// A client that lets an answer through byte by byte gets nothing done (CVE-2019-9511).
func TestDribble(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { _ = answer(st, 200, strings.Repeat("x", 1<<20)) })
		p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
		p.get(1, "/")
		for i := range 5000 {
			p.ok(p.WriteWindowUpdate(1, 1))
			if i%50 == 0 {
				synctest.Wait()
			}
		}
		got := p.got()
		require.Equal(t, `GOAWAY 1 ENHANCE_YOUR_CALM`, got[len(got)-1])
		p.wantLimits(h2.LimitFrames)
		p.wantOver()
	})
}

// A SETTINGS frame changes a setting once.
func TestManySettings(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, ok)
		p.wantGreeting()
		var payload []byte
		for i := range uint32(2000) {
			payload = binary.BigEndian.AppendUint16(payload, uint16(http2.SettingInitialWindowSize))
			payload = binary.BigEndian.AppendUint32(payload, i)
		}
		p.ok(p.WriteRawFrame(http2.FrameSettings, 0, 0, payload))
		p.want(`GOAWAY 0 ENHANCE_YOUR_CALM`)
		p.wantLimits(h2.LimitFrames)
		p.wantOver()
	})
}

// A client that sends, and reads nothing of what it is told, is told no more: or else the
// memory of the server would fill with it.
func TestUploadByWhoReadsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) { _, _ = io.Copy(io.Discard, st); ok(st) })
		p.wantGreeting()
		p.wire.down.hold(1)
		part := strings.Repeat("x", 16<<10)
		p.post(3, "/")
		p.data(3, false, part)
		p.data(3, false, part) // who has read them has something to say, and waits
		synctest.Wait()
		p.post(5, "/")
		upload := func(most int) (sent int) {
			for sent < most {
				synctest.Wait()
				n := min(len(part), p.conn.MayCome(5))
				if n == 0 {
					break
				}
				p.data(5, false, part[:n])
				sent += n
			}
			return sent
		}
		sent := upload(512 << 20)
		require.Greater(t, sent, 1<<20)
		require.Less(t, sent, 256<<20)
		p.wire.down.hold(1 << 30)
		p.wire.down.take(1)
		synctest.Wait()
		require.Equal(t, 128<<20, upload(128<<20)) // it goes on
		p.data(5, true, "")
		synctest.Wait()
		text := string(p.wire.down.take(1 << 30))
		require.Contains(t, text, "ok")
		p.hangUp()
	})
}

// A stream whose window has become wide, and whose reader then stops, leaves room for the
// others.
func TestWideWindowLeavesRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stop := make(chan struct{})
		read := make(chan int, 1)
		p := connect(t, nil, func(st *h2.Stream) {
			if st.Head.Target() == "/fast" {
				_, _ = io.CopyN(io.Discard, st, 8<<20)
				<-stop
				return
			}
			b, _ := io.ReadAll(st)
			read <- len(b)
		})
		p.wantGreeting()
		p.post(1, "/fast")
		window, conn := 65535, h2.ConnWindow
		fill := func() (sent int) {
			for n := min(window, conn, 16<<10); n > 0; n = min(window, conn, 16<<10) {
				p.data(1, false, strings.Repeat("x", n))
				window, conn, sent = window-n, conn-n, sent+n
			}
			return sent
		}
		updates := func() {
			for _, text := range p.got() {
				id, n := windowUpdate(text)
				if id == 0 {
					conn += n
				} else {
					window += n
				}
			}
		}
		for sent := 0; sent < 8<<20; updates() {
			sent += fill()
		}
		fill()
		updates()
		fill()
		p.post(3, "/slow")
		for range 20 {
			n := min(conn, 3000)
			require.Positive(t, n, "the connection's window is used up by one stream")
			p.data(3, false, strings.Repeat("y", n))
			conn -= n
			updates()
		}
		p.data(3, true, "")
		synctest.Wait()
		require.Equal(t, 60000, <-read)
		close(stop)
		p.hangUp()
	})
}

// A hook of the user's that panics costs the connection, or the request, and no more.
func TestPanicsOfTheOwner(t *testing.T) {
	t.Run("in the reader", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			failed := make(chan error, 1)
			p := connect(t, nil, func(st *h2.Stream) { _, err := io.ReadAll(st); failed <- err })
			p.wantGreeting()
			p.panics = true
			p.post(1, "/")
			synctest.Wait()
			p.headers(3, true, request("GET", "/", slices.Repeat([]string{"x", "y"}, 200)...)...)
			p.wantOver()
			require.Error(t, <-failed)
			require.Equal(t, []any{h2.LimitHeaderFields}, p.thrown)
		})
	})
	t.Run("in a handler", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := connect(t, nil, func(st *h2.Stream) {
				if st.Head.Target() == "/large" {
					_ = answer(st, 200, strings.Repeat("x", 1<<20))
				} else {
					_ = answer(st, 204, "")
				}
			})
			p.wantGreeting()
			p.panics = true
			p.get(1, "/large")
			synctest.Wait()
			time.Sleep(70 * time.Second)
			require.Contains(t, p.got(), `RST_STREAM 1 CANCEL`)
			require.Equal(t, []any{h2.LimitBodyTimeout}, p.thrown)
			p.get(3, "/")
			p.want(`HEADERS 3 204 end`)
			p.hangUp()
		})
	})
}
