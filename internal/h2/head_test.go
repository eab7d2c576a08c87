package h2_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/h2"
)

// describe answers with the head of the request.
func describe(st *h2.Stream) {
	host, _ := st.Head.Host()
	text := fmt.Sprintf("%s %s %s %d", st.Head.Method(), st.Head.Target(), host, st.Head.ContentLength)
	for i := range st.Head.Len() {
		name, value := st.Head.FieldView(i)
		text += " " + name + "=" + value
	}
	b := h2.NewBlock()
	defer b.Release()
	b.Status(200)
	b.Add("x-got", text)
	_ = st.Send(b, nil, nil, true)
}

// A head is the same in one frame and in many, wherever it is cut.
func TestContinuation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, describe)
		p.wantGreeting()
		want := func(id uint32) string {
			return fmt.Sprintf("HEADERS %d 200 x-got: GET /path a.test 0 accept=*/* x-long=%s end", id, xs(60))
		}
		block := p.fields(request("GET", "/path", "accept", "*/*", "x-long", xs(60))...)
		send := func(id uint32, cuts ...int) {
			from, first := 0, true
			for _, to := range append(cuts, len(block)) {
				last := to == len(block) && len(cuts) > 0 && from == cuts[len(cuts)-1] || len(cuts) == 0
				if first {
					p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[from:to], EndStream: true, EndHeaders: last}))
				} else {
					p.ok(p.WriteContinuation(id, last, block[from:to]))
				}
				from, first = to, false
			}
		}
		send(1)
		p.want(want(1))
		id := uint32(3)
		block = p.fields(request("GET", "/path", "accept", "*/*", "x-long", xs(60))...) // of the table, now
		for a := range len(block) + 1 {
			for b := a; b < len(block); b++ {
				send(id, a, b)
				p.want(want(id))
				id += 2
			}
		}
		p.hangUp()
	})
}

// Nothing may come between the parts of a head (RFC 9113, section 6.10).
func TestBrokenContinuation(t *testing.T) {
	for name, f := range map[string]func(p *peer){
		"data":            func(p *peer) { p.data(1, true, "x") },
		"ping":            func(p *peer) { p.ok(p.WritePing(false, [8]byte{})) },
		"another's":       func(p *peer) { p.ok(p.WriteContinuation(3, true, nil)) },
		"another head":    func(p *peer) { p.get(3, "/") },
		"an unknown kind": func(p *peer) { p.ok(p.WriteRawFrame(0xfe, 0, 0, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, ok)
				p.wantGreeting()
				p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/")...), EndStream: true}))
				f(p)
				p.want("GOAWAY 1 PROTOCOL_ERROR")
				p.wantOver()
			})
		})
	}
}

func TestRequestHeads(t *testing.T) {
	for _, c := range []struct {
		fields []string
		end    bool
		want   string // after the number of the stream
	}{
		{request("GET", "/"), true, "HEADERS 200 x-got: GET / a.test 0 end"},
		{request("OPTIONS", "*"), true, "HEADERS 200 x-got: OPTIONS * a.test 0 end"},
		{request("GET", "/", "cookie", "a=b", "x", "y", "cookie", "c=d"), true, "HEADERS 200 x-got: GET / a.test 0 cookie=a=b; c=d x=y end"},
		{request("GET", "/", "te", "trailers"), true, "HEADERS 200 x-got: GET / a.test 0 te=trailers end"},
		{[]string{":path", "/", ":scheme", "http", ":method", "GET", "host", "b.test"}, true, "HEADERS 200 x-got: GET / b.test 0 end"},
		{request("GET", "/", "content-length", "0"), true, "HEADERS 200 x-got: GET / a.test 0 content-length=0 end"},
		{request("GET", "/", "x", ""), true, "HEADERS 200 x-got: GET / a.test 0 x= end"},

		{request("GET", "/", "content-length", "1"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "content-length", "+1"), false, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "content-length", "1", "content-length", "1"), false, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "content-length", "9223372036854775808"), false, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "Upper", "x"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "a b", "x"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "", "x"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "x", "a\r\nb: c"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "x", "a\x00"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "x", " a"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "x", "a\t"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "te", "gzip"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "connection", "x"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "keep-alive", "x"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "proxy-connection", "x"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "transfer-encoding", "chunked"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "upgrade", "h2c"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", ":path", "/"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", "x", "y", ":late", "z"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "/", ":status", "200"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", ""), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "*"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "path"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("GET", "http://a.test/"), true, "RST_STREAM PROTOCOL_ERROR"},
		{request("", "/"), true, "RST_STREAM PROTOCOL_ERROR"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", "a.test"}, true, "RST_STREAM PROTOCOL_ERROR"},
		{[]string{":method", "GET", ":path", "/", ":authority", "a.test"}, true, "RST_STREAM PROTOCOL_ERROR"},
		{[]string{":method", "GET", ":scheme", "ftp", ":path", "/", ":authority", "a.test"}, true, "RST_STREAM PROTOCOL_ERROR"},
		{[]string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "u@a.test"}, true, "RST_STREAM PROTOCOL_ERROR"},
		{nil, true, "RST_STREAM PROTOCOL_ERROR"},

		{request("GET", "/", "expect", "the unexpected"), true, "HEADERS 417 end"},
		{request(xs(40), "/"), true, "HEADERS 501 end"},
	} {
		t.Run(fmt.Sprint(c.fields), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, describe)
				p.wantGreeting()
				p.headers(1, c.end, c.fields...)
				kind, rest, _ := strings.Cut(c.want, " ")
				want := kind + " 1 " + rest
				p.want(want)
				p.get(3, "/next") // which it leaves alone
				p.want("HEADERS 3 200 x-got: GET /next a.test 0 end")
				p.hangUp()
				p.mu.Lock()
				defer p.mu.Unlock()
				require.Equal(t, kind == "RST_STREAM", p.malformed == 1, "malformed: %d", p.malformed)
			})
		})
	}
}

// A head whose stream is to depend on itself is no request (RFC 7540, section 5.3.1).
func TestSelfDependentHead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, describe)
		p.wantGreeting()
		p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/")...), EndHeaders: true, EndStream: true,
			Priority: http2.PriorityParam{StreamDep: 1, Weight: 1}}))
		p.want("RST_STREAM 1 PROTOCOL_ERROR")
		p.hangUp()
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Equal(t, 1, p.malformed)
	})
}

// What is too large is refused, and the table of HPACK is in step afterwards.
func TestHeadLimits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, describe)
		p.wantGreeting()
		large := []string{"x-a", xs(10 << 10), "x-b", xs(10 << 10), "x-c", xs(10 << 10), "x-d", xs(10 << 10)}
		p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(request("GET", "/", large...)...)[:16<<10], EndStream: true}))
		rest := p.block[16<<10:]
		for len(rest) > 16<<10 {
			p.ok(p.WriteContinuation(1, false, rest[:16<<10]))
			rest = rest[16<<10:]
		}
		p.ok(p.WriteContinuation(1, true, rest))
		p.want(`HEADERS 1 431 end`)
		p.wantLimits(h2.LimitHeaderBytes)
		var many []string
		for i := range 101 {
			many = append(many, fmt.Sprint("x-", i), "y")
		}
		p.headers(3, true, request("GET", "/", many...)...)
		p.want(`HEADERS 3 431 end`)
		p.wantLimits(h2.LimitHeaderFields)
		p.headers(5, true, request("GET", "/", many[:200]...)...)
		require.Len(t, p.got(), 1)
		// A few bytes can stand for many fields: they are not kept.
		bomb := append(p.fields(request("GET", "/", "x-bomb", xs(3<<10))...), strings.Repeat("\xbe", 10_000)...)
		p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, BlockFragment: bomb, EndStream: true, EndHeaders: true}))
		p.want(`HEADERS 7 431 end`)
		p.get(9, "/")
		p.want("HEADERS 9 200 x-got: GET / a.test 0 end")
		p.limits = nil
		for i := range uint32(5) { // each head has the limits for itself
			id, block := 2*i+11, p.fields(request("GET", "/", large[:6]...)...)
			p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:16<<10], EndStream: true}))
			p.ok(p.WriteContinuation(id, true, block[16<<10:]))
			require.Len(t, p.got(), 1)
			p.wantLimits()
		}
		p.hangUp()
	})
}

// A block that is none ends the connection (RFC 9113, section 4.3).
func TestBadBlocks(t *testing.T) {
	for _, block := range []string{"\x80", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x82\x41", "\x3f\xff\xff\xff\x7f"} {
		t.Run(fmt.Sprintf("%q", block), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, ok)
				p.wantGreeting()
				p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block), EndStream: true, EndHeaders: true}))
				p.want("GOAWAY 1 COMPRESSION_ERROR")
				p.wantOver()
			})
		})
	}
}

func TestStreamNumbers(t *testing.T) {
	for name, c := range map[string]struct {
		f    func(p *peer)
		want []string
	}{
		"even":           {func(p *peer) { p.get(2, "/") }, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"none":           {func(p *peer) { p.get(0, "/") }, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"backwards":      {func(p *peer) { p.get(5, "/hold"); p.get(3, "/") }, []string{"GOAWAY 5 PROTOCOL_ERROR"}},
		"twice":          {func(p *peer) { p.get(1, "/hold"); p.get(1, "/") }, []string{"RST_STREAM 1 STREAM_CLOSED"}},
		"again":          {func(p *peer) { p.get(1, "/"); synctest.Wait(); p.get(1, "/") }, []string{"HEADERS 1 200", `DATA 1 "ok" end`, "GOAWAY 1 STREAM_CLOSED"}},
		"data on none":   {func(p *peer) { p.data(0, false, "x") }, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"data on even":   {func(p *peer) { p.get(3, "/hold"); p.data(2, false, "x") }, []string{"GOAWAY 3 PROTOCOL_ERROR"}},
		"window of even": {func(p *peer) { p.get(3, "/hold"); p.ok(p.WriteWindowUpdate(2, 1)) }, []string{"GOAWAY 3 PROTOCOL_ERROR"}},
		"data on idle":   {func(p *peer) { p.data(1, false, "x") }, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"data after end": {func(p *peer) { p.get(1, "/"); synctest.Wait(); p.data(1, false, "x") }, []string{"HEADERS 1 200", `DATA 1 "ok" end`, "RST_STREAM 1 STREAM_CLOSED"}},
		"reset of idle":  {func(p *peer) { p.ok(p.WriteRSTStream(1, 0)) }, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"promise": {func(p *peer) {
			p.ok(p.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}))
		}, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"after a reset": {func(p *peer) {
			p.get(1, "/hold")
			synctest.Wait()
			p.ok(p.WriteRSTStream(1, 0))
			p.headers(1, true, "a", "b")
		}, []string{"GOAWAY 1 STREAM_CLOSED"}},
		"unknown frames": {func(p *peer) { p.ok(p.WriteRawFrame(0xfe, 0xff, 7, []byte("x"))); p.get(1, "/") }, []string{"HEADERS 1 200", `DATA 1 "ok" end`}},
		// Nothing may be said on a stream that is idle, not even that it is over (RFC 9113, section 6.4).
		"window of idle":     {func(p *peer) { p.ok(p.WriteRawFrame(http2.FrameWindowUpdate, 0, 9, make([]byte, 4))) }, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"priority of itself": {func(p *peer) { p.ok(p.WriteRawFrame(http2.FramePriority, 0, 9, []byte{0, 0, 0, 9, 0})) }, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"priority of a push": {func(p *peer) {
			p.get(3, "/hold")
			p.ok(p.WriteRawFrame(http2.FramePriority, 0, 2, []byte{0, 0, 0, 2, 0}))
		}, []string{"GOAWAY 3 PROTOCOL_ERROR"}},
		"length of a priority": {func(p *peer) { p.ok(p.WriteRawFrame(http2.FramePriority, 0, 9, []byte{0, 0, 0})) }, []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		"priority of any":      {func(p *peer) { p.ok(p.WritePriority(9, http2.PriorityParam{StreamDep: 7})); p.get(1, "/") }, []string{"HEADERS 1 200", `DATA 1 "ok" end`}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				held := make(chan struct{})
				p := connect(t, nil, func(st *h2.Stream) {
					if st.Head.Target() == "/hold" {
						<-held
					}
					ok(st)
				})
				p.wantGreeting()
				c.f(p)
				p.want(c.want...)
				close(held)
				p.hangUp()
			})
		})
	}
}

// Requests beyond what was agreed on are refused, and may be asked again.
func TestStreamsLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		held := make(chan struct{})
		o := defaults()
		o.Streams = 2
		p := connect(t, o, func(st *h2.Stream) { <-held; ok(st) })
		p.got()
		p.get(1, "/")
		p.get(3, "/")
		p.get(5, "/")
		p.want("RST_STREAM 5 REFUSED_STREAM")
		p.wantLimits(h2.LimitStreams)
		close(held)
		p.got()
		p.get(7, "/")
		p.want("HEADERS 7 200", `DATA 7 "ok" end`)
		p.hangUp()
	})
}

// A request that was taken back counts until its handler has returned.
func TestHandlersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		held := make(chan struct{})
		o := defaults()
		o.Streams = 3
		p := connect(t, o, func(st *h2.Stream) { <-held; ok(st) })
		p.got()
		for i := range uint32(30) {
			p.get(2*i+1, "/")
			synctest.Wait()
			p.ok(p.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		}
		p.get(101, "/")
		p.want()
		require.Equal(t, 3, p.atWork())
		close(held)
		p.want("HEADERS 101 200", `DATA 101 "ok" end`)
		require.Equal(t, 3, p.mostAtWork())
		p.hangUp()
	})
}

func TestTrailers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) {
			body, err := io.ReadAll(st)
			if err != nil {
				return
			}
			head, trailer := h2.NewBlock(), h2.NewBlock()
			defer head.Release()
			defer trailer.Release()
			head.Status(200)
			trailer.Add("X-Sum", strings.Join(st.Trailer()["X-Sum"], ","))
			_ = st.Send(head, body, trailer, true)
		})
		p.wantGreeting()
		p.post(1, "/")
		p.data(1, false, "body")
		p.headers(1, true, "x-sum", "1", "x-sum", "2")
		p.want(`HEADERS 1 200`, `DATA 1 "body"`, `HEADERS 1 x-sum: 1,2 end`)
		p.post(3, "/")
		p.headers(3, true) // none
		p.want(`HEADERS 3 200`, `HEADERS 3 x-sum:  end`)
		for i, bad := range [][]string{
			{":path", "/"}, {"content-length", "4"}, {"X", "y"}, {"connection", "close"}, {"trailer", "x"}, {"transfer-encoding", "chunked"}, {"x", "\n"},
		} {
			id := uint32(2*i + 5)
			p.post(id, "/")
			p.headers(id, true, bad...)
			p.want(fmt.Sprintf("RST_STREAM %d PROTOCOL_ERROR", id))
		}
		p.hangUp()
	})
}

// Informational heads go out as they come, and never after the head of the answer.
func TestInform(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		step := make(chan struct{})
		p := connect(t, nil, func(st *h2.Stream) {
			inform := func() {
				b := h2.NewBlock()
				defer b.Release()
				b.Status(http.StatusEarlyHints)
				b.Add("Link", "</a>")
				_ = st.Inform(b)
			}
			inform()
			<-step
			inform()
			ok(st)
			inform()
		})
		p.wantGreeting()
		p.get(1, "/")
		p.want(`HEADERS 1 103 link: </a>`)
		close(step)
		p.want(`HEADERS 1 103 link: </a>`, `HEADERS 1 200`, `DATA 1 "ok" end`)
		p.hangUp()
	})
}

// A client that takes none of them is left without.
func TestInformWhoTakesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var sent atomic.Int64
		p := connect(t, nil, func(st *h2.Stream) {
			if st.Head.Target() == "/large" {
				_ = answer(st, 200, xs(32<<10))
				return
			}
			b := h2.NewBlock()
			defer b.Release()
			b.Status(http.StatusEarlyHints)
			b.Add("X", xs(1000))
			for range 10_000 {
				if st.Inform(b) != nil {
					return
				}
				sent.Add(1)
			}
			ok(st)
		})
		p.wantGreeting()
		p.wire.down.hold(1)
		p.get(1, "/large")
		synctest.Wait() // somebody waits for the client
		p.get(3, "/")
		synctest.Wait()
		require.EqualValues(t, 10_000, sent.Load())
		p.wire.down.hold(1 << 30)
		p.wire.down.take(1)
		synctest.Wait()
		require.Less(t, len(p.wire.down.take(1<<30)), 200<<10)
		p.hangUp()
	})
}

// The head of an answer that is larger than a frame goes out in parts.
func TestLargeAnswerHead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := connect(t, nil, func(st *h2.Stream) {
			b := h2.NewBlock()
			defer b.Release()
			b.Status(200)
			b.Add("X", xs(70<<10))
			_ = st.Send(b, nil, nil, true)
		})
		p.wantGreeting()
		p.get(1, "/")
		p.want("HEADERS 1 200 x: " + xs(70<<10) + " end")
		p.hangUp()
	})
}

// A client that changes the size of the table is told what has become of it, before the next
// head (RFC 7541, section 4.2).
func TestHeaderTableSize(t *testing.T) {
	for _, size := range []uint32{0, 100, 4096, 1 << 20} {
		inBubble(t, func(t *testing.T) {
			p := connect(t, nil, ok)
			p.wantGreeting()
			p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size}))
			p.dec.SetAllowedMaxDynamicTableSize(size)
			p.want("SETTINGS ack")
			p.get(1, "/")
			synctest.Wait()
			raw := p.wire.down.take(1 << 20)
			require.Equal(t, byte(0x20), raw[9])
			require.Equal(t, []string{`HEADERS 1 200`, `DATA 1 "ok" end`}, p.parse(raw))
			p.get(3, "/")
			p.want(`HEADERS 3 200`, `DATA 3 "ok" end`)
			p.hangUp()
		})
	}
}
