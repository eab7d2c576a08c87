package route

import "errors"

// Vars is what Config.Vars becomes.
type Vars = vars

// A VarsFault is what is wrong with it.
type VarsFault struct {
	Field, Text, Hint string
	Err               error
}

// ParseVars parses an expression.
func ParseVars(expr []any) (*Vars, []Warning, []VarsFault) {
	v, warnings, faults := parseVars(expr)
	var out []VarsFault
	for _, f := range faults {
		var err interface {
			APISIXText() string
			Hint() string
		}
		if !errors.As(error(f.err), &err) {
			panic("a fault without a text")
		}
		out = append(out, VarsFault{f.field, err.APISIXText(), err.Hint(), f.err})
	}
	return v, warnings, out
}

func (v *vars) Holds(req *Request, m *Match) bool       { return v.holds(req, m) }
func (v *vars) Explain(req *Request, m *Match) []Reason { return v.explain(req, m) }
func (v *vars) Equal(o *vars) bool                      { return v.equal(o) }

// ToNumber is Lua's tonumber.
var ToNumber = toNumber

// CipherName returns OpenSSL's name of a cipher suite.
var CipherName = cipherName

// VarNames are the variables that HTTPLookups know, and whether they may have several
// values.
var VarNames = varNames

// MatchOf returns a Match whose path has captured something: names and values by
// turns. No value has the byte that stands between them.
func MatchOf(params ...string) *Match {
	const end = "\x01"
	p := &pattern{rest: &rest{}}
	m := &Match{pattern: p}
	for i := 0; i < len(params); i += 2 {
		p.stars = append(p.stars, starGroup{name: len(p.names), group: group{{literal: end}}})
		p.names = append(p.names, params[i])
		m.path += params[i+1] + end
	}
	return m
}
