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
	faults  []string
}

func newResults(o options, proxies []proxy, tests []test) *results {
	return &results{options: o, proxies: proxies, tests: tests, samples: map[string][]sample{}, names: map[string]namesSample{}}
}

func (r *results) add(p proxy, t test, v sample, err error) {
	switch {
	case err != nil:
		r.fault("%s, %s: not measured: %v", t.title, p.name, err)
		return
	case v.errors > 0:
		r.fault("%s, %s: %s, the first: %s", t.title, p.name, counted(v.errors), v.first)
	}
	key := t.id + " " + p.name
	r.samples[key] = append(r.samples[key], v)
}

func (r *results) addNames(p proxy, v namesSample, err error) {
	if err != nil {
		r.fault("%d names, %s: not measured: %v", r.options.names, p.name, err)
		return
	}
	r.names[p.name] = v
}

func (r *results) fault(format string, args ...any) {
	r.faults = append(r.faults, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

func (r *results) failed() error {
	if len(r.faults) > 0 {
		return fmt.Errorf("errors in measurements: %d", len(r.faults))
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
				r.row(t, fmt.Sprintf("one of %d idle connections, KiB", r.idle), func(v sample) float64 { return v.idle / 1024 }),
				r.row(t, "the same after a collection of garbage, KiB", func(v sample) float64 { return v.collected / 1024 }))
		case t.rated:
			at := fmt.Sprintf("small GET, HTTP/1.1, %d a second: ", r.rate)
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

// cell returns the median of the rounds, and the errors of all of them.
func (r *results) cell(t test, p proxy, value func(sample) float64) cell {
	var values []float64
	var c cell
	for _, v := range r.samples[t.id+" "+p.name] {
		values = append(values, value(v))
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

// spread returns how far the CPU times of a cell's rounds lie apart, as a share of
// their median: in half of the cells, and at most.
func (r *results) spread() (half, most float64) {
	var spreads []float64
	for _, samples := range r.samples {
		var values []float64
		for _, v := range samples {
			if v.perOp > 0 {
				values = append(values, cpuMicros(v))
			}
		}
		if len(values) > 1 {
			spreads = append(spreads, (slices.Max(values)-slices.Min(values))/median(values))
		}
	}
	return middle(spreads)
}

// others returns which share of the cores other programs had: in half of the
// measurements, and at most.
func (r *results) others() (half, most float64) {
	var shares []float64
	for _, samples := range r.samples {
		for _, v := range samples {
			if v.perOp > 0 {
				shares = append(shares, v.others)
			}
		}
	}
	return middle(shares)
}

func middle(values []float64) (half, most float64) {
	if len(values) == 0 {
		return 0, 0
	}
	return median(values), slices.Max(values)
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
	if v.errors == 0 {
		return ""
	}
	return fmt.Sprintf(", %s: %s", counted(v.errors), v.first)
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
