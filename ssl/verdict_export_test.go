package ssl

// Verdicts returns how many verdicts a Terminator remembers.
func (tm *Terminator) Verdicts() (n int) {
	for i := range tm.verdicts.shards {
		shard := &tm.verdicts.shards[i]
		shard.mu.RLock()
		n += len(shard.m)
		shard.mu.RUnlock()
	}
	return n
}
