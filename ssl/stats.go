package ssl

import (
	"time"

	"github.com/sallyport/sallyport/internal/meter"
)

// Stats are the counts of a [Terminator]: how the handshakes at its [*Terminator.Listener]
// ended, since it was made. Those of an [net/http.Server] that only has
// [*Terminator.TLSConfig] are not counted: crypto/tls does not report their end.
type Stats struct {
	// All counts all handshakes, including those of profiles that have been deleted.
	All HandshakeStats

	// Profiles has the profiles of the current table, by ID. Counts belong to an ID: they
	// continue when its profile is replaced, and are gone when it is deleted.
	Profiles []ProfileStats

	// NoProfile counts the handshakes that ended before a profile was found, because the client
	// sent no known server name, or nothing that could be read.
	NoProfile HandshakeStats

	// TurnedAway counts the connections that were closed without a handshake, because of
	// [Options.MaxHandshakesPerAddr].
	TurnedAway uint64
}

// Soonest returns the earliest of all [ProfileStats.NotAfter] and of all
// [ProfileStats.CRLNextUpdate], for those who do not watch each profile by itself. Each is
// zero if there is none.
func (s Stats) Soonest() (notAfter, crlNextUpdate time.Time) {
	for i := range s.Profiles {
		p := &s.Profiles[i]
		for _, t := range p.NotAfter {
			if notAfter.IsZero() || t.Before(notAfter) {
				notAfter = t
			}
		}
		if t := p.CRLNextUpdate; crlNextUpdate.IsZero() || !t.IsZero() && t.Before(crlNextUpdate) {
			crlNextUpdate = t
		}
	}
	return notAfter, crlNextUpdate
}

// ProfileStats are the counts of one profile.
type ProfileStats struct {
	ID         string
	Handshakes HandshakeStats

	// NotAfter is when each of the profile's certificates expires, in the order of
	// [Config.Certificates]. It must not be changed.
	NotAfter []time.Time

	// CRLNextUpdate is when the first of the revocation lists that count is past its next
	// update, from when on clients are refused. It is zero if there are no lists, or if
	// [ClientAuth.DangerouslyAllowExpiredCRL] is set. Of lists of one issuer for the same
	// certificates, the newest counts that is valid already.
	CRLNextUpdate time.Time
}

// HandshakeStats count handshakes.
type HandshakeStats struct {
	Full    VersionCounts // that succeeded with a full handshake
	Resumed VersionCounts // that succeeded with a session of an earlier connection

	// Failed has the reasons that occurred, in the order of [HandshakeReasons].
	Failed []ReasonCount

	// Duration is how long the successful ones took, from accepting the connection.
	Duration Histogram
}

// Succeeded returns how many succeeded, full and resumed.
func (s HandshakeStats) Succeeded() uint64 { return s.Full.Total() + s.Resumed.Total() }

// VersionCounts are counts by version of TLS.
type VersionCounts struct{ TLS10, TLS11, TLS12, TLS13 uint64 }

// Total returns the sum.
func (c VersionCounts) Total() uint64 { return c.TLS10 + c.TLS11 + c.TLS12 + c.TLS13 }

// A ReasonCount says how often something was refused for a reason.
type ReasonCount struct {
	Reason Reason
	Count  uint64
}

// A Histogram says how long something took. The Histogram types of packages ssl, upstream
// and gateway can be converted to each other.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, inclusive, in ascending order. They are the
	// same for every Histogram, and must not be changed.
	Bounds []time.Duration

	// Counts has a count for each of Bounds, and a last one for what took longer. A count does
	// not include the buckets below. Counts is nil as long as there is nothing to count.
	Counts []uint64

	Sum   time.Duration // of all
	Count uint64        // of all; the sum of Counts
}

// Stats returns the current counts. It takes no lock, and its cost is in proportion to what
// it returns: some milliseconds for 10 000 profiles. The counts are read one after another
// while handshakes go on.
func (tm *Terminator) Stats() Stats {
	tm.counts.forget(tm.table)
	t, now := tm.table(), tm.now()
	s := Stats{All: tm.Handshakes(), TurnedAway: tm.counts.turnedAway.Load(), Profiles: make([]ProfileStats, 0, t.Len())}
	s.NoProfile, _ = tm.counts.noProfile.read(nil)
	room := make([]uint64, 0, meter.Buckets*int(max(tm.counts.size.Load(), 0)))
	for _, p := range t.sorted() {
		ps := ProfileStats{ID: p.id, NotAfter: p.notAfter, Handshakes: HandshakeStats{Duration: Histogram{Bounds: meter.Bounds()}}}
		if p.client != nil {
			ps.CRLNextUpdate = p.client.crls.nextUpdate(now)
		}
		if c, ok := tm.counts.profiles.Load(p.id); ok {
			ps.Handshakes, room = c.(*handshakeCounts).read(room)
		}
		s.Profiles = append(s.Profiles, ps)
	}
	return s
}

// Handshakes returns the counts of all handshakes, like [Stats.All], at the same cost
// however many profiles there are.
func (tm *Terminator) Handshakes() HandshakeStats {
	all, _ := tm.counts.all.read(nil)
	return all
}
