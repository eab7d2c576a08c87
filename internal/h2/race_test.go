package h2_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/internal/h2"
)

// A piped is a [h2.Transport] over one of net's.
type piped struct{ net.Conn }

func (c piped) Await(d time.Duration) { _ = c.SetReadDeadline(time.Now().Add(d)) }
func (c piped) ReadAhead(bool)        {}
func (c piped) RecordReady() bool     { return false }
func (c piped) Abort()                { _ = c.Close() }

// A crowd is an owner in real time.
type crowd struct {
	handlers sync.WaitGroup
}

func (o *crowd) Start(st *h2.Stream) {
	o.handlers.Go(func() {
		acted(st)
		head := st.Head
		st.Finish(true)
		if head != nil {
			head.Release()
		}
	})
}

func (o *crowd) Works()           {}
func (o *crowd) Rests()           {}
func (o *crowd) Malformed()       {}
func (o *crowd) Reached(h2.Limit) {}

// acted echoes a body, or answers with a large one, or neither.
func acted(st *h2.Stream) {
	st.Watch(ignorant{})
	if st.Refusal != nil {
		_ = answer(st, st.Refusal.Status, "")
		return
	}
	switch st.Head.Target() {
	case "/echo":
		b := h2.NewBlock()
		defer b.Release()
		b.Status(200)
		if st.Send(b, nil, nil, false) != nil {
			return
		}
		buf := make([]byte, 4<<10)
		for {
			n, err := st.Read(buf)
			if n > 0 && st.Send(nil, buf[:n], nil, false) != nil {
				return
			}
			if err == io.EOF {
				_ = st.Send(nil, nil, nil, true)
			}
			if err != nil {
				return
			}
		}
	case "/large":
		_ = answer(st, 200, xs(60<<10))
	case "/nothing":
	default:
		ok(st)
	}
}

// Many streams, with bodies both ways, of which some are taken back, on connections at once:
// what is not taken back is answered whole. It is for the race detector.
func TestCrowd(t *testing.T) {
	const conns, each, atOnce = 4, 252, 40
	o := defaults()
	var all sync.WaitGroup
	for range conns {
		all.Go(func() { crowdOn(t, o, each, atOnce) })
	}
	all.Wait()
}

func crowdOn(t *testing.T, o *h2.Options, each, atOnce int) {
	near, far := net.Pipe()
	owner := &crowd{}
	conn := h2.New(piped{near}, o, owner)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for conn.Serve() {
			conn.StayUp()
		}
		_ = near.Close()
		conn.Wait()
		owner.handlers.Wait()
	}()
	_, err := io.WriteString(far, http2.ClientPreface)
	if err != nil {
		t.Error(err)
		return
	}
	var mu sync.Mutex // of writing
	fr := http2.NewFramer(far, far)
	write := func(f func() error) {
		mu.Lock()
		defer mu.Unlock()
		if err := f(); err != nil {
			t.Error(err)
		}
	}
	write(func() error { return fr.WriteSettings() })
	slots := make(chan struct{}, atOnce)
	got := map[uint32]int{}
	done := make(chan struct{})
	acks := make(chan func() error, 1<<16)
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		for f := range acks {
			write(f)
		}
	}()
	go func() {
		defer close(done)
		defer close(acks)
		for ended := 0; ended < each-each/4; {
			f, err := fr.ReadFrame()
			if err != nil {
				t.Errorf("after %d streams: %v", ended, err)
				return
			}
			id, end := f.Header().StreamID, false
			switch f := f.(type) {
			case *http2.DataFrame:
				got[id] += len(f.Data())
				end = f.StreamEnded()
				if n := f.Length; n > 0 {
					acks <- func() error { return fr.WriteWindowUpdate(0, n) }
				}
			case *http2.RSTStreamFrame:
				if !takenBack(id) {
					t.Errorf("RST_STREAM %d %v", id, f.ErrCode)
				}
			case *http2.GoAwayFrame:
				t.Errorf("GOAWAY %v", f.ErrCode)
				return
			}
			if end && !takenBack(id) {
				ended++
				<-slots
			}
		}
	}()
	for i := range each {
		id := uint32(2*i + 1)
		path := []string{"/echo", "/large", "/", "/echo"}[i%4]
		if !takenBack(id) {
			select {
			case slots <- struct{}{}:
			case <-done:
				return
			}
		}
		write(func() error { return fr.WriteHeaders(headOf(id, path, path != "/echo")) })
		if path == "/echo" {
			for j := range 4 {
				write(func() error { return fr.WriteData(id, j == 3 && !takenBack(id), []byte(xs(1<<10))) })
			}
		}
		if takenBack(id) {
			write(func() error { return fr.WriteRSTStream(id, http2.ErrCodeCancel) })
		}
	}
	<-done
	<-acked
	_ = far.Close()
	<-served
	for i := range each {
		id := uint32(2*i + 1)
		if takenBack(id) {
			continue
		}
		want := []int{4 << 10, 60 << 10, 2}[i%4]
		if got[id] != want {
			t.Errorf("the stream %d has %d bytes, and not %d", id, got[id], want)
		}
	}
	recv, lent := conn.Windows()
	require.EqualValues(t, h2.ConnWindow, recv)
	require.Zero(t, lent)
}

// takenBack says which requests are, of four the last.
func takenBack(id uint32) bool { return id%8 == 7 }

// headOf is a head in literals, by an encoder of its own.
func headOf(id uint32, path string, end bool) http2.HeadersFrameParam {
	var b blockBuffer
	enc := hpack.NewEncoder(&b)
	enc.SetMaxDynamicTableSize(0)
	fields := request("POST", path)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return http2.HeadersFrameParam{StreamID: id, BlockFragment: b.b, EndStream: end, EndHeaders: true}
}

type blockBuffer struct{ b []byte }

func (b *blockBuffer) Write(p []byte) (int, error) { b.b = append(b.b, p...); return len(p), nil }
