package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// New checks a Config and makes it a Route. Of c, it keeps only Handler and Authorize. The
// error joins a [*ConfigError] for each fault.
func New(c Config) (*Route, error) {
	c = c.owned()
	k := &compiler{id: c.ID, room: &roomy{Route: Route{
		id:         c.ID,
		disabled:   c.Disabled,
		priority:   c.Priority,
		upstream:   c.Upstream,
		handler:    c.Handler,
		allowPlain: c.AllowPlain,
		webSocket:  c.WebSocket,
		clientCert: c.ClientCert,
		identified: c.RequireIdentity,
		authorize:  c.Authorize,
	}}}
	if c.ID == "" {
		k.fault("ID", errors.New("is required"))
	}
	k.hosts(c.Hosts)
	if len(c.Hosts)*len(c.Paths) > maxPlaces {
		k.fault("Hosts", fmt.Errorf("%d hosts with %d paths each are over %d places: make several routes of it", len(c.Hosts), len(c.Paths), maxPlaces))
	}
	k.paths(c.Paths)
	k.addrs(c.RemoteAddrs)
	k.vars(c.Vars)
	k.methods(c.Methods)
	switch {
	case c.Upstream == "" && unset(c.Handler):
		k.fault("Upstream", errors.New("either this or Handler must be set"))
	case c.Upstream != "" && c.Handler != nil:
		k.fault("Upstream", fmt.Errorf("%q is set, and Handler too: a route has one target", c.Upstream))
	}
	k.timeout(c.Timeout)
	k.edits(c.Headers)
	if c.RequireIdentity && c.AllowPlain {
		k.fault("AllowPlain", errors.New("is set, and RequireIdentity too: no client over plain HTTP has an identity"))
	}
	if err := c.ClientCert.Validate(); err != nil {
		k.fault("ClientCert", err)
	}
	if k.faults != nil {
		return nil, errors.Join(k.faults...)
	}
	r := &k.room.Route
	r.warnings = fewWarnings(c.ID, k.warnings)
	return r, nil
}

// A compiler makes a Route of the parts of a Config, and collects what there is to say of
// each.
type compiler struct {
	id       string
	room     *roomy
	faults   []error
	warnings []Warning // without their ID
}

func (k *compiler) fault(field string, err error) {
	k.faults = append(k.faults, &ConfigError{ID: k.id, Field: field, Err: err})
}

// maxPlaces bounds what one small document can make of a table: a route stands in it
// for each of its hosts with each of its paths.
const maxPlaces = 100_000

// hosts puts those of one name together, which differ in the port.
func (k *compiler) hosts(list []string) {
	r := &k.room.Route
	r.hosts = k.room.hosts[:0]
	twice, first := map[hostPattern]bool{}, map[string]int{}
	for i, s := range list {
		field := fmt.Sprintf("Hosts[%d]", i)
		host, err := parseHost(s)
		switch {
		case err != nil:
			k.fault(field, err)
			continue
		case twice[host]:
			k.fault(field, fmt.Errorf("%q is there twice", s))
			continue
		}
		if _, named := first[host.name]; !named {
			first[host.name] = i
		}
		twice[host] = true
		r.hosts = append(r.hosts, host)
	}
	slices.SortStableFunc(r.hosts, func(a, b hostPattern) int { return first[a.name] - first[b.name] })
}

// paths reads each path in both ways: with parameters and without.
func (k *compiler) paths(list []string) {
	if len(list) == 0 {
		k.fault("Paths", errors.New(`at least one is required: "/*" is every path`))
	}
	r := &k.room.Route
	r.paths = k.room.paths[:0]
	if len(list) > len(k.room.paths) {
		r.paths = make([]pattern, 0, len(list))
	}
	known, parameters := map[string]bool{}, false
	for i, s := range list {
		field := fmt.Sprintf("Paths[%d]", i)
		p, err := parsePattern(s, false)
		if err != nil {
			k.fault(field, err)
			continue
		}
		if known[s] {
			k.fault(field, fmt.Errorf("%q is there twice", s))
			continue
		}
		known[s] = true
		r.paths = append(r.paths, p)
		parameters = parameters || hasParameter(s)
	}
	r.parameters = r.paths
	if parameters {
		r.parameters = readAgain(r.paths)
	}
}

// readAgain returns the patterns of paths with parameters. What is wrong with a path is so in
// either reading. One pattern, which most routes have, is in one allocation with all that is
// its own.
func readAgain(paths []pattern) []pattern {
	if len(paths) == 1 {
		alone := &struct {
			pattern [1]pattern
			room    restRoom
		}{}
		alone.pattern[0], _ = parsePattern(paths[0].text, true)
		alone.pattern[0].rest = alone.room.copyOf(alone.pattern[0].rest)
		return alone.pattern[:]
	}
	parameters := make([]pattern, len(paths))
	for i := range paths {
		parameters[i], _ = parsePattern(paths[i].text, true)
	}
	return parameters
}

func (k *compiler) addrs(list []string) {
	var prefixes []netip.Prefix
	for i, s := range list {
		p, err := parseRange(s)
		if err != nil {
			k.fault(fmt.Sprintf("RemoteAddrs[%d]", i), err)
		}
		prefixes = append(prefixes, p)
	}
	k.room.addrs = newAddrs(prefixes)
}

func (k *compiler) vars(expr []any) {
	vars, warnings, wrong := parseVars(expr)
	for _, f := range wrong {
		k.fault(f.field, f.err)
	}
	k.room.vars, k.warnings = vars, append(k.warnings, warnings...)
}

func (k *compiler) methods(list []string) {
	for i, m := range list {
		field := fmt.Sprintf("Methods[%d]", i)
		if err := checkMethod(m); err != nil {
			k.fault(field, err)
		} else if slices.Contains(list[:i], m) {
			k.fault(field, fmt.Errorf("%q is there twice", m))
		}
	}
	k.room.methods, k.room.unusual = parseMethods(list)
}

func (k *compiler) timeout(t Timeout) {
	if t == (Timeout{}) {
		return
	}
	k.room.timeout = &t
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Timeout.Connect", t.Connect},
		{"Timeout.Send", t.Send},
		{"Timeout.Read", t.Read},
	} {
		switch {
		case d.value < 0:
			k.fault(d.field, fmt.Errorf("is %v, and must not be negative", d.value))
		case d.value > 0 && d.value < time.Millisecond: // most likely seconds were meant
			k.warnings = append(k.warnings, Warning{Field: d.field, Text: fmt.Sprintf("is %v (%v seconds), below a millisecond, in which hardly a node answers: is the unit right?", d.value, d.value.Seconds())})
		}
	}
}

func (k *compiler) edits(h HeaderEdits) {
	edits, warnings := parseEdits(h, k.fault)
	k.room.edits, k.warnings = edits, append(k.warnings, warnings...)
}
