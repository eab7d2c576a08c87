package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/route"
)

// This file is what an administrator should know about a change. Its cost is in proportion
// to the change.

func (p *Prepared) report(old, snap *snapshot) (report Report) {
	ids := make([]string, 0, len(p.profiles)+len(p.gone.Profiles))
	for _, profile := range p.profiles {
		ids = append(ids, profile.ID())
	}
	for _, w := range p.server.term.Report(old.ssl, snap.ssl, append(ids, p.gone.Profiles...)...).Warnings {
		report.Warnings = append(report.Warnings, Warning{KindProfile, w.ID, w.Field, w.Text, w.Opened})
	}
	for _, r := range p.routes {
		for _, w := range snap.routes.Warnings(r.ID()) {
			report.Warnings = append(report.Warnings, Warning{KindRoute, w.ID, w.Field, w.Text, false})
		}
		if text := snap.refusesEverybody(r); text != "" {
			report.Warnings = append(report.Warnings, Warning{KindRoute, r.ID(), "RequireIdentity", text, false})
		}
	}
	for _, u := range p.upstreams {
		for _, w := range u.Warnings() {
			report.Warnings = append(report.Warnings, Warning{KindUpstream, w.ID, w.Field, w.Text, false})
		}
	}
	return report
}

// refusesEverybody warns of a route that demands an identity under a name whose clients are
// never asked for a certificate, or returns "". That a name is no longer asked for one, is
// told with the change of its profile.
func (snap *snapshot) refusesEverybody(r *route.Route) string {
	if !r.RequireIdentity() || r.Disabled() {
		return ""
	}
	where := "any name"
	if r.EveryHost() {
		if snap.ssl.DemandsClientCert() {
			return ""
		}
	} else {
		const listed = 3
		var names []string
		for _, host := range r.Hosts() {
			if name := withoutPort(host); !snap.mayIdentify(name) {
				names = append(names, name)
			}
		}
		names = slices.Compact(names) // of one name with several ports
		if len(names) == 0 {
			return ""
		}
		where = strings.Join(names[:min(listed, len(names))], ", ")
		if n := len(names) - listed; n > 0 {
			where += fmt.Sprintf(" and %d more", n)
		}
	}
	return fmt.Sprintf("is set, and no client is asked for a certificate under %s: every such request is answered with 403: "+
		`set Client in the profile of the name, with SkipPaths "^/" if other routes need no certificate`, where)
}

// mayIdentify reports whether a client may have an identity under a name that a pattern of
// a route fits. Of a wildcard it may be mistaken, but not by saying no.
func (snap *snapshot) mayIdentify(pattern string) bool {
	suffix, star := strings.CutPrefix(pattern, "*")
	if !star {
		return snap.ssl.Lookup(pattern).DemandsClientCert()
	}
	dot := strings.IndexByte(suffix, '.')
	if dot < 0 { // it may be any name
		return snap.ssl.DemandsClientCert()
	}
	// One label before the dot is what the star of a profile may stand for.
	below, _ := snap.demanding.Get(suffix[dot:])
	over, _ := snap.demanding.Get("*" + suffix[dot+1:])
	all, _ := snap.demanding.Get("*")
	return below+over+all > 0
}

// withoutPort returns a host of a route without its port.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}
