package h2

import (
	"io"
	"maps"
	"reflect"
	"slices"
	"time"

	"golang.org/x/net/http2/hpack"
)

// ConnWindow is what may come of bodies on a connection before anybody has read.
const ConnWindow = connWindow

// Windows returns what may still come on the connection, with what the client is yet to
// be told of; and by how much windows of streams are wider than at first.
func (c *Conn) Windows() (recv, lent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recvWindow + c.consumed, c.lent
}

// A Body is a body.
type Body struct{ b body }

// Put puts something into the body as the connection's reader does, and meanwhile has
// something else happen. It reports whether the body took it.
func (b *Body) Put(s string, meanwhile func()) bool {
	room := b.b.room(true)
	if room == nil {
		return false
	}
	n := copy(room, s)
	if meanwhile != nil {
		meanwhile()
	}
	return b.b.fill(n)
}

// PutLate is Put of what was not there yet.
func (b *Body) PutLate(s string) bool { return b.b.fill(copy(b.b.room(false), s)) }

// Nudge tells who waits of so many bytes or more.
func (b *Body) Nudge(least int) bool { return b.b.nudge(least) }

// Read reads from it, for d at most.
func (b *Body) Read(p []byte, d time.Duration) (int, error) { return b.b.read(p, d) }

// Chunked reports whether it has memory of its own.
func (b *Body) Chunked() bool { return b.b.head != nil }

// Close returns how much it held.
func (b *Body) Close() int { return b.b.close(io.ErrClosedPipe) }

// HeaderTimeout is that of the options.
func (c *Conn) HeaderTimeout() time.Duration { return c.o.HeaderTimeout }

// MayCome is how much of the body of a stream may come now.
func (c *Conn) MayCome(id uint32) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[id]
	if st == nil {
		return 0
	}
	return int(min(c.recvWindow, st.recvWindow))
}

// A Schedule is a schedule of streams that are told apart by their numbers.
type Schedule struct {
	s       schedule
	streams map[uint32]*Stream
}

// Add adds a stream with a priority, as it is written in a field.
func (s *Schedule) Add(id uint32, priority string) {
	if s.streams == nil {
		s.streams = map[uint32]*Stream{}
	}
	if s.streams[id] == nil {
		s.streams[id] = &Stream{id: id, priority: parsePriority(priority)}
	}
	s.s.add(s.streams[id])
}

func (s *Schedule) Remove(id uint32) { s.s.remove(s.streams[id]); delete(s.streams, id) }
func (s *Schedule) Stall(id uint32)  { s.s.stall(s.streams[id]) }
func (s *Schedule) Resume()          { s.s.resume() }

// Next returns the stream whose turn it is, which then has more, or zero.
func (s *Schedule) Next() uint32 {
	st := s.s.first()
	if st == nil {
		return 0
	}
	s.s.rotate(st)
	return st.id
}

// Priority is what a value of the field is taken for.
func Priority(value string) (urgency int, incremental bool) {
	p := parsePriority(value)
	return int(p.urgency), p.incremental
}

// A Budget is a budget.
type Budget struct{ b budget }

func NewBudget(now time.Time, streams int) *Budget {
	b := &Budget{}
	b.b.init(now, streams)
	return b
}

func (b *Budget) Frame() bool { return b.b.frame() }
func (b *Budget) Reset() bool { return b.b.reset() }
func (b *Budget) Useful()     { b.b.useful() }
func (b *Budget) Answered()   { b.b.answered() }

// An Input is an input of a connection.
type Input struct{ in *input }

func NewInput() *Input { return &Input{newInput(&Conn{})} }

// Take has n bytes come, if there is room for so many, and has them understood. It returns
// how much room there was.
func (i *Input) Take(n int) (room int) {
	room = len(i.in.space())
	i.in.w = min(n, room)
	i.in.r = i.in.w
	return room
}

// Ahead says whether large bodies come.
func (i *Input) Ahead(on bool) { i.in.conn.ahead = on }

func (i *Input) Release() { i.in.release() }

// Bare reports whether nothing in the input is of a connection, and little of its memory.
func (i *Input) Bare() bool {
	b := i.in.block
	fields := b.fields[:cap(b.fields)]
	b.fields = nil
	return i.in.conn == nil && i.in.r == 0 && i.in.w == 0 && i.in.frameBy.IsZero() && reflect.ValueOf(b).IsZero() &&
		len(fields) <= 64 && !slices.ContainsFunc(fields, func(f hpack.HeaderField) bool { return f != hpack.HeaderField{} })
}

// A Loan is what a connection has that others have when it rests.
type Loan struct {
	in    *Input
	table *streamTable
}

// LoanOf is called by a handler, while the connection does not rest.
func LoanOf(c *Conn) *Loan { return &Loan{&Input{c.in}, c.streamTable} }

// Bare reports whether nothing in it is of a connection.
func (l *Loan) Bare() bool {
	t := l.table
	return l.in.Bare() && len(t.streams) == 0 && t.ready == schedule{} && t.closed == recent{} &&
		!slices.ContainsFunc(slices.Concat(t.starting[:cap(t.starting)], t.queue[:cap(t.queue)]), func(st *Stream) bool { return st != nil })
}

// Given reports whether the connection has given all of it back.
func (l *Loan) Given(c *Conn) bool { return c.in != l.in.in && c.streamTable != l.table }

// Own reports whether the input has no memory that others have after it.
func (i *Input) Own() bool { return &i.in.buf[0] == &i.in.first[0] && i.in.large == nil }

// Bytes returns the block as it is.
func (b *Block) Bytes() []byte { return b.b }

// Open returns the streams that are open.
func (c *Conn) Open() (ids []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streamTable != nil {
		ids = slices.Sorted(maps.Keys(c.streams))
	}
	return ids
}

const (
	LingerTime  = lingerTime
	LingerBytes = lingerBytes
)

// Queued is how many streams wait for handlers to return.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streamTable == nil {
		return 0
	}
	return len(c.queue)
}
