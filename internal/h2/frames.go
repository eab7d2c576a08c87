package h2

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// This file is what comes.

// next reads a frame, and does what it says. An error of the type [http2.StreamError] is
// of one stream.
func (c *Conn) next() error {
	if !c.in.block.open && c.settled {
		c.in.frameBy = time.Time{}
	}
	c.in.fresh = true
	framer := c.in.framer
	h, err := framer.ReadFrameHeader()
	if err != nil {
		return err
	}
	if !c.settled && (h.Type != http2.FrameSettings || h.Flags.Has(http2.FlagSettingsAck)) {
		return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113, section 3.4
	}
	if h.Type == http2.FrameData && !h.Flags.Has(http2.FlagDataPadded) {
		return c.data(h)
	}
	c.feed()
	if int(h.Length) < least(h) {
		return http2.ConnectionError(http2.ErrCodeFrameSize) // RFC 9113, section 4.2
	}
	f, err := framer.ReadFrameForHeader(h)
	if err != nil {
		if h.Type == http2.FrameHeaders && errors.As(err, new(http2.StreamError)) {
			// Its padding is longer than it (RFC 9113, section 6.2). The block is lost, and
			// the table of HPACK with it: there is no going on.
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return err
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.padded(f)
	case *http2.HeadersFrame:
		return c.in.block.begin(f)
	case *http2.ContinuationFrame:
		return c.in.block.goOn(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.widen(f.StreamID, int64(f.Increment))
	case *http2.RSTStreamFrame:
		return c.takenBack(f.StreamID)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID { // RFC 7540, section 5.3.1
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PriorityUpdateFrame:
		c.reprioritise(f.PrioritizedStreamID, f.Priority)
	case *http2.GoAwayFrame:
		c.mu.Lock()
		c.goAway() // the client begins nothing more
		c.mu.Unlock()
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113, section 8.4
	}
	return c.spend()
}

// spend takes note of a frame that gets nothing done.
func (c *Conn) spend() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.budget.frame() {
		return calm(LimitFrames)
	}
	return nil
}

// least is how long a frame is at least that has what its flags say: the framer takes a
// shorter one for the end of the connection.
func least(h http2.FrameHeader) (n int) {
	if h.Type != http2.FrameData && h.Type != http2.FrameHeaders {
		return 0
	}
	if h.Flags.Has(http2.FlagHeadersPadded) { // with DATA the same bit
		n++
	}
	if h.Type == http2.FrameHeaders && h.Flags.Has(http2.FlagHeadersPriority) {
		n += 5
	}
	return n
}

// data reads a DATA frame into the body that it is of.
func (c *Conn) data(h http2.FrameHeader) error {
	left := int(h.Length)
	st, err := c.received(h.StreamID, int64(left), left, h.Flags.Has(http2.FlagDataEndStream))
	if err == nil && st != nil {
		err = st.count(left)
	}
	wanted := st != nil && err == nil
	lost := 0 // bytes that nobody wants
	for left > 0 {
		var room []byte
		part := c.in.buffered()
		if wanted {
			room = st.body.room(len(part) > 0 || c.t.RecordReady())
		}
		var n int
		switch {
		case len(part) > 0 && room != nil:
			n = copy(room, part[:min(len(part), left)])
			c.in.r += n
		case len(part) > 0:
			n = min(len(part), left)
			c.in.r += n
		default:
			c.in.frameBy = time.Now().Add(c.o.BodyTimeout + c.o.HeaderTimeout)
			to := room
			if to == nil {
				to = c.in.space()
			}
			var failed error
			if n, failed = c.read(to[:min(len(to), left)]); failed != nil {
				if room != nil {
					st.body.fill(0)
				}
				return failed
			}
		}
		if room == nil || !st.body.fill(n) {
			lost += n
		} else {
			c.nudge(st)
		}
		left -= n
	}
	c.unwanted(st, lost)
	if err != nil || st == nil {
		return err
	}
	if h.Flags.Has(http2.FlagDataEndStream) {
		return c.clientEnded(st)
	}
	return nil
}

// nudge wakes who reads a body of which a part came: at once if that is much, and else when
// the connection has no more to read without waiting, or something else. Whoever sends it
// on sends more at a time.
func (c *Conn) nudge(st *Stream) {
	if c.hungry != st {
		c.feed()
	}
	if c.hungry = nil; !st.body.nudge(muchBody) {
		c.hungry = st
	}
}

// feed wakes who was not woken yet.
func (c *Conn) feed() {
	if c.hungry != nil {
		c.hungry.body.nudge(0)
		c.hungry = nil
	}
}

// muchBody is as much as is sent on in one.
const muchBody = 64 << 10

// unwanted takes note that nobody wants n bytes of a body that came. The stream may be nil.
func (c *Conn) unwanted(st *Stream, n int) {
	if n > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.discard(st, n)
	}
}

// credited takes note that n bytes of a frame are no part of a body.
func (c *Conn) credited(st *Stream, n int) {
	if n > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if st != nil {
			st.padding += int64(n)
		}
		c.credit(st, n)
	}
}

// count takes note of n bytes of the body, which may be too many.
func (st *Stream) count(n int) error {
	st.received += int64(n)
	if !st.large && st.received > bulkBody {
		st.large = true
		st.c.mu.Lock()
		if !st.forgotten {
			st.bulk = true
			st.c.bulk++
		}
		st.c.mu.Unlock()
	}
	if st.declared >= 0 && st.received > st.declared {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol} // RFC 9113, section 8.1.1
	}
	return nil
}

// bulkBody is how much of a body makes it a large one.
const bulkBody = 48 << 10

// padded is data for a frame with padding.
func (c *Conn) padded(f *http2.DataFrame) error {
	data := f.Data()
	st, err := c.received(f.StreamID, int64(f.Length), len(data), f.StreamEnded())
	if err == nil && st != nil {
		err = st.count(len(data))
	}
	c.credited(st, int(f.Length)-len(data)) // the padding counts, RFC 9113, section 6.1
	for err == nil && st != nil && len(data) > 0 {
		room := st.body.room(true)
		if room == nil {
			break
		}
		n := copy(room, data)
		if !st.body.fill(n) {
			break
		}
		c.nudge(st)
		data = data[n:]
	}
	c.unwanted(st, len(data))
	if err != nil || st == nil {
		return err
	}
	if f.StreamEnded() {
		return c.clientEnded(st)
	}
	return nil
}

// maxSettings is how many may come in a frame. There is hardly a reason to say one twice,
// and each costs a look at all streams.
const maxSettings = 100

// settings takes note of what the client wants (RFC 9113, section 6.5).
func (c *Conn) settings(f *http2.SettingsFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.budget.frame() {
		return calm(LimitFrames)
	}
	if f.IsAck() {
		return nil
	}
	if f.NumSettings() > maxSettings {
		return calm(LimitFrames)
	}
	c.settled = true
	widest, window := int64(-1), int64(-1) // of the initial windows, and the last
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			window = int64(s.Val)
			widest = max(widest, window)
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(min(s.Val, maxReadFrame)) // larger ones would be in others' way
		case http2.SettingHeaderTableSize:
			c.resize = true
		case http2.SettingNoRFC7540Priorities:
			if s.Val > 1 { // RFC 9218, section 2.1
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
		}
		return nil
	})
	if err == nil && widest > window {
		err = c.setInitialWindow(widest) // it may be too wide, for which the last does not make up
	}
	if err == nil && window >= 0 {
		err = c.setInitialWindow(window)
	}
	if err != nil {
		return err
	}
	if err := c.answersFrame(); err != nil {
		return err
	}
	_ = c.out.writer().WriteSettingsAck()
	c.send() // after it, so that the client knows why
	return nil
}

// setInitialWindow changes the window of streams, of those that there are too (RFC 9113,
// section 6.9.2). c.mu is held.
func (c *Conn) setInitialWindow(n int64) error {
	delta := n - c.initialWindow
	c.initialWindow = n
	for _, st := range c.streams {
		if st.sendWindow+delta > maxInt31 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		st.sendWindow += delta
		c.resume(st)
	}
	return nil
}

// ping answers a PING frame.
func (c *Conn) ping(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.budget.frame() {
		return calm(LimitFrames)
	}
	if f.IsAck() {
		if c.draining == drainAsked && f.Data == drainPing {
			c.goAway()
		}
		return nil
	}
	if err := c.answersFrame(); err != nil {
		return err
	}
	return c.out.writer().WritePing(true, f.Data)
}

// learn takes note that the client knows of priorities.
func (c *Conn) learn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aware = true
}

// reprioritise takes note of what a client says of a stream after it has begun (RFC 9218,
// section 7.1). What it says before is forgotten: it may say it with the request.
func (c *Conn) reprioritise(id uint32, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aware = true
	st := c.streams[id]
	if st == nil {
		return
	}
	waits := st.queue != nil
	c.ready.remove(st)
	st.priority = parsePriority(value)
	if waits {
		c.ready.add(st)
	}
}
