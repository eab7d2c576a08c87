package ssl

import (
	"time"

	"github.com/sallyport/sallyport/internal/meter"
)

// Stats are the counts of a [Terminator]: what became of the handshakes behind its
// [*Terminator.Listener], since it was made. Those of an [net/http.Server] with
// [*Terminator.TLSConfig] alone are not counted: crypto/tls does not report their end.
type Stats struct {
	// All counts all handshakes, those of profiles included that were deleted.
	All HandshakeStats

	// Profiles has the profiles of the current table, by ID. Counts belong to an ID: they
	// continue when its profile is replaced, and are gone when it is deleted.
	Profiles []ProfileStats

	// NoProfile counts the handshakes that ended before a profile was found, because the
	// client named no known one, or sent nothing that could be read.
	NoProfile HandshakeStats

	// TurnedAway counts the connections that were closed without a handshake, because of
	// [Options.MaxHandshakesPerAddr].
	TurnedAway uint64
}

// ProfileStats are those of one profile.
type ProfileStats struct {
	ID         string
	Handshakes HandshakeStats

	// NotAfter is when each of its certificates expires, in the order of
	// [Config.Certificates]. It must not be changed.
	NotAfter []time.Time
}

// HandshakeStats count handshakes.
type HandshakeStats struct {
	Full    VersionCounts // that succeeded with a full handshake
	Resumed VersionCounts // that succeeded with a session of an earlier connection

	// Failed has the reasons that occurred, in the order of [HandshakeReasons].
	Failed []ReasonCount

	// Duration is how long those took that succeeded, from the accepted connection on.
	Duration Histogram
}

// Succeeded returns how many succeeded, of whatever kind.
func (s HandshakeStats) Succeeded() uint64 { return s.Full.Total() + s.Resumed.Total() }

// VersionCounts count by version of TLS.
type VersionCounts struct{ TLS10, TLS11, TLS12, TLS13 uint64 }

// Total is the sum.
func (c VersionCounts) Total() uint64 { return c.TLS10 + c.TLS11 + c.TLS12 + c.TLS13 }

// A ReasonCount says how often something was refused for a reason.
type ReasonCount struct {
	Reason Reason
	Count  uint64
}

// A Histogram says how long something took. The types of this name in the packages ssl,
// upstream and gateway convert to each other.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, each included, in ascending order. They
	// are the same for every Histogram, and must not be changed.
	Bounds []time.Duration

	// Counts has a count for each of Bounds, which is not that of the buckets below as
	// well, and last one for what took longer. It is nil as long as there is nothing to
	// count.
	Counts []uint64

	Sum   time.Duration // of all
	Count uint64        // of all, which is the sum of Counts
}

// Stats returns the counts of the moment. It takes no lock, and its cost is that of what
// it returns: some milliseconds for 10 000 profiles. The counts are read one after another
// while handshakes go on.
func (tm *Terminator) Stats() Stats {
	tm.counts.forget(tm.table)
	t := tm.table()
	s := Stats{All: tm.Handshakes(), TurnedAway: tm.counts.turnedAway.Load(), Profiles: make([]ProfileStats, 0, t.Len())}
	s.NoProfile, _ = tm.counts.noProfile.read(nil)
	room := make([]uint64, 0, meter.Buckets*int(max(tm.counts.size.Load(), 0)))
	for _, p := range t.sorted() {
		ps := ProfileStats{ID: p.id, NotAfter: p.notAfter, Handshakes: HandshakeStats{Duration: Histogram{Bounds: meter.Bounds()}}}
		if c, ok := tm.counts.profiles.Load(p.id); ok {
			ps.Handshakes, room = c.(*handshakeCounts).read(room)
		}
		s.Profiles = append(s.Profiles, ps)
	}
	return s
}

// Handshakes returns the counts of all handshakes, which are [Stats.All]. It costs the same
// however many profiles there are.
func (tm *Terminator) Handshakes() HandshakeStats {
	all, _ := tm.counts.all.read(nil)
	return all
}
