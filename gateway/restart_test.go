//go:build unix

package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// process says which process a gateway is in, to processes that are started by a test.
const process = "SALLYPORT_TEST_PROCESS"

// newProcessGateway is a gateway that answers with the name of its process.
func newProcessGateway(t testing.TB, name string) *gateway.Server {
	t.Helper()
	gw := must(gateway.New(nil))
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ssltest.NewCA(t, "servers").Server("a.test")}}},
		Routes:   []route.Config{local("1", "/*", name)},
	}})
	require.NoError(t, err)
	return gw
}

// serveBoth serves a plain listener and one for TLS, until the gateway is shut down.
func serveBoth(t testing.TB, gw *gateway.Server, plain, secure net.Listener) (wait func()) {
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := gw.Serve(plain); err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	serving.Go(func() {
		if err := gw.ServeTLS(secure); err != http.ErrServerClosed {
			t.Errorf("ServeTLS: %v", err)
		}
	})
	return serving.Wait
}

// TestProcess is the process of TestRestart. It serves the listeners that it has
// inherited, and drains when its input ends.
func TestProcess(t *testing.T) {
	name := os.Getenv(process)
	if name == "" {
		t.Skip("this is for TestRestart")
	}
	listeners, err := inherited()
	require.NoError(t, err)
	require.Len(t, listeners, 2)
	gw := newProcessGateway(t, name)
	wait := serveBoth(t, gw, listeners[0], listeners[1])
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, gw.Shutdown(ctx))
	wait()
}

// A child is a process that serves.
type child struct {
	*exec.Cmd
	input io.Closer
	out   *bufio.Reader
}

// startHeir starts a process with the listeners, and returns when it serves.
func startHeir(t *testing.T, name string, listeners ...*net.TCPListener) *child {
	t.Helper()
	cmd, err := heir(os.Args[0], listeners...)
	require.NoError(t, err)
	cmd.Args = append(cmd.Args, "-test.run=^TestProcess$")
	cmd.Env = append(cmd.Env, process+"="+name)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for _, file := range cmd.ExtraFiles {
		require.NoError(t, file.Close())
	}
	c := &child{cmd, input, bufio.NewReader(out)}
	line, err := c.out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return c
}

// end lets a process drain, and waits for its end.
func (c *child) end(t *testing.T) {
	t.Helper()
	require.NoError(t, c.input.Close())
	rest, err := io.ReadAll(c.out)
	require.NoError(t, err)
	require.NoError(t, c.Wait(), "%s", rest)
}

// Three processes follow one another on two listeners, under load. No request is lost,
// with connections that are kept and with new ones, with TLS and without.
func TestRestart(t *testing.T) {
	wantNoLeak(t)
	plain, secure := listen(t).(*net.TCPListener), listen(t).(*net.TCPListener)
	held := []*net.TCPListener{duplicate(t, plain), duplicate(t, secure)}
	first := newProcessGateway(t, "first")
	wait := serveBoth(t, first, plain, secure)

	stop := make(chan struct{})
	var load sync.WaitGroup
	var counts [3]atomic.Int64
	names := []string{"first", "second", "third"}
	ask := func(url string, kept bool) {
		transport := &http.Transport{DisableKeepAlives: !kept, TLSClientConfig: ssltest.ClientConfig("a.test")}
		transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: patience}
		for {
			select {
			case <-stop:
				return
			default:
			}
			res, err := client.Get(url)
			if err != nil {
				t.Errorf("lost: %v", err)
				return
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != 200 {
				t.Errorf("lost: %d, %v", res.StatusCode, err)
				return
			}
			for i, name := range names {
				if string(body) == name {
					counts[i].Add(1)
				}
			}
		}
	}
	for range 3 {
		for _, kept := range []bool{true, false} {
			load.Go(func() { ask("http://"+plain.Addr().String()+"/", kept) })
			load.Go(func() { ask("https://"+secure.Addr().String()+"/", kept) })
		}
	}
	// Somebody who connects, and takes his time.
	slow := func(say func(net.Conn)) *rawConn {
		conn, err := net.Dial("tcp", plain.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		say(conn)
		return &rawConn{conn, t, bufio.NewReader(conn)}
	}
	served := func(i int) {
		t.Helper()
		before := counts[i].Load()
		eventually(t, func() bool { return counts[i].Load() > before+100 }, names[i]+" serves nothing")
	}

	served(0)
	half := slow(func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\n") })
	second := startHeir(t, "second", plain, secure)
	drained := make(chan error)
	go func() { drained <- first.Shutdown(t.Context()) }()
	served(1)
	half.write("Host: a.test\r\n\r\n")
	res, _ := half.answer("GET")
	require.Equal(t, 200, res.StatusCode)
	require.NoError(t, <-drained)
	wait()
	// The next one is given them by who holds them, as systemd does.
	third := startHeir(t, "third", held...)
	second.end(t)
	served(2)
	close(stop)
	load.Wait()
	third.end(t)
	for _, l := range held {
		require.NoError(t, l.Close())
		_, err := net.Dial("tcp", l.Addr().String())
		require.Error(t, err, "somebody has the listener still")
	}
}

// duplicate returns the listener once more.
func duplicate(t *testing.T, l *net.TCPListener) *net.TCPListener {
	t.Helper()
	file, err := l.File()
	require.NoError(t, err)
	defer file.Close()
	again, err := net.FileListener(file)
	require.NoError(t, err)
	return again.(*net.TCPListener)
}
