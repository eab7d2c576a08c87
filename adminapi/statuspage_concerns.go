package adminapi

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
)

// concerns says what somebody should look at, of all objects and not of those on a page
// alone. The warnings about routes are not among it: each is found by looking at many others,
// which takes too long for all of them.
func (h *Handler) concerns(stats *gateway.Stats, c *statuspage.Configuration) []statuspage.Concern {
	out := []statuspage.Concern{}
	add := func(section, format string, a ...any) {
		out = append(out, statuspage.Concern{Section: section, Text: fmt.Sprintf(format, a...)})
	}
	if c.Storage.Error != "" {
		add("configuration", "The storage is out of reach: the last good configuration goes on, and nothing can be changed.")
	}
	for _, f := range c.Storage.Files {
		if f.Error != "" {
			add("configuration", "The file %s is not taken as it is now: the last good configuration goes on.", f.Path)
		}
	}
	if keys := mapped(c.Storage.Rejected, func(r statuspage.Rejected) string { return r.Key }); len(keys) > 0 {
		add("configuration", "Stored and not in force: %s.", named(keys))
	}
	table := h.server.Profiles()
	var ended, ends, early, stale, odd []string
	for i := range stats.TLS.Profiles {
		s := &stats.TLS.Profiles[i]
		p := table.Get(s.ID)
		if p == nil {
			continue
		}
		states := mapped(p.Certificates(), func(c *x509.Certificate) string { return stateOf(c, stats.At) })
		switch {
		case slices.Contains(states, statuspage.Ended):
			ended = append(ended, s.ID)
		case slices.Contains(states, statuspage.NotYetValid):
			early = append(early, s.ID)
		case slices.Contains(states, statuspage.EndsSoon):
			ends = append(ends, s.ID)
		case len(table.Warnings(s.ID)) > 0: // some of which are about the above
			odd = append(odd, s.ID)
		}
		if next := s.CRLNextUpdate; p.DemandsClientCert() && !next.IsZero() && stats.At.After(next) {
			stale = append(stale, s.ID)
		}
	}
	for _, found := range []struct {
		ids  []string
		what string
	}{
		{ended, "A certificate has ended"}, {ends, "A certificate ends soon"}, {early, "A certificate is not valid yet"},
		{stale, "A revocation list is past its next update"}, {odd, "Does not work the way it may seem to"},
	} {
		if len(found.ids) > 0 {
			add("names", "%s: ssl %s.", found.what, named(found.ids))
		}
	}
	var none, some []string
	for i := range stats.Upstreams {
		s := &stats.Upstreams[i]
		switch n := ailing(s.Nodes); {
		case n == 0:
		case n == len(s.Nodes):
			none = append(none, s.ID)
		default:
			some = append(some, s.ID)
		}
	}
	if len(none) > 0 {
		add("upstreams", "No node is well: upstream %s.", named(none))
	}
	if len(some) > 0 {
		add("upstreams", "A node is not well: upstream %s.", named(some))
	}
	return out
}

// named names the first of some objects, and counts the others.
func named(ids []string) string {
	const few = 3
	if len(ids) <= few {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:few], ", "), len(ids)-few)
}

func mapped[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}
