package upstream_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// A body is lent again as long as it fits, however its bytes come.
func TestRequestBodyIsReplayed(t *testing.T) {
	const limit = 20_000 // some pieces
	for name, trickle := range map[string]func(io.Reader) io.Reader{
		"at once":          func(r io.Reader) io.Reader { return r },
		"with the end":     iotest.DataErrReader,
		"in half":          iotest.HalfReader,
		"byte by byte":     iotest.OneByteReader,
		"with empty reads": func(r io.Reader) io.Reader { return &emptyReads{r: r} },
	} {
		for _, size := range []int{0, 1, limit - 1, limit, limit + 1, 2 * limit} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				text := make([]byte, size)
				for i := range text {
					text[i] = byte(rand.IntN(256))
				}
				src := newBody(trickle(bytes.NewReader(text)))
				b := upstream.NewReplayedBody(src, limit)
				got, err := io.ReadAll(b.Lend())
				require.NoError(t, err)
				require.True(t, bytes.Equal(text, got))
				require.LessOrEqual(t, b.Kept(), limit+8<<10)
				fits := size <= limit
				require.Equal(t, fits, b.Revoke())
				if !fits {
					require.Zero(t, b.Kept(), "nothing is kept in vain")
					return
				}
				reads := src.reads.Load()
				again := b.Lend()
				b.Settle()
				got, err = io.ReadAll(again)
				require.NoError(t, err)
				require.True(t, bytes.Equal(text, got))
				require.Equal(t, reads, src.reads.Load())
				require.NoError(t, again.Close())
				require.Zero(t, b.Kept())
				require.EqualValues(t, 1, src.closed.Load())
			})
		}
	}
}

// emptyReads are allowed, and mean nothing.
type emptyReads struct {
	r    io.Reader
	next bool
}

func (e *emptyReads) Read(p []byte) (int, error) {
	if e.next = !e.next; e.next {
		return 0, nil
	}
	return e.r.Read(p[:min(len(p), 777)])
}

// What an attempt reads after it is over, the next one gets.
func TestRequestBodyReadInTwoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, send := io.Pipe()
		b := upstream.NewReplayedBody(src, 100)
		first := b.Lend()
		late := make(chan error)
		go func() {
			_, err := io.ReadAll(first)
			late <- err
		}()
		io.WriteString(send, "one ")
		synctest.Wait() // it waits for more
		require.True(t, b.Revoke())
		second := b.Lend()
		var got []byte
		ended := make(chan error)
		go func() {
			var err error
			got, err = io.ReadAll(second)
			ended <- err
		}()
		synctest.Wait()
		io.WriteString(send, "two ")
		require.Equal(t, http.ErrBodyReadAfterClose, <-late)
		b.Settle()
		io.WriteString(send, "three")
		send.Close()
		require.NoError(t, <-ended)
		require.Equal(t, "one two three", string(got))
		second.Close()
		require.Zero(t, b.Kept())

		// A body whose reading goes on is closed without waiting for it.
		src, send = io.Pipe()
		stuck := &stuckBody{src, make(chan bool)}
		b = upstream.NewReplayedBody(stuck, 100)
		view := b.Lend()
		go view.Read(make([]byte, 1))
		synctest.Wait()
		b.Settle()
		view.Close()
		send.Close()
		<-stuck.closed
	})
}

// A stuckBody can be closed only when nothing is read, as net/http's for HTTP/1.1.
type stuckBody struct {
	*io.PipeReader
	closed chan bool
}

func (b *stuckBody) Close() error {
	io.Copy(io.Discard, b.PipeReader)
	b.closed <- true
	return nil
}

// Attempts come and go at any moment: the one that stays gets every byte once, in its
// place, or none of it is lent.
func TestRequestBodyReplayRace(t *testing.T) {
	for i := range 2000 {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		text := make([]byte, random.IntN(300))
		for i := range text {
			text[i] = byte(i)
		}
		b := upstream.NewReplayedBody(newBody(iotest.HalfReader(&emptyReads{r: bytes.NewReader(text)})), random.IntN(300))
		var late sync.WaitGroup
		view := b.Lend()
		for range random.IntN(4) {
			old, size := view, 1+random.IntN(100)
			late.Go(func() {
				for {
					if _, err := old.Read(make([]byte, size)); err != nil {
						break
					}
				}
				old.Close()
			})
			if random.IntN(2) == 0 {
				runtime.Gosched()
			}
			if !b.Revoke() {
				view = nil
				break
			}
			view = b.Lend()
		}
		if view != nil {
			if random.IntN(2) == 0 {
				b.Settle()
			}
			got, err := io.ReadAll(view)
			require.NoError(t, err)
			require.True(t, bytes.Equal(text, got), "%d: %v", i, got)
			view.Close()
		}
		b.Settle()
		late.Wait()
		require.Zero(t, b.Kept())
	}
}

// A node that reads a request to its end and then resets the connection: the body goes
// to another node if it was kept, and the method allows it.
func TestReplay(t *testing.T) {
	h1 := func(conn net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		conn.(*net.TCPConn).SetLinger(0)
	}
	abort := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	length := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v %v", len(body), err, bytes.Equal(body, bytes.Repeat([]byte("x"), len(body))))
	})
	const limit = 64 << 10
	for _, scheme := range []upstream.Scheme{upstream.SchemeHTTP, upstream.SchemeH2C} {
		var nodes []upstream.Node
		if scheme == "http" {
			nodes = []upstream.Node{newOrigin(t, h1).Node, newServer(t, length).Node}
		} else {
			nodes = []upstream.Node{newH2Server(t, nil, abort).Node, newH2Server(t, nil, length).Node}
		}
		for _, c := range []struct {
			method  string
			size    int
			replay  int
			chunked bool
			ok      bool
		}{
			{"PUT", 10, limit, false, true},
			{"PUT", limit, limit, false, true},
			{"PUT", limit, limit, true, true},
			{"PUT", limit + 1, limit, false, false},
			{"PUT", limit + 1, limit, true, false},
			{"PUT", 10, 0, false, false},
			{"DELETE", 10, limit, true, true},
			{"POST", 10, limit, false, false},
			{"PATCH", 10, limit, true, false},
		} {
			name := fmt.Sprintf("%s %s %d of %d, chunked %t", scheme, c.method, c.size, c.replay, c.chunked)
			p := newPool(t, upstream.Config{Scheme: scheme, Nodes: nodes, ReplayBytes: c.replay}, nil)
			var body io.Reader = strings.NewReader(strings.Repeat("x", c.size))
			if c.chunked {
				body = iotest.HalfReader(body)
			}
			resp, err := p.RoundTrip(newRequest(t, c.method, "http://a.test/", body))
			if !c.ok {
				wantError(t, err, 502, 1)
				require.Zero(t, p.Nodes()[1].Requests, name)
				continue
			}
			require.NoError(t, err, name)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err, name)
			resp.Body.Close()
			require.Equal(t, fmt.Sprintf("%d <nil> true", c.size), string(got), name)
		}
	}
}

// The first node fails while the client has sent a half, and the client sends the rest
// in its own time.
func TestReplayOfATrickle(t *testing.T) {
	got := make(chan string, 1)
	failed := make(chan bool, 2)
	for _, scheme := range []upstream.Scheme{upstream.SchemeHTTP, upstream.SchemeH2C} {
		half := func(body io.Reader) {
			buffer := make([]byte, 4)
			io.ReadFull(body, buffer)
		}
		var nodes []upstream.Node
		last := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			failed <- true
			body, _ := io.ReadAll(r.Body)
			got <- string(body)
		})
		if scheme == "http" {
			nodes = []upstream.Node{newOrigin(t, func(conn net.Conn) {
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				half(req.Body)
				conn.(*net.TCPConn).SetLinger(0)
			}).Node, newServer(t, last).Node}
		} else {
			nodes = []upstream.Node{newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				half(r.Body)
				panic(http.ErrAbortHandler)
			})).Node, newH2Server(t, nil, last).Node}
		}
		p := newPool(t, upstream.Config{Scheme: scheme, Nodes: nodes, ReplayBytes: 100}, nil)
		body, send := io.Pipe()
		go func() {
			io.WriteString(send, "half")
			if scheme != "http" { // http.Transport waits for a read of the body to end
				<-failed
			}
			io.WriteString(send, " and the rest")
			send.Close()
		}()
		resp, err := p.RoundTrip(newRequest(t, "PUT", "http://a.test/", body))
		require.NoError(t, err, scheme)
		resp.Body.Close()
		require.Equal(t, "half and the rest", <-got, scheme)
		require.EqualValues(t, 1, p.Nodes()[0].Failures)
	}
}

// A client that fails is at fault in the second attempt as it is in the first.
func TestReplayOfABodyThatFails(t *testing.T) {
	broken := errors.New("broken")
	bad := newH2Server(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.ReadFull(r.Body, make([]byte, 4))
		panic(http.ErrAbortHandler)
	}))
	begun := make(chan bool, 1)
	good := newOrigin(t, h2Node(func(h2Peer, uint32) bool { begun <- true; return true }))
	p := newPool(t, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{bad.Node, good.Node}, ReplayBytes: 100}, nil)
	body, send := io.Pipe()
	go func() {
		io.WriteString(send, "half")
		<-begun
		send.CloseWithError(broken)
	}()
	_, err := p.RoundTrip(newRequest(t, "PUT", "http://a.test/", body))
	wantError(t, err, 400, 2, "reading the request's body: broken")
	require.ErrorIs(t, err, broken)
	require.Zero(t, p.Nodes()[1].Failures)
}

// Who wants every body to be sent again may say so by the largest number.
func TestRequestBodyIsReplayedWhole(t *testing.T) {
	text := strings.Repeat("text", 10_000)
	b := upstream.NewReplayedBody(newBody(strings.NewReader(text)), math.MaxInt)
	for range 2 {
		got, err := io.ReadAll(b.Lend())
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		require.True(t, b.Revoke())
	}
	b.Settle()
}
