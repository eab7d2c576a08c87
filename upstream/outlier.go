package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Outliers takes out nodes that fail too many of the real requests, for a while and without
// probing them: see [Config.Outliers]. If all healthy nodes are ejected, because checks
// have taken out the others, they are used all the same. An error is a request that the
// node failed, or an answer with a status of 500 or more.
type Outliers struct {
	// Window is the length of the time windows in which requests are counted; each starts from
	// zero. Zero is 10 seconds.
	Window time.Duration

	// MinRequests is how many requests a node must have had in a window before it is judged.
	// Zero is 20.
	MinRequests int

	// ErrorRate is the share of them, above 0 and up to 1, that must fail for the node to be
	// ejected at once. Zero is 0.5.
	ErrorRate float64

	// EjectFor is how long a node is ejected: that long the first time, twice as long the
	// second time in a row, and at most ten times as long. Zero is 30 seconds.
	EjectFor time.Duration

	// MaxEjected is the share of the nodes, up to 1, that may be ejected at a time, rounded
	// down. Zero is 0.3. One node may always be ejected, but never the last one that is left.
	MaxEjected float64
}

const (
	maxEjectFactor = 10
	maxWindowCount = 1<<20 - 1 // of requests
)

func (u *Upstream) compileOutliers(fault faultFunc) {
	o := u.config.Outliers
	if o == nil {
		return
	}
	u.outliers = &Outliers{
		Window:      orDefault(o.Window, 10*time.Second),
		MinRequests: orDefault(o.MinRequests, 20),
		ErrorRate:   orDefault(o.ErrorRate, 0.5),
		EjectFor:    orDefault(o.EjectFor, 30*time.Second),
		MaxEjected:  orDefault(o.MaxEjected, 0.3),
	}
	if o.Window < 0 {
		fault("Outliers.Window", "is %v, and must not be negative", o.Window)
	}
	if o.MinRequests < 0 || o.MinRequests > maxWindowCount {
		fault("Outliers.MinRequests", "is %d, and must be 1 to %d", o.MinRequests, maxWindowCount)
	}
	if !(o.ErrorRate >= 0 && o.ErrorRate <= 1) {
		fault("Outliers.ErrorRate", "is %v, and must be above 0 and at most 1", o.ErrorRate)
	}
	if o.EjectFor < 0 {
		fault("Outliers.EjectFor", "is %v, and must not be negative", o.EjectFor)
	}
	if !(o.MaxEjected >= 0 && o.MaxEjected <= 1) {
		fault("Outliers.MaxEjected", "is %v, and must be above 0 and at most 1", o.MaxEjected)
	}
}

func isServerError(status int) bool { return status >= 500 }

// judge counts requests in the node's window, which is one word: its number above
// two counts of 20 bits each. They are one, or none if it was counted already and has
// failed after that.
func (p *Pool) judge(m *member, requests uint64, failed bool) {
	c, o := m.cond, p.u.outliers
	if c.tally()&ejectedMark != 0 {
		return // what was under way
	}
	number := uint64(p.now()/o.Window) & (1<<24 - 1)
	for {
		old := c.window.Load()
		total, errors := old>>20&maxWindowCount, old&maxWindowCount
		if old>>40 != number {
			total, errors = 0, 0
		}
		if total == maxWindowCount {
			total, errors = total/2, errors/2 // the share of those that failed stays
		}
		total += requests
		if failed {
			errors++
			total = max(total, errors) // it may have been counted in the window before
		}
		if !c.window.CompareAndSwap(old, number<<40|total<<20|errors) {
			continue
		}
		if failed && total >= uint64(o.MinRequests) && float64(errors) >= o.ErrorRate*float64(total) {
			p.eject(m, fmt.Sprintf("ejected: %d of %d requests failed within %v", errors, total, o.Window))
		}
		return
	}
}

// eject takes a node out, if no more than may be are.
func (p *Pool) eject(m *member, reason string) {
	c, o := m.cond, p.u.outliers
	p.ejecting.Lock()
	defer p.ejecting.Unlock()
	ejected, others := 1, 0
	for i := range p.members {
		switch other := &p.members[i]; {
		case other == m:
		case p.available(other):
			others += min(other.weight, 1)
		case other.cond.tally()&ejectedMark != 0:
			ejected++
		}
	}
	most := max(1, int(o.MaxEjected*float64(len(p.members))+1e-9)) // 0.29*100 is less than 29
	if c.tally()&ejectedMark != 0 || others == 0 || ejected > most {
		return
	}
	now := p.now()
	if until := time.Duration(c.ejectedUntil.Load()); c.ejections == 0 || now-until >= o.EjectFor {
		c.ejections = 0 // it has been well for long enough
	}
	c.ejections = min(c.ejections+1, maxEjectFactor)
	longest := math.MaxInt64 - now // for ever
	if o.EjectFor <= longest/time.Duration(c.ejections) {
		longest = time.Duration(c.ejections) * o.EjectFor
	}
	c.ejectedUntil.Store(int64(now + longest))
	c.window.Store(0)
	c.reason.Store(&reason)
	c.word.Or(uint64(ejectedMark))
	p.log.LogAttrs(context.Background(), slog.LevelWarn, "upstream: a node is ejected",
		slog.String("upstream", p.u.ID()),
		slog.String("node", m.address),
		slog.String("reason", reason))
}

// readmitted reports whether the time of a node that was ejected is over, and lets it
// return if so. Where there are no Outliers any more, it is.
func (p *Pool) readmitted(m *member) bool {
	if p.u.outliers != nil && p.now() < time.Duration(m.cond.ejectedUntil.Load()) {
		return false
	}
	if tally(m.cond.word.And(^uint64(ejectedMark)))&ejectedMark != 0 { // it was this call
		p.warm(m)
	}
	return true
}
