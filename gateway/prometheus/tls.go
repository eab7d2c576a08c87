package gatewayprom

import (
	"strconv"
	"time"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// handshakes is about handshakes, and about certificates.
func (c *collector) handshakes(s sink, st *ssl.Stats) {
	none := newHandshakeSums(&st.NoProfile)
	if c.fits(len(st.Profiles)) {
		s.handshakes("", none)
		for i := range st.Profiles {
			p := &st.Profiles[i]
			profile := label(p.ID)
			s.handshakes(profile, newHandshakeSums(&p.Handshakes))
			for n, end := range p.NotAfter {
				s.timestamp(expiry, end, profile, strconv.Itoa(n))
			}
		}
	} else {
		var soonest time.Time
		for i := range st.Profiles {
			p := &st.Profiles[i]
			none.add(&p.Handshakes)
			for _, end := range p.NotAfter {
				if soonest.IsZero() || end.Before(soonest) {
					soonest = end
				}
			}
		}
		s.handshakes("", none)
		s.timestamp(expiry, soonest, "", "")
	}
	s.counter(turnedAway, st.TurnedAway)
}

// handshakeSums adds up what became of handshakes.
type handshakeSums struct {
	full, resumed ssl.VersionCounts
	failed        map[ssl.Reason]uint64
	duration      histogram
}

func newHandshakeSums(st *ssl.HandshakeStats) *handshakeSums {
	h := &handshakeSums{failed: map[ssl.Reason]uint64{}}
	h.add(st)
	return h
}

func (h *handshakeSums) add(st *ssl.HandshakeStats) {
	h.full = plus(h.full, st.Full)
	h.resumed = plus(h.resumed, st.Resumed)
	for _, r := range st.Failed {
		h.failed[r.Reason] += r.Count
	}
	duration := upstream.Histogram(st.Duration)
	h.duration.add(&duration)
}

func plus(a, b ssl.VersionCounts) ssl.VersionCounts {
	return ssl.VersionCounts{TLS10: a.TLS10 + b.TLS10, TLS11: a.TLS11 + b.TLS11, TLS12: a.TLS12 + b.TLS12, TLS13: a.TLS13 + b.TLS13}
}

// handshakes shows every reason, lest the first failure of a kind goes unseen: of a series
// that was not there before, Prometheus knows no increase.
func (s sink) handshakes(profile string, h *handshakeSums) {
	s.byVersion(&h.full, profile, "false")
	s.byVersion(&h.resumed, profile, "true")
	for _, reason := range ssl.HandshakeReasons() {
		s.counter(handshakeFailures, h.failed[reason], profile, string(reason))
	}
	if profile != "" || h.duration.n > 0 { // without a profile none succeeds
		s.histogram(handshakeDuration, &h.duration, profile)
	}
}

// byVersion shows the versions that are spoken by default, and others if they are spoken.
func (s sink) byVersion(c *ssl.VersionCounts, profile, resumed string) {
	for _, v := range []struct {
		name  string
		n     uint64
		usual bool
	}{{"1.0", c.TLS10, false}, {"1.1", c.TLS11, false}, {"1.2", c.TLS12, true}, {"1.3", c.TLS13, true}} {
		if v.n > 0 || v.usual && profile != "" {
			s.counter(handshakes, v.n, profile, v.name, resumed)
		}
	}
}
