//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a program that was started, with those that it starts: they are
// one process group, and end together.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when it has ended
	log   string        // file with what it said
}

// start runs a program on one CPU. Both its outputs go to a file of the name,
// unless stdout is wanted elsewhere.
//
// The CPU is that of the thread which starts it, as taskset does: threads that the
// program starts have it from their first moment.
func start(s site, name string, cpu int, argv []string, stdout io.Writer) (*process, error) {
	p := &process{done: make(chan struct{}), log: s.file(name + ".log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = s.Dir
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "HOME="+s.Dir, "XDG_DATA_HOME="+s.Dir, "XDG_CONFIG_HOME="+s.Dir)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	// A group of its own, so that Ctrl-C comes to this program first. If this
	// program cannot stop them any more, the kernel does, with the signal upon which
	// nginx and HAProxy end their workers too.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if before, err := affinity(); err == nil && cpu >= 0 {
		if setAffinity(only(cpu)) == nil {
			defer setAffinity(before)
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	_ = p.cmd.Wait() // how it ended is in its log
	close(p.done)
}

// stop ends the process group.
func (p *process) stop() {
	p.signalGroup(syscall.SIGTERM)
	grace := time.NewTimer(3 * time.Second)
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
	}
	// What is left of the group: workers that went on without their master.
	if len(p.members()) > 0 {
		p.signalGroup(syscall.SIGKILL)
	}
	<-p.done
}

func (p *process) signalGroup(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

// ended returns why a process that should be running is not.
func (p *process) ended() error {
	select {
	case <-p.done:
		said, _ := os.ReadFile(p.log)
		return fmt.Errorf("it has ended: %s", tail(said))
	default:
		return nil
	}
}

func tail(log []byte) string {
	log = bytes.TrimSpace(log)
	return string(log[max(0, len(log)-500):])
}

// role returns the command that is this program in a role.
func role(name string, config any) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(config)
	return []string{self, "-role", name, string(text)}, err
}

// members returns the processes of the group.
func (p *process) members() []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc(5): pid (comm) state ppid pgrp ..., where comm may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(p.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually calls f until it succeeds, ever more seldom, while a process runs.
// It returns how long that took.
func eventually(ctx context.Context, p *process, f func() error) (time.Duration, error) {
	const most = 5 * time.Minute
	for start := time.Now(); ; {
		err := f()
		took := time.Since(start)
		if err == nil {
			return took, nil
		}
		if ended := p.ended(); ended != nil {
			return took, ended
		}
		if took > most {
			return took, fmt.Errorf("not within %v: %w", most, err)
		}
		if err := sleep(ctx, max(took/50, 500*time.Microsecond)); err != nil {
			return took, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
