//go:build linux

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A loadConfig is what the load is told.
type loadConfig struct {
	Site  site
	Work  work
	Warm  time.Duration
	Time  time.Duration
	Proxy []int // the processes whose CPU time is measured
	Own   []int // those that are the comparison's too, besides this one
	CPUs  []int // that all of them run on; none is any
}

// A loadResult is what it measured, printed as one line of JSON.
type loadResult struct {
	N        int           // operations
	Time     time.Duration // that they took together
	CPU      time.Duration // that the proxy used for them
	Others   float64       // share of the CPUs that other programs had meanwhile
	Errors   int
	Error    string // the first of them
	P50, P99 time.Duration
}

// The load counts an operation if it ends while phase is counting. The clocks are
// read at the moments when phase changes, so that what comes before and after, the
// making of connections above all, is in none of the figures.
const (
	warming int32 = iota
	counting
	over
)

type load struct {
	loadConfig
	tls     *tls.Config
	begun   sync.WaitGroup // workers that have not done an operation yet
	phase   atomic.Int32
	counted atomic.Bool    // something
	until   time.Time      // no connection lives longer
	jobs    chan time.Time // when operations are due, if their rate is fixed
}

// A tally is what one worker of the load has counted.
type tally struct {
	begun     bool
	n, errors int
	first     error
	latencies []time.Duration
}

func (t *tally) fail(err error) {
	t.errors++
	if t.first == nil {
		t.first = err
	}
}

func runLoad(config []byte) error {
	l := &load{}
	if err := json.Unmarshal(config, &l.loadConfig); err != nil {
		return err
	}
	// There is memory enough, and the core is shared with the origin: fewer
	// collections.
	debug.SetGCPercent(400)
	var err error
	if l.tls, err = clientTLS(l.Site.clientPEM()); err != nil {
		return err
	}
	l.until = time.Now().Add(l.Warm + l.Time + 20*time.Second)
	if l.Work.Kind == kindIdle {
		return l.idle()
	}

	tallies := make([]tally, l.Work.Conns+1)
	if l.Work.Rate > 0 {
		l.jobs = make(chan time.Time, l.Work.Rate) // a second's
	}
	var workers sync.WaitGroup
	l.begun.Add(l.Work.Conns)
	for i := range l.Work.Conns {
		workers.Go(func() { l.worker(&tallies[i]) })
	}
	if !l.allBegun() {
		l.phase.Store(over)
	}
	workers.Go(func() { l.pace(&tallies[l.Work.Conns]) })
	result, err := l.count()
	workers.Wait()
	if err != nil {
		return err
	}
	return result.sum(tallies).print()
}

// allBegun waits until every worker has done its first operation, or until that
// will not come to be.
func (l *load) allBegun() bool {
	done := make(chan struct{})
	go func() {
		l.begun.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// count has the workers count for a time, unless they are over already.
func (l *load) count() (r loadResult, err error) {
	time.Sleep(l.Warm)
	if !l.phase.CompareAndSwap(warming, counting) {
		return r, nil
	}
	m := meter{proxy: l.Proxy, own: append(l.Own, os.Getpid()), cpus: l.CPUs}
	before, err := m.read()
	if err != nil {
		return r, err
	}
	time.Sleep(l.Time)
	// A time that is short, on a machine that is busy, may have nothing in it.
	for !l.counted.Load() && time.Since(before.at) < l.Time+10*time.Second {
		time.Sleep(10 * time.Millisecond)
	}
	l.phase.Store(over)
	after, err := m.read()
	r.Time, r.CPU, r.Others = after.at.Sub(before.at), after.proxy-before.proxy, m.others(before, after)
	return r, err
}

// sum adds what the workers counted.
func (r loadResult) sum(tallies []tally) loadResult {
	var latencies []time.Duration
	for _, t := range tallies {
		r.N += t.n
		r.Errors += t.errors
		if r.Error == "" && t.first != nil {
			r.Error = t.first.Error()
		}
		latencies = append(latencies, t.latencies...)
	}
	if n := len(latencies); n > 0 {
		slices.Sort(latencies)
		r.P50, r.P99 = latencies[n/2], latencies[n*99/100]
	}
	return r
}

func (r loadResult) print() error { return json.NewEncoder(os.Stdout).Encode(r) }

func (l *load) worker(t *tally) {
	one := map[kind]func(*tally) error{
		kindHTTP1: l.keepAlive, kindHTTP2: l.multiplexed, kindFull: l.handshakes, kindResumed: l.handshakes,
	}[l.Work.Kind]
	for l.phase.Load() != over {
		if err := one(t); err != nil {
			t.fail(err)
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// done counts an operation that was begun, or due, at a time. It reports whether
// another one should follow.
func (l *load) done(t *tally, due time.Time) bool {
	if !t.begun {
		t.begun = true
		l.begun.Done()
	}
	switch l.phase.Load() {
	case counting:
		if t.n++; t.n == 1 {
			l.counted.Store(true)
		}
		if l.Work.Rate > 0 {
			t.latencies = append(t.latencies, time.Since(due))
		}
	case over:
		return false
	}
	return true
}

// keepAlive asks on one connection again and again.
func (l *load) keepAlive(t *tally) error {
	c, err := l.dial(l.tls, "http/1.1")
	if err != nil {
		return err
	}
	defer c.Close()
	exchange := newExchange(serverName, l.Work)
	var due time.Time
	for {
		if l.jobs != nil && t.begun {
			var more bool
			if due, more = <-l.jobs; !more {
				return nil
			}
		}
		if err := exchange.do(c); err != nil {
			return err
		}
		if !l.done(t, due) {
			return nil
		}
	}
}

// handshakes makes a connection for each request.
func (l *load) handshakes(t *tally) error {
	config := l.tls.Clone()
	if l.Work.Kind == kindResumed {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	exchange := newExchange(serverName, l.Work)
	for first := true; ; first = false {
		c, err := l.dial(config, "http/1.1")
		if err != nil {
			return err
		}
		err = exchange.do(c)
		resumed := c.ConnectionState().DidResume
		// A reset leaves no connection in TIME_WAIT, which would use up the ports.
		_ = c.NetConn().(*net.TCPConn).SetLinger(0)
		c.NetConn().Close()
		switch {
		case err != nil:
			return err
		case resumed != (l.Work.Kind == kindResumed) && !first:
			return fmt.Errorf("resumed is %v", resumed)
		case !l.done(t, time.Time{}):
			return nil
		}
	}
}

func (l *load) dial(config *tls.Config, protocol string) (*tls.Conn, error) {
	return dial(l.Site.Listen, config, protocol, l.until)
}
