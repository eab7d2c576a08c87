//go:build unix

package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/http1"
	"github.com/sallyport/sallyport/upstream"
)

// The origin of the benchmarks is a process of its own, so that the CPU time of this
// one is the client's. It is this program again, with a variable set.
const benchOrigin = "SALLYPORT_BENCH_ORIGIN"

const (
	smallBody = 16
	largeBody = 1 << 20
)

func TestMain(m *testing.M) {
	if os.Getenv(benchOrigin) != "" {
		serveBenchOrigin()
		return
	}
	os.Exit(m.Run())
}

// serveBenchOrigin serves until its standard input ends.
func serveBenchOrigin() {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	pair, err := tls.X509KeyPair([]byte(os.Getenv(benchOrigin+"_CERT")), []byte(os.Getenv(benchOrigin+"_KEY")))
	if err != nil {
		panic(err)
	}
	secure := tls.NewListener(raw, &tls.Config{Certificates: []tls.Certificate{pair}})
	for _, l := range []net.Listener{plain, secure} {
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go answerBench(conn)
			}
		}()
	}
	fmt.Println(plain.Addr(), secure.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func answerBench(conn net.Conn) {
	defer conn.Close()
	answer := func(size int) []byte {
		return []byte("HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: text/plain\r\nContent-Length: " +
			strconv.Itoa(size) + "\r\n\r\n" + strings.Repeat("x", size))
	}
	small, large := answer(smallBody), answer(largeBody)
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		out := small
		if strings.HasPrefix(string(line), "GET /large ") {
			out = large
		}
		upload := line[0] == 'P'
		for len(line) > 2 {
			if line, err = r.ReadSlice('\n'); err != nil {
				return
			}
		}
		if upload {
			if _, err := r.Discard(largeBody); err != nil {
				return
			}
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// startBenchOrigin returns the addresses, and the certificate that signs for a.test.
func startBenchOrigin(b *testing.B) (plain, secure string, ca *authority) {
	b.Helper()
	exe, err := os.Executable()
	require.NoError(b, err)
	ca = newAuthority(b)
	cert, key := ca.pair(b, "a.test")
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), benchOrigin+"=1", benchOrigin+"_CERT="+string(cert), benchOrigin+"_KEY="+string(key))
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	_, err = fmt.Fscan(stdout, &plain, &secure)
	require.NoError(b, err)
	return plain, secure, ca
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lowLayer is a client as a gateway's engine is one: the bytes of a head, a connection
// and a buffer.
type lowLayer struct {
	idle   http1.Idle
	dial   func() (*http1.Conn, error)
	buffer []byte
}

func (l *lowLayer) exchange(head, body []byte) error {
	conn := l.idle.Get("a.test")
	if conn == nil {
		var err error
		if conn, err = l.dial(); err != nil {
			return err
		}
	}
	conn.Begin(time.Minute, 64<<10)
	if _, err := conn.Write(head); err != nil {
		return err
	}
	for len(body) > 0 {
		n := min(len(body), len(l.buffer))
		copy(l.buffer, body[:n]) // it comes from somewhere
		if _, err := conn.Write(l.buffer[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	conn.Await(time.Minute)
	r, err := conn.ReadResponse("GET")
	if err != nil {
		return err
	}
	if r.Status != 200 {
		return fmt.Errorf("status %d", r.Status)
	}
	for conn.HasBody() {
		conn.Await(time.Minute)
		if _, err := conn.ReadBody(l.buffer); err != nil && err != io.EOF {
			return err
		}
	}
	if !conn.End() {
		return fmt.Errorf("the connection cannot be used again")
	}
	l.idle.Put("a.test", conn)
	return nil
}

// BenchmarkClient sets the client for HTTP/1.1 beside http.Transport: as an engine uses
// it, on bytes (impl=lean), and with the types of net/http and a pool around it
// (impl=pool). The CPU time is that of the client's side alone.
func BenchmarkClient(b *testing.B) {
	plain, secure, ca := startBenchOrigin(b)
	payload := strings.Repeat("x", largeBody)
	for _, scheme := range []string{"http", "https"} {
		address := plain
		config := upstream.Config{Nodes: []upstream.Node{nodeAt(plain)}}
		if scheme == "https" {
			address = secure
			config = upstream.Config{Scheme: "https", Nodes: []upstream.Node{nodeAt(secure)}, TLS: upstream.TLS{CAPEM: ca.pem}}
		}
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		tlsConfig := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test"}
		transport := &http.Transport{DialContext: dial, TLSClientConfig: tlsConfig, DisableCompression: true}
		b.Cleanup(transport.CloseIdleConnections)
		pool := newPool(b, config, nil)
		low := &lowLayer{
			idle:   http1.Idle{Size: 1, Timeout: time.Minute, Requests: 1 << 30},
			buffer: make([]byte, 64<<10),
			dial: func() (*http1.Conn, error) {
				raw, err := net.Dial("tcp", address)
				if err != nil {
					return nil, err
				}
				conn := http1.NewConn(raw)
				if scheme == "https" {
					return conn, conn.Handshake(context.Background(), tlsConfig)
				}
				return conn, nil
			},
		}
		b.Cleanup(low.idle.CloseAll)

		for _, work := range []struct {
			name, method, path string
			up                 bool
			size               int64
		}{
			{"get", "GET", "/", false, smallBody},
			{"down", "GET", "/large", false, largeBody},
			{"up", "PUT", "/", true, largeBody},
		} {
			head := work.method + " " + work.path + " HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nUser-Agent: bench\r\n"
			body := ""
			if work.up {
				head += fmt.Sprintf("Content-Length: %d\r\n", largeBody)
				body = payload
			}
			head += "\r\n"
			overNetHTTP := func(rt http.RoundTripper) func() error {
				buffer := make([]byte, 64<<10)
				return func() error {
					var src io.Reader
					if work.up {
						src = struct{ io.Reader }{strings.NewReader(payload)}
					}
					req, err := http.NewRequest(work.method, scheme+"://a.test"+work.path, src)
					if err != nil {
						return err
					}
					if work.up {
						req.ContentLength = largeBody
					}
					req.Header["Accept"] = []string{"*/*"}
					req.Header["User-Agent"] = []string{"bench"}
					resp, err := rt.RoundTrip(req)
					if err != nil {
						return err
					}
					defer resp.Body.Close()
					_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, buffer)
					return err
				}
			}
			payloadBytes := []byte(body)
			for _, impl := range []struct {
				name string
				do   func() error
			}{
				{"net_http", overNetHTTP(transport)},
				{"lean", func() error { return low.exchange([]byte(head), payloadBytes) }},
				{"pool", overNetHTTP(pool)},
			} {
				b.Run(fmt.Sprintf("scheme=%s/work=%s/impl=%s", scheme, work.name, impl.name), func(b *testing.B) {
					require.NoError(b, impl.do()) // connects
					b.SetBytes(work.size)
					b.ReportAllocs()
					begun := cpuTime()
					for b.Loop() {
						if err := impl.do(); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(cpuTime()-begun)/float64(b.N), "cpu-ns/op")
				})
			}
		}
	}
}
