package h2_test

import (
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/h2"
)

// play lets a client do what a program says: each byte, with those after it, is a frame, or
// lets the server have its turn, or time pass.
func play(p *peer, program []byte) {
	next := func() byte {
		if len(program) == 0 {
			return 0
		}
		b := program[0]
		program = program[1:]
		return b
	}
	id := func() uint32 { // mostly of the streams that there are
		b := uint32(next())
		if b%8 == 7 {
			return b % 32
		}
		return b%max(p.lastID, 1) | 1
	}
	fresh := func() uint32 {
		if next()%16 == 15 {
			return id()
		}
		return p.nextID()
	}
	for len(program) > 0 {
		switch op := next(); op % 24 {
		case 0, 1:
			p.get(fresh(), []string{"/", "/large", "/read", "/hold", "/half", "/close", "/trailer"}[next()%7])
		case 2, 3:
			p.post(fresh(), []string{"/", "/large", "/read", "/hold", "/half", "/close", "/trailer"}[next()%7])
		case 4:
			p.post(fresh(), "/read", "content-length", []string{"0", "1", "1000", "100000", "x"}[next()%5])
		case 5, 6, 7:
			size := int(next()) << (next() % 8)
			p.data(id(), next()%4 == 0, xs(min(size, 16<<10)))
		case 8:
			_ = p.WriteDataPadded(id(), next()%4 == 0, []byte(xs(int(next()))), make([]byte, next()))
		case 9:
			p.headers(id(), next()%2 == 0, "trailing", "field")
		case 10:
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: fresh(), BlockFragment: p.fields(request("GET", "/")...), EndStream: next()%2 == 0, PadLength: next()})
		case 11:
			_ = p.WriteContinuation(id(), next()%2 == 0, p.fields("x", "y"))
		case 12, 13:
			_ = p.WriteRSTStream(id(), http2.ErrCode(next()))
		case 14:
			_ = p.WriteWindowUpdate(id(), uint32(next())<<(next()%16)|1)
		case 15:
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingID(next() % 12), Val: uint32(next()) << (next() % 25)})
		case 16:
			_ = p.WritePing(next()%2 == 0, [8]byte([]byte("sallyout")))
		case 17:
			_ = p.WritePriorityUpdate(id(), []string{"u=0", "u=7,i", "i", "x", ""}[next()%5])
		case 18:
			_ = p.WritePriority(id(), http2.PriorityParam{StreamDep: id()})
		case 19:
			_ = p.WriteGoAway(id(), http2.ErrCode(next()), nil)
		case 20:
			size, kind, flags, of := int(next()), next(), next(), id()
			n := min(size, len(program))
			_ = p.WriteRawFrame(http2.FrameType(kind), http2.Flags(flags), of, program[:n])
			program = program[n:]
		case 21:
			if next()%8 == 0 {
				p.conn.Drain()
			}
		case 22:
			time.Sleep(time.Duration(next()) * time.Second / 4)
		case 23:
			synctest.Wait()
			p.wire.down.take(int(next()) << (next() % 16))
		}
	}
}

// acting is a handler that does what the path says.
func acting(st *h2.Stream) {
	if st.Head.Method() == "GET" {
		st.Watch(ignorant{})
	}
	switch st.Head.Target() {
	case "/large":
		_ = answer(st, 200, xs(200<<10))
	case "/read":
		_, _ = io.Copy(io.Discard, st)
		ok(st)
	case "/hold":
		time.Sleep(20 * time.Second)
		ok(st)
	case "/half":
	case "/close":
		st.CloseBody()
		st.Reset()
		ok(st)
	case "/trailer":
		if _, whole := st.Whole(); !whole {
			_, _ = io.ReadFull(st, make([]byte, 10))
		}
		head, trailer := h2.NewBlock(), h2.NewBlock()
		defer head.Release()
		defer trailer.Release()
		head.Status(100)
		_ = st.Inform(head)
		final := h2.NewBlock()
		defer final.Release()
		final.Status(200)
		trailer.Add("x", "y")
		if st.Send(final, []byte("some"), nil, false) == nil {
			_ = st.Send(nil, []byte("more"), trailer, true)
		}
	default:
		ok(st)
	}
}

type ignorant struct{}

func (ignorant) Vanished() {}

// Whatever a client sends, in whatever order: nothing panics, all handlers end, nothing goes
// on when the connection is over (or else the bubble does not end), and what comes back is
// frames.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 1, 0, 23, 255, 15})
	f.Add([]byte{2, 1, 2, 5, 255, 7, 1, 1, 23, 255, 15, 12, 1, 8})
	f.Add([]byte{0, 1, 1, 14, 1, 255, 23, 15, 4, 0, 0, 22, 255, 22, 255})
	f.Add([]byte{10, 1, 0, 200, 11, 1, 0})
	f.Add([]byte{2, 1, 3, 2, 3, 3, 12, 1, 8, 5, 255, 6, 3, 0, 21, 0, 16, 0, 2, 5, 0, 5, 255, 6, 5, 1, 9, 5, 0})
	f.Add([]byte{20, 0, 1, 8, 1, 20, 0, 1, 32, 1, 20, 0, 0, 8, 1})
	f.Add([]byte{4, 1, 0, 22, 255, 22, 255, 22, 255})
	f.Add([]byte{17, 1, 0, 0, 1, 1, 0, 3, 1, 17, 3, 0, 14, 0, 255, 23, 14, 3, 255, 23})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 1<<10 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) {
			o := defaults()
			o.Streams, o.RestAfter = 5, 250*time.Millisecond
			p := connect(t, o, acting)
			p.wire.down.hold(64 << 10)
			play(p, program)
			settle(t, p, true)
		})
	})
}

// FuzzBytes is the same with whatever bytes follow the preface.
func FuzzBytes(f *testing.F) {
	f.Add("\x00\x00\x00\x04\x00\x00\x00\x00\x00", 3)
	f.Add("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x01\x05\x00\x00\x00\x01\x82\x87\x84\x41\x01a", 1)
	f.Add("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x02\x01\x0c\x00\x00\x00\x01\xff\x82\x00\x00\x01\x09\x04\x00\x00\x00\x01\x82", 7)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if len(text) > 4<<10 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) {
			p := dial(t, nil, acting)
			p.raw([]byte(http2.ClientPreface))
			for size = max(size&0xff, 1); text != ""; text = text[min(size, len(text)):] {
				p.raw([]byte(text[:min(size, len(text))]))
				synctest.Wait()
			}
			// The last frame may not be whole: what it announces is off the window.
			settle(t, p, false)
		})
	})
}

// settle ends a connection, and checks that nothing is left of it, of its windows either if
// all frames were whole.
func settle(t *testing.T, p *peer, whole bool) {
	p.wire.down.hold(1 << 30)
	synctest.Wait()
	p.wire.down.take(1 << 30)
	for _, id := range p.conn.Open() {
		_ = p.WriteRSTStream(id, http2.ErrCodeCancel)
	}
	time.Sleep(25 * time.Second) // the handlers that hold
	synctest.Wait()
	if recv, lent := p.conn.Windows(); whole && !p.over() && (lent != 0 || recv != h2.ConnWindow) {
		t.Fatalf("the windows have drifted: %d, %d", recv, lent)
	}
	p.wire.Abort()
	p.wantOver()
	if len(p.thrown) > 0 {
		t.Fatal(p.thrown)
	}
}

// The seeds, and programs that chance writes: a fuzzer in small, for each run of the tests.
func TestRandomFrames(t *testing.T) {
	seeds := newRand(1)
	for range 300 {
		program := make([]byte, 20+seeds.IntN(400))
		for i := range program {
			program[i] = byte(seeds.Uint32())
			if seeds.IntN(3) == 0 {
				program[i] %= 8
			}
		}
		inBubble(t, func(t *testing.T) {
			o := defaults()
			o.Streams, o.RestAfter = 5, 250*time.Millisecond
			p := connect(t, o, acting)
			p.wire.down.hold(64 << 10)
			play(p, program)
			settle(t, p, true)
		})
	}
}

// An upload and a download of many rounds leave no memory behind: what a connection holds
// at its worst is bounded.
func TestMemoryIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stop := make(chan struct{})
		p := connect(t, nil, func(*h2.Stream) { <-stop })
		p.wantGreeting()
		heap := func() int {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		before := heap()
		for i := range uint32(100) { // a byte of each: what a stream holds is a buffer
			p.post(2*i+1, "/")
			p.data(2*i+1, false, "x")
			synctest.Wait()
		}
		held := heap() - before
		if most := 100 * (32 << 10); held > most {
			t.Errorf("%d streams with a byte each hold %d bytes", 100, held)
		}
		close(stop)
		p.hangUp()
	})
}
