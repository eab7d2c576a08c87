package accesslog

import (
	"cmp"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/hooks"
)

// An output collects lines.
type output struct {
	size     int
	interval time.Duration
	clock    clock

	mu     sync.Mutex
	w      io.Writer
	b      []byte
	timer  *time.Timer // runs while there are lines
	err    error       // of the writer, when the timer made it write
	closed bool
}

const defaultSize = 64 << 10

func newOutput(w io.Writer, o *Options) *output {
	out := &output{w: w, size: o.Size, interval: o.Interval}
	if out.size <= 0 {
		out.size = defaultSize
	}
	if out.interval <= 0 {
		out.interval = time.Second
	}
	return out
}

// write takes the parts of a line, which it does not keep.
func (o *output) write(atOnce bool, head, attrs []byte, members [][]byte, end string) error {
	length := len(head) + len(attrs) + len(end)
	for _, part := range members {
		length += len(part)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.err
	o.err = nil
	if len(o.b)+length > o.size {
		err = cmp.Or(err, o.empty())
	}
	if o.b == nil {
		o.b = make([]byte, 0, min(o.size, defaultSize)) // it grows if it must: who wants no limit says the largest
	}
	first := len(o.b) == 0
	o.b = append(append(o.b, head...), attrs...)
	for _, part := range members {
		o.b = append(o.b, part...)
	}
	o.b = append(o.b, end...)
	switch {
	case atOnce || o.closed || len(o.b) >= o.size:
		err = cmp.Or(err, o.empty())
	case !first:
	case o.timer == nil:
		o.timer = time.AfterFunc(o.interval, o.late)
	default:
		o.timer.Reset(o.interval)
	}
	return err
}

// empty writes what there is. o.mu is held. What cannot be written is lost: a disk that is
// full must not fill the memory too.
func (o *output) empty() error {
	if len(o.b) == 0 {
		return nil
	}
	if o.timer != nil {
		o.timer.Stop()
	}
	err := o.pass()
	if o.b = o.b[:0]; cap(o.b)/2 > o.size {
		o.b = nil // after a line that was very long
	}
	return err
}

// pass writes what there is. A panic of the writer is an error: the timer's goroutine is
// nobody's who could recover from it. o.mu is held.
func (o *output) pass() (err error) {
	if panicked := hooks.Recovered(func() { _, err = o.w.Write(o.b) }); panicked != nil {
		return fmt.Errorf("accesslog: the writer %w", panicked)
	}
	return err
}

// late is called when the first of the lines was kept back for long enough.
func (o *output) late() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = cmp.Or(o.err, o.empty())
}

func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := cmp.Or(o.err, o.empty())
	o.err = nil
	return err
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := cmp.Or(o.err, o.empty())
	o.closed, o.err, o.b = true, nil, nil
	return err
}

// A collector is an output as a writer.
type collector struct{ o *output }

func (c collector) Write(p []byte) (int, error) {
	if err := c.o.write(false, p, nil, nil, ""); err != nil {
		return 0, err
	}
	return len(p), nil
}
