package h2

import "strings"

// A schedule has the streams that have something to send, in the order in which they may:
// those of a more urgent kind first; of one kind, those that are of use only as a whole in
// the order of their requests, and then the others a frame each in turn (RFC 9218, section
// 10). The zero schedule is empty. It is guarded by the mutex of its connection.
type schedule struct {
	levels  [urgencies]struct{ whole, parts queue }
	n       int   // streams in them
	stalled queue // those that wait for the window of the connection
}

const (
	urgencies      = 8
	defaultUrgency = 3
)

// A queue is a list of streams.
type queue struct{ head, tail *Stream }

func (q *queue) remove(st *Stream) {
	if st.prev != nil {
		st.prev.next = st.next
	} else {
		q.head = st.next
	}
	if st.next != nil {
		st.next.prev = st.prev
	} else {
		q.tail = st.prev
	}
	st.prev, st.next = nil, nil
}

// insert puts a stream behind another, or first if that is nil.
func (q *queue) insert(st, behind *Stream) {
	st.prev = behind
	if behind != nil {
		st.next, behind.next = behind.next, st
	} else {
		st.next, q.head = q.head, st
	}
	if st.next != nil {
		st.next.prev = st
	} else {
		q.tail = st
	}
}

// add adds a stream, unless it is there.
func (s *schedule) add(st *Stream) {
	if st.queue != nil {
		return
	}
	level := &s.levels[st.priority.urgency]
	s.n++
	if st.priority.incremental {
		st.queue = &level.parts
		st.queue.insert(st, st.queue.tail)
		return
	}
	st.queue = &level.whole
	behind := st.queue.tail
	for behind != nil && behind.id > st.id {
		behind = behind.prev
	}
	st.queue.insert(st, behind)
}

// remove takes a stream out, if it is there.
func (s *schedule) remove(st *Stream) {
	if st.queue == nil {
		return
	}
	if st.queue != &s.stalled {
		s.n--
	}
	st.queue.remove(st)
	st.queue = nil
}

// stall takes out a stream that is there, until resume. Others may have something to say
// that needs no window.
func (s *schedule) stall(st *Stream) {
	s.remove(st)
	st.queue = &s.stalled
	st.queue.insert(st, st.queue.tail)
}

// resume adds those that were stalled, which keep their order.
func (s *schedule) resume() {
	for st := s.stalled.head; st != nil; st = s.stalled.head {
		s.remove(st)
		s.add(st)
	}
}

// first returns the stream whose turn it is.
func (s *schedule) first() *Stream {
	if s.n == 0 {
		return nil
	}
	for i := range s.levels {
		level := &s.levels[i]
		if level.whole.head != nil {
			return level.whole.head
		}
		if level.parts.head != nil {
			return level.parts.head
		}
	}
	return nil
}

// rotate is called when a stream has had its turn, and has more.
func (s *schedule) rotate(st *Stream) {
	if st.priority.incremental && st.next != nil {
		st.queue.remove(st)
		st.queue.insert(st, st.queue.tail)
	}
}

// A priority is what a client says of a stream (RFC 9218).
type priority struct {
	urgency     uint8 // 0 is the most urgent
	incremental bool
}

// unspoken is the priority of a stream of which the client says nothing, as far as it
// knows how to, or of one whose client does not: then streams share, as they would if
// nobody had ever thought of priorities.
func unspoken(aware bool) priority { return priority{defaultUrgency, !aware} }

// parsePriority reads the members of a priority that are known: "u=0" to "u=7", and "i"
// (RFC 9218, section 4). What is not a dictionary of RFC 8941 is of no effect, as far as it
// can be told without reading what concerns nobody here.
func parsePriority(value string) priority {
	p := priority{urgency: defaultUrgency}
	for value != "" {
		var member string
		member, value, _ = strings.Cut(value, ",")
		member, _, _ = strings.Cut(member, ";") // parameters
		switch member = strings.Trim(member, " \t"); member {
		case "i", "i=?1":
			p.incremental = true
		case "i=?0":
			p.incremental = false
		default:
			if u, ok := strings.CutPrefix(member, "u="); ok && len(u) == 1 && '0' <= u[0] && u[0] <= '7' {
				p.urgency = u[0] - '0'
			}
		}
	}
	return p
}
