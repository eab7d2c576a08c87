//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// saturated is the share of its core that a proxy uses when it is what limits the
// throughput.
const saturated = 0.9

// markdown writes the report.
func (r *results) markdown(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s.\n", machine(), runtime.Version())
	fmt.Fprintf(&b, "Medians of the rounds (%d, of %v each), without those that other programs disturbed, where there are others. Less is better; a ratio below 1 is the gateway's lead.\n", r.rounds, r.time)
	spreads, others := r.reliability()
	if len(spreads) > 0 {
		fmt.Fprintf(&b, "The rounds of a CPU time lie %.0f %% apart, %.0f %% at most.\n", 100*median(spreads), 100*slices.Max(spreads))
	}
	if len(others) > 0 {
		fmt.Fprintf(&b, "Other programs had %.0f %% of the cores, %.0f %% at most: from %.0f %% on, figures are of little worth.\n", 100*median(others), 100*slices.Max(others), 100*quiet)
	}
	b.WriteString("\n")

	toPeer, toNetHTTP := r.has(func(p proxy) bool { return p.peer }), r.has(func(p proxy) bool { return p.name == netHTTPName })
	if !r.has(func(p proxy) bool { return p.name == gatewayName }) {
		toPeer, toNetHTTP = false, false
	}
	head := append([]string{""}, r.columns()...)
	if toPeer {
		head = append(head, "to the better of nginx and HAProxy")
	}
	if toNetHTTP {
		head = append(head, "to net/http")
	}
	heading(&b, head)
	for _, line := range r.rows() {
		cells := []string{line.title}
		for _, c := range line.cells {
			cells = append(cells, c.text())
		}
		peer, netHTTP := r.ratios(line)
		if toPeer {
			cells = append(cells, ratio(peer))
		}
		if toNetHTTP {
			cells = append(cells, ratio(netHTTP))
		}
		tableRow(&b, cells)
	}

	if busy := r.throughput(); len(busy) > 0 {
		fmt.Fprintf(&b, "\nThroughput, operations a second. With ≥, the proxy had time left: it was the load that had none.\n\n")
		heading(&b, append([]string{""}, r.columns()...))
		for _, cells := range busy {
			tableRow(&b, cells)
		}
	}
	if faults := r.faults(); len(faults) > 0 {
		b.WriteString("\nErrors:\n\n")
		for _, fault := range faults {
			fmt.Fprintf(&b, "- %s\n", fault)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// throughput returns the rows of those tests that go as fast as they can.
func (r *results) throughput() (rows [][]string) {
	for _, t := range r.tests {
		if t.load.Kind == kindIdle || t.rated {
			continue
		}
		cells := []string{t.title}
		for _, p := range r.proxies {
			c := r.cell(t, p, operations)
			text := c.text()
			if c.value > 0 && r.cell(t, p, busyShare).value < saturated {
				text = "≥ " + text
			}
			cells = append(cells, text)
		}
		rows = append(rows, cells)
	}
	return rows
}

func (r *results) has(is func(proxy) bool) bool {
	return slices.ContainsFunc(r.proxies, is)
}

func (r *results) columns() (titles []string) {
	for _, p := range r.proxies {
		titles = append(titles, strings.TrimSpace(p.name+" "+p.version))
	}
	return titles
}

func heading(b *strings.Builder, cells []string) {
	tableRow(b, cells)
	b.WriteString("|---" + strings.Repeat("|---:", len(cells)-1) + "|\n")
}

func tableRow(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (c cell) text() string {
	text := number(c.value)
	if c.errors > 0 {
		text += " (" + counted(c.errors) + ")"
	}
	return text
}

// number writes a value with three digits that count.
func number(v float64) string {
	switch {
	case v == 0:
		return "-"
	case math.Abs(v) < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case math.Abs(v) < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

func ratio(v float64) string {
	if v == 0 {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// machine says what the figures were measured on.
func machine() string {
	model := runtime.GOARCH
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	release := "Linux"
	var uname syscall.Utsname
	if syscall.Uname(&uname) == nil {
		for _, c := range uname.Release {
			if c == 0 {
				break
			}
			if len(release) == len("Linux") {
				release += " "
			}
			release += string(rune(c))
		}
	}
	mask, _ := affinity()
	return fmt.Sprintf("%s, %d CPUs; %s", model, len(mask.cpus()), release)
}
