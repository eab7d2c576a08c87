package route

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxVarsShown is how many bytes of a value are shown.
const maxVarsShown = 64

// maxVarsReasons is how many conditions an explanation names.
const maxVarsReasons = 4

// explain says why a request does not satisfy the expression: which conditions are
// at fault, and what the variables are. It returns nil if the request does.
//
//	Vars[1]: http_x_canary is "0", not == "1"
//	Vars[0]: uri is "/a", which is ~~ "^/a"
//	Vars[2][1]: arg_v is absent, not >= 2
//	Vars[2][2]: scheme is "http", not == "https"
func (v *vars) explain(req *Request, m *Match) []Reason {
	if v.holds(req, m) {
		return nil
	}
	reasons := v.root.reasons(nil, req, m)
	if n := len(reasons); n > maxVarsReasons {
		reasons = append(reasons[:maxVarsReasons], Reason{Text: fmt.Sprintf("and %d more", n-maxVarsReasons)})
	}
	return reasons
}

// reasons appends why the condition holds, or why it does not: a comparison speaks
// for itself, and a group is as it is because of one of its conditions, or of all.
func (c *condition) reasons(to []Reason, req *Request, m *Match) []Reason {
	if c.op != opAnd && c.op != opOr {
		is := ", not "
		if c.compare(req, m) {
			is = ", which is "
		}
		return append(to, Reason{c.field, printable(c.of.String()) + " is " + c.of.shown(req, m) + is + c.operand()})
	}
	for i := range c.group {
		if c.group[i].holds(req, m) == (c.op == opOr) {
			return c.group[i].reasons(to, req, m)
		}
	}
	for i := range c.group {
		to = c.group[i].reasons(to, req, m)
	}
	return to
}

// shown returns the value of a variable for a person.
func (x *variable) shown(req *Request, m *Match) string {
	if x.source == fromClient {
		if !req.ClientAddr.IsValid() {
			return "absent"
		}
		return literal(plainAddr(req.ClientAddr).String())
	}
	switch value, values, ok := x.lookup(req, m); {
	case !ok:
		return "absent"
	case values != nil:
		return literal(values)
	default:
		return literal(value)
	}
}

// String returns the name of a variable.
func (x *variable) String() string {
	switch x.source {
	case fromPath:
		return "uri"
	case fromHost:
		return "host"
	case fromMethod:
		return "request_method"
	case fromClient:
		return "remote_addr"
	}
	name := x.name
	if x.kind == VarHeader {
		name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	}
	for _, prefix := range varPrefixes {
		if prefix.source == x.source && prefix.kind == x.kind {
			return prefix.text + name
		}
	}
	return name
}

// operatorTexts are the operators as they are written.
var operatorTexts = [...]string{
	opAnd:            "AND",
	opOr:             "OR",
	opText:           "==",
	opNumber:         "==",
	opAbsent:         "==",
	opLess:           "<",
	opLessOrEqual:    "<=",
	opGreater:        ">",
	opGreaterOrEqual: ">=",
	opMatch:          "~~",
	opMatchFold:      "~*",
	opIn:             "in",
	opHas:            "has",
	opAddr:           "ipmatch",
}

// operand returns the operator and the operand of a comparison for a person.
func (c *condition) operand() string {
	if c.op == opNever {
		return c.text
	}
	return operatorTexts[c.op] + " " + literal(c.value())
}

// value returns the operand of a comparison as it could have been written.
func (c *condition) value() any {
	switch c.op {
	case opText, opMatch, opMatchFold:
		return c.text
	case opNumber, opLess, opLessOrEqual, opGreater, opGreaterOrEqual:
		return c.number
	case opIn:
		return c.list.values()
	case opHas:
		return c.list.values()[0]
	case opAddr:
		values := make([]any, len(c.ranges))
		for i, r := range c.ranges {
			values[i] = r.String()
			if r.IsSingleIP() {
				values[i] = r.Addr().String()
			}
		}
		return values
	default: // opAbsent
		return nil
	}
}

func (l *operands) values() []any {
	values := []any{}
	if l.absent {
		values = append(values, nil)
	}
	for _, n := range l.numbers {
		values = append(values, n)
	}
	for _, s := range l.texts {
		values = append(values, s)
	}
	return values
}

// String returns the expression in JSON, in one form for all that mean the same but
// for the order of conditions: operators in lower case, "~=" for "==" negated,
// lists sorted, nothing twice. An expression that is parsed from it is equal.
func (v *vars) String() string {
	if v == nil {
		return "[]"
	}
	expr := v.root.expression()
	if v.root.op != opAnd && v.root.op != opOr {
		expr = []any{expr}
	}
	return toJSON(expr)
}

// expression returns a condition as it could have been written.
func (c *condition) expression() []any {
	name := c.of.String()
	switch {
	case c.op == opAnd || c.op == opOr:
		operator := operatorTexts[c.op]
		if c.negated {
			operator = "!" + operator
		}
		expr := []any{operator}
		for i := range c.group {
			expr = append(expr, c.group[i].expression())
		}
		return expr
	case c.op == opNever && c.negated:
		return []any{name, "!", "in", []any{}}
	case c.op == opNever:
		return []any{name, "in", []any{}}
	case !c.negated:
		return []any{name, operatorTexts[c.op], c.value()}
	case operatorTexts[c.op] == "==":
		return []any{name, "~=", c.value()}
	default:
		return []any{name, "!", operatorTexts[c.op], c.value()}
	}
}

// equal reports whether two expressions are the same but for how they are written,
// as [*vars.String] says. It allocates nothing.
func (v *vars) equal(o *vars) bool {
	if v == nil || o == nil {
		return v == o
	}
	return v.root.equal(&o.root)
}

func (c *condition) equal(o *condition) bool {
	if c.op != o.op || c.negated != o.negated || c.of != o.of ||
		c.text != o.text && c.op != opNever ||
		c.number != o.number ||
		!c.list.equal(o.list) ||
		!slices.Equal(c.ranges, o.ranges) ||
		len(c.group) != len(o.group) {
		return false
	}
	for i := range c.group {
		if !c.group[i].equal(&o.group[i]) {
			return false
		}
	}
	return true
}

func (l *operands) equal(o *operands) bool {
	if l == nil || o == nil {
		return l == o
	}
	return l.absent == o.absent && slices.Equal(l.texts, o.texts) && slices.Equal(l.numbers, o.numbers)
}

// literal returns a value for a person: in JSON, and cut where it is long.
func literal(v any) string {
	if u, ok := v.(unknown); ok {
		v = u.value
	}
	text := toJSON(v)
	if len(text) > maxVarsShown {
		return strings.ToValidUTF8(text[:maxVarsShown], "") + "..."
	}
	return text
}

// toJSON returns a value in JSON, or as Go prints its type if it has no such form.
func toJSON(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprintf("%T", v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
