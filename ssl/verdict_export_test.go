package ssl

// Verdicts returns how many verdicts a Terminator remembers, in the shards or near.
func (tm *Terminator) Verdicts() (n int) {
	for i := range tm.verdicts.shards {
		shard := &tm.verdicts.shards[i]
		shard.mu.RLock()
		n += len(shard.m)
		shard.mu.RUnlock()
	}
	near := 0
	for i := range tm.verdicts.near {
		if tm.verdicts.near[i].Load() != nil {
			near++
		}
	}
	return max(n, near)
}

// ClockRuns reports whether the clock of a Terminator goes.
func (tm *Terminator) ClockRuns() bool { return tm.clock.shown.Load() != 0 }
