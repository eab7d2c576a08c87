package upstream

import (
	"sync/atomic"
	"time"
)

// A RetryBudget bounds the retries of all requests together. Without a bound, when all
// nodes are slow or broken, each request would be sent to each of them, and the retries
// would keep down nodes that are about to recover.
//
// A retry costs nothing if connecting to the node before failed at once: that node has done
// no work. A node that ran into a [Timeout], or whose TLS handshake failed, may have done
// some.
type RetryBudget struct {
	// Percent is how many retries there may be for 100 requests. Up to 100 retries are saved
	// for later, not counting those of the last request. Zero is 20. For no limit, set 100 for
	// each node.
	Percent int

	// PerSecond is how many retries per second are allowed in any case, so that an upstream
	// with few requests has some. Zero is 10.
	PerSecond int
}

const (
	defaultBudgetPercent   = 20
	defaultBudgetPerSecond = 10

	// maxBudget keeps the arithmetic far from overflow, and a step above zero.
	maxBudget = 1_000_000

	// maxSaved is what a budget saves, in retries: at this, requests add no more.
	maxSaved = 100
)

func (b RetryBudget) withDefaults() RetryBudget {
	if b.Percent == 0 {
		b.Percent = defaultBudgetPercent
	}
	if b.PerSecond == 0 {
		b.PerSecond = defaultBudgetPerSecond
	}
	return b
}

// A budget is a RetryBudget at work, in a pool and those that replace it. It takes
// no lock and runs no timer; requests write to it only while it has room, which
// is after retries.
type budget struct {
	limit RetryBudget

	// saved grows by limit.Percent with each request and shrinks by 100 with each
	// retry.
	saved atomic.Int64

	// next is when the retries of limit.PerSecond are in step again, in
	// nanoseconds since epoch. It may be a second ahead of the time: those are the
	// retries that were done.
	next  atomic.Int64
	epoch time.Time
}

func newBudget(limit RetryBudget) *budget {
	return &budget{limit: limit, epoch: time.Now()}
}

// request takes note of a request.
func (b *budget) request() {
	if b.saved.Load() < 100*maxSaved {
		b.saved.Add(int64(b.limit.Percent))
	}
}

// retry reports whether there may be a retry, and takes it from the budget.
func (b *budget) retry() bool {
	for {
		saved := b.saved.Load()
		if saved < 100 {
			break
		}
		if b.saved.CompareAndSwap(saved, saved-100) {
			return true
		}
	}
	step := int64(time.Second) / int64(b.limit.PerSecond)
	for {
		now, next := int64(time.Since(b.epoch)), b.next.Load()
		after := max(now, next) + step
		if after > now+int64(time.Second) {
			return false
		}
		if b.next.CompareAndSwap(next, after) {
			return true
		}
	}
}
