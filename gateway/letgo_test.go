package gateway_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// engineDoors are those behind which the gateway's own engines are.
func (h *harness) engineDoors() []door { return []door{h.plain, h.http1, h.http2} }

// A handler may leave a goroutine behind that goes on to write. What it writes is refused: it
// comes into no other answer, and the buffer that it was for is nobody else's yet.
func TestHandlerReturnsWhileItWrites(t *testing.T) {
	h := newHarness(t, nil)
	var writing sync.WaitGroup
	h.apply(handling(h, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/other" {
			_, _ = io.WriteString(w, strings.Repeat("o", 20_000))
			return
		}
		begun := make(chan bool)
		writing.Go(func() {
			p := make([]byte, 700)
			for i := range p {
				p[i] = 'k'
			}
			c := http.NewResponseController(w)
			for i := 0; ; i++ {
				n, err := w.Write(p)
				if i == 3 {
					close(begun)
				}
				if err == nil && i%7 == 0 {
					err = c.Flush()
				}
				if err != nil && i > 3 {
					return
				}
				_ = n
			}
		})
		<-begun
		switch r.URL.Path {
		case "/panics":
			panic(http.ErrAbortHandler)
		case "/exits":
			runtime.Goexit()
		}
	}))
	for _, d := range h.engineDoors() {
		t.Run(d.name, func(t *testing.T) {
			client := h.client(d, "a.test")
			for range 20 {
				for _, path := range []string{"/keeps", "/panics", "/exits"} {
					res, err := client.Get(d.scheme() + "://a.test" + path)
					if err == nil {
						_, _ = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
				}
				status, body := h.get(client, d, "a.test", "/other")
				require.Equal(t, 200, status)
				require.Equal(t, strings.Repeat("o", 20_000), body)
			}
			writing.Wait()
		})
	}
}

// The client of a handler that has returned while another goroutine of its writes may take
// nothing: a deadline of the handler's, and the end of the connection, end the write.
func TestHandlerReturnsWhileAWriteWaits(t *testing.T) {
	h := newHarness(t, nil)
	wrote := make(chan error, 1)
	h.apply(handling(h, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		begun := make(chan bool)
		go func() {
			p := make([]byte, 1<<20)
			_, err := w.Write(p[:1])
			close(begun)
			for err == nil {
				_, err = w.Write(p)
			}
			wrote <- err
		}()
		<-begun
		switch r.URL.Path {
		case "/deadline":
			_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		case "/panics":
			panic(http.ErrAbortHandler)
		}
	}))
	for _, d := range h.engineDoors() {
		for _, path := range []string{"/deadline", "/panics"} {
			t.Run(d.name+path, func(t *testing.T) {
				if d.major == 2 {
					h.h2(d, "a.test").get(1, "https", "a.test", path)
				} else {
					h.raw(d, "a.test").write("GET " + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n")
				}
				require.Error(t, <-wrote)
			})
		}
	}
}

// A handler may leave a goroutine behind that reads, and several may read.
func TestHandlerReturnsWhileItReads(t *testing.T) {
	h := newHarness(t, nil)
	var reading sync.WaitGroup
	h.apply(handling(h, func(_ http.ResponseWriter, r *http.Request) {
		read := make(chan bool, 2)
		for range 2 {
			reading.Go(func() {
				p := make([]byte, 5000)
				for {
					_, err := r.Body.Read(p)
					select {
					case read <- true:
					default:
					}
					if err != nil {
						return
					}
				}
			})
		}
		<-read
		for range len(r.URL.Path) {
			runtime.Gosched()
		}
	}))
	for _, d := range h.engineDoors() {
		t.Run(d.name, func(t *testing.T) {
			client := h.client(d, "a.test")
			for i := range 100 {
				body := io.MultiReader(strings.NewReader(strings.Repeat("x", 10_000)), strings.NewReader("y"))
				req, err := http.NewRequestWithContext(t.Context(), "POST", d.scheme()+"://a.test/"+strings.Repeat("x", i*3), body)
				require.NoError(t, err)
				req.Trailer = http.Header{"X-T": {"1"}, "X-Forwarded-For": {"192.0.2.1"}}
				if res, err := client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
			reading.Wait()
		})
	}
}
