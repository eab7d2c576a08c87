package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// This file is what becomes of a node's health on the way of a request: it is one
// word, read by every pick and written, without a lock, by what happens to requests
// and probes. While a healthy node answers, nothing is written.

// Health is what checks have found out about a node: see [Checks].
type Health uint8

const (
	Healthy         Health = iota
	MostlyHealthy          // some failures, but still used
	MostlyUnhealthy        // some successes, but not used yet
	Unhealthy
)

var healthNames = [...]string{"healthy", "mostly_healthy", "mostly_unhealthy", "unhealthy"}

// String returns APISIX's name, "mostly_healthy" for example.
func (h Health) String() string {
	if int(h) < len(healthNames) {
		return healthNames[h]
	}
	return fmt.Sprintf("Health(%d)", uint8(h))
}

// An event is what is counted.
type event int

const (
	success event = iota
	httpFailure
	tcpFailure
	timeout
	events int = iota
)

var eventNames = [...]string{"successes", "HTTP failures", "TCP failures", "timeouts"}

// A tally is the counts of a node, of eight bits each, its Health above them, and two
// marks.
type tally uint64

const (
	healthShift = 8 * events

	countMask   tally = 1<<healthShift - 1
	successMask tally = 0xff
	healthMask  tally = 3 << healthShift
	downMask    tally = 2 << healthShift // MostlyUnhealthy and Unhealthy

	ejectedMark tally = 1 << 40 // see outlier.go
	warmingMark tally = 1 << 41 // see slowstart.go
)

func (t tally) health() Health      { return Health(t & healthMask >> healthShift) }
func (t tally) down() bool          { return t&downMask != 0 }
func (t tally) count(e event) uint8 { return uint8(t >> (8 * e)) }

// after returns the tally after an event that is counted up to limit.
func (t tally) after(e event, limit uint8) tally {
	health := t.health()
	if limit == 0 || e == success && health == Healthy || e != success && health == Unhealthy {
		return t // there is nothing to count up to
	}
	n := min(t.count(e), 254) + 1
	keep := countMask &^ successMask // the failures
	if e == success {
		keep = 0
	}
	counts := t&keep&^(0xff<<(8*e)) | tally(n)<<(8*e)
	switch {
	case n >= limit && e == success:
		health = Healthy
	case n >= limit:
		health = Unhealthy
	case health == Healthy:
		health = MostlyHealthy
	case health == Unhealthy:
		health = MostlyUnhealthy
	}
	return t&^(countMask|healthMask) | counts | tally(health)<<healthShift
}

// A condition is how a node is. It is passed on to a pool that has the node too, if
// the checks are the same.
type condition struct {
	word   atomic.Uint64 // a tally
	window atomic.Uint64 // see outlier.go

	// By the pool's clock.
	ejectedUntil atomic.Int64
	warmingSince atomic.Int64

	ejections int // in a row; guarded by the pool's ejecting

	trouble atomic.Pointer[trouble] // the last
	reason  atomic.Pointer[string]  // of the Health that it has, or of being ejected

	prober prober
}

// trouble is what a request or a probe failed with.
type trouble struct {
	text string
	at   time.Time
}

func (c *condition) tally() tally { return tally(c.word.Load()) }

// available reports whether a node may be used as far as its condition goes.
func (p *Pool) available(m *member) bool {
	t := m.cond.tally()
	switch {
	case t&(downMask|ejectedMark) == 0:
		return true
	case t.down():
		return false
	default:
		return p.readmitted(m)
	}
}

// noneHealthy reports whether health is to be ignored.
func (p *Pool) noneHealthy() bool {
	for i := range p.members {
		if m := &p.members[i]; m.weight > 0 && !m.cond.tally().down() {
			return false
		}
	}
	return true
}

// noneAvailable reports whether who is ejected is to be ignored, or health as well.
func (p *Pool) noneAvailable() bool {
	for i := range p.members {
		if m := &p.members[i]; m.weight > 0 && p.available(m) {
			return false
		}
	}
	return true
}

// count takes note of an event at a node. what is what happened, where it is not a
// success.
func (p *Pool) count(m *member, e event, by *limits, source, what string) {
	c := m.cond
	if e != success {
		c.trouble.Store(&trouble{source + ": " + what, time.Now()})
	}
	for {
		old := c.tally()
		now := old.after(e, by.counts[e])
		if now == old {
			return
		}
		if !c.word.CompareAndSwap(uint64(old), uint64(now)) {
			continue
		}
		if from, to := old.health(), now.health(); from != to {
			p.turned(m, old, now, fmt.Sprintf("%s: %d, the last by %s", eventNames[e], now.count(e), source))
		}
		return
	}
}

// turned is called when the Health of a node has changed.
func (p *Pool) turned(m *member, old, now tally, reason string) {
	m.cond.reason.Store(&reason)
	if old.down() == now.down() {
		return
	}
	level, text := slog.LevelWarn, "upstream: a node is unhealthy"
	if !now.down() {
		level, text = slog.LevelInfo, "upstream: a node is healthy again"
		p.warm(m)
	}
	p.log.LogAttrs(context.Background(), level, text,
		slog.String("upstream", p.u.ID()),
		slog.String("node", m.address),
		slog.String("reason", reason))
	m.cond.prober.changed()
}

// answered is called with the status of an answer to a request.
func (p *Pool) answered(m *member, status int) {
	if k := p.u.checks; k != nil && k.isPassive {
		switch {
		case k.passive.healthy.has(status):
			p.count(m, success, &k.passive, "a request", "")
		case k.passive.unhealthy.has(status):
			p.count(m, httpFailure, &k.passive, "a request", fmt.Sprintf("status %d", status))
		}
	}
	if p.u.outliers != nil {
		p.judge(m, 1, isServerError(status))
	}
}

// failed is called when a node was at fault that a request failed. status is that of an
// answer that broke off, of which answered was told, or zero.
func (p *Pool) failed(m *member, status int, err error) {
	e := tcpFailure
	if isTimeout(err) {
		e = timeout
	}
	var by limits // of no Checks: nothing is counted
	if k := p.u.checks; k != nil {
		by = k.passive
	}
	p.count(m, e, &by, "a request", printable(describe(err)))
	switch {
	case p.u.outliers == nil || isServerError(status):
	case status != 0:
		p.judge(m, 0, true)
	default:
		p.judge(m, 1, true)
	}
}

// A prober asks a node, in a goroutine of its own. It belongs to all pools that have
// the node's condition: the first that is in use starts it, and the last that is
// closed stops it.
type prober struct {
	job  atomic.Pointer[probeJob] // of the newest pool
	wake chan struct{}            // the interval may be another

	mu    sync.Mutex // guards what follows
	pools int        // not closed
	stop  context.CancelFunc
	done  chan struct{}
}

// A probeJob is whom to ask, and whose way of asking it is.
type probeJob struct {
	pool   *Pool
	member *member
}

func newCondition() *condition {
	return &condition{prober: prober{wake: make(chan struct{}, 1)}}
}

// adopt makes the prober work for a pool too.
func (b *prober) adopt(j *probeJob) {
	b.job.Store(j)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pools++
}

// start begins to probe, unless it has begun or all pools are closed.
func (b *prober) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pools == 0 || b.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.done = stop, make(chan struct{})
	go b.run(ctx, b.done)
}

// release is called once by each pool. It returns what is closed when nothing runs
// any more, or nil if others go on.
func (b *prober) release() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pools--; b.pools > 0 || b.stop == nil {
		return nil
	}
	b.stop()
	b.stop = nil
	return b.done
}

// changed is called when a node has become healthy or unhealthy.
func (b *prober) changed() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run probes a node until ctx ends.
func (b *prober) run(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for last := time.Now(); ; {
		j := b.job.Load()
		every := j.pool.u.checks.every[0]
		if j.member.cond.tally().down() {
			every = j.pool.u.checks.every[1]
		}
		timer.Stop()
		if every > 0 {
			timer.Reset(time.Until(last.Add(every)))
		}
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
			continue
		case <-timer.C:
		}
		last = time.Now()
		select {
		case <-ctx.Done():
			return
		case j.pool.probing <- struct{}{}:
		}
		j.pool.probe(ctx, j.member)
		<-j.pool.probing
	}
}

// startProbing begins to probe, if that is to be done and was not yet.
func (p *Pool) startProbing() {
	if p.probed.Load() || p.u.checks == nil || p.probed.Swap(true) {
		return
	}
	for i := range p.members {
		p.members[i].cond.prober.start()
	}
}

// stopProbing ends probing, and waits for that, where no other pool needs it.
func (p *Pool) stopProbing() {
	var ends []<-chan struct{}
	for i := range p.members {
		if done := p.members[i].cond.prober.release(); done != nil {
			ends = append(ends, done)
		}
	}
	for _, done := range ends {
		<-done
	}
}
