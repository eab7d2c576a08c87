//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The processes of a comparison are the test's own binary, as otherwise they are
// the program's.
func TestMain(m *testing.M) {
	roles["careless"] = runCareless
	roles["wrong status"] = faulty(func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, smallBody)
	})
	roles["wrong length"] = faulty(func(w http.ResponseWriter) { io.WriteString(w, smallBody[1:]) })
	if len(os.Args) > 1 && os.Args[1] == "-role" {
		main()
		return
	}
	os.Exit(m.Run())
}

// inOwnDir has everything that a comparison leaves behind lie in one directory,
// and fails a test after which anything is left: a file, or a process, which has
// the directory among its arguments.
func inOwnDir(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
		require.Empty(t, processes(dir))
	})
}

// processes returns the arguments of the processes that have a text among them.
func processes(text string) (found []string) {
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range commands {
		if command, _ := os.ReadFile(path); bytes.Contains(command, []byte(text)) {
			found = append(found, string(command))
		}
	}
	return found
}

var small = []string{"-rounds", "1", "-time", "50ms", "-settle", "100ms", "-idle", "20", "-names", "5", "-rate", "500"}

func TestCompare(t *testing.T) {
	inOwnDir(t)
	svg := filepath.Join(t.TempDir(), "chart.svg")
	var report bytes.Buffer
	err := run(t.Context(), append(small, "-only", "sallyport,net/http", "-svg", svg), &report, t.Output())

	lines := strings.Split(report.String(), "\n")
	if err != nil {
		// How fast the machine is under test is no concern of the test's.
		for _, line := range lines {
			if strings.HasPrefix(line, "- ") {
				require.Contains(t, line, "operations a second", report.String())
			}
		}
		require.ErrorContains(t, err, "errors in measurements")
	}
	require.Contains(t, lines, "|  | sallyport | net/http | to net/http |")
	cells := map[string][]string{}
	for _, line := range lines {
		if strings.HasPrefix(line, "| ") {
			all := strings.Split(strings.Trim(line, "| "), " | ")
			cells[all[0]] = all[1:]
		}
	}
	for _, title := range []string{
		"small GET, HTTP/1.1: CPU, µs", "small GET, HTTP/2: CPU, µs",
		"small GET, HTTP/1.1, 500 a second: CPU, µs", "small GET, HTTP/1.1, 500 a second: p99, µs",
		"full handshake + GET: CPU, µs", "resumed handshake + GET: CPU, µs", "1 MiB download: CPU, µs", "1 MiB upload: CPU, µs",
		"one of 20 idle connections, KiB", "5 names: start, s", "5 names: memory, MiB", "5 names: one certificate replaced, ms",
		"small GET, HTTP/1.1", "1 MiB upload",
	} {
		require.GreaterOrEqual(t, len(cells[title]), 2, "%s\n%s", title, report.String())
		for _, cell := range cells[title][:2] {
			require.NotEqual(t, "-", cell, "%s\n%s", title, report.String())
		}
	}

	chart, err := os.ReadFile(svg)
	require.NoError(t, err)
	require.Equal(t, 2*len(lines[indexOf(lines, "| small GET, HTTP/1.1: CPU"):indexOf(lines, "| 5 names: all")+1]), bytes.Count(chart, []byte("<rect ")))
	for decoder := xml.NewDecoder(bytes.NewReader(chart)); ; {
		if _, err := decoder.Token(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
}

func indexOf(lines []string, prefix string) int {
	for i, line := range lines {
		if strings.HasPrefix(line, prefix) {
			return i
		}
	}
	return -1
}

// Ctrl-C ends a comparison at once, and everything that it has started. What was
// measured is still reported.
func TestInterrupted(t *testing.T) {
	inOwnDir(t)
	dir := os.Getenv("TMPDIR")
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := errors.New("interrupt")
	go func() {
		for ctx.Err() == nil {
			// The origin, the proxy and the load.
			if len(processes(dir)) == 3 {
				cancel(interrupt)
			}
		}
	}()
	var report strings.Builder
	err := run(ctx, []string{"-time", "1m", "-tests", "http1", "-only", "sallyport"}, &report, io.Discard)
	require.ErrorIs(t, err, interrupt)
	require.Contains(t, report.String(), "| small GET, HTTP/1.1: CPU, µs | - |") // what there was up to then
}

// A proxy that takes everyone is not compared with those that verify.
func TestCarelessProxy(t *testing.T) {
	inOwnDir(t)
	b, err := newBench(t.Context(), options{time: 50 * time.Millisecond}, t.Output())
	require.NoError(t, err)
	defer b.close()
	err = b.refuseStrangers(t.Context(), []proxy{{name: "careless", command: ownRole("careless")}})
	require.EqualError(t, err, "careless: a client without a certificate is answered, with http/1.1 (-only leaves it out)")
}

// What is installed is configured as it should be.
func TestInstalledRefuseStrangers(t *testing.T) {
	inOwnDir(t)
	proxies, err := installed(t.Context(), allProxies(), false, t.Output())
	require.NoError(t, err)
	b, err := newBench(t.Context(), options{time: 50 * time.Millisecond}, t.Output())
	require.NoError(t, err)
	defer b.close()
	require.NoError(t, b.refuseStrangers(t.Context(), proxies))
}

// Wrong answers are no answers: they are counted as errors, and shown.
func TestFaultyProxy(t *testing.T) {
	inOwnDir(t)
	o := options{rounds: 1, time: 50 * time.Millisecond}
	b, err := newBench(t.Context(), o, t.Output())
	require.NoError(t, err)
	defer b.close()
	tests, err := choose("http1,http2,full", allTests(), func(t test) string { return t.id })
	require.NoError(t, err)
	for _, name := range []string{"wrong status", "wrong length"} {
		p := proxy{name: name, command: ownRole(name)}
		results := newResults(o, []proxy{p}, tests)
		for _, test := range tests {
			sample, err := b.measure(t.Context(), p, test)
			require.NoError(t, err, test.title)
			require.Positive(t, sample.errors, test.title)
			require.Contains(t, sample.first, "the answer ", test.title)
			results.add(p, test, sample, nil)
		}
		require.Error(t, results.failed())
		var report strings.Builder
		require.NoError(t, results.markdown(&report))
		require.Contains(t, report.String(), "- small GET, HTTP/1.1, "+name+", ")
		// A busy machine may leave the proxy too little for its CPU time to be told: then the cell is "-".
		require.Regexp(t, `\| small GET, HTTP/2: CPU, µs \| ([0-9.]+|-) \([0-9]+ errors?\) \|`, report.String())
	}
}

func runCareless(config []byte) error {
	return serve(config, tls.RequestClientCert, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, smallBody) })
}

// faulty answers wrongly every now and then, from its twentieth answer on.
func faulty(wrong func(http.ResponseWriter)) func([]byte) error {
	return func(config []byte) error {
		var n atomic.Int64
		return serve(config, tls.RequireAnyClientCert, func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1)%20 == 0 {
				wrong(w)
			} else {
				io.WriteString(w, smallBody)
			}
		})
	}
}

func serve(config []byte, auth tls.ClientAuthType, handler http.HandlerFunc) error {
	var s site
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	server := &http.Server{Addr: s.Listen, Handler: handler, TLSConfig: &tls.Config{ClientAuth: auth}}
	return server.ListenAndServeTLS(s.serverPEM(), s.serverPEM())
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-time", "1h"}, {"-rate", "1"}, {"-idle", "20001"}, {"-settle", "2m"}, {"-names", "-1"}, {"-patience", "11m"},
		{"-tests", "http3"}, {"-only", "apache"}, {"more"},
	} {
		err := run(t.Context(), args, io.Discard, io.Discard)
		require.ErrorContains(t, err, strings.TrimLeft(args[len(args)-1], "-"), args)
	}
}

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
}

// The clock of another process is that process's own.
func TestCPUTime(t *testing.T) {
	before, err := cpuTime([]int{os.Getpid()})
	require.NoError(t, err)
	for deadline := time.Now().Add(time.Minute); ; {
		after, err := cpuTime([]int{os.Getpid()})
		require.NoError(t, err)
		if after > before || time.Now().After(deadline) {
			require.Greater(t, after, before)
			break
		}
	}
	_, err = cpuTime([]int{1 << 22})
	require.Error(t, err)
}

// A round that other programs disturbed counts if there is no better, but a wrong
// answer in it is still wrong.
func TestDisturbedRounds(t *testing.T) {
	p, w := proxy{name: "p"}, test{id: "w", title: "work"}
	r := newResults(options{}, []proxy{p}, []test{w})
	r.add(p, w, sample{perOp: 9 * time.Microsecond, others: 0.5, short: "only 5"}, nil)
	require.Equal(t, cell{9, 1}, r.cell(w, p, cpuMicros))
	require.Equal(t, []string{"work, p: only 5"}, r.faults())
	r.add(p, w, sample{perOp: 3 * time.Microsecond, others: 0.01}, nil)
	r.add(p, w, sample{perOp: 5 * time.Microsecond, others: 0.02}, nil)
	require.Equal(t, cell{4, 0}, r.cell(w, p, cpuMicros))
	require.NoError(t, r.failed())
	r.add(p, w, sample{perOp: 7 * time.Microsecond, others: 0.3, errors: 2, first: "a"}, nil)
	require.Equal(t, cell{4, 2}, r.cell(w, p, cpuMicros))
	require.Equal(t, []string{"work, p, 2 errors, the first: a"}, r.faults())
}

func TestRatios(t *testing.T) {
	r := newResults(options{}, []proxy{{name: gatewayName}, {name: netHTTPName}, {name: "nginx", peer: true}, {name: "haproxy", peer: true}, {name: "caddy"}}, nil)
	peer, netHTTP := r.ratios(row{cells: []cell{{value: 6}, {value: 12}, {value: 8}, {value: 4}, {value: 1}}})
	require.Equal(t, 1.5, peer)
	require.Equal(t, 0.5, netHTTP)
	peer, netHTTP = r.ratios(row{cells: []cell{{value: 6}, {}, {}, {value: 3}, {}}})
	require.Equal(t, 2.0, peer)
	require.Zero(t, netHTTP)
}
