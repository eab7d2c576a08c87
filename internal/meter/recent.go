package meter

// A Recent remembers what was counted in about the last hour. Minutes are numbered, from
// whenever. It is for one goroutine at a time. The zero Recent is empty.
type Recent struct {
	seen   [Classes]uint64 // of the counts, what was taken into account
	minute [Classes]uint64 // in the last minute that is over
	last   int64           // the number of that minute

	// periods are those of the last hour, the one of period included, each in the place
	// that its number gives it.
	periods [hour / period][Classes]uint32
	current int64
}

const (
	period = 5 // minutes
	hour   = 60
)

// Roll ends a minute, and returns what was counted in it.
func (r *Recent) Roll(minute int64, counts [Classes]uint64) (delta [Classes]uint64) {
	r.advance(minute)
	slot := &r.periods[minute/period%int64(len(r.periods))]
	for i, n := range counts {
		delta[i] = n - r.seen[i]
		slot[i] += uint32(delta[i])
	}
	r.seen, r.minute, r.last = counts, delta, minute
	return delta
}

// Since returns what was counted since the last minute that is over.
func (r *Recent) Since(counts [Classes]uint64) (delta [Classes]uint64) {
	for i, n := range counts {
		delta[i] = n - r.seen[i]
	}
	return delta
}

// Hour returns what was counted in the last minute that is over, and in the last hour: up
// to now, in the given minute, from the beginning of the oldest of twelve periods on.
func (r *Recent) Hour(minute int64, counts [Classes]uint64) (last, sum [Classes]uint64) {
	r.advance(minute)
	sum = r.Since(counts)
	for _, p := range r.periods {
		for i, n := range p {
			sum[i] += uint64(n)
		}
	}
	if r.last == minute-1 {
		last = r.minute
	}
	return last, sum
}

// advance empties the periods that are too long ago.
func (r *Recent) advance(minute int64) {
	now := minute / period
	if now-r.current > int64(len(r.periods)) {
		r.current = now - int64(len(r.periods))
	}
	for r.current < now {
		r.current++
		clear(r.periods[r.current%int64(len(r.periods))][:])
	}
}
