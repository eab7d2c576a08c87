package accesslog

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/hooks"
)

// An output collects records: first as they are, and then, many at a time, as lines.
type output struct {
	size     int
	batch    int // how many records become lines at a time
	interval time.Duration
	clock    clock

	// The first error for whoever logs next, and for whoever flushes next: one that logs may not
	// want to hear of it, as a [slog.Logger] does not.
	err, unflushed atomic.Pointer[error]

	mu     sync.Mutex // guards what follows
	queue  []record
	timer  *time.Timer
	waits  bool // the timer runs, because there may be something to write
	closed bool

	// This one may be waited for with mu held, and guards what follows: while lines are
	// formatted and written, there may be new records.
	writing sync.Mutex
	w       io.Writer
	b       []byte   // lines
	spare   []record // an empty queue
}

// A record is one that is not formatted yet.
type record struct {
	of      *Handler
	time    time.Time
	level   slog.Level
	message string
	members Members
}

const (
	defaultSize = 256 << 10
	batchSize   = 64      // with twice as many it takes no less time, and with 24 more
	lineSize    = 4 << 10 // which few are longer than
)

func newOutput(w io.Writer, o *Options) *output {
	out := &output{w: w, size: o.Size, interval: o.Interval}
	if out.size <= 0 {
		out.size = defaultSize
	}
	if out.interval <= 0 {
		out.interval = time.Second
	}
	out.batch = max(1, min(batchSize, out.size>>10))
	return out
}

// later takes a record that need not be formatted now, unless it is to be written at once.
func (o *output) later(atOnce bool, r record) error {
	o.mu.Lock()
	if o.queue == nil {
		o.queue = make([]record, 0, o.batch)
	}
	o.queue = append(o.queue, r)
	if atOnce || o.closed {
		return o.writeAll()
	}
	o.wait()
	if len(o.queue) < o.batch {
		o.mu.Unlock()
		return o.failed()
	}
	o.begin()
	defer o.writing.Unlock()
	return o.failed()
}

// write takes the parts of a line, which it does not keep.
func (o *output) write(atOnce bool, line ...[]byte) error {
	o.mu.Lock()
	if atOnce = atOnce || o.closed; atOnce {
		o.rest()
	} else {
		o.wait()
	}
	o.begin()
	defer o.writing.Unlock()
	at := len(o.b)
	for _, part := range line {
		o.b = append(o.b, part...)
	}
	o.added(at)
	if atOnce {
		o.empty()
	}
	return o.failed()
}

// flush writes what there is.
func (o *output) flush() error {
	o.mu.Lock()
	_ = o.writeAll() // which unflushed knows of
	return taken(&o.unflushed)
}

func (o *output) close() error {
	o.mu.Lock()
	o.closed = true
	_ = o.writeAll()
	o.writing.Lock()
	defer o.writing.Unlock()
	o.b, o.spare = nil, nil
	return taken(&o.unflushed)
}

// writeAll writes what there is. o.mu is held, and is not any more when it returns.
func (o *output) writeAll() error {
	o.rest()
	o.begin()
	defer o.writing.Unlock()
	o.empty()
	return o.failed()
}

// late is called when the first of the records was kept back for long enough.
func (o *output) late() {
	o.mu.Lock()
	o.rest()
	o.begin()
	defer o.writing.Unlock()
	o.empty() // if it fails, there is nobody to be told yet
}

// wait lets what there is be written in time. o.mu is held.
func (o *output) wait() {
	switch {
	case o.waits:
		return
	case o.timer == nil:
		o.timer = time.AfterFunc(o.interval, o.late)
	default:
		o.timer.Reset(o.interval)
	}
	o.waits = true
}

// rest is called when all there is will be written. o.mu is held.
func (o *output) rest() {
	if o.waits {
		o.timer.Stop()
		o.waits = false
	}
}

// begin makes lines of the records. o.mu is held, and then o.writing in its place: records
// become lines in the order in which they came.
func (o *output) begin() {
	o.writing.Lock()
	begun := false
	defer func() {
		if !begun { // the writer, or the members of a record, have ended the goroutine, as t.FailNow does
			o.writing.Unlock()
		}
	}()
	queue := o.queue
	o.queue, o.spare = o.spare, nil
	o.mu.Unlock()
	if o.b == nil {
		o.b = make([]byte, 0, min(o.size, defaultSize)+lineSize) // it grows if it must: who wants no limit says the largest
	}
	for rest := queue; len(rest) > 0; {
		rest = o.format(rest)
	}
	clear(queue)
	o.spare = queue[:0]
	begun = true
}

// format makes lines of records, and returns those that it has not come to, because the members
// of the one before them panicked. o.writing is held.
func (o *output) format(records []record) (rest []record) {
	rest = records
	panicked := hooks.Recovered(func() {
		for len(rest) > 0 {
			r := &rest[0]
			rest = rest[1:]
			at := len(o.b)
			b := append(o.appendHead(o.b, r.time, r.level, r.message), r.of.attrs...)
			o.b = append(r.members.AppendJSON(b), end...)
			o.added(at)
		}
	})
	if panicked != nil {
		o.fail(fmt.Errorf("accesslog: the members of a record %w", panicked))
	}
	return rest
}

// added is called when a line begins at a place and there is nothing behind it. It writes what
// is too much to keep. o.writing is held.
func (o *output) added(at int) {
	if len(o.b) > o.size && at > 0 {
		line := o.b[at:]
		o.pass(o.b[:at])
		o.b = append(o.b[:0], line...)
	}
	if len(o.b) >= o.size {
		o.empty()
	}
}

// empty writes what there is. o.writing is held. What cannot be written is lost: a disk that is
// full must not fill the memory too.
func (o *output) empty() {
	if len(o.b) == 0 {
		return
	}
	o.pass(o.b)
	if o.b = o.b[:0]; cap(o.b)/2-lineSize > o.size {
		o.b = nil // after a line that was very long
	}
}

// pass has lines written. A panic of the writer is an error: the timer's goroutine is nobody's
// who could recover from it. o.writing is held.
func (o *output) pass(lines []byte) {
	var err error
	if panicked := hooks.Recovered(func() { _, err = o.w.Write(lines) }); panicked != nil {
		err = fmt.Errorf("accesslog: the writer %w", panicked)
	}
	if err != nil {
		o.fail(err)
	}
}

// fail takes note of an error.
func (o *output) fail(err error) {
	o.err.CompareAndSwap(nil, &err)
	o.unflushed.CompareAndSwap(nil, &err)
}

// failed returns the error for whoever logs next, if there is one.
func (o *output) failed() error { return taken(&o.err) }

// taken returns an error that is there, once.
func taken(p *atomic.Pointer[error]) error {
	if p.Load() == nil {
		return nil
	}
	if err := p.Swap(nil); err != nil {
		return *err
	}
	return nil
}

// A collector is an output as a writer.
type collector struct{ o *output }

func (c collector) Write(p []byte) (int, error) {
	if err := c.o.write(false, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
