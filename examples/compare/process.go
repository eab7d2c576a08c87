//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
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

// cpuTime returns the CPU time that processes have used, in user and in system
// mode, all their threads included, to the nanosecond: /proc counts in steps of
// ten milliseconds.
func cpuTime(pids []int) (time.Duration, error) {
	var total time.Duration
	for _, pid := range pids {
		// The clock that clock_getcpuclockid(3) returns for a process.
		const sched = 2
		var t syscall.Timespec
		if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(^pid<<3|sched), uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, errno)
		}
		total += time.Duration(t.Nano())
	}
	return total, nil
}

// memory returns the proportional set size of processes, in bytes: pages that
// several of them share count once.
func memory(pids []int) (int, error) {
	total := 0
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		_, rest, found := strings.Cut(string(text), "\nPss:")
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			return 0, errors.New("smaps_rollup has no Pss")
		}
		kib, err := strconv.Atoi(fields[0])
		if err != nil {
			return 0, err
		}
		total += kib << 10
	}
	return total, nil
}

// A cpuMask has a bit for each CPU, as sched_setaffinity(2) takes it.
type cpuMask [16]uint64

func only(cpu int) (m cpuMask) {
	m[cpu/64] |= 1 << (cpu % 64)
	return m
}

func (m cpuMask) cpus() (list []int) {
	for cpu := range len(m) * 64 {
		if m[cpu/64]&(1<<(cpu%64)) != 0 {
			list = append(list, cpu)
		}
	}
	return list
}

// affinity returns the CPUs that the calling thread may run on.
func affinity() (m cpuMask, err error) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(m), uintptr(unsafe.Pointer(&m))); errno != 0 {
		return m, errno
	}
	return m, nil
}

func setAffinity(m cpuMask) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(m), uintptr(unsafe.Pointer(&m))); errno != 0 {
		return errno
	}
	return nil
}

// Places are the CPUs that processes are put on; -1 is any.
type places struct{ proxy, load, origin int }

// place gives the proxy a CPU of its own where there are two, and the load and the
// origin one each where there are three.
func place() places {
	m, err := affinity()
	cpus := m.cpus()
	switch {
	case err != nil || len(cpus) < 2:
		return places{-1, -1, -1}
	case len(cpus) == 2:
		return places{cpus[0], cpus[1], cpus[1]}
	default:
		return places{cpus[0], cpus[1], cpus[2]}
	}
}

// cpus returns the CPUs that are used, none if that is not known.
func (p places) cpus() []int {
	if p.proxy < 0 {
		return nil
	}
	return slices.Compact([]int{p.proxy, p.load, p.origin})
}

// raiseFileLimit makes room for so many open files, in the processes that are
// started too.
func raiseFileLimit(files int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	want := uint64(files)
	if limit.Max < want {
		limit.Max = want // a privileged process may
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files: %w (fewer idle connections need fewer: -idle)", files, err)
	}
	return nil
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
