//go:build unix

package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
)

// inherited returns the listeners that came with the process: from systemd, by a .socket
// unit (sd_listen_fds(3)), or from the process before it, by heir. They are the
// descriptors from 3 on.
func inherited() (listeners []net.Listener, err error) {
	if pid := os.Getenv("LISTEN_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // they are another process's
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return nil, nil
	}
	for fd := 3; fd < 3+n; fd++ {
		file := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		l, err := net.FileListener(file) // a duplicate
		_ = file.Close()
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// heir returns a command that is given listeners. They stay open, with whoever waits to
// be accepted, for as long as one process has them.
func heir(program string, listeners ...*net.TCPListener) (*exec.Cmd, error) {
	cmd := exec.Command(program)
	for _, l := range listeners {
		file, err := l.File()
		if err != nil {
			return nil, err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, file) // to be closed after Start
	}
	cmd.Env = append(os.Environ(), "LISTEN_PID=", "LISTEN_FDS="+strconv.Itoa(len(listeners)))
	return cmd, nil
}

// A restart that loses no request: the new process is given the listener and serves it,
// then the old one shuts down. Here both are in one process; between two, inherited and
// heir, in the source of this example, carry the listener over. With systemd, a .socket
// unit holds it, and either process is given it.
func Example_restart() {
	serving := func(who string) *gateway.Server {
		gw, err := gateway.New(nil)
		if err != nil {
			panic(err)
		}
		_, err = gw.Configure(gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, who)
		})}}})
		if err != nil {
			panic(err)
		}
		return gw
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	url := "http://" + l.Addr().String()
	before := serving("the old one")
	go func() { _ = before.Serve(l) }() // ends with ErrServerClosed
	show(http.Get(url))

	file, err := l.(*net.TCPListener).File()
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := net.FileListener(file)
	_ = file.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	after := serving("the new one")
	defer after.Close()
	go func() { _ = after.Serve(again) }()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := before.Shutdown(ctx); err != nil { // no request is lost
		fmt.Println(err)
	}
	show(http.Get(url))
	// Output:
	// 200 the old one
	// 200 the new one
}
