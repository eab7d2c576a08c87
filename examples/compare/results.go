//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Results are the samples of all rounds.
type results struct {
	options
	proxies []proxy
	tests   []test
	samples map[string][]sample // by the ID of the test and the name of the proxy
	names   map[string]namesSample
	missing []string // what could not be measured, and why
}

func newResults(o options, proxies []proxy, tests []test) *results {
	return &results{options: o, proxies: proxies, tests: tests, samples: map[string][]sample{}, names: map[string]namesSample{}}
}

func (r *results) add(p proxy, t test, v sample, err error) {
	if err != nil {
		r.missing = append(r.missing, fmt.Sprintf("%s, %s: not measured: %v", t.title, p.name, err))
		return
	}
	key := t.id + " " + p.name
	r.samples[key] = append(r.samples[key], v)
}

func (r *results) addNames(p proxy, v namesSample, err error) {
	if err != nil {
		r.missing = append(r.missing, fmt.Sprintf("%d names, %s: not measured: %v", r.options.names, p.name, err))
		return
	}
	r.names[p.name] = v
}

// used returns the rounds that count: those that other programs left alone, or all
// if there is none.
func (r *results) used(t test, p proxy) []sample {
	all := r.samples[t.id+" "+p.name]
	var alone []sample
	for _, v := range all {
		if v.others <= quiet {
			alone = append(alone, v)
		}
	}
	if len(alone) == 0 {
		return all
	}
	return alone
}

// faults says what went wrong, a line each. A wrong answer is an error in every
// round; that a rate was not kept, in those that count.
func (r *results) faults() []string {
	faults := slices.Clone(r.missing)
	for _, t := range r.tests {
		for _, p := range r.proxies {
			for _, v := range r.samples[t.id+" "+p.name] {
				if v.errors > 0 {
					faults = append(faults, fmt.Sprintf("%s, %s%s", t.title, p.name, v.wrong()))
				}
			}
			for _, v := range r.used(t, p) {
				if v.short != "" {
					faults = append(faults, fmt.Sprintf("%s, %s: %s", t.title, p.name, v.short))
				}
			}
		}
	}
	for i, fault := range faults {
		faults[i] = strings.Join(strings.Fields(fault), " ") // of one line
	}
	return faults
}

func (r *results) failed() error {
	if n := len(r.faults()); n > 0 {
		return fmt.Errorf("errors in measurements: %d", n)
	}
	return nil
}

// A row is one figure of all proxies, of which less is better.
type row struct {
	title string
	cells []cell // in the order of the proxies
}

type cell struct {
	value  float64 // 0 is none
	errors int
}

// rows are the figures that are compared, in the order of the report.
func (r *results) rows() []row {
	var rows []row
	for _, t := range r.tests {
		switch {
		case t.load.Kind == kindIdle:
			rows = append(rows,
				r.row(t, fmt.Sprintf("one of %d %s, KiB", r.idle, t.title), func(v sample) float64 { return v.idle / 1024 }),
				r.row(t, "the same after a collection of garbage, KiB", func(v sample) float64 { return v.collected / 1024 }))
		case t.rated:
			at := fmt.Sprintf("%s, %d a second: ", t.title, r.rate)
			rows = append(rows,
				r.row(t, at+"CPU, µs", cpuMicros),
				r.row(t, at+"p50, µs", func(v sample) float64 { return micros(v.p50) }),
				r.row(t, at+"p99, µs", func(v sample) float64 { return micros(v.p99) }))
		default:
			rows = append(rows, r.row(t, t.title+": CPU, µs", cpuMicros))
		}
	}
	if r.options.names == 0 {
		return rows
	}
	for _, of := range []struct {
		title string
		value func(namesSample) float64
	}{
		{"start, s", func(v namesSample) float64 { return v.start.Seconds() }},
		{"memory, MiB", func(v namesSample) float64 { return float64(v.memory) / (1 << 20) }},
		{"one certificate replaced, ms", func(v namesSample) float64 {
			if v.replaced == 0 {
				v.replaced = v.reloaded
			}
			return millis(v.replaced)
		}},
		{"all of them loaded again, ms", func(v namesSample) float64 { return millis(v.reloaded) }},
	} {
		line := row{title: fmt.Sprintf("%d names: %s", r.options.names, of.title)}
		for _, p := range r.proxies {
			line.cells = append(line.cells, cell{value: of.value(r.names[p.name])})
		}
		rows = append(rows, line)
	}
	return rows
}

func cpuMicros(v sample) float64     { return micros(v.perOp) }
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func operations(v sample) float64    { return v.rate }
func busyShare(v sample) float64     { return v.busy }

func (r *results) row(t test, title string, value func(sample) float64) row {
	line := row{title: title}
	for _, p := range r.proxies {
		line.cells = append(line.cells, r.cell(t, p, value))
	}
	return line
}

// cell returns the median of the rounds that count, and the errors of all.
func (r *results) cell(t test, p proxy, value func(sample) float64) cell {
	var values []float64
	var c cell
	for _, v := range r.used(t, p) {
		values = append(values, value(v))
		if v.short != "" {
			c.errors++
		}
	}
	for _, v := range r.samples[t.id+" "+p.name] {
		c.errors += v.errors
	}
	c.value = median(values)
	return c
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

// ratios returns the gateway's value to that of the better of nginx and HAProxy,
// and to net/http's; 0 is none.
func (r *results) ratios(line row) (toPeer, toNetHTTP float64) {
	var own, best, netHTTP float64
	for i, p := range r.proxies {
		v := line.cells[i].value
		switch {
		case p.name == gatewayName:
			own = v
		case p.name == netHTTPName:
			netHTTP = v
		case p.peer && v > 0 && (best == 0 || v < best):
			best = v
		}
	}
	if best > 0 {
		toPeer = own / best
	}
	if netHTTP > 0 {
		toNetHTTP = own / netHTTP
	}
	return toPeer, toNetHTTP
}

// reliability says how far the CPU times of the rounds that count lie apart, as a
// share of their median, and which share of the cores other programs had.
func (r *results) reliability() (spreads, others []float64) {
	for _, t := range r.tests {
		for _, p := range r.proxies {
			var values []float64
			for _, v := range r.used(t, p) {
				if v.perOp > 0 {
					values = append(values, cpuMicros(v))
					others = append(others, v.others)
				}
			}
			if len(values) > 1 {
				spreads = append(spreads, (slices.Max(values)-slices.Min(values))/median(values))
			}
		}
	}
	return spreads, others
}

// line is what is said of a sample while the comparison goes on.
func (v sample) line(err error) string {
	switch {
	case err != nil:
		return err.Error()
	case v.idle != 0:
		return fmt.Sprintf("%.1f KiB, %.1f after a collection%s", v.idle/1024, v.collected/1024, v.wrong())
	case v.p99 > 0:
		return fmt.Sprintf("%.1f µs, p50 %v, p99 %v, %.0f %% others%s", cpuMicros(v), v.p50, v.p99, 100*v.others, v.wrong())
	default:
		return fmt.Sprintf("%.1f µs, %.0f/s, %.0f %% busy, %.0f %% others%s", cpuMicros(v), v.rate, 100*v.busy, 100*v.others, v.wrong())
	}
}

func (v sample) wrong() string {
	switch {
	case v.errors > 0:
		return fmt.Sprintf(", %s, the first: %s", counted(v.errors), v.first)
	case v.short != "":
		return ", " + v.short
	default:
		return ""
	}
}

func counted(errors int) string {
	if errors == 1 {
		return "1 error"
	}
	return fmt.Sprintf("%d errors", errors)
}

func (v namesSample) line(err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("start %v, %d MiB, replaced in %v, reloaded in %v", v.start, v.memory>>20, v.replaced, v.reloaded)
}
