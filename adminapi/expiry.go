package adminapi

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
)

// An expiry deletes documents whose time has passed.
type expiry struct {
	handler *Handler

	mu     sync.Mutex // guards what follows
	next   []appointment
	timer  *time.Timer
	closed bool
	done   sync.WaitGroup // one for each call of the timer's function
}

// An appointment is the time at which a document goes out, if it has not been written
// since.
type appointment struct {
	at      time.Time
	kind    apisix.Kind
	id      string
	changed int64
}

// retryExpiry is how long a document is kept that the storage would not delete. Until
// then it answers on, so that what is stored and what runs stay one.
const retryExpiry = time.Second

// plan notes the times of edits that were stored.
func (x *expiry) plan(edits []*edit, records []Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, e := range edits {
		if e.doc != nil && !e.expires.IsZero() {
			x.add(appointment{e.expires, e.kind, e.id, records[i].Modified})
		}
	}
	x.schedule()
}

// add notes an appointment. mu is held.
func (x *expiry) add(a appointment) {
	i, _ := slices.BinarySearchFunc(x.next, a, func(a, b appointment) int { return a.at.Compare(b.at) })
	x.next = slices.Insert(x.next, i, a)
}

// schedule sets the timer to the first appointment. mu is held.
func (x *expiry) schedule() {
	if x.timer != nil && x.timer.Stop() {
		x.done.Done()
	}
	x.timer = nil
	if len(x.next) > 0 && !x.closed {
		x.done.Add(1)
		x.timer = time.AfterFunc(x.next[0].at.Sub(x.handler.now()), x.run)
	}
}

// run is the timer's.
func (x *expiry) run() {
	defer x.done.Done()
	x.handler.expire(context.Background())
	x.mu.Lock()
	defer x.mu.Unlock()
	x.schedule()
}

// due takes the appointments whose time has come.
func (x *expiry) due(now time.Time) (due []appointment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for n < len(x.next) && !x.next[n].at.After(now) {
		n++
	}
	due = slices.Clone(x.next[:n])
	x.next = slices.Delete(x.next, 0, n)
	return due
}

// close ends it, and waits for what it is doing.
func (x *expiry) close() {
	x.mu.Lock()
	x.closed = true
	x.schedule()
	x.mu.Unlock()
	x.done.Wait()
}

// expire deletes the documents whose time has passed. What they are named by stays, as
// with a lease of etcd.
func (h *Handler) expire(ctx context.Context) {
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	now := h.now()
	for _, a := range h.expiry.due(now) {
		old := h.docs.get(a.kind, a.id)
		if old == nil || old.changed != a.changed {
			continue
		}
		e := &edit{kind: a.kind, id: a.id, old: old}
		report, err := h.remove(ctx, e)
		if errors.Is(err, ErrConflict) {
			report, err = h.forget(ctx, e)
		}
		if err != nil {
			if h.logger != nil {
				h.logger.Error("storage failed", "error", withoutKey(err.Error()), "action", "expire", "kind", string(a.kind), "id", a.id)
			}
			a.at = now.Add(retryExpiry)
			h.expiry.mu.Lock()
			h.expiry.add(a)
			h.expiry.mu.Unlock()
			continue
		}
		h.logChange(nil, e, 0)
		h.warn([]*edit{e}, report)
	}
}

// forget takes away a document that the storage has no longer: it has deleted it itself,
// when the lease ended.
func (h *Handler) forget(ctx context.Context, e *edit) (gateway.Report, error) {
	prepared, err := h.prepare(ctx, e)
	if err != nil {
		return gateway.Report{}, err
	}
	report := prepared.Commit()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.docs.delete(e.kind, e.id)
	return report, nil
}
