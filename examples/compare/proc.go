//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

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
