package ssl

import (
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/meter"
)

// This file counts handshakes. Which counts are a profile's is looked up once for each
// profile, when its tls.Config is built; from then on a handshake adds to some integers.

// counts are those of a Terminator.
type counts struct {
	all, noProfile handshakeCounts
	turnedAway     atomic.Uint64

	// profiles has those of each ID that had a handshake: of type *handshakeCounts. Its
	// readers take no lock.
	profiles sync.Map
	size     atomic.Int64 // of profiles
}

// countedVersions are those of TLS, from 1.0 on.
const countedVersions = 4

// handshakeCounts count handshakes. The zero handshakeCounts is empty.
type handshakeCounts struct {
	full, resumed [countedVersions]atomic.Uint64
	failed        [len(handshakeReasons)]atomic.Uint64
	duration      meter.Histogram

	// gone says that the ID was deleted, and that nobody reads these any more.
	gone atomic.Bool
}

// handshakeReasons is the list of [HandshakeReasons].
var handshakeReasons = [...]Reason{
	ReasonNoSNI, ReasonUnknownSNI, ReasonNoClientCert, ReasonUnknownCA, ReasonExpired, ReasonRevoked, ReasonDepth, ReasonKeyUsage, ReasonNotAllowed, ReasonTimeout, ReasonCrowdedOut, ReasonProtocol, ReasonClientAbort,
}

// of returns the counts of a profile's ID.
func (c *counts) of(id string, table func() *Table) *handshakeCounts {
	found, there := c.profiles.LoadOrStore(id, new(handshakeCounts))
	if !there && c.size.Add(1) > int64(64+2*table().Len()) {
		c.forget(table)
	}
	return found.(*handshakeCounts)
}

// forget drops the counts of IDs that no profile has any more. The table is asked for
// after the IDs were collected: whoever put one of them there had it from an earlier
// table, so that what the table does not have now was deleted.
func (c *counts) forget(table func() *Table) {
	had := map[string]*handshakeCounts{}
	for id, of := range c.profiles.Range {
		had[id.(string)] = of.(*handshakeCounts)
	}
	t := table()
	for id, of := range had {
		if t.Get(id) == nil && c.profiles.CompareAndDelete(id, of) {
			of.gone.Store(true)
			c.size.Add(-1)
		}
	}
}

// succeeded counts a handshake that succeeded, for all and for its profile.
func (c *counts) succeeded(of *handshakeCounts, cs *tls.ConnectionState, took time.Duration) {
	c.all.succeeded(cs, took)
	of.succeeded(cs, took)
}

// failed counts one that failed.
func (c *counts) failed(of *handshakeCounts, reason Reason) {
	i := slices.Index(handshakeReasons[:], reason)
	c.all.failed[i].Add(1)
	of.failed[i].Add(1)
}

func (c *handshakeCounts) succeeded(cs *tls.ConnectionState, took time.Duration) {
	versions := &c.full
	if cs.DidResume {
		versions = &c.resumed
	}
	versions[min(max(cs.Version, tls.VersionTLS10)-tls.VersionTLS10, countedVersions-1)].Add(1)
	c.duration.Observe(took)
}

// read returns what was counted: see [*meter.Histogram.Read] about room.
func (c *handshakeCounts) read(room []uint64) (HandshakeStats, []uint64) {
	s := HandshakeStats{Duration: Histogram{Bounds: meter.Bounds()}, Full: readVersions(&c.full), Resumed: readVersions(&c.resumed)}
	for i, reason := range handshakeReasons {
		if n := c.failed[i].Load(); n > 0 {
			s.Failed = append(s.Failed, ReasonCount{reason, n})
		}
	}
	if s.Succeeded() > 0 {
		var d meter.Distribution
		d, room = c.duration.Read(room)
		s.Duration = Histogram(d)
	}
	return s, room
}

func readVersions(c *[countedVersions]atomic.Uint64) VersionCounts {
	return VersionCounts{c[0].Load(), c[1].Load(), c[2].Load(), c[3].Load()}
}
