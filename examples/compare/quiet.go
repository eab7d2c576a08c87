//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quiet is the share of the cores that other programs may have before a
// measurement is worth repeating. The kernel's own threads are among them.
const quiet = 0.05

// awaitQuiet waits until the machine has had little to do for a moment, or until
// a time.
func awaitQuiet(ctx context.Context, end time.Time) error {
	const moment = 300 * time.Millisecond
	for time.Now().Before(end) {
		before, err := busyTime(nil)
		if err != nil {
			return err
		}
		if err := sleep(ctx, moment); err != nil {
			return err
		}
		after, err := busyTime(nil)
		if err != nil {
			return err
		}
		if (after - before).Seconds() <= quiet*moment.Seconds()*float64(runtime.NumCPU()) {
			break
		}
	}
	return nil
}

// busyTime returns how long CPUs have been doing anything, or all of them if none
// are named. It counts in hundredths of a second.
func busyTime(cpus []int) (time.Duration, error) {
	lines := []string{"cpu"} // the sum
	for i, cpu := range cpus {
		if i == 0 {
			lines = nil
		}
		lines = append(lines, "cpu"+strconv.Itoa(cpu))
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var busy time.Duration
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !slices.Contains(lines, fields[0]) {
			continue
		}
		// proc(5): user nice system idle iowait irq softirq steal. What is stolen was
		// another machine's.
		for i, field := range fields[1:9] {
			if i == 3 || i == 4 {
				continue
			}
			ticks, err := strconv.Atoi(field)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %w", err)
			}
			busy += time.Duration(ticks) * (time.Second / 100) // USER_HZ, of every Linux
		}
	}
	return busy, nil
}

// A meter tells the time that a proxy uses from that of others.
type meter struct {
	proxy, own []int // processes: the proxy's, and those of the comparison
	cpus       []int // that they run on
}

// A reading is what a meter says at a moment, or between two.
type reading struct {
	at               time.Time
	proxy, own, busy time.Duration
}

func (m meter) read() (r reading, err error) {
	r.at = time.Now()
	if r.proxy, err = cpuTime(m.proxy); err != nil {
		return r, err
	}
	if r.own, err = cpuTime(m.own); err != nil {
		return r, err
	}
	r.busy, err = busyTime(m.cpus)
	return r, err
}

// others returns which share of the CPUs other processes had between two readings.
func (m meter) others(before, after reading) float64 {
	cpus := max(1, len(m.cpus))
	others := after.busy - before.busy - (after.proxy - before.proxy) - (after.own - before.own)
	return max(0, others.Seconds()/after.at.Sub(before.at).Seconds()/float64(cpus))
}
