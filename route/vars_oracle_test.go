package route_test

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/route"
)

// A world is what there is to know of a request: the values of variables by their
// names. One whose name begins with "all_" may have any number of values, any other
// has one.
type world map[string][]string

// parseWorld reads variables as they are written in the tables of the tests, as in
// `arg_v=1 all_x=a,b remote_addr=`. An empty list of a variable that may have several
// is written without "=".
func parseWorld(s string) world {
	w := world{}
	for field := range strings.FieldsSeq(s) {
		name, value, ok := strings.Cut(field, "=")
		value = strings.ReplaceAll(value, "_", " ")
		switch {
		case !ok:
			w[name] = nil
		case strings.HasPrefix(name, "all_"):
			w[name] = strings.Split(value, ",")
		default:
			w[name] = []string{value}
		}
	}
	return w
}

// Lookup implements route.Lookups.
func (w world) Lookup(kind route.VarKind, name string) (string, bool) {
	switch kind {
	case route.VarHeader:
		name = "http_" + strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	case route.VarArg:
		name = "arg_" + name
	case route.VarCookie:
		name = "cookie_" + name
	case route.VarPostArg:
		name = "post_arg_" + name
	}
	if values := w[name]; len(values) == 1 && !strings.HasPrefix(name, "all_") {
		return values[0], true
	}
	return "", false
}

// LookupAll implements route.Lookups.
func (w world) LookupAll(name string) ([]string, bool) {
	return w[name], strings.HasPrefix(name, "all_")
}

// request returns the request of a world, and the parameters of its path.
func (w world) request() (*route.Request, *route.Match) {
	req := &route.Request{Lookups: w}
	one := func(name string) string {
		if values := w[name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	req.Path, req.Host, req.Method = one("uri"), one("host"), one("request_method")
	if s := one("remote_addr"); s != "" {
		req.ClientAddr = netip.MustParseAddr(s)
	}
	var params []string
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if param, ok := strings.CutPrefix(name, "uri_param_"); ok {
			params = append(params, param, one(name))
		}
	}
	return req, route.MatchOf(params...)
}

// slow evaluates an expression as it stands: the obvious way, and another one than
// the package's. The expression must be one that the package takes.
func (w world) slow(expr []any) bool {
	if len(expr) == 0 {
		return true
	}
	if name, ok := expr[0].(string); ok {
		switch strings.ToUpper(name) {
		case "AND", "!AND":
			return w.all(expr[1:]) != (name[0] == '!')
		case "OR", "!OR":
			return slices.ContainsFunc(expr[1:], func(e any) bool { return w.slow(e.([]any)) }) != (name[0] == '!')
		}
		if len(expr) == 2 {
			return w.slowComparison(name, "==", expr[1])
		}
		if len(expr) == 4 {
			return !w.slowComparison(name, expr[2].(string), expr[3])
		}
		return w.slowComparison(name, expr[1].(string), expr[2])
	}
	return w.all(expr)
}

func (w world) all(exprs []any) bool {
	return !slices.ContainsFunc(exprs, func(e any) bool { return !w.slow(e.([]any)) })
}

func (w world) slowComparison(name, op string, operand any) bool {
	op = strings.ToLower(op)
	if op == "~=" {
		return !w.slowComparison(name, "==", operand)
	}
	if rest, ok := strings.CutPrefix(name, "http_"); ok {
		name = "http_" + strings.ReplaceAll(strings.ToLower(rest), "-", "_")
	}
	switch name {
	case "method":
		name = "request_method"
	case "query_string":
		name = "args"
	}
	values := w[name]
	switch {
	case len(values) == 0:
	case name == "host" && values[0] == "":
		values = nil
	case name == "remote_addr":
		values = []string{netip.MustParseAddr(values[0]).Unmap().WithZone("").String()}
	}
	if len(values) == 0 {
		switch list, _ := operand.([]any); op {
		case "==":
			return operand == nil
		case "in":
			return slices.Contains(list, nil)
		}
		return false
	}
	if op == "has" && !strings.HasPrefix(name, "all_") {
		return false
	}
	return slices.ContainsFunc(values, func(value string) bool { return slowTest(value, op, operand) })
}

func slowTest(value, op string, operand any) bool {
	switch op {
	case "==", "has":
		switch operand := operand.(type) {
		case string:
			return value == operand
		case float64:
			n, ok := slowNumber(value)
			return ok && n == operand
		}
		return false
	case "<", "<=", ">", ">=":
		right, ok := operand.(float64)
		if s, isText := operand.(string); isText {
			right, ok = slowNumber(s)
		}
		left, isNumber := slowNumber(value)
		return ok && isNumber && map[string]bool{"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op]
	case "~~":
		return regexp.MustCompile(operand.(string)).MatchString(value)
	case "~*":
		return regexp.MustCompile("(?i)" + operand.(string)).MatchString(value)
	case "in":
		return slices.ContainsFunc(operand.([]any), func(o any) bool { return slowTest(value, "==", o) })
	case "ipmatch":
		list, ok := operand.([]any)
		if !ok {
			list = []any{operand}
		}
		addr, err := netip.ParseAddr(value)
		return err == nil && addr.Zone() == "" && slices.ContainsFunc(list, func(o any) bool { return slowContains(o.(string), addr.Unmap()) })
	default:
		panic(fmt.Sprintf("operator %q", op))
	}
}

func slowContains(s string, addr netip.Addr) bool {
	if !strings.Contains(s, "/") {
		return netip.MustParseAddr(s).Unmap() == addr
	}
	p := netip.MustParsePrefix(s)
	return p.Contains(addr) || addr.Is4() && p.Addr().Is4In6() && p.Contains(netip.AddrFrom16(addr.As16()))
}

var number = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))[ \t\n\v\f\r]*$`)

func slowNumber(s string) (n float64, ok bool) {
	m := number.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	if m[2] != "" {
		n, _ = strconv.ParseFloat("0x"+m[2]+"p0", 64)
	} else {
		n, _ = strconv.ParseFloat(m[3], 64)
	}
	if m[1] == "-" {
		n = -n
	}
	return n, true
}
