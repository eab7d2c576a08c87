//go:build linux

package main

import (
	"slices"
	"syscall"
	"unsafe"
)

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
