package route

// This file is the request path of Config.Vars. It takes no lock and allocates
// nothing, by construction: names were resolved, operands converted, regular
// expressions compiled and address ranges sorted when the expression was parsed
// (vars_parse.go), and values are compared as they lie in the request. Three
// places need an argument, and have it: toNumber, toAddr and clientText. What a
// Lookups allocates to find a value is its own affair. BenchmarkVars keeps watch
// on time, TestVarsDoNotAllocate on allocations.

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/sallyport/sallyport/internal/reqvar"
)

// vars is an expression of [Config.Vars] that was parsed. It never changes. A nil
// *vars is the empty expression, which always holds.
type vars struct{ root condition }

// holds reports whether a request satisfies the expression. m has the parameters of
// the path; nil means that there are none. It is a concrete type because a method
// that is called through an interface would move the caller's Match to the heap.
func (v *vars) holds(req *Request, m *Match) bool {
	return v == nil || v.root.holds(req, m)
}

// A condition is a comparison of one variable, or a group of conditions.
type condition struct {
	op      operator
	negated bool

	of     variable
	text   string         // of opText; of opNever, opMatch and opMatchFold, as it was written
	number float64        // of opNumber and of the four that order
	regexp *regexp.Regexp // of opMatch and opMatchFold
	list   *operands      // of opIn and opHas
	ranges addrs          // of opAddr, and of opText and opIn for fromClient

	group []condition // of opAnd and opOr

	// field is where it stands in the Config, as in "Vars[1][0]".
	field string
}

// An operator says what a condition does. "==" is one of several by the type of its
// operand, and "~=" is "==" negated.
type operator uint8

const (
	opAnd operator = iota
	opOr
	opText        // == "a"
	opNumber      // == 1
	opAbsent      // == null
	opNever       // == true, in [], > "a": no value of a variable is so
	opLess        // < 1
	opLessOrEqual // <= 1
	opGreater     // > 1
	opGreaterOrEqual
	opMatch     // ~~ "a"
	opMatchFold // ~* "a"
	opIn        // in ["a", 1, null]
	opHas       // has "a"
	opAddr      // ipmatch ["10.0.0.0/8"]
)

// A variable is a part of a request.
type variable struct {
	source varSource
	kind   VarKind // of fromLookups
	name   string  // what Lookups or a Match are asked for
}

// A varSource says where the value of a variable comes from.
type varSource uint8

const (
	fromLookups varSource = iota
	fromPath
	fromHost
	fromMethod
	fromClient
	fromParam
)

// operands are a set of values to compare with.
type operands struct {
	texts   []string  // sorted
	numbers []float64 // sorted
	absent  bool      // null is one of them
}

// contains reports whether a value equals one of the list, by the rules of "==".
func (l *operands) contains(value string) bool {
	if len(l.texts) > 0 {
		if _, ok := slices.BinarySearch(l.texts, value); ok {
			return true
		}
	}
	if len(l.numbers) > 0 {
		if n, ok := toNumber(value); ok {
			_, ok = slices.BinarySearch(l.numbers, n)
			return ok
		}
	}
	return false
}

// holds reports whether the request satisfies the condition. The recursion goes no
// deeper than maxVarsDepth.
func (c *condition) holds(req *Request, m *Match) bool {
	switch c.op {
	case opAnd:
		for i := range c.group {
			if !c.group[i].holds(req, m) {
				return c.negated
			}
		}
		return !c.negated
	case opOr:
		for i := range c.group {
			if c.group[i].holds(req, m) {
				return !c.negated
			}
		}
		return c.negated
	default:
		return c.compare(req, m) != c.negated
	}
}

// compare reports whether the comparison holds, whatever negated says.
func (c *condition) compare(req *Request, m *Match) bool {
	if c.of.source == fromClient {
		return c.compareClient(req.ClientAddr)
	}
	value, values, ok := c.of.lookup(req, m)
	switch {
	case values != nil:
		return c.compareEach(values)
	case ok:
		return c.compareText(value)
	default:
		return c.compareAbsent()
	}
}

// lookup returns the value of a variable of any source but fromClient. values is
// not nil if it may have several, and ok is false if it has none.
func (x *variable) lookup(req *Request, m *Match) (value string, values []string, ok bool) {
	switch x.source {
	case fromPath:
		return req.Path, nil, true
	case fromHost:
		return req.Host, nil, req.Host != ""
	case fromMethod:
		return req.Method, nil, true
	case fromParam:
		if m == nil {
			return "", nil, false
		}
		value, ok = m.Param(x.name)
		return value, nil, ok
	}
	if req.Lookups == nil {
		return "", nil, false
	}
	if x.kind == VarOther {
		if values, ok = req.Lookups.LookupAll(x.name); ok {
			return "", values, len(values) > 0
		}
	}
	value, ok = req.Lookups.Lookup(x.kind, x.name)
	return value, nil, ok
}

// compareText compares a variable that has one value.
func (c *condition) compareText(value string) bool {
	switch c.op {
	case opText:
		return value == c.text
	case opMatch, opMatchFold:
		return c.regexp.MatchString(value) // its machines come from pools
	case opIn:
		return c.list.contains(value)
	case opAddr:
		addr, ok := toAddr(value)
		return ok && c.ranges.contains(addr)
	case opNumber, opLess, opLessOrEqual, opGreater, opGreaterOrEqual:
		n, ok := toNumber(value)
		return ok && c.compareNumber(n)
	default: // opAbsent and opNever; opHas, which is for several values
		return false
	}
}

func (c *condition) compareNumber(n float64) bool {
	switch c.op {
	case opLess:
		return n < c.number
	case opLessOrEqual:
		return n <= c.number
	case opGreater:
		return n > c.number
	case opGreaterOrEqual:
		return n >= c.number
	default:
		return n == c.number
	}
}

// compareEach compares a variable that may have several values: one must satisfy
// the condition.
func (c *condition) compareEach(values []string) bool {
	if len(values) == 0 {
		return c.compareAbsent()
	}
	for _, value := range values {
		if c.op == opHas && c.list.contains(value) || c.compareText(value) {
			return true
		}
	}
	return false
}

// compareAbsent compares a variable that the request does not have.
func (c *condition) compareAbsent() bool {
	return c.op == opAbsent || c.op == opIn && c.list.absent
}

// compareClient compares the address of the client. It is no string yet: what it is
// compared with became addresses when the expression was parsed, and only regular
// expressions need its text. The text of an address is never a number.
func (c *condition) compareClient(addr netip.Addr) bool {
	addr = plainAddr(addr)
	switch {
	case !addr.IsValid():
		return c.compareAbsent()
	case c.op == opText || c.op == opIn || c.op == opAddr:
		return c.ranges.contains(addr)
	case c.op == opMatch || c.op == opMatchFold:
		buf := clientText.Get().(*[]byte)
		defer clientText.Put(buf)
		*buf = addr.AppendTo((*buf)[:0])
		return c.regexp.Match(*buf)
	default:
		return false
	}
}

// clientText are buffers for the text of addresses. A buffer on the stack would be
// moved to the heap, because a regular expression keeps its input in a machine.
var clientText = sync.Pool{New: func() any {
	buf := make([]byte, 0, len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
	return &buf
}}

// toAddr returns the address that a value is. Most of what is none is found out
// without an error, which would allocate, and so is a zone.
func toAddr(value string) (netip.Addr, bool) {
	if len(value) < len("::") || len(value) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
		return netip.Addr{}, false
	}
	separators := 0
	for i := range len(value) {
		switch c := value[i]; {
		case c == '.' || c == ':':
			separators++
		case reqvar.HexDigit(c) < 0:
			return netip.Addr{}, false
		}
	}
	if separators < 2 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(value)
	return plainAddr(addr), err == nil
}

// toNumber is the tonumber of Lua: decimal with or without a fraction and an exponent, or
// hexadecimal after 0x, and blanks around it. Not the underscores, and not the names of
// infinity and of what is no number, that strconv knows.
//
// strconv returns an error only for a decimal beyond the range of a float64, and
// only that allocates, because nothing that is no number reaches it.
func toNumber(s string) (float64, bool) {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	digits := s
	if s != "" && (s[0] == '+' || s[0] == '-') {
		digits = s[1:]
	}
	if len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		n, ok := hexNumber(digits[2:])
		if s[0] == '-' {
			n = -n
		}
		return n, ok
	}
	if !isDecimal(digits) {
		return 0, false
	}
	n, _ := strconv.ParseFloat(s, 64) // out of range: infinite, as in Lua
	return n, true
}

func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// isDecimal reports whether s is a decimal number without a sign.
func isDecimal(s string) bool {
	whole, s := skipDigits(s)
	fraction := 0
	if s != "" && s[0] == '.' {
		fraction, s = skipDigits(s[1:])
	}
	if whole+fraction == 0 {
		return false
	}
	if s != "" && s[0]|0x20 == 'e' {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		var exponent int
		if exponent, s = skipDigits(s); exponent == 0 {
			return false
		}
	}
	return s == ""
}

// skipDigits returns how many decimal digits s begins with, and what is behind them.
func skipDigits(s string) (int, string) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i, s[i:]
		}
	}
	return len(s), ""
}

// hexNumber returns the value of hexadecimal digits. Fractions and binary exponents,
// which LuaJIT takes, nobody sends.
func hexNumber(s string) (float64, bool) {
	var n uint64
	exponent := 0
	for i := range len(s) {
		d := reqvar.HexDigit(s[i])
		switch {
		case d < 0:
			return 0, false
		case n>>60 == 0:
			n = n<<4 | uint64(d)
		case d > 0: // too far down to count, but for rounding
			n |= 1
			fallthrough
		default:
			exponent += 4
		}
	}
	return math.Ldexp(float64(n), exponent), true
}
