package gatewayprom

import (
	"strconv"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// handshakes is about handshakes, and about certificates.
func (c *collector) handshakes(s sink, st *ssl.Stats) {
	s.counter(turnedAway, st.TurnedAway)
	if !c.fits(len(st.Profiles)) {
		s.handshakes("", &st.All)
		end, update := st.Soonest()
		s.timestamp(expiry, end, "", "")
		s.timestamp(crlNextUpdate, update, "")
		return
	}
	s.handshakes("", &st.NoProfile)
	for i := range st.Profiles {
		p := &st.Profiles[i]
		profile := label(p.ID)
		s.handshakes(profile, &p.Handshakes)
		for n, end := range p.NotAfter {
			s.timestamp(expiry, end, profile, strconv.Itoa(n))
		}
		s.timestamp(crlNextUpdate, p.CRLNextUpdate, profile)
	}
}

// handshakes shows every reason, lest the first failure of a kind goes unseen: of a series
// that was not there before, Prometheus knows no increase.
func (s sink) handshakes(profile string, st *ssl.HandshakeStats) {
	s.byVersion(&st.Full, profile, "false")
	s.byVersion(&st.Resumed, profile, "true")
	failed := map[ssl.Reason]uint64{}
	for _, r := range st.Failed {
		failed[r.Reason] = r.Count
	}
	for _, reason := range ssl.HandshakeReasons() {
		s.counter(handshakeFailures, failed[reason], profile, string(reason))
	}
	s.histogram(handshakeDuration, of(upstream.Histogram(st.Duration)), profile)
}

// byVersion shows the versions that are spoken by default, and others if they are spoken.
func (s sink) byVersion(c *ssl.VersionCounts, profile, resumed string) {
	for _, v := range []struct {
		name  string
		n     uint64
		usual bool
	}{{"1.0", c.TLS10, false}, {"1.1", c.TLS11, false}, {"1.2", c.TLS12, true}, {"1.3", c.TLS13, true}} {
		if v.n > 0 || v.usual {
			s.counter(handshakes, v.n, profile, v.name, resumed)
		}
	}
}
