package route

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An Explanation says how a [Table] found the route of a request.
type Explanation struct {
	// Request is the request that a route was looked for.
	Request Request

	// Found is what [*Table.Match] returns.
	Found Match

	// Candidates are the routes whose host and path fit, in the order in which they are tried:
	// those that were passed over, then the one that was found, then those that were not
	// reached. A route is listed once for each of its patterns that fits.
	Candidates []Candidate
}

// A Candidate is a route that was tried for a request, or would have been.
type Candidate struct {
	Route *Route

	// Host is the host of the route by which it was found, or "" if it was not found by a host:
	// because it has none, or because the router looks for the path alone.
	Host string

	// Pattern is the path of the route that fits, as it was configured.
	Pattern string

	Outcome Outcome

	// Reasons say why the route was passed over or not reached: several where any one of
	// several conditions would have had to be otherwise.
	Reasons []Reason
}

// A Reason says why a route was passed over or not reached.
type Reason struct {
	Field string // of its Config, as in Go: "Vars[1][0]"; "" if no one field is it
	Text  string
}

// String returns the text, after the field that it is about.
func (r Reason) String() string {
	if r.Field == "" {
		return r.Text
	}
	return r.Field + ": " + r.Text
}

// An Outcome is what became of a [Candidate].
type Outcome int

// The outcomes.
const (
	PassedOver Outcome = iota // a condition does not hold
	Found                     // this is the route
	NotReached                // another route was found before it
)

// String returns the outcome in words.
func (o Outcome) String() string {
	switch o {
	case PassedOver:
		return "passed over"
	case Found:
		return "found"
	case NotReached:
		return "not reached"
	default:
		return fmt.Sprintf("Outcome(%d)", int(o))
	}
}

// Explain says how [*Table.Match] comes to its result: which routes it tries, in which
// order, and why it passes each of them over. It is for people: it takes time in proportion
// to the candidates, and allocates.
func (t *Table) Explain(req *Request) *Explanation {
	x := &Explanation{Request: *req}
	var found *candidate
	var foundHost string
	for host, c := range t.candidates(req) {
		out := Candidate{Route: c.route, Host: host, Pattern: c.pattern.text}
		switch {
		case found != nil:
			out.Outcome = NotReached
			out.Reasons = []Reason{{Text: whyBefore(foundHost, found, host, c)}}
		default:
			if out.Reasons = c.whyNot(req); out.Reasons == nil {
				out.Outcome = Found
				found, foundHost = c, host
				x.Found = Match{c.route, c.pattern, req.Path}
			}
		}
		x.Candidates = append(x.Candidates, out)
	}
	return x
}

// ExplainHTTP is [*Table.Explain] for a request that a server has read, as
// [*Table.MatchHTTP] is Match.
func (t *Table) ExplainHTTP(r *http.Request) (*Explanation, error) {
	req, err := t.request(r)
	if err != nil {
		return nil, err
	}
	req.Lookups = NewHTTPLookups(r)
	return t.Explain(&req), nil
}

// candidates yields every candidate whose host and cut fit, with its host, in the
// order of [*Table.Match].
func (t *Table) candidates(req *Request) iter.Seq2[string, *candidate] {
	return func(yield func(string, *candidate) bool) {
		if t == nil {
			return
		}
		m := t.hosts.Match(req.Host)
		for m.Next() {
			host := m.Pattern()
			if !m.Value().each(req.Path, func(c *candidate) bool { return yield(host, c) }) {
				return
			}
		}
		t.anyHost.each(req.Path, func(c *candidate) bool { return yield("", c) })
	}
}

// each calls yield for the candidates of a path, in the order of match.
func (n *node) each(path string, yield func(*candidate) bool) bool {
	if n == nil || steps(path) < n.depth {
		return true
	}
	end := steps(path) == n.depth
	if !end {
		if i, ok := n.rank(digit(path, n.depth)); ok && !n.children[i].each(path, yield) {
			return false
		}
	}
	if n.lists == nil || !strings.HasPrefix(path, n.path) {
		return true
	}
	candidates := n.prefix()
	if end {
		candidates = n.all
	}
	for i := range candidates {
		if !yield(&candidates[i]) {
			return false
		}
	}
	return true
}

// whyNot returns why a candidate does not take a request, or nil if it does.
func (c *candidate) whyNot(req *Request) []Reason {
	r := c.route
	because := func(field, format string, args ...any) []Reason {
		return []Reason{{field, fmt.Sprintf(format, args...)}}
	}
	switch m := (Match{r, c.pattern, req.Path}); {
	case !r.takesMethod(req.Method):
		return because("", "the method is none of %s", strings.Join(r.methodNames(), ", "))
	case r.addrs != nil && !r.addrs.contains(plainAddr(req.ClientAddr)):
		if !req.ClientAddr.IsValid() {
			return because("RemoteAddrs", "the address of the client is not known")
		}
		return because("RemoteAddrs", "the client's address %v is not in them", req.ClientAddr)
	case !c.takesHost(req):
		return because("", "the host fits none of %s", strings.Join(hostNames(c.hosts()), ", "))
	case !c.pattern.fits(req.Path, nil):
		return because("", "the path begins as %s, and does not fit all of it", printable(c.pattern.text))
	case r.vars != nil && !r.vars.holds(req, &m):
		return r.vars.explain(req, &m)
	}
	return nil
}

// whyBefore returns why one candidate goes before another.
func whyBefore(firstHost string, first *candidate, thenHost string, then *candidate) string {
	switch {
	case first.route == then.route && firstHost != thenHost:
		return "the route was found by another of its hosts"
	case first.route == then.route:
		return "the route was found by another of its paths"
	case firstHost != thenHost && thenHost == "":
		return fmt.Sprintf("route %q is for the host %s, and hosts go first, whatever the priorities", first.route.id, firstHost)
	case firstHost != thenHost:
		return fmt.Sprintf("route %q is for the host %s, which goes before %s, whatever the priorities", first.route.id, firstHost, thenHost)
	case first.pattern.exact && !then.pattern.exact:
		return fmt.Sprintf("route %q has this very path, which goes before every pattern, whatever the priorities", first.route.id)
	case len(first.pattern.cut) != len(then.pattern.cut):
		return fmt.Sprintf("%s of route %q begins with more of the path, which goes first, whatever the priorities", printable(first.pattern.text), first.route.id)
	case first.route.priority != then.route.priority:
		return fmt.Sprintf("route %q has the priority %d, and this one %d", first.route.id, first.route.priority, then.route.priority)
	case len(first.pattern.text) != len(then.pattern.text):
		return fmt.Sprintf("%s of route %q is the longer pattern", printable(first.pattern.text), first.route.id)
	default:
		return fmt.Sprintf("route %q is of the same rank, and older", first.route.id)
	}
}

func (r *Route) takesMethod(method string) bool {
	bit := methodBit(method)
	return r.methods&bit != 0 || bit == unusual && slices.Contains(r.unusual, method)
}

// String returns the explanation as several lines of text, for a log or a terminal. A path,
// a pattern or a variable that would break out of its line is quoted.
func (x *Explanation) String() string {
	var b strings.Builder
	host := x.Request.Host
	if x.Request.Port != "" {
		host += ":" + x.Request.Port
	}
	fmt.Fprintf(&b, "%s %s%s: ", printable(x.Request.Method), printable(host), printable(x.Request.Path))
	switch {
	case x.Found.Route != nil:
		fmt.Fprintf(&b, "route %q\n", x.Found.Route.id)
	case len(x.Candidates) == 0:
		b.WriteString("no route: none has this host and path\n")
	default:
		b.WriteString("no route\n")
	}
	for _, c := range x.Candidates {
		host := c.Host
		if host == "" {
			host = strings.Join(hostNames(c.Route.hosts), ",")
		}
		fmt.Fprintf(&b, "- route %q (%s%s, priority %d): %v", c.Route.id, host, printable(c.Pattern), c.Route.priority, c.Outcome)
		separator := ": "
		for _, r := range c.Reasons {
			b.WriteString(separator)
			b.WriteString(r.String())
			separator = "; "
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// printable returns s, or s quoted as in Go if it has what is not to be printed: what a
// client sends, or a document has, must not look like a line of its own.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
