package h2_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/internal/h2"
)

// This file is a connection in memory whose client is the test: it writes frames, lets the
// server do all that it can (synctest.Wait), and looks at what came of it.

// A pipe is one direction of a connection.
type pipe struct {
	mu     sync.Mutex // guards what follows
	cond   *sync.Cond
	buf    []byte
	most   int // bytes that it holds before a write waits
	closed bool
	writes int
	peak   int // the most that was in it
}

func newPipe(most int) *pipe {
	p := &pipe{most: most}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.cond.Broadcast()
}

// write waits for room, for as long as patience says while nothing is taken.
func (p *pipe) write(b []byte, patience time.Duration) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	for len(b) > 0 {
		late := false
		if len(p.buf) >= p.most && !p.closed {
			timer := time.AfterFunc(patience, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				late = true
				p.cond.Broadcast()
			})
			for len(p.buf) >= p.most && !p.closed && !late {
				p.cond.Wait()
			}
			timer.Stop()
		}
		switch {
		case p.closed:
			return n, net.ErrClosed
		case late:
			return n, os.ErrDeadlineExceeded
		}
		m := min(len(b), p.most-len(p.buf))
		p.buf = append(p.buf, b[:m]...)
		p.peak = max(p.peak, len(p.buf))
		b = b[m:]
		n += m
		p.cond.Broadcast()
	}
	return n, nil
}

// hold sets how many bytes it holds.
func (p *pipe) hold(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = most
	p.cond.Broadcast()
}

// take returns what is there, up to n bytes.
func (p *pipe) take(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(n, len(p.buf))
	b := append([]byte(nil), p.buf[:n]...)
	p.buf = p.buf[n:]
	p.cond.Broadcast()
	return b
}

// A wire is the server's end: its [h2.Transport].
type wire struct {
	up, down *pipe
	patience time.Duration // of a write of which nothing is taken

	reads atomic.Int64
	lies  atomic.Bool // RecordReady does

	mu    sync.Mutex
	by    time.Time // guarded by mu: when a read ends
	timer *time.Timer
	ahead bool
}

func (w *wire) Await(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by = time.Now().Add(d)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.wake)
	} else {
		w.timer.Reset(d)
	}
}

func (w *wire) wake() {
	w.up.mu.Lock()
	defer w.up.mu.Unlock()
	w.up.cond.Broadcast()
}

func (w *wire) late() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.by.IsZero() && !time.Now().Before(w.by)
}

func (w *wire) Read(b []byte) (int, error) {
	w.reads.Add(1)
	p := w.up
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) == 0 {
		switch {
		case p.closed:
			return 0, io.EOF
		case w.late():
			return 0, os.ErrDeadlineExceeded
		}
		p.cond.Wait()
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	p.cond.Broadcast()
	return n, nil
}

func (w *wire) Write(b []byte) (int, error) { return w.down.write(b, w.patience) }

func (w *wire) ReadAhead(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead = on
}

func (w *wire) RecordReady() bool {
	w.up.mu.Lock()
	defer w.up.mu.Unlock()
	return len(w.up.buf) > 0 || w.lies.Load()
}

func (w *wire) readsAhead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ahead
}

func (w *wire) Abort() {
	w.up.close()
	w.down.close()
}

// A peer is the client, and the owner of the server's connection.
type peer struct {
	*http2.Framer // writes to the server
	t             testing.TB
	wire          *wire
	conn          *h2.Conn
	handle        func(*h2.Stream)
	served        chan struct{} // closed when the connection is over, and all handlers are

	enc    *hpack.Encoder
	block  []byte
	dec    *hpack.Decoder
	lastID uint32
	rest   []byte // of a frame that is not whole
	head   []byte // of a head that is not

	busy atomic.Bool // a request goes on, as the connection says

	mu        sync.Mutex // guards what follows
	limits    []h2.Limit
	malformed int
	working   int // handlers
	most      int // that worked at a time
	rests     int
	onRest    func()

	panics bool // Reached does, when the connection is told of a limit
	thrown []any
}

// defaults are limits that a test seldom wants to be others.
func defaults() *h2.Options {
	return &h2.Options{
		Streams:       100,
		HeaderBytes:   32 << 10,
		HeaderFields:  100,
		HeaderTimeout: 10 * time.Second,
		IdleTimeout:   3 * time.Minute,
		BodyTimeout:   time.Minute,
	}
}

// connect begins with a connection, up to the preface and the settings of the client.
// Within synctest, the test has to end it: [*peer.hangUp].
func connect(t testing.TB, o *h2.Options, handle func(*h2.Stream)) *peer {
	t.Helper()
	p := dial(t, o, handle)
	p.greet()
	return p
}

// dial is connect without a word of the client's.
func dial(t testing.TB, o *h2.Options, handle func(*h2.Stream)) *peer {
	t.Helper()
	if o == nil {
		o = defaults()
	}
	p := &peer{
		t:      t,
		wire:   &wire{up: newPipe(1 << 30), down: newPipe(1 << 30), patience: o.BodyTimeout},
		handle: handle,
		served: make(chan struct{}),
	}
	p.Framer = http2.NewFramer(upward{p}, nil)
	p.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(blockWriter{p})
	p.dec = hpack.NewDecoder(4096, nil)
	p.conn = h2.New(p.wire, o, p)
	go p.serve()
	t.Cleanup(p.wire.Abort) // if the test has failed
	return p
}

func (p *peer) greet(settings ...http2.Setting) {
	p.raw([]byte(http2.ClientPreface))
	p.ok(p.WriteSettings(settings...))
}

func (p *peer) serve() {
	defer close(p.served)
	defer p.conn.Wait()
	defer p.wire.down.close()
	defer p.caught()
	for p.conn.Serve() {
		p.mu.Lock()
		p.rests++
		f := p.onRest
		p.mu.Unlock()
		if f != nil {
			f()
		} else {
			p.conn.StayUp()
		}
	}
}

// caught takes note of a panic.
func (p *peer) caught() {
	if v := recover(); v != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.thrown = append(p.thrown, v)
	}
}

type upward struct{ p *peer }

func (u upward) Write(b []byte) (int, error) {
	_, _ = u.p.wire.up.write(b, time.Hour) // the server may be gone
	return len(b), nil
}

type blockWriter struct{ p *peer }

func (w blockWriter) Write(b []byte) (int, error) {
	w.p.block = append(w.p.block, b...)
	return len(b), nil
}

// Start implements [h2.Owner].
func (p *peer) Start(st *h2.Stream) {
	go func() {
		p.mu.Lock()
		p.working++
		p.most = max(p.most, p.working)
		p.mu.Unlock()
		func() {
			defer p.caught()
			if st.Refusal != nil {
				_ = answer(st, st.Refusal.Status, "")
			} else {
				p.handle(st)
			}
		}()
		head := st.Head
		p.mu.Lock()
		p.working--
		p.mu.Unlock()
		st.Finish(true)
		if head != nil {
			head.Release()
		}
	}()
}

// Reached implements [h2.Owner].
func (p *peer) Reached(limit h2.Limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = append(p.limits, limit)
	if p.panics {
		panic(limit)
	}
}

// wantLimits checks which limits were reached, and forgets them.
func (p *peer) wantLimits(want ...h2.Limit) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Equal(p.t, want, p.limits)
	p.limits = nil
}

func (p *peer) atWork() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.working
}

func (p *peer) mostAtWork() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

func (p *peer) ok(err error) {
	p.t.Helper()
	require.NoError(p.t, err)
}

func (p *peer) raw(b []byte) { _, _ = upward{p}.Write(b) }

// fields encodes the fields of a head.
func (p *peer) fields(fields ...string) []byte {
	p.block = nil
	for i := 0; i < len(fields); i += 2 {
		p.ok(p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return p.block
}

// request are the fields of one, and others.
func request(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "https", ":authority", "a.test", ":path", path}, more...)
}

func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.t.Helper()
	p.ok(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields(fields...), EndStream: end, EndHeaders: true}))
}

// get asks for a path.
func (p *peer) get(id uint32, path string, more ...string) {
	p.t.Helper()
	p.headers(id, true, request("GET", path, more...)...)
}

// post begins a request with a body.
func (p *peer) post(id uint32, path string, more ...string) {
	p.t.Helper()
	p.headers(id, false, request("POST", path, more...)...)
}

func (p *peer) data(id uint32, end bool, data string) {
	p.t.Helper()
	p.ok(p.WriteData(id, end, []byte(data)))
}

// got lets the server do what it can, and returns the frames that came of it.
func (p *peer) got() []string {
	p.t.Helper()
	synctest.Wait()
	return p.parse(p.wire.down.take(1 << 30))
}

// want checks the frames that come.
func (p *peer) want(want ...string) {
	p.t.Helper()
	require.Equal(p.t, strings.Join(want, "\n"), strings.Join(p.got(), "\n"))
}

// greeted are the first frames of a server, and its answer to the client's settings.
var greeted = []string{
	"SETTINGS MAX_CONCURRENT_STREAMS=100 MAX_HEADER_LIST_SIZE=32768 ENABLE_CONNECT_PROTOCOL=1 NO_RFC7540_PRIORITIES=1",
	fmt.Sprintf("WINDOW_UPDATE 0 %d", h2.ConnWindow-65535),
	"SETTINGS ack",
}

func (p *peer) wantGreeting() {
	p.t.Helper()
	p.want(greeted...)
}

// parse reads frames.
func (p *peer) parse(b []byte) (frames []string) {
	p.t.Helper()
	b = append(p.rest, b...)
	for len(b) >= 9 {
		n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if len(b) < 9+n {
			break
		}
		id := binary.BigEndian.Uint32(b[5:])
		if text := p.frame(http2.FrameType(b[3]), http2.Flags(b[4]), id, b[9:9+n]); text != "" {
			frames = append(frames, text)
		}
		b = b[9+n:]
	}
	p.rest = append([]byte(nil), b...)
	return frames
}

func (p *peer) frame(kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) string {
	p.t.Helper()
	require.LessOrEqual(p.t, len(payload), 16<<10, "a frame that is larger than may be")
	end := ""
	if flags&1 != 0 {
		end = " end"
	}
	switch kind {
	case http2.FrameData:
		text := fmt.Sprint("DATA ", id, " ", len(payload))
		if len(payload) <= 16 {
			text = fmt.Sprintf("DATA %d %q", id, payload)
		}
		return text + end
	case http2.FrameHeaders, http2.FrameContinuation:
		p.head = append(p.head, payload...)
		if kind == http2.FrameHeaders && flags&1 != 0 {
			p.head = append([]byte{0x88, 0xff}, p.head...) // a note that no block begins with
		}
		if flags&4 == 0 {
			return ""
		}
		end = ""
		if len(p.head) > 1 && p.head[0] == 0x88 && p.head[1] == 0xff {
			end = " end"
			p.head = p.head[2:]
		}
		fields, err := p.dec.DecodeFull(p.head)
		require.NoError(p.t, err)
		p.head = nil
		text := fmt.Sprint("HEADERS ", id)
		for _, f := range fields {
			if f.Name == ":status" {
				text += " " + f.Value
			} else {
				text += " " + f.Name + ": " + f.Value
			}
		}
		return text + end
	case http2.FrameRSTStream:
		return fmt.Sprint("RST_STREAM ", id, " ", http2.ErrCode(binary.BigEndian.Uint32(payload)))
	case http2.FrameSettings:
		if flags&1 != 0 {
			return "SETTINGS ack"
		}
		text := "SETTINGS"
		for ; len(payload) > 0; payload = payload[6:] {
			s := http2.Setting{ID: http2.SettingID(binary.BigEndian.Uint16(payload)), Val: binary.BigEndian.Uint32(payload[2:])}
			text += fmt.Sprintf(" %v=%d", s.ID, s.Val)
		}
		return text
	case http2.FramePing:
		if flags&1 != 0 {
			return fmt.Sprintf("PING ack %q", payload)
		}
		return fmt.Sprintf("PING %q", payload)
	case http2.FrameGoAway:
		return fmt.Sprint("GOAWAY ", binary.BigEndian.Uint32(payload), " ", http2.ErrCode(binary.BigEndian.Uint32(payload[4:])))
	case http2.FrameWindowUpdate:
		return fmt.Sprint("WINDOW_UPDATE ", id, " ", binary.BigEndian.Uint32(payload))
	}
	p.t.Fatalf("a frame of the type %v", kind)
	return ""
}

// hangUp ends the connection from the client's side, and waits for all that there was.
func (p *peer) hangUp() {
	p.t.Helper()
	p.wire.Abort()
	synctest.Wait()
	p.wantOver()
}

// over reports whether the server is done with the connection.
func (p *peer) over() bool {
	select {
	case <-p.served:
		return true
	default:
		return false
	}
}

// wantOver checks that the connection has ended, and that nothing of it is left.
func (p *peer) wantOver() {
	p.t.Helper()
	synctest.Wait()
	require.True(p.t, p.over(), "the connection goes on")
	require.Zero(p.t, p.atWork(), "a handler goes on")
	require.False(p.t, p.busy.Load(), "a request goes on")
}

// answer sends an answer in one.
func answer(st *h2.Stream, status int, body string) error {
	b := h2.NewBlock()
	defer b.Release()
	b.Status(status)
	return st.Send(b, []byte(body), nil, true)
}

// ok answers any request.
func ok(st *h2.Stream) { _ = answer(st, 200, "ok") }

// inBubble runs a test in a bubble of its own.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// windowUpdate reads what [peer.frame] has written of a WINDOW_UPDATE frame; of another it
// says that it adds nothing.
func windowUpdate(text string) (id uint32, n int) {
	_, _ = fmt.Sscanf(text, "WINDOW_UPDATE %d %d", &id, &n)
	return id, n
}

// Malformed implements [h2.Owner].
func (p *peer) Malformed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.malformed++
}

// Works and Rests implement [h2.Owner].

func (p *peer) Works() { p.busy.Store(true) }
func (p *peer) Rests() { p.busy.Store(false) }

// rested returns how often the connection has rested.
func (p *peer) rested() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rests
}

// whenResting sets what happens when it does.
func (p *peer) whenResting(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onRest = f
}

// nextID returns the stream of another request, for those who do not count.
func (p *peer) nextID() uint32 {
	p.lastID += 2
	return p.lastID - 1
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }
