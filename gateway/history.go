package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/meter"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// A History is what happened in the last hour.
type History struct {
	// Minutes has the last hour by minute, the oldest first and without gaps. The last one is
	// still in progress. There are at most 61, fewer if the Server is younger.
	Minutes []Minute

	// Routes are those that had a request in the last hour, by ID.
	Routes []RouteHistory
}

// A Minute is what happened in one minute.
type Minute struct {
	Begun time.Time     // a whole minute of wall-clock time, except for the Server's first
	Took  time.Duration // a minute, except for the first one and the one in progress

	Handshakes uint64            // at [*Server.ServeTLS], that succeeded
	Failed     []ssl.ReasonCount // handshakes that failed: only what occurred, in the order of [ssl.HandshakeReasons]
	Requests   StatusCounts      // with and without a route
}

// A RouteHistory is about the requests for one route.
type RouteHistory struct {
	ID string

	Minute StatusCounts // in the last whole minute
	Hour   StatusCounts // in the last hour, up to now: 55 to 60 minutes
}

// A history remembers the last hour. Nothing is written into it where something happens:
// once a minute it looks how far the counts have come. It has no goroutine, but a timer,
// which stops after a minute in which nothing has happened.
type history struct {
	running atomic.Bool // the timer runs, or soon will

	mu      sync.Mutex  // guards what follows; nothing on the way of a request takes it
	timer   *time.Timer // nil before it was started first
	ticks   bool        // it runs
	closed  bool
	current int64 // the minute that goes on, if ticks
	minutes [historyMinutes]pastMinute
	shaken  ssl.HandshakeStats // up to the minute that goes on
	leaving []*meter.Route     // of routes that were deleted in it
}

// historyMinutes are those that are over.
const historyMinutes = 60

// A pastMinute is one that is over, in the place that its number gives it, or what has
// happened so far in the one that goes on.
type pastMinute struct {
	number     int64 // since 1970
	handshakes uint64
	failed     []ssl.ReasonCount
	requests   StatusCounts
}

func (m *pastMinute) happened() bool {
	return m.handshakes > 0 || len(m.failed) > 0 || m.requests.Total() > 0
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// touch lets the time pass, if it stands. It is called for everything that is remembered,
// and waits for nobody.
func (h *history) touch(s *Server) {
	if !h.running.Load() && h.running.CompareAndSwap(false, true) {
		time.AfterFunc(0, func() { h.start(s) })
	}
}

func (h *history) start(s *Server) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.ticks {
		return
	}
	now := time.Now()
	h.ticks, h.current = true, minuteOf(now)
	h.timer = time.AfterFunc(untilNextMinute(now), func() { h.tick(s) })
}

func untilNextMinute(now time.Time) time.Duration {
	return now.Truncate(time.Minute).Add(time.Minute).Sub(now)
}

// tick ends a minute.
func (h *history) tick(s *Server) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	now := time.Now()
	if !h.roll(s, now) {
		// Who counts from now on starts the timer again. Who has counted just before did
		// not, and so is looked for.
		h.running.Store(false)
		if m := h.soFar(s); !m.happened() || !h.running.CompareAndSwap(false, true) {
			h.ticks = false
			return
		}
	}
	h.timer.Reset(untilNextMinute(now))
}

// stop stops the timer for good.
func (h *history) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
}

// roll ends the minute that goes on, if it is over. What was counted since the last time
// belongs to it. It reports false if that is nothing. h.mu is held.
func (h *history) roll(s *Server, now time.Time) bool {
	next := minuteOf(now)
	if next == h.current {
		return true
	}
	m := pastMinute{number: h.current}
	for _, r := range s.meters() {
		if r.Recent == nil {
			r.Recent = new(meter.Recent)
		}
		add(&m.requests, r.Recent.Roll(h.current, r.Answers()))
	}
	for _, r := range h.leaving {
		add(&m.requests, leftOver(r))
	}
	shaken := s.term.Handshakes()
	m.handshakes, m.failed = handshakesSince(&h.shaken, &shaken)
	h.leaving, h.shaken = nil, shaken
	h.minutes[h.current%historyMinutes], h.current = m, next
	return m.happened()
}

// soFar returns what was counted since then. h.mu is held.
func (h *history) soFar(s *Server) (m pastMinute) {
	for _, r := range s.meters() {
		add(&m.requests, leftOver(r))
	}
	for _, r := range h.leaving {
		add(&m.requests, leftOver(r))
	}
	shaken := s.term.Handshakes()
	m.handshakes, m.failed = handshakesSince(&h.shaken, &shaken)
	return m
}

func add(sum *StatusCounts, n StatusCounts) {
	for i := range sum {
		sum[i] += n[i]
	}
}

// leftOver returns what was counted of a route since the last minute that is over.
func leftOver(r *meter.Route) StatusCounts {
	if r.Recent == nil {
		return r.Answers()
	}
	return r.Recent.Since(r.Answers())
}

// handshakesSince returns what the counts have grown by.
func handshakesSince(then, now *ssl.HandshakeStats) (succeeded uint64, failed []ssl.ReasonCount) {
	for _, f := range now.Failed {
		i := slices.IndexFunc(then.Failed, func(t ssl.ReasonCount) bool { return t.Reason == f.Reason })
		if i >= 0 {
			f.Count -= then.Failed[i].Count
		}
		if f.Count > 0 {
			failed = append(failed, f)
		}
	}
	return now.Succeeded() - then.Succeeded(), failed
}

// leave remembers what was counted of a route in the minute that goes on when the route
// is deleted.
func (h *history) leave(r *route.Route) {
	counted := meter.OfRoute.Counted(r)
	if counted == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running.Load() && !h.closed {
		h.leaving = append(h.leaving, counted)
	}
}

// meters returns where requests were counted.
func (s *Server) meters() []*meter.Route {
	list := []*meter.Route{&s.counts.unrouted}
	for _, r := range s.snap.Load().sortedRoutes() {
		if counted := meter.OfRoute.Counted(r); counted != nil {
			list = append(list, counted)
		}
	}
	return list
}

// History returns what happened in the last hour. Like [*Server.Stats], it takes no lock
// that a handshake or a request waits for; it takes some milliseconds with 100 000 routes.
// For each route that had a request, the Server remembers about half a kilobyte.
func (s *Server) History() History {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.ticks {
		h.roll(s, now)
	}
	return History{Minutes: h.listMinutes(s, now), Routes: h.listRoutes(s, now)}
}

// listMinutes returns the last hour by minute. h.mu is held.
func (h *history) listMinutes(s *Server, now time.Time) []Minute {
	number, since := minuteOf(now), s.epoch.Round(0)
	list := make([]Minute, 0, historyMinutes+1)
	for n := max(minuteOf(since), number-historyMinutes); n < number; n++ {
		m := Minute{Begun: time.Unix(n*60, 0), Took: time.Minute}
		if past := &h.minutes[n%historyMinutes]; past.number == n {
			m.Handshakes, m.Failed, m.Requests = past.handshakes, past.failed, past.requests
		}
		list = append(list, m)
	}
	m := h.soFar(s)
	begun := time.Unix(number*60, 0)
	list = append(list, Minute{begun, now.Sub(begun), m.handshakes, m.failed, m.requests})
	if first := &list[0]; first.Begun.Before(since) {
		first.Took = max(first.Took-since.Sub(first.Begun), 0)
		first.Begun = since
	}
	return list
}

// listRoutes returns the last hour by route. h.mu is held.
func (h *history) listRoutes(s *Server, now time.Time) (list []RouteHistory) {
	for _, r := range s.snap.Load().sortedRoutes() {
		counted := meter.OfRoute.Counted(r)
		if counted == nil {
			continue
		}
		recent := counted.Recent
		if recent == nil {
			recent = new(meter.Recent) // nothing of it is over yet
		}
		last, hour := recent.Hour(minuteOf(now), counted.Answers())
		if sum := StatusCounts(hour); sum.Total() > 0 {
			list = append(list, RouteHistory{ID: r.ID(), Minute: last, Hour: hour})
		}
	}
	return list
}
