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
// unit (sd_listen_fds(3)), or from the process before it, by succession. They are the
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

// ready tells the process before this one, if there is one, that it can go. Call it when
// the configuration is in force and the listeners are being served: clients that connect
// meanwhile wait in their queues.
func ready() {
	if fd, err := strconv.Atoi(os.Getenv("READY_FD")); err == nil {
		file := os.NewFile(uintptr(fd), "READY_FD")
		_, _ = file.Write([]byte{1})
		_ = file.Close()
	}
}

// succession starts a process that is given listeners: a [*net.TCPListener] or a
// [*net.UnixListener]. They stay open, with whoever waits to be accepted, for as long as one
// process has them. It returns nil when the new process says that it is ready: then shut
// down. If that process ends before, or takes too long, the error says so, and everything
// goes on as before.
func succession(cmd *exec.Cmd, patience time.Duration, listeners ...interface{ File() (*os.File, error) }) error {
	given := func() {
		for _, file := range cmd.ExtraFiles {
			_ = file.Close()
		}
		cmd.ExtraFiles = nil
	}
	defer given()
	for _, l := range listeners {
		file, err := l.File()
		if err != nil {
			return err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	says, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer says.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, w)
	n := len(listeners)
	cmd.Env = append(cmd.Environ(), "LISTEN_PID=", "LISTEN_FDS="+strconv.Itoa(n), "READY_FD="+strconv.Itoa(3+n))
	if err := cmd.Start(); err != nil {
		return err
	}
	given() // or the pipe would not end with the new process
	err = says.SetReadDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = says.Read(make([]byte, 1))
	}
	if err != nil {
		_ = cmd.Process.Kill()
		return fmt.Errorf("the new process did not get ready (%w): %v", err, cmd.Wait())
	}
	return nil
}

// A restart that loses no request: the new process is given the listener and serves it,
// then the old one shuts down. Here both are in one process; between two, succession,
// inherited and ready, in the source of this example, carry the listener over. With
// systemd, a .socket unit holds it, and either process is given it.
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
