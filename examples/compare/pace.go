//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// pace gives out the times at which operations are due, if they have any, until
// the load is over.
// Whoever takes one late has waited that long: the latency counts from when it was
// due, so that a proxy that stalls is not asked less often (coordinated omission).
//
// The clock is a timerfd, because a timer of Go's is late by up to a
// millisecond when its process has nothing else to do, many times what a request
// takes.
func (l *load) pace(t *tally) {
	if l.jobs == nil {
		return
	}
	defer close(l.jobs)
	if err := l.tick(t); err != nil {
		t.fail(err)
		l.phase.Store(over) // without work, the workers would wait for ever
	}
}

func (l *load) tick(t *tally) error {
	interval := time.Second / time.Duration(l.Work.Rate)
	timer, err := newTicker(interval)
	if err != nil {
		return err
	}
	defer timer.Close()
	due := time.Now()
	for l.phase.Load() != over {
		ticks, err := timer.ticks()
		if err != nil {
			return err
		}
		for range ticks {
			due = due.Add(interval)
			select {
			case l.jobs <- due:
			default:
				t.fail(errors.New("answers are a second late"))
			}
		}
	}
	return nil
}

type ticker struct{ *os.File }

func newTicker(interval time.Duration) (ticker, error) {
	const monotonic = 1 // CLOCK_MONOTONIC
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return ticker{}, os.NewSyscallError("timerfd_create", errno)
	}
	t := ticker{os.NewFile(fd, "timerfd")} // in the runtime's poller
	spec := [2]syscall.Timespec{syscall.NsecToTimespec(int64(interval)), syscall.NsecToTimespec(int64(interval))}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		t.Close()
		return ticker{}, os.NewSyscallError("timerfd_settime", errno)
	}
	return t, nil
}

// ticks waits for the next tick, and returns how many there were since the last.
func (t ticker) ticks() (uint64, error) {
	var count [8]byte
	_, err := t.Read(count[:])
	return binary.NativeEndian.Uint64(count[:]), err
}
