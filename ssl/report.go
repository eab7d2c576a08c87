package ssl

import (
	"crypto/tls"
	"fmt"
	"iter"
	"net/netip"
)

// A Report is what an administrator should know about a change that was made.
type Report struct {
	Warnings []Warning
}

// A Warning says what does not work the way it may seem to: it is to a [Config] that is
// taken what a [ConfigError] is to one that is refused.
type Warning struct {
	ID    string // of the Config
	Field string // as in Go: "Client.CAPEM", "Certificates[1].CertPEM"; "" if no one field is it
	Text  string

	// Opened says that the warning is about the change itself, and is reported only once:
	// server names demand client certificates no more, or clients are accepted again that a CRL
	// had revoked. All other warnings remain true as long as the profile and its neighbours
	// are as they are, and are repeated with each change of the profile.
	Opened bool
}

// String returns the text, after the profile and the field that it is about.
func (w Warning) String() string {
	if w.Field == "" {
		return fmt.Sprintf("profile %q: %s", w.ID, w.Text)
	}
	return fmt.Sprintf("profile %q: %s: %s", w.ID, w.Field, w.Text)
}

// Report says what an administrator should know about a change of the table. It is for
// programs that keep the table themselves: a [Store] reports by itself. ids are the
// profiles that the change has put and deleted. In addition to the [*Table.Warnings] of
// those that exist now, it reports IP addresses that no client will ask for by name, profiles
// that [Options.Base] leaves no TLS version, names that no longer demand client certificates,
// and CRLs that are older than those whose place they take, and revoke less.
//
// The cost is in proportion to the change, whatever the size of the tables.
func (tm *Terminator) Report(before, after *Table, ids ...string) (report Report) {
	ids = once(ids)
	for _, id := range ids {
		report.Warnings = append(report.Warnings, after.Warnings(id)...)
		report.Warnings = append(report.Warnings, tm.unasked(after, id)...)
		if text := tm.versionless(after.Get(id)); text != "" {
			report.Warnings = append(report.Warnings, Warning{ID: id, Text: text})
		}
		report.Warnings = append(report.Warnings, tm.setBack(before.Get(id), after.Get(id))...)
	}
	open := func(id, text string) {
		report.Warnings = append(report.Warnings, Warning{ID: id, Text: text, Opened: true})
	}
	opened := 0
	var first string // the profile of the first name that is only counted
	for id, name := range openedNames(before, after, ids) {
		switch opened++; {
		case opened <= maxListed:
			open(id, after.opened(name))
		case first == "":
			first = id
		}
	}
	if opened > maxListed {
		open(first, fmt.Sprintf("%d more server names demanded client certificates until this change, and demand none now", opened-maxListed))
	}
	return report
}

// unasked warns of names of a profile that no client sends.
func (tm *Terminator) unasked(t *Table, id string) (warnings []Warning) {
	p := t.Get(id)
	if p == nil {
		return nil
	}
	for _, name := range p.names {
		if !isAddress(name) {
			continue
		}
		if fallback, _ := tm.find(t, ""); fallback == p {
			return nil
		}
		warnings = append(warnings, p.warning("Names", "the server name %s is an IP address, and clients send none as a server name (RFC 6066, section 3): they get this profile only where FallbackName is one of its names", name))
	}
	return warnings
}

// setBack warns of CRLs of a profile that are older than those of the one before it, either of
// which may be nil.
func (tm *Terminator) setBack(before, p *Profile) (warnings []Warning) {
	if before == nil || before.client == nil || p == nil || p.client == nil {
		return nil
	}
	for _, text := range p.client.crls.setBack(before.client.crls, tm.now()) {
		warnings = append(warnings, Warning{ID: p.id, Field: "Client.CRLs", Text: text, Opened: true})
	}
	return warnings
}

// versionless warns of a profile that leaves, with Options.Base, no TLS version, or returns "".
func (tm *Terminator) versionless(p *Profile) string {
	if p == nil {
		return ""
	}
	lowest, highest := tm.versions(p)
	if highest == 0 || lowest <= highest {
		return ""
	}
	by := func(field string, profile uint16) string {
		if profile == 0 {
			return "Options.Base." + field
		}
		return field + " of the profile"
	}
	return fmt.Sprintf("no handshake succeeds: the lowest TLS version is %s (%s), and the highest %s (%s)",
		tls.VersionName(lowest), by("MinVersion", p.minVersion), tls.VersionName(highest), by("MaxVersion", p.maxVersion))
}

// isAddress reports whether a canonical pattern is an IP address.
func isAddress(pattern string) bool {
	if pattern[0] == '[' {
		return true
	}
	if last := pattern[len(pattern)-1]; last < '0' || last > '9' {
		return false // most names
	}
	_, err := netip.ParseAddr(pattern)
	return err == nil
}

// openedNames yields the names that demanded client certificates before a change and do
// not after it, each after the ID of a profile that the change touches. A name that nobody
// answers for any more is one of them: the guard knows no reason then to refuse a request
// for it. It looks at the names of the touched profiles alone, of those before the change
// as well as those after it: an older profile may take a name from a younger.
func openedNames(before, after *Table, ids []string) iter.Seq2[string, string] {
	return func(yield func(id, name string) bool) {
		if !before.DemandsClientCert() {
			return
		}
		opened := func(name string) bool {
			claims, _ := before.names.Get(name)
			if len(claims) == 0 || !claims[0].profile.DemandsClientCert() {
				return false
			}
			now, closed := after.answering(name)
			return !closed && !now.DemandsClientCert()
		}
		told := map[string]bool{}
		for _, id := range ids {
			for _, p := range []*Profile{before.Get(id), after.Get(id)} {
				if p == nil {
					continue
				}
				for _, name := range p.names {
					if told[name] || !opened(name) {
						continue
					}
					told[name] = true
					if !yield(id, name) {
						return
					}
				}
			}
		}
	}
}

// opened is the warning about a name that demands client certificates no more.
func (t *Table) opened(name string) string {
	if p, _ := t.answering(name); p != nil {
		return fmt.Sprintf("the server name %s demanded client certificates until this change: the profile %q answers for it now, and demands none", name, p.id)
	}
	return fmt.Sprintf("the server name %s demanded client certificates until this change, and no profile answers for it now: a request for it that comes over plain HTTP, or a connection made for another name, needs none", name)
}

// once returns a list without what stands in it already.
func once(list []string) []string {
	if len(list) < 2 {
		return list
	}
	seen := make(map[string]bool, len(list))
	var out []string
	for _, s := range list {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}
