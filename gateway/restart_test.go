//go:build unix

package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

// serveAll serves listeners, the second with TLS, until the gateway is shut down.
func serveAll(t testing.TB, gw *gateway.Server, listeners ...net.Listener) (wait func()) {
	var serving sync.WaitGroup
	for i, l := range listeners {
		serve := gw.Serve
		if i == 1 {
			serve = gw.ServeTLS
		}
		serving.Go(func() {
			if err := serve(l); err != http.ErrServerClosed {
				t.Errorf("serving listener %d: %v", i, err)
			}
		})
	}
	return serving.Wait
}

// TestProcess is the process of TestRestart. It serves the listeners that it has
// inherited, and drains when its input ends. One with the name "fails" ends before it is
// ready.
func TestProcess(t *testing.T) {
	name := os.Getenv(process)
	if name == "" {
		t.Skip("this is for TestRestart")
	}
	listeners, err := inherited()
	require.NoError(t, err)
	require.Len(t, listeners, 3)
	if name == "fails" {
		return
	}
	gw := newProcessGateway(t, name)
	wait := serveAll(t, gw, listeners...)
	ready()
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
	out   *bytes.Buffer
}

// filer is a listener that can be given to another process.
type filer interface {
	net.Listener
	File() (*os.File, error)
}

// successor starts a process with the listeners, and returns when it serves.
func successor(t *testing.T, name string, listeners ...filer) (*child, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), process+"="+name)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	var given []interface{ File() (*os.File, error) }
	for _, l := range listeners {
		given = append(given, l)
	}
	if err := succession(cmd, patience, given...); err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &child{cmd, input, out}, nil
}

// end lets a process drain, and waits for its end.
func (c *child) end(t *testing.T) {
	t.Helper()
	require.NoError(t, c.input.Close())
	err := c.Wait()
	require.NoError(t, err, "%s", c.out)
}

// Three processes follow one another on three listeners, under load. No request is lost,
// with connections that are kept and with new ones, with TLS and without, and over a Unix
// socket. One that ends before it is ready changes nothing.
func TestRestart(t *testing.T) {
	wantNoLeak(t)
	plain, secure := listen(t).(*net.TCPListener), listen(t).(*net.TCPListener)
	path := filepath.Join(t.TempDir(), "gateway.sock")
	local, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	local.SetUnlinkOnClose(false)
	held := []filer{duplicate(t, plain), duplicate(t, secure), duplicate(t, local)}
	first := newProcessGateway(t, "first")
	wait := serveAll(t, first, plain, secure, local)

	stop := make(chan struct{})
	var load sync.WaitGroup
	var counts [3]atomic.Int64
	names := []string{"first", "second", "third"}
	ask := func(url string, l net.Listener, kept bool) {
		transport := &http.Transport{DisableKeepAlives: !kept, TLSClientConfig: ssltest.ClientConfig("a.test")}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
		}
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
			load.Go(func() { ask("http://a.test/", plain, kept) })
			load.Go(func() { ask("https://a.test/", secure, kept) })
			load.Go(func() { ask("http://a.test/", local, kept) })
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
	_, err = successor(t, "fails", plain, secure, local)
	require.ErrorContains(t, err, "the new process did not get ready (EOF)")
	served(0)
	second, err := successor(t, "second", plain, secure, local)
	require.NoError(t, err)
	drained := make(chan error)
	go func() { drained <- first.Shutdown(t.Context()) }()
	served(1)
	half.write("Host: a.test\r\n\r\n")
	res, _ := half.answer("GET")
	require.Equal(t, 200, res.StatusCode)
	require.NoError(t, <-drained)
	wait()
	// The next one is given them by who holds them, as systemd does.
	third, err := successor(t, "third", held...)
	require.NoError(t, err)
	second.end(t)
	served(2)
	close(stop)
	load.Wait()
	third.end(t)
	for _, l := range held {
		require.NoError(t, l.Close())
		_, err := net.Dial(l.Addr().Network(), l.Addr().String())
		require.Error(t, err, "somebody has the listener still")
	}
}

// duplicate returns the listener once more.
func duplicate(t *testing.T, l filer) filer {
	t.Helper()
	file, err := l.File()
	require.NoError(t, err)
	defer file.Close()
	again, err := net.FileListener(file)
	require.NoError(t, err)
	return again.(filer)
}
